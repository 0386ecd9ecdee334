//! The facts that every page of the site shows: one document.

use std::{sync::Arc, time::Duration};

use data_service::{
    Abort,
    changes::{Cached, Changes, Family, Read},
    server_clock, transact,
};
use models::Patch;
use mongo_kit::{
    Connection, Writers,
    feed::{Change, WatchedCollection},
    lenient::FieldReader,
};
use mongodb::{
    ClientSession, Collection,
    bson::{self, Bson, Document, RawArray, RawBsonRef, RawDocument, RawDocumentBuf, doc},
    error::Result,
};
use service_kit::{runtime::clock::Clock, web::error::ApiError};

use super::{collections::SITE_SETTINGS, dates::to_bson};
use crate::domain::site::{Site, SitePatch, SocialLink};

/// The key of what depends on the document.
pub(crate) const SITE_KEY: &str = SITE_SETTINGS;

/// The `_id` of the document. The collection may have others, of another program.
const ID: &str = "site";

/// The most links that are read: more than requests can store.
const MAX_LINKS: usize = 100;

/// Reads and writes the facts that every page of the site shows.
pub(crate) struct SiteStore {
    collection: Collection<RawDocumentBuf>,
    writers: Writers,
    clock: Clock,
    changes: Changes,
    cached: Arc<Cached<Arc<Site>>>,
    url: Option<String>,
}

impl SiteStore {
    /// Opens the store. `url` is the public address of the site.
    pub(crate) fn new(connection: &Connection, changes: &Changes, url: Option<String>) -> Self {
        Self {
            collection: connection.database().collection(SITE_SETTINGS),
            writers: connection.writers().clone(),
            clock: server_clock(connection),
            changes: changes.clone(),
            cached: Cached::new(changes, vec![SITE_KEY.to_owned()], Duration::ZERO),
            url,
        }
    }

    /// Returns the public address of the site, without a slash at its end.
    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Returns the facts.
    pub(crate) async fn get(&self) -> Result<Read<Arc<Site>>> {
        let (collection, url) = (self.collection.clone(), self.url.clone());
        let read = async move {
            let found = collection.find_one(doc! { "_id": ID }).await?;
            Ok(Arc::new(site(found.as_deref(), url)))
        };
        self.cached.get(read).await
    }

    /// Changes the facts to what follows from the present ones, and returns them as they are then.
    pub(crate) async fn change(
        &self,
        changes: impl Fn(&Site) -> std::result::Result<SitePatch, ApiError>,
    ) -> std::result::Result<Site, Abort<ApiError>> {
        let result = transact(&self.writers, async |session: &mut ClientSession| {
            let id = doc! { "_id": ID };
            let found = self.collection.find_one(id.clone()).session(&mut *session).await?;
            let current = site(found.as_deref(), self.url.clone());
            let patch = changes(&current).map_err(Abort::Refused)?;
            let mut set = set_fields(patch).map_err(Abort::Refused)?;
            if set.is_empty() {
                return Ok(current);
            }
            set.insert("updatedDate", to_bson(self.clock.now()));
            let update = self.collection.update_one(id.clone(), doc! { "$set": set });
            update.upsert(true).session(&mut *session).await?;
            let changed = self.collection.find_one(id).session(session).await?;
            Ok(site(changed.as_deref(), self.url.clone()))
        })
        .await;
        self.changes.record(&[SITE_KEY.to_owned()], &result);
        result
    }
}

/// Returns the family of the key.
pub(crate) fn family() -> Family {
    fn keys(_: &Change) -> Vec<String> {
        vec![SITE_KEY.to_owned()]
    }
    Family {
        name: SITE_KEY,
        collections: vec![WatchedCollection { name: SITE_SETTINGS, fields: &[] }],
        keys,
        public: vec![SITE_KEY.to_owned()],
    }
}

/// Reads the facts. Without a document, and where a field cannot be read, there are none.
fn site(document: Option<&RawDocument>, url: Option<String>) -> Site {
    let Some(document) = document else { return Site { url, ..Site::default() } };
    let mut reader = FieldReader::new(document);
    let mut text = |field| reader.text(field).filter(|text| !text.is_empty());
    Site {
        title: text("title"),
        description: text("description"),
        logo: text("logo"),
        language: text("language"),
        social_links: document.get_array("social_links").map(links).unwrap_or_default(),
        url,
        updated_date: reader.date("updatedDate"),
    }
}

fn links(values: &RawArray) -> Vec<SocialLink> {
    let links = values.into_iter().take(MAX_LINKS).filter_map(|value| {
        let RawBsonRef::Document(link) = value.ok()? else { return None };
        let mut reader = FieldReader::new(link);
        let (name, url) = (reader.text("name")?, reader.text("url")?);
        Some(SocialLink { name, url })
    });
    links.collect()
}

/// Returns the fields that a change sets.
fn set_fields(patch: SitePatch) -> std::result::Result<Document, ApiError> {
    let SitePatch { title, description, logo, language, social_links } = patch;
    let texts: [(&str, Patch<String>); 4] = [
        ("title", title.map(String::from)),
        ("description", description.map(String::from)),
        ("logo", logo.map(String::from)),
        ("language", language.map(String::from)),
    ];
    let mut set = Document::new();
    for (field, change) in texts {
        if let Some(text) = change.into_option() {
            set.insert(field, text.map_or(Bson::Null, Bson::String));
        }
    }
    if let Some(links) = social_links {
        set.insert("social_links", bson::serialize_to_bson(&links).map_err(ApiError::internal)?);
    }
    Ok(set)
}
