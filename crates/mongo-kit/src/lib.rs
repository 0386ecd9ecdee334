//! MongoDB for the services: connecting with clear errors, classifying what goes wrong, reading
//! documents of odd shapes, and caching what a collection says until the collection changes.
//!
//! Nothing here knows sections, stories or HTTP.

mod cached;
mod collections;
mod connect;
pub mod document;
mod error;
pub mod lenient;
mod transaction;
mod watch;

pub use cached::Cached;
pub use collections::{
    UnsuitableCollection, UnsuitableCollections, UnsuitableKind, refuse_unsuitable,
    unsuitable_collections,
};
pub use connect::{ConnectError, Connection, DeploymentError};
pub use error::{DatabaseError, is_duplicate_key, is_transient};
pub use transaction::{TransactionError, Work, transact};
pub use watch::{Stamp, Watch};
