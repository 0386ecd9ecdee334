//! The gateway over real sockets, with small real servers behind it.
#![allow(missing_docs)]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod bodies;
mod cache;
mod cors;
mod docs;
mod errors;
mod events;
mod headers;
mod health;
mod integrity;
mod paths;
mod rate_limit;
mod replicas;
mod support;
