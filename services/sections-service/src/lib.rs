//! sections-service: the site's navigation as data.
//!
//! It owns the collection `sections` and its migrations. Requests go `http` → `store` → `domain`;
//! `startup` wires.

mod domain;
mod http;
mod startup;
mod store;

pub use startup::{NAME, bind, bind_preview, engine, run};
