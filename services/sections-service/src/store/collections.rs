//! The collections of the service.

use data_service::Collections;

/// The sections.
pub(crate) const COLLECTION: &str = "sections";

/// All collections of the service.
pub const COLLECTIONS: Collections = Collections {
    service: SERVICE,
    site: &[COLLECTION],
    own: &[REDIRECTS, REVISIONS, TREE],
    copies: &[REPAIRS],
    derived: &[],
};

/// The redirects: one for each path that a section had.
pub(crate) const REDIRECTS: &str = "section_redirects";

/// The earlier states of sections.
pub(super) const REVISIONS: &str = "section_revisions";

/// Copies of documents from before a repair changed or removed them.
pub(super) const REPAIRS: &str = "section_repairs";

/// The document that every change of the tree writes, so that concurrent changes conflict.
pub(super) const TREE: &str = "section_tree";

/// The name of the service in its ledger.
pub(crate) const SERVICE: &str = "sections";
