//! The tags of a kind: how they are stored, and how many items have each.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use data_service::changes::{Cached, Changes, Read};
use futures_util::TryStreamExt;
use moka::sync::Cache;
use mongo_kit::lenient::FieldReader;
use mongodb::{
    Collection,
    bson::{Bson, Document, RawDocumentBuf, doc},
    error::Result,
};

use super::{
    content::ContentStore,
    filters::{Oddities, listed},
    keys::ContentKeys,
    kind::Kind,
    survey::LIST_TOLERANCE,
};
use crate::domain::{
    audience::Audience,
    list::Filter,
    tag::{self, TAGS},
};

/// The types of values that are read as tags.
const TYPES: [&str; 4] = ["string", "number", "bool", "symbol"];

/// The most audiences whose numbers are kept: one for the public and one for editors, and some of moments
/// at which sections changed.
const MAX_AUDIENCES: u64 = 20;

/// The most different stored values that are read. An item has 20 tags; a site has some hundreds.
const MAX_VALUES: i64 = 20_000;

/// The texts in which each tag is stored, by the key of the tag.
type Spellings = HashMap<String, Arc<[String]>>;

/// The number of items that have a tag, by its spelling.
#[derive(Debug, Clone, Default)]
pub(crate) struct TagCount(BTreeMap<String, u64>);

impl TagCount {
    /// Adds the items of another kind.
    pub(crate) fn add(&mut self, other: &Self) {
        for (spelling, items) in &other.0 {
            *self.0.entry(spelling.clone()).or_default() += items;
        }
    }

    /// Returns the tag in the spelling that most items have, and the number of items.
    pub(crate) fn into_tag(self) -> (String, u64) {
        let items = self.0.values().sum();
        // Of equal ones the first.
        let most = self.0.into_iter().rev().max_by_key(|(_, items)| *items);
        (most.map(|(spelling, _)| spelling).unwrap_or_default(), items)
    }
}

/// The numbers of items by the key of a tag.
pub(crate) type TagCounts = HashMap<String, TagCount>;

/// The tags of a kind, until one changes.
pub(super) struct StoredTags {
    key: String,
    spellings: Arc<Cached<Arc<Spellings>>>,
    counts: Cache<Audience, Arc<Cached<Arc<TagCounts>>>>,
}

impl StoredTags {
    pub(super) fn new(keys: ContentKeys, changes: &Changes) -> Self {
        let key = keys.total(true);
        let spellings = Cached::new(changes, vec![key.clone()], LIST_TOLERANCE);
        Self { key, spellings, counts: Cache::new(MAX_AUDIENCES) }
    }
}

impl<K: Kind> ContentStore<K> {
    /// Returns the texts in which a tag is stored.
    pub(crate) async fn spellings(&self, tag: &str) -> Result<Read<Arc<[String]>>> {
        let Read { value, revision } =
            self.tags.spellings.get(spellings(self.collection.clone())).await?;
        let value = value.get(&tag::key(tag)).cloned().unwrap_or_default();
        Ok(Read { value, revision })
    }

    /// Returns the number of items that have each tag, of those that an audience sees.
    pub(crate) async fn tag_counts(&self, audience: &Audience) -> Result<Read<Arc<TagCounts>>> {
        let cached = self.tags.counts.get_with_by_ref(audience, || {
            Cached::new(&self.changes, vec![self.tags.key.clone()], LIST_TOLERANCE)
        });
        let query = listed::<K>(&Filter::new(None, audience.clone()), Oddities::ANY);
        cached.get(counts(self.collection.clone(), query)).await
    }
}

/// Returns the number of items that a query matches, by each stored value of their tags.
async fn values(
    collection: &Collection<RawDocumentBuf>,
    query: Document,
) -> Result<Vec<(Vec<String>, Bson, u64)>> {
    let mut groups = collection
        .aggregate([
            doc! { "$match": { TAGS: { "$type": TYPES.to_vec() } } },
            doc! { "$match": query },
            doc! { "$project": { TAGS: 1 } },
            doc! { "$unwind": format!("${TAGS}") },
            doc! { "$group": { "_id": format!("${TAGS}"), "items": { "$sum": 1_i64 } } },
            doc! { "$sort": { "items": -1, "_id": 1 } },
            doc! { "$limit": MAX_VALUES },
        ])
        .await?;
    let mut values = Vec::new();
    while let Some(group) = groups.try_next().await? {
        let Some(value) = group.get("_id").and_then(|value| match value {
            Bson::Array(_) | Bson::Document(_) | Bson::Null => None,
            value => Some(value.clone()),
        }) else {
            continue;
        };
        let items = group.get_i64("items").unwrap_or_default().unsigned_abs();
        let Ok(document) = RawDocumentBuf::try_from(&doc! { TAGS: value.clone() }) else {
            continue;
        };
        values.push((tag::read(&mut FieldReader::new(&document)), value, items));
    }
    Ok(values)
}

async fn spellings(collection: Collection<RawDocumentBuf>) -> Result<Arc<Spellings>> {
    let mut spellings: HashMap<String, Vec<String>> = HashMap::new();
    for (tags, value, _) in values(&collection, Document::new()).await? {
        let document = RawDocumentBuf::try_from(&doc! { TAGS: value });
        let text = document.ok().and_then(|document| FieldReader::new(&document).text(TAGS));
        for tag in tags {
            spellings.entry(tag::key(&tag)).or_default().extend(text.clone());
        }
    }
    let sorted = spellings.into_iter().map(|(key, mut texts)| {
        // The same spellings are the same list.
        texts.sort_unstable();
        texts.dedup();
        (key, texts.into())
    });
    Ok(Arc::new(sorted.collect()))
}

async fn counts(collection: Collection<RawDocumentBuf>, query: Document) -> Result<Arc<TagCounts>> {
    let mut counts = TagCounts::new();
    for (tags, _, items) in values(&collection, query).await? {
        for tag in tags {
            *counts.entry(tag::key(&tag)).or_default().0.entry(tag).or_default() += items;
        }
    }
    Ok(Arc::new(counts))
}
