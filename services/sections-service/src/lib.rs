//! sections-service: the site's navigation as data.
//!
//! It owns the collections `sections` and `section_redirects` and their migrations. Requests go `http` → `store` → `domain`;
//! `startup` wires.

mod content_client;
mod domain;
mod http;
mod startup;
mod store;

pub use http::openapi;
pub use startup::{DEFAULT_PORT, NAME, bind, bind_beside, bind_preview, engine, inspector, run};
pub use store::COLLECTIONS;
