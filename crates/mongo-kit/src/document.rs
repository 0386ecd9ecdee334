//! Reads documents one by one, so that an unreadable one does not hide the others.

use std::{
    collections::{HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
};

use mongodb::bson::{self, RawDocument};
use opentelemetry::{KeyValue, global, metrics::Counter};
use serde::de::DeserializeOwned;

use crate::lenient::{self, UnreadableField};

/// The most warnings that a process remembers. Further unreadable fields are only in the integrity
/// report.
const MAX_WARNINGS: usize = 10_000;

/// A stored document that cannot be read as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("document {id} of {collection} cannot be read: {reason}")]
pub struct Unreadable {
    /// The collection.
    pub collection: &'static str,
    /// Its `_id`, as text.
    pub id: String,
    /// The fault of the document.
    pub reason: String,
}

impl Unreadable {
    /// Returns the error of a document that cannot be read for this reason.
    pub fn new(
        collection: &'static str,
        document: &RawDocument,
        reason: impl Into<String>,
    ) -> Self {
        let id = document.get("_id").ok().flatten();
        let id = id.map(lenient::raw_id_text).unwrap_or_default();
        Self { collection, id, reason: reason.into() }
    }

    /// Returns the `_id` of the document and its fault.
    pub fn into_parts(self) -> (String, String) {
        (self.id, self.reason)
    }
}

/// Deserializes a document of a collection.
pub fn read<T: DeserializeOwned>(
    collection: &'static str,
    document: &RawDocument,
) -> Result<T, Unreadable> {
    bson::deserialize_from_slice(document.as_bytes()).map_err(|error| {
        let reason = error.message.clone().unwrap_or_else(|| error.to_string());
        Unreadable::new(collection, document, reason)
    })
}

/// Returns the document, or `None` with a warning and a metric if it cannot be read.
pub fn readable<T>(result: Result<T, Unreadable>) -> Option<T> {
    result
        .inspect_err(|error| {
            let Unreadable { collection, id, reason } = error;
            if is_new((*collection, id, reason)) {
                tracing::warn!(collection, id, reason, "unreadable document skipped");
            }
            unreadable_documents().add(1, &[KeyValue::new("db.collection.name", *collection)]);
        })
        .ok()
}

/// Warns of fields that are absent in answers because their meaning is not clear, once for each field
/// of a document, and counts them.
pub fn warn_of_fields(collection: &'static str, id: &str, fields: &[UnreadableField]) {
    for UnreadableField { field, found } in fields {
        if !is_new((collection, id, field)) {
            continue;
        }
        tracing::warn!(collection, id, field, found, "unreadable field skipped");
        let attributes = [
            KeyValue::new("db.collection.name", collection),
            KeyValue::new("field", field.clone()),
            KeyValue::new("found", *found),
        ];
        unreadable_fields().add(1, &attributes);
    }
}

/// Returns `true` if this process has not logged the warning before.
fn is_new(warning: impl Hash) -> bool {
    static WARNINGS: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);
    let mut hasher = DefaultHasher::new();
    warning.hash(&mut hasher);
    let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    warnings.len() < MAX_WARNINGS && warnings.insert(hasher.finish())
}

/// Returns the counter of answers that lack an unreadable document.
fn unreadable_documents() -> &'static Counter<u64> {
    static COUNTER: OnceLock<Counter<u64>> = OnceLock::new();
    COUNTER.get_or_init(|| {
        global::meter("mongo-kit")
            .u64_counter("turbulence.documents.unreadable")
            .with_unit("{document}")
            .with_description("Documents that answers lack because they cannot be read")
            .build()
    })
}

/// Returns the counter of unreadable fields, each of which counts once in a process.
fn unreadable_fields() -> &'static Counter<u64> {
    static COUNTER: OnceLock<Counter<u64>> = OnceLock::new();
    COUNTER.get_or_init(|| {
        global::meter("mongo-kit")
            .u64_counter("turbulence.fields.unreadable")
            .with_unit("{field}")
            .with_description("Fields of documents that answers lack because they cannot be read")
            .build()
    })
}
