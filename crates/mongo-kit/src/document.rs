//! Reading documents one by one, so that one that cannot be read does not hide the others.

use std::sync::OnceLock;

use mongodb::bson::{self, RawDocument};
use opentelemetry::{KeyValue, global, metrics::Counter};
use serde::de::DeserializeOwned;

use crate::lenient;

/// A stored document in a shape that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("document {id} of {collection} cannot be read")]
pub struct Unreadable {
    /// The collection that has it.
    pub collection: &'static str,
    /// Its `_id`, as text.
    pub id: String,
    /// What is wrong with it.
    pub source: Box<bson::error::Error>,
}

impl Unreadable {
    /// Which document it is, and what is wrong with it.
    pub fn into_parts(self) -> (String, String) {
        let what = self.source.message.clone().unwrap_or_else(|| self.source.to_string());
        (self.id, what)
    }
}

/// Reads a document of a collection.
pub fn read<T: DeserializeOwned>(
    collection: &'static str,
    document: &RawDocument,
) -> Result<T, Unreadable> {
    bson::deserialize_from_slice(document.as_bytes()).map_err(|source| {
        let id = document.get("_id").ok().flatten();
        let id = id.map(lenient::raw_id_text).unwrap_or_default();
        Unreadable { collection, id, source: Box::new(source) }
    })
}

/// The document, or none with a warning and a count: it is left out of a list.
pub fn readable<T>(result: Result<T, Unreadable>) -> Option<T> {
    result
        .inspect_err(|error| {
            let Unreadable { collection, id, source } = error;
            tracing::warn!(collection, id, %source, "unreadable document left out");
            unreadable_documents().add(1, &[KeyValue::new("db.collection.name", *collection)]);
        })
        .ok()
}

/// How often a list was answered without a document that could not be read.
fn unreadable_documents() -> &'static Counter<u64> {
    static COUNTER: OnceLock<Counter<u64>> = OnceLock::new();
    COUNTER.get_or_init(|| {
        global::meter("mongo-kit")
            .u64_counter("turbulence.documents.unreadable")
            .with_unit("{document}")
            .build()
    })
}
