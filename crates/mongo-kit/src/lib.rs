//! MongoDB for services: connections with clear errors, the classification of errors, transactions,
//! lenient reading of documents that other programs wrote, and the changes of collections.
//!
//! The crate is independent of Turbulence's entities and of HTTP.
//!
//! # Example
//!
//! A document that several programs have written over the years:
//!
//! ```
//! use mongo_kit::lenient::FieldReader;
//! use mongodb::bson::{RawDocumentBuf, doc};
//!
//! let stored = doc! { "title": 1984, "date": "2015-03-01 10:00", "public": [1] };
//! let stored = RawDocumentBuf::try_from(&stored)?;
//! let mut reader = FieldReader::new(&stored);
//! assert_eq!(reader.text("title").as_deref(), Some("1984"));
//! assert_eq!(reader.date("date").unwrap().to_rfc3339(), "2015-03-01T10:00:00+00:00");
//! // The meaning of this value is not clear: the field is absent and reported.
//! assert_eq!(reader.flag("public"), None);
//! assert_eq!(reader.unreadable()[0].to_string(), "public: array");
//! # Ok::<(), mongodb::bson::error::Error>(())
//! ```

mod collections;
mod connect;
pub mod document;
mod error;
pub mod feed;
pub mod lease;
pub mod lenient;
mod server_clock;
mod single_flight;
mod time_limit;
mod transaction;
mod writers;

pub use collections::{
    UnsuitableCollection, UnsuitableCollections, UnsuitableKind, refuse_unsuitable,
    unsuitable_collections,
};
pub use connect::{ConnectError, Connection, DeploymentError, check_database_name, database_of};
pub use error::{DatabaseError, is_duplicate_key, is_transient, is_unknown_commit};
pub use server_clock::ServerClock;
pub use single_flight::{Flight, SingleFlight};
pub use time_limit::with_time_limit;
pub use transaction::{TransactionError, Work};
pub use writers::{WRITERS, Writer, Writers, end_sessions};
