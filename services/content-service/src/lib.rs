//! content-service: the content of the site, of every kind.
//!
//! It owns the collections of content and `users`, and their migrations. Requests go `http` →
//! `store` → `domain`; `startup` wires. Everything that is particular to one kind of content is in a
//! file of `kinds`.

mod delivery;
mod domain;
mod events;
mod html;
mod http;
mod kinds;
mod migrations;
mod report;
mod scheduling;
mod search_filling;
mod sections_feed;
mod startup;
mod store;
mod trash_emptying;

pub use http::api::openapi;
pub use migrations::SECTION_BACKFILL;
pub use startup::{DEFAULT_PORT, NAME, bind, engine, inspector, run, sections_client};
pub use store::{collections::COLLECTIONS, counts::count_linked, media::referenced_files};
