//! content-service: stories, projects and pages.
//!
//! It owns the collections `stories`, `projects`, `pages` and `users` and their migrations.
//! Requests go `http` → `store` → `domain`; `startup` wires. What the three kinds of content have
//! in common is generic over `store::Kind`; to add a kind, implement that.

mod domain;
mod html;
mod http;
mod startup;
mod store;

pub use http::openapi;
pub use startup::{DEFAULT_PORT, NAME, bind, engine, inspector, run, sections_client};
pub use store::{COLLECTIONS, SECTION_BACKFILL, count_linked};
