//! The search: the words of all items, in a collection of its own.
//!
//! An item has its words there from the transaction that writes it. Items that other programs write are
//! added by a task of the service. Whatever a query finds is compared with the item itself before it
//! is answered, so that words which are not up to date can neither show nor count what is hidden.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use data_service::changes::Family;
use futures_util::TryStreamExt;
use models::{ContentType, ObjectId};
use mongo_kit::{
    Connection,
    document::readable,
    feed::{Change, WatchedCollection},
    lenient::FieldReader,
};
use mongodb::{
    ClientSession, Collection,
    bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc},
    error::{Error, ErrorKind, Result},
    options::Hint,
};
use tokio::time::{Instant, sleep};

use super::{
    content::ContentStore,
    filters::{Oddities, listed},
    kind::{Kind, Reading},
};
use crate::{
    domain::{
        list::Filter,
        search::{Excerpt, excerpt},
        words::words,
    },
    html::plain_text,
};

/// The collection of the words.
pub(crate) const SEARCH: &str = "content_search";

/// The key of everything that depends on the words of items.
pub(crate) const SEARCH_KEY: &str = "search";

/// The name of its index.
pub(crate) const SEARCH_INDEX: &str = "words";

/// The number of times that a word of a title counts as much as one of a text.
pub(crate) const TITLE_WEIGHT: i32 = 10;

/// The most characters of a text whose words are found: a long novel chapter. The words of the whole
/// content of an item that was taken over could be larger than a document can be.
const MAX_TEXT: usize = 100_000;

/// The comment of the commands that read items to add their words, for the log and the profiler of the
/// server.
const FILLING: &str = "words of the search";

/// The most items that a query considers, in the order of their rank.
const MAX_CANDIDATES: usize = 1_000;

/// The longest time for a query in the database. It takes that long only if a word is in very many items
/// and the others in few.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// The collection, or the index that a query needs, does not exist (MongoDB manual, "Error codes":
/// `NamespaceNotFound`, `IndexNotFound`).
const NOT_FOUND: [i32; 2] = [26, 27];

/// There is a document with this key (MongoDB manual, "Error codes": `DuplicateKey`).
const DUPLICATE_KEY: i32 = 11_000;

/// The number of ids that are compared at once.
const COMPARED: usize = 1_000;

/// The number of items whose words are added between two pauses.
const ADDED: u32 = 20;

/// The pause after words were added, as a multiple of the time that it took: requests have at least
/// two thirds of the database.
const PAUSE_FACTOR: u32 = 2;

/// Reads and writes the words.
#[derive(Debug, Clone)]
pub(crate) struct SearchStore {
    collection: Collection<RawDocumentBuf>,
}

/// A query.
#[derive(Debug, Clone)]
pub(crate) struct SearchQuery {
    /// The words, each once. An item has all of them.
    pub(crate) words: Vec<String>,
    pub(crate) kinds: Vec<ContentType>,
    pub(crate) section: Option<ObjectId>,
}

/// An item that may have the words of a query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) content_type: ContentType,
    pub(crate) id: Bson,
    /// The number of words in its title.
    in_title: usize,
}

/// An item that has the words of a query.
pub(crate) struct Hit {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) slug: String,
    pub(crate) section: Option<String>,
    pub(crate) is_published: bool,
    pub(crate) created_date: Option<DateTime<Utc>>,
    pub(crate) updated_date: Option<DateTime<Utc>>,
    pub(crate) excerpt: Excerpt,
}

/// The index does not exist yet.
#[derive(Debug, thiserror::Error)]
#[error("the index of the search does not exist yet")]
pub(crate) struct NoIndex;

impl SearchStore {
    pub(crate) fn new(connection: &Connection) -> Self {
        Self { collection: connection.database().collection(SEARCH) }
    }

    /// Fails with [`NoIndex`] if the index does not exist.
    pub(crate) async fn require_index(&self) -> Result<()> {
        let names = self.collection.list_index_names().await.map_err(without_index)?;
        match names.iter().any(|name| name == SEARCH_INDEX) {
            true => Ok(()),
            false => Err(Error::custom(NoIndex)),
        }
    }

