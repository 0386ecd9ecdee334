//! The collections of the service.

use data_service::Collections;

/// The files, one document each.
pub const COLLECTION: &str = "media";

/// All collections of the service.
pub const COLLECTIONS: Collections =
    Collections { service: SERVICE, site: &[], own: &[COLLECTION], copies: &[], derived: &[] };

/// The name of the service in its ledger.
pub(crate) const SERVICE: &str = "media";
