//! media-service: the pictures and videos of the site.
//!
//! It owns the collection `media` and its migrations, and the files in an object store. A request passes
//! `http`, `store` and `domain` in this order; `startup` connects them.

mod domain;
mod http;
pub mod import;
mod migrations;
mod startup;
mod store;

pub use domain::name::{FileName, InvalidName};
pub use http::openapi;
pub use startup::{DEFAULT_PORT, NAME, bind, engine, run};
pub use store::{
    collections::{COLLECTION, COLLECTIONS},
    document::file_names,
    files::{Facts, FileWriter, Files, OpenError},
};