    /// Stores the words of an item as it is now, in the transaction that writes it.
    pub(super) async fn write<K: Kind>(
        &self,
        item: &RawDocument,
        session: &mut ClientSession,
    ) -> Result<()> {
        let Some(words) = words_of::<K>(item) else { return Ok(()) };
        let id = doc! { "_id": words.get("_id").cloned().unwrap_or(Bson::Null) };
        let words = RawDocumentBuf::try_from(&words)?;
        self.collection.replace_one(id, words).upsert(true).session(session).await?;
        Ok(())
    }

    /// Removes the words of items.
    pub(super) async fn forget(
        &self,
        content_type: ContentType,
        items: &[Bson],
        session: &mut ClientSession,
    ) -> Result<()> {
        let ids: Vec<_> = items.iter().map(|id| id_of(content_type, id.clone())).collect();
        let removed = self.collection.delete_many(doc! { "_id": { "$in": ids } });
        removed.session(session).await.map(drop)
    }

    /// Records that items have moved to a section.
    pub(super) async fn move_to<K: Kind>(
        &self,
        items: &[Bson],
        section: &str,
        session: &mut ClientSession,
    ) -> Result<()> {
        let ids: Vec<_> = items.iter().map(|id| id_of(K::TYPE, id.clone())).collect();
        let change = doc! { "$set": { "section": section } };
        let moved = self.collection.update_many(doc! { "_id": { "$in": ids } }, change);
        moved.session(session).await?;
        Ok(())
    }

    /// Returns the items that may have the words, in the order of their rank: those with more of the words
    /// in their title first, then those of whose text the rarest word is a larger part.
    pub(crate) async fn candidates(&self, query: &SearchQuery) -> Result<Vec<Candidate>> {
        let deadline = Instant::now() + QUERY_TIMEOUT;
        let rarest = self.rarest(&query.words, deadline).await?;
        let Some(rarest) = rarest else { return Ok(Vec::new()) };
        let kinds: Vec<_> = query.kinds.iter().map(|kind| kind.collection()).collect();
        let mut filter = doc! { "$text": { "$search": &rarest }, "kind": { "$in": kinds } };
        if let Some(section) = query.section {
            // Without a section in the words, the item may have got one since.
            filter.insert("section", doc! { "$in": [section.to_string(), Bson::Null] });
        }
        let others = query.words.iter().filter(|word| **word != rarest);
        let others: Vec<_> = others
            .map(|word| {
                // Words have letters, digits and marks only.
                let pattern = format!("(?:^| ){word}(?: |$)");
                doc! { "$or": [{ "title": { "$regex": &pattern } }, { "text": { "$regex": pattern } }] }
            })
            .collect();
        if !others.is_empty() {
            filter.insert("$and", others);
        }
        let limit = i64::try_from(MAX_CANDIDATES).unwrap_or(i64::MAX);
        let found = self.collection.find(filter).projection(doc! { "title": 1 }).limit(limit);
        let mut found = found.max_time(left(deadline)).await.map_err(without_index)?;
        let mut candidates = Vec::new();
        while let Some(document) = found.try_next().await? {
            candidates.extend(candidate(&document, &query.words));
        }
        // Stable: the index is in the order of the weights.
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.in_title));
        Ok(candidates)
    }

    /// Returns the word that the fewest items have, as far as that matters: whether it has more than the
    /// candidates does not.
    async fn rarest(&self, words: &[String], deadline: Instant) -> Result<Option<String>> {
        if let [word] = words {
            return Ok(Some(word.clone()));
        }
        let limit = i64::try_from(MAX_CANDIDATES).unwrap_or(i64::MAX);
        let mut rarest: Option<(usize, &String)> = None;
        for word in words {
            let found = self.collection.find(doc! { "$text": { "$search": word } });
            let found = found.projection(doc! { "_id": 1 }).limit(limit).max_time(left(deadline));
            let mut found = found.await.map_err(without_index)?;
            let mut count = 0;
            while found.try_next().await?.is_some() {
                count += 1;
            }
            if rarest.is_none_or(|(fewest, _)| count < fewest) {
                rarest = Some((count, word));
            }
            if count == 0 {
                break;
            }
        }
        Ok(rarest.map(|(_, word)| word.clone()))
    }
}

/// Returns the time until a deadline. The server takes none for no limit.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// Returns the family of the key of all words, which are added without a change of their items.
pub(crate) fn family() -> Family {
    fn keys(_: &Change) -> Vec<String> {
        vec![SEARCH_KEY.to_owned()]
    }
    Family {
        name: SEARCH_KEY,
        collections: vec![WatchedCollection { name: SEARCH, fields: &[] }],
        keys,
        public: vec![SEARCH_KEY.to_owned()],
    }
}

