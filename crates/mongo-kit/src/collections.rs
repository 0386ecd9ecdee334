//! Checks whether the collections of a site can be written to.

use futures_util::TryStreamExt;
use mongodb::{
    Database,
    bson::{Document, doc},
    error::Result,
};
use serde::Serialize;

/// A collection whose documents cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnsuitableCollection {
    /// The name of the collection.
    pub collection: String,
    /// The kind of collection.
    pub kind: UnsuitableKind,
    /// The remedy, as a sentence.
    pub remedy: String,
}

/// The kind of a collection whose documents cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnsuitableKind {
    /// A view, which cannot be written to (MongoDB manual, "Views").
    View,
    /// A capped collection, which cannot be written to in transactions and drops its oldest
    /// documents (MongoDB manual, "Capped Collections").
    Capped,
    /// A time series collection, which cannot be written to in transactions (MongoDB manual,
    /// "Time Series Collection Limitations").
    TimeSeries,
}

/// The error of collections that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}. Nothing was written", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct UnsuitableCollections(pub Vec<UnsuitableCollection>);

impl std::fmt::Display for UnsuitableCollection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { collection, kind, remedy } = self;
        let kind = match kind {
            UnsuitableKind::View => "a view",
            UnsuitableKind::Capped => "a capped collection",
            UnsuitableKind::TimeSeries => "a time series collection",
        };
        write!(f, "`{collection}` is {kind}, in which documents cannot be changed: {remedy}")
    }
}

/// Returns those of the named collections whose documents cannot be changed. Collections that do not
/// exist are suitable: they are created by the first write.
pub async fn unsuitable_collections(
    database: &Database,
    names: &[String],
) -> Result<Vec<UnsuitableCollection>> {
    // As documents, because newer servers have options that are not in the driver's types.
    let list = doc! { "listCollections": 1, "filter": { "name": { "$in": names } } };
    let found: Vec<Document> = database.run_cursor_command(list).await?.try_collect().await?;
    let mut unsuitable: Vec<_> = found.iter().filter_map(unsuitable_collection).collect();
    unsuitable.sort_by(|one, other| one.collection.cmp(&other.collection));
    Ok(unsuitable)
}

/// Reads one document of the answer to `listCollections` (MongoDB manual, "listCollections").
fn unsuitable_collection(found: &Document) -> Option<UnsuitableCollection> {
    let name = found.get_str("name").ok()?.to_owned();
    let options = found.get_document("options").ok();
    let is_capped = options.and_then(|options| options.get_bool("capped").ok());
    let kind = match found.get_str("type") {
        Ok("view") => UnsuitableKind::View,
        Ok("timeseries") => UnsuitableKind::TimeSeries,
        _ if is_capped == Some(true) => UnsuitableKind::Capped,
        _ => return None,
    };
    let source = options.and_then(|options| options.get_str("viewOn").ok());
    let is_whole =
        options.and_then(|options| options.get_array("pipeline").ok()).is_none_or(Vec::is_empty);
    let remedy = match (kind, source) {
        (UnsuitableKind::View, Some(source)) if is_whole => {
            format!(
                "in mongosh drop the view and rename the collection that it shows, with \
                 db.getCollection({name:?}).drop() and \
                 db.getCollection({source:?}).renameCollection({name:?})"
            )
        }
        _ => {
            let copy = format!("{name}_copy");
            format!(
                "in mongosh copy it into an ordinary collection, with \
                 db.getCollection({name:?}).aggregate([{{$out: {copy:?}}}]), \
                 db.getCollection({name:?}).drop() and \
                 db.getCollection({copy:?}).renameCollection({name:?})"
            )
        }
    };
    Some(UnsuitableCollection { collection: name, kind, remedy })
}

/// Returns an error that names the collections, if there are any.
pub fn refuse_unsuitable(
    unsuitable: Vec<UnsuitableCollection>,
) -> std::result::Result<(), UnsuitableCollections> {
    if unsuitable.is_empty() { Ok(()) } else { Err(UnsuitableCollections(unsuitable)) }
}
