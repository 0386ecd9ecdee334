//! The collection `sections`.

pub(crate) mod migrations;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use models::{ContentType, DisplayType, NavVisibility, ObjectId, Section};
use mongo_kit::{
    Cached, Watch,
    document::{read, readable},
    lenient,
};
use mongodb::{
    Collection, Database,
    bson::{self, RawDocumentBuf, doc, oid},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use service_kit::clock::Clock;

use crate::domain::Sections;

const COLLECTION: &str = "sections";

/// Reads sections. All of them are kept in memory until one changes: a site has few, and every
/// page of it shows them.
#[derive(Debug)]
pub(crate) struct SectionStore {
    collection: Collection<RawDocumentBuf>,
    sections: Arc<Cached<Arc<Sections>>>,
    /// What to answer where there is no section.
    unless_any: Sections,
}

impl SectionStore {
    pub(crate) fn new(database: &Database) -> Self {
        let watch = Watch::new(database, COLLECTION);
        Self {
            collection: database.collection(COLLECTION),
            // A menu is never older than the news of its change.
            sections: Cached::new(watch, Duration::ZERO),
            unless_any: Sections::default(),
        }
    }

    /// Answers as if the migrations had run: with the initial sections where there is none.
    pub(crate) fn previewing_seed(mut self, clock: &Clock) -> Self {
        let seed =
            migrations::initial_sections(clock.now()).into_iter().filter_map(|mut section| {
                section.insert("_id", oid::ObjectId::new());
                bson::deserialize_from_document::<SectionDoc>(section).ok()
            });
        self.unless_any = Sections::new(seed.map(Section::from).collect());
        self
    }

    /// All sections that are not deleted.
    pub(crate) async fn all(&self) -> mongodb::error::Result<Arc<Sections>> {
        let (collection, unless_any) = (self.collection.clone(), self.unless_any.clone());
        let load = async move {
            let sections = load(&collection).await?;
            Ok(Arc::new(if sections.all().is_empty() { unless_any } else { sections }))
        };
        self.sections.get(load).await
    }
}

async fn load(collection: &Collection<RawDocumentBuf>) -> mongodb::error::Result<Sections> {
    let mut documents = collection.find(doc! { "is_deleted": { "$ne": true } }).await?;
    let mut sections = Vec::new();
    while let Some(document) = documents.try_next().await? {
        let section = read::<SectionDoc>(COLLECTION, &document);
        sections.extend(readable(section).map(Section::from));
    }
    Ok(Sections::new(sections))
}

/// A section as it is stored.
#[derive(Debug, Deserialize)]
struct SectionDoc {
    #[serde(rename = "_id")]
    id: oid::ObjectId,
    title: String,
    slug: String,
    #[serde(default, deserialize_with = "parent")]
    parent_id: Option<ObjectId>,
    display_type: DisplayType,
    content_type: ContentType,
    nav_visibility: NavVisibility,
    #[serde(default, deserialize_with = "lenient::integer")]
    sort_order: i64,
    #[serde(default)]
    is_published: bool,
    /// Anything but true, false or nothing makes the section unreadable, so that it is not shown.
    #[serde(rename = "is_deleted", default)]
    _is_deleted: Option<bool>,
    #[serde(rename = "createdDate", default, deserialize_with = "lenient::date")]
    created_date: Option<DateTime<Utc>>,
    #[serde(rename = "updatedDate", default, deserialize_with = "lenient::date")]
    updated_date: Option<DateTime<Utc>>,
}

fn parent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ObjectId>, D::Error> {
    let parent = lenient::reference(deserializer)?;
    parent.map(|id| id.parse().map_err(D::Error::custom)).transpose()
}

impl From<SectionDoc> for Section {
    fn from(document: SectionDoc) -> Self {
        Self {
            id: ObjectId::from_bytes(document.id.bytes()),
            title: document.title,
            slug: document.slug,
            parent_id: document.parent_id,
            display_type: document.display_type,
            content_type: document.content_type,
            nav_visibility: document.nav_visibility,
            sort_order: document.sort_order,
            is_published: document.is_published,
            created_date: document.created_date,
            updated_date: document.updated_date,
        }
    }
}
