//! sections-service: the navigation of the site as data.
//!
//! It owns the collections `sections` and `section_redirects` and their migrations. A request passes
//! `http`, `store` and `domain` in this order; `startup` connects them.

mod domain;
mod http;
mod migrations;
mod startup;
mod store;

pub use http::openapi;
pub use startup::{DEFAULT_PORT, NAME, bind, bind_beside, bind_preview, engine, inspector, run};
pub use store::collections::COLLECTIONS;