/// Returns the document of the words of an item, or `None` if it has no `_id`.
fn words_of<K: Kind>(item: &RawDocument) -> Option<Document> {
    let id = item.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok())?;
    let (title, text) = texts::<K>(item);
    let joined = |text: &str| words(text).map(|word| word.text).collect::<Vec<_>>().join(" ");
    let section = FieldReader::new(item).reference("section_id").map(|id| id.to_lowercase());
    Some(doc! {
        "_id": id_of(K::TYPE, id), "kind": K::TYPE.collection(), "section": section,
        "title": joined(&title), "text": joined(&text),
    })
}

/// Returns the title of an item, and all of its other texts, without markup.
fn texts<K: Kind>(item: &RawDocument) -> (String, String) {
    let mut reader = FieldReader::new(item);
    let title = reader.text("title").unwrap_or_default();
    let mut text = String::new();
    for field in K::SEARCHED {
        let rest = MAX_TEXT.saturating_sub(text.len());
        let part = match item.get(field).ok().flatten() {
            Some(RawBsonRef::Array(_)) => reader.texts(field).join(", "),
            _ => reader.text(field).unwrap_or_default(),
        };
        // Another text than HTML comes through unchanged unless it has tags.
        let part = plain_text(&part, rest);
        if !text.is_empty() && !part.is_empty() {
            text.push(' ');
        }
        text.push_str(&part);
    }
    (title.chars().take(MAX_TEXT).collect(), text)
}

/// Returns the `_id` of the words of an item.
fn id_of(content_type: ContentType, id: Bson) -> Document {
    doc! { "kind": content_type.collection(), "item": id }
}

/// Reads a candidate. Documents of another program, which may have a collection of this name, are none.
fn candidate(document: &RawDocument, words: &[String]) -> Option<Candidate> {
    let id = document.get_document("_id").ok()?;
    let kind = id.get_str("kind").ok()?;
    let title = document.get_str("title").unwrap_or_default();
    let in_title = words.iter().filter(|word| title.split(' ').any(|one| one == *word)).count();
    Some(Candidate {
        content_type: ContentType::of_collection(kind)?,
        id: Bson::try_from(id.get("item").ok()??).ok()?,
        in_title,
    })
}

/// Returns `true` if documents were not inserted since they are there already.
fn are_there(error: &Error) -> bool {
    let ErrorKind::InsertMany(error) = &*error.kind else { return false };
    let mut errors = error.write_errors.iter().flatten();
    error.write_concern_error.is_none() && errors.all(|error| error.code == DUPLICATE_KEY)
}

/// Returns the error of a query, which is [`NoIndex`] if the index does not exist yet.
fn without_index(error: Error) -> Error {
    match &*error.kind {
        ErrorKind::Command(command) if NOT_FOUND.contains(&command.code) => Error::custom(NoIndex),
        _ => error,
    }
}

