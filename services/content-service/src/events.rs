//! The changes that the public may know of, in their order.
//!
//! | file | purpose |
//! |---|---|
//! | `position` | The place in the changes up to which a reader knows them |
//! | `sections` | The changes between two states of the sections |
//! | `projector` | The changes after a place, made of the change stream and the sections |
//! | `hub` | The last changes of a process, for all who listen to it |
//!
//! A [`Projector`](projector::Projector) reads the change stream of the content, and compares the sections
//! that sections-service has with those before. It needs nothing from the writers: an item before its
//! change is read from the history of the server (`store/states.rs`), so that a change by any program is
//! told in the same way.
//!
//! # Use
//!
//! ```ignore
//! let mut projector = Projector::new(source, Some(checkpoint));
//! loop {
//!     // Returns after each answer of the database, every 25 ms, mostly without changes.
//!     let changes = projector.next().await;
//!     // Store the changes and `projector.checkpoint()` together: changes are repeated after a restart
//!     // from an earlier checkpoint, and never lost. It need not be stored without changes more often
//!     // than once in a few seconds.
//! }
//! ```
//!
//! Changes are returned when every gateway answers the new state or confirms what it has
//! ([`LEASE`](service_kit::web::changes::LEASE)).

pub(crate) mod hub;
pub(crate) mod position;
pub(crate) mod projector;
mod sections;
