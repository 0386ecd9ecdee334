//! Removing collections that the services created.

use data_service::Collections;
use futures_util::TryStreamExt;
use migrations::lease::{self, CollectionsBefore};
use mongodb::{
    Database,
    bson::{Document, doc},
    error::Result,
};
use serde::Serialize;

use crate::import::load;

/// A collection that is removed.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Removed {
    pub(crate) collection: String,
    pub(crate) documents: u64,
}

/// Returns those of the names that no collection had before the service. A site may have had a
/// collection of another program with the name of one that the service creates.
pub(crate) async fn without_earlier(
    database: &Database,
    collections: Collections,
    names: Vec<String>,
) -> Result<Vec<String>> {
    let before = lease::collections_before(database, collections.service).await?;
    let CollectionsBefore::Names(before) = before else { return Ok(names) };
    // Those of the engine are made before the record.
    let ours: Vec<_> = collections.own.iter().chain(collections.copies).collect();
    let is_earlier =
        |name: &String| ours.iter().any(|one| **one == name.as_str()) && before.contains(name);
    Ok(names.into_iter().filter(|name| !is_earlier(name)).collect())
}

/// Returns those of the collections that exist.
pub(crate) async fn existing(database: &Database, names: Vec<String>) -> Result<Vec<Removed>> {
    let present = database.list_collection_names().await?;
    let mut existing = Vec::new();
    for collection in names.into_iter().filter(|name| present.contains(name)) {
        let documents = database.collection::<Document>(&collection);
        let documents = documents.count_documents(doc! {}).await?;
        existing.push(Removed { collection, documents });
    }
    Ok(existing)
}

/// Drops those of the collections that exist.
pub(crate) async fn drop_existing(database: &Database, names: Vec<String>) -> Result<Vec<Removed>> {
    let existing = existing(database, names).await?;
    for Removed { collection, .. } in &existing {
        database.collection::<Document>(collection).drop().await?;
    }
    Ok(existing)
}

/// Drops everything that a service has created, when its migrations are rolled back: its own
/// collections, and the collections of a site that it began and that are empty again.
pub(crate) async fn drop_created(
    database: &Database,
    collections: Collections,
) -> Result<Vec<Removed>> {
    let began = began(database, collections).await?;
    let (mut empty, present) = (Vec::new(), existing(database, began).await?);
    for one in present.into_iter().filter(|one| one.documents == 0) {
        let documents = database.collection::<Document>(&one.collection);
        // An index that no migration built shows that another program uses the collection.
        if documents.list_index_names().await?.iter().all(|name| name == "_id_") {
            empty.push(one.collection);
        }
    }
    let created = without_earlier(database, collections, collections.created()).await?;
    let mut removed = drop_existing(database, empty).await?;
    let staged = load::staged_names(database).await?;
    removed.extend(drop_existing(database, staged).await?);
    removed.extend(drop_existing(database, created).await?);
    Ok(removed)
}

/// Returns the collections of a site that did not exist before the service. If an earlier release did
/// not record that, they are those without options, since nothing is lost with them once they are
/// empty.
pub(crate) async fn began(database: &Database, collections: Collections) -> Result<Vec<String>> {
    let before = lease::collections_before(database, collections.service).await?;
    let specifications: Vec<_> = database.list_collections().await?.try_collect().await?;
    let is_plain = |name: &str| {
        let found = specifications.iter().find(|one| one.name == name);
        found.is_some_and(|one| {
            mongodb::bson::serialize_to_document(&one.options)
                .is_ok_and(|options| options.is_empty())
        })
    };
    let began = collections.site.iter().map(|name| (*name).to_owned());
    Ok(began
        .filter(|name| match &before {
            CollectionsBefore::NeverRan => false,
            CollectionsBefore::Unrecorded => is_plain(name),
            CollectionsBefore::Names(before) => !before.contains(name),
        })
        .collect())
}