impl<K: Kind> ContentStore<K> {
    /// Returns those of these items that the filter matches and that have all of the words, in the order
    /// of the ids.
    pub(crate) async fn hits(
        &self,
        ids: &[Bson],
        filter: &Filter,
        query: &[String],
    ) -> Result<Vec<Option<Hit>>> {
        let mut listed = listed::<K>(filter, Oddities::ANY);
        listed.insert("_id", doc! { "$in": ids });
        let mut found = self.collection.find(listed).await?;
        let mut hits: Vec<_> = ids.iter().map(|_| None).collect();
        // One after the other: each may be large.
        while let Some(document) = found.try_next().await? {
            let id = document.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok());
            let place = ids.iter().position(|one| Some(one) == id.as_ref());
            if let Some(place) = place {
                hits[place] = hit::<K>(&document, query);
            }
        }
        Ok(hits)
    }

    /// Adds the words of the items that have none, and removes those of items that do not exist.
    pub(crate) async fn fill_search(&self) -> Result<()> {
        self.remove_orphans().await?;
        let ids = self.collection.find(doc! {}).projection(doc! { "_id": 1 }).comment(FILLING);
        let mut ids = ids.sort(doc! { "_id": 1 }).hint(by_id()).await?.try_chunks(COMPARED);
        while let Some(chunk) = ids.try_next().await.map_err(|error| error.1)? {
            let chunk: Vec<Bson> = chunk.iter().filter_map(|one| item_id(one, None)).collect();
            let stored: Vec<_> = chunk.iter().map(|id| id_of(K::TYPE, id.clone())).collect();
            let known = self.search.collection.find(doc! { "_id": { "$in": stored } });
            let known: Vec<RawDocumentBuf> =
                known.projection(doc! { "_id": 1 }).await?.try_collect().await?;
            let known: HashSet<String> = known
                .iter()
                .filter_map(|one| item_id(one, Some("item")))
                .map(|id| key(&id))
                .collect();
            let missing: Vec<_> =
                chunk.into_iter().filter(|id| !known.contains(&key(id))).collect();
            for ids in missing.chunks(ADDED as usize) {
                let began = Instant::now();
                self.add_words(ids).await?;
                sleep(began.elapsed() * PAUSE_FACTOR).await;
            }
        }
        Ok(())
    }

    /// Adds the words of these items, unless they were written since.
    async fn add_words(&self, ids: &[Bson]) -> Result<()> {
        let items = self.collection.find(doc! { "_id": { "$in": ids } });
        let mut items = items.batch_size(ADDED).comment(FILLING).await?;
        let mut words = Vec::with_capacity(ids.len());
        while let Some(item) = items.try_next().await? {
            if let Some(mut one) = words_of::<K>(&item) {
                // A move that ends before these words are there would not change it.
                one.insert("section", Bson::Null);
                words.push(RawDocumentBuf::try_from(&one)?);
            }
        }
        if words.is_empty() {
            return Ok(());
        }
        match self.search.collection.insert_many(words).ordered(false).await {
            Err(error) if !are_there(&error) => Err(error),
            _ => Ok(()),
        }
    }

    async fn remove_orphans(&self) -> Result<()> {
        let kind = K::TYPE.collection();
        let bounds = doc! {
            "$gte": { "kind": kind, "item": Bson::MinKey }, "$lte": { "kind": kind, "item": Bson::MaxKey },
        };
        let words = self.search.collection.find(doc! { "_id": bounds });
        let words = words.projection(doc! { "_id": 1 }).sort(doc! { "_id": 1 }).hint(by_id());
        let mut words = words.await?.try_chunks(COMPARED);
        while let Some(chunk) = words.try_next().await.map_err(|error| error.1)? {
            let ids: Vec<_> = chunk.iter().filter_map(|one| item_id(one, Some("item"))).collect();
            let items = self.collection.find(doc! { "_id": { "$in": ids.clone() } });
            let items: Vec<RawDocumentBuf> =
                items.projection(doc! { "_id": 1 }).comment(FILLING).await?.try_collect().await?;
            let items: HashSet<_> =
                items.iter().filter_map(|one| item_id(one, None)).map(|id| key(&id)).collect();
            let orphans = ids.into_iter().filter(|id| !items.contains(&key(id)));
            let orphans: Vec<_> = orphans.map(|id| id_of(K::TYPE, id)).collect();
            if !orphans.is_empty() {
                let orphans = doc! { "_id": { "$in": orphans } };
                self.search.collection.delete_many(orphans).await?;
            }
        }
        Ok(())
    }
}

fn by_id() -> Hint {
    Hint::Keys(doc! { "_id": 1 })
}

/// Returns the `_id` of a document, or a member of it.
fn item_id(document: &RawDocument, member: Option<&str>) -> Option<Bson> {
    let id = match member {
        None => document.get("_id"),
        Some(member) => document.get_document("_id").ok()?.get(member),
    };
    id.ok().flatten().and_then(|id| Bson::try_from(id).ok())
}

/// Returns a key of an `_id`, for sets.
fn key(id: &Bson) -> String {
    format!("{id:?}")
}

/// Returns the item of a document if it has all of the words.
fn hit<K: Kind>(document: &RawDocument, query: &[String]) -> Option<Hit> {
    let item = readable(Reading::<K>::with_warnings(document))?.item;
    let (title, text) = texts::<K>(document);
    let excerpt = excerpt(&title, &text, query)?;
    let meta = item.meta();
    Some(Hit {
        id: meta.id.to_string(),
        title: meta.title.clone(),
        slug: item.slug().to_owned(),
        section: meta.section_id.clone(),
        is_published: meta.is_published,
        created_date: meta.created_date,
        updated_date: meta.updated_date,
        excerpt,
    })
}
