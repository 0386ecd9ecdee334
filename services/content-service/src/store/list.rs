//! Lists: a page of items, and how many there are.

use std::{collections::HashMap, sync::Arc};

use futures_util::TryStreamExt;
use models::{Limit, ObjectId};
use mongo_kit::{Cached, Stamp, Watch, document::readable, lenient};
use mongodb::{
    Collection,
    bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc},
    error::{Error, ErrorKind},
    options::Hint,
};
use serde::Deserialize;

use super::{ContentStore, Kind, migrations::indexes, public, references, within};
use crate::domain::{Audience, Hidden, Position, Start, TextDated, merge, plain, window};

/// How many text-dated items are put in their place. More than that are no slip but another kind
/// of site; they then follow the dates, as MongoDB sorts them.
const LARGEST_TEXT_DATED: i64 = 1_000;

/// An index that is named in a hint does not exist (MongoDB manual, "Error codes": `BadValue`).
const BAD_VALUE: i32 = 2;

/// Which items a list has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    /// Those of one section; of all and none where it is not given.
    pub(crate) section: Option<ObjectId>,
    /// What they may see.
    pub(crate) audience: Audience,
}

/// A page of a list.
pub(crate) struct Listed<T> {
    pub(crate) items: Vec<T>,
    pub(crate) total: u64,
    /// Where the next page begins; none on the last one.
    pub(crate) next: Option<Position>,
    /// Since when the total has been the same.
    pub(crate) total_stamp: Stamp,
}

/// What is known of a whole list until another item belongs to it, or in another place.
#[derive(Debug)]
pub(crate) struct Survey {
    total: u64,
    text_dated: TextDated,
    stamp: Stamp,
}

impl<K: Kind> ContentStore<K> {
    /// A page of the list. An item that cannot be read is left out with a warning.
    pub(crate) async fn list(
        &self,
        filter: &Filter,
        start: &Start,
        limit: Limit,
    ) -> mongodb::error::Result<Listed<K::Card>> {
        // One more than asked for tells whether there is another page.
        let length = limit.get() as usize + 1;
        // Remembered as a rule, and it decides how the page is found.
        let survey = self.survey(filter).await?;
        let mut page = if survey.text_dated.is_empty() {
            self.find_page(filter, start, length).await?
        } else {
            self.find_merged_page(filter, start, length, &survey.text_dated).await?
        };
        let is_last = page.len() < length;
        page.truncate(limit.get() as usize);
        let next = page.last().filter(|_| !is_last).map(|(position, _)| position.clone());
        let items = page
            .iter()
            .filter_map(|(_, document)| readable(K::read(document)))
            .map(|(common, fields)| K::card(common, fields))
            .collect();
        Ok(Listed { items, total: survey.total, next, total_stamp: survey.stamp.clone() })
    }

    async fn find_page(
        &self,
        filter: &Filter,
        start: &Start,
        length: usize,
    ) -> mongodb::error::Result<Vec<(Position, RawDocumentBuf)>> {
        let (skip, length) = window(start, length, &TextDated::default());
        let page = |query: Document| {
            self.collection
                .find(query)
                .sort(order())
                .skip(skip as u64)
                .limit(i64::try_from(length).unwrap_or(i64::MAX))
                .projection(K::left_out_of_lists())
        };
        let from_start = || page(after(query::<K>(filter), start));
        let documents = match entry(filter, start) {
            Some(entry) => {
                let index = Hint::Name(indexes::NEWEST.to_owned());
                match page(query::<K>(filter)).hint(index).min(entry).await {
                    Err(error) if is_missing_index(&error) => from_start().await?,
                    found => found?,
                }
            }
            None => from_start().await?,
        };
        let with_position = |document: RawDocumentBuf| (position(&document), document);
        documents.map_ok(with_position).try_collect().await
    }

    /// The page of a list some of whose items keep their date as text: first which items it has,
    /// from the index alone, then the items.
    async fn find_merged_page(
        &self,
        filter: &Filter,
        start: &Start,
        length: usize,
        text_dated: &TextDated,
    ) -> mongodb::error::Result<Vec<(Position, RawDocumentBuf)>> {
        let (skip, count) = window(start, length, text_dated);
        let not_text = doc! { "$nor": [text_dated_only()] };
        let others = self
            .collection
            .find(doc! { "$and": [after(query::<K>(filter), start), not_text] })
            .sort(order())
            .skip(skip as u64)
            .limit(i64::try_from(count).unwrap_or(i64::MAX))
            .projection(doc! { "_id": 1, "createdDate": 1 })
            .await?;
        let others = others.map_ok(|document| position(&document)).try_collect().await?;
        let page = merge(start, length, text_dated, others);

        let ids: Vec<_> = page.iter().map(|position| position.id.clone()).collect();
        let documents =
            self.collection.find(doc! { "_id": { "$in": ids } }).projection(K::left_out_of_lists());
        let documents: Vec<RawDocumentBuf> = documents.await?.try_collect().await?;
        let mut by_id: HashMap<String, RawDocumentBuf> = documents
            .into_iter()
            .map(|document| (position(&document).id.to_string(), document))
            .collect();
        let found = |position: Position| {
            by_id.remove(&position.id.to_string()).map(|document| (position, document))
        };
        Ok(page.into_iter().filter_map(found).collect())
    }

    async fn survey(&self, filter: &Filter) -> mongodb::error::Result<Arc<Survey>> {
        let watch = self.watch_of(filter);
        let cached = self
            .surveys
            .get_with_by_ref(filter, || Cached::new(watch.clone(), super::SURVEY_TOLERANCE));
        let (collection, watch) = (self.collection.clone(), watch.clone());
        let filter = filter.clone();
        cached
            .get(async move { survey::<K>(&collection, &watch, &filter).await.map(Arc::new) })
            .await
    }

    fn watch_of(&self, filter: &Filter) -> &Watch {
        match (&filter.section, &filter.audience) {
            (None, Audience::Editors) => &self.watch_lists,
            (None, Audience::Public(Hidden::Of(hidden))) if hidden.is_empty() => &self.watch_lists,
            _ => &self.watch_lists_in_sections,
        }
    }
}

async fn survey<K: Kind>(
    collection: &Collection<RawDocumentBuf>,
    watch: &Watch,
    filter: &Filter,
) -> mongodb::error::Result<Survey> {
    let stamp = watch.stamp().await?;
    let query = query::<K>(filter);
    let total = match (&filter.section, &filter.audience) {
        // Which section an item belongs to is not in the index of all: those that are hidden are
        // counted by themselves.
        (None, Audience::Public(Hidden::Of(hidden))) if !hidden.is_empty() => {
            let all = public::<K>(&Hidden::Of([].into()));
            let mut of_hidden = all.clone();
            of_hidden.insert("section_id", doc! { "$in": references(hidden) });
            let all = count(collection, all, indexes::NEWEST).await?;
            all.saturating_sub(count(collection, of_hidden, indexes::NEWEST_OF_SECTION).await?)
        }
        (None, Audience::Public(Hidden::AllOfSections)) => {
            collection.count_documents(query.clone()).await?
        }
        _ => count(collection, query.clone(), index(filter)).await?,
    };

    #[derive(Deserialize)]
    struct TextDate {
        #[serde(rename = "_id")]
        id: Bson,
        #[serde(rename = "createdDate")]
        created_date: String,
    }
    let mut text_dates = query;
    text_dates.extend(text_dated_only());
    let text_dates: Vec<TextDate> = collection
        .clone_with_type()
        .find(text_dates)
        .projection(doc! { "_id": 1, "createdDate": 1 })
        .limit(LARGEST_TEXT_DATED + 1)
        .await?
        .try_collect()
        .await?;
    let is_few = i64::try_from(text_dates.len()).is_ok_and(|count| count <= LARGEST_TEXT_DATED);
    let dated = text_dates.into_iter().filter(|_| is_few).map(|document| {
        // One that is no date has a place too, where reading it will fail and be told.
        let date = lenient::parse_date(&document.created_date).unwrap_or_default();
        (date, document.id)
    });
    Ok(Survey { total, text_dated: TextDated::new(dated), stamp })
}

/// Counts from the index alone.
async fn count(
    collection: &Collection<RawDocumentBuf>,
    query: Document,
    index: &str,
) -> mongodb::error::Result<u64> {
    // A range over everything, so that the server takes the filter's other fields from the index
    // and does not fetch a single document.
    let mut whole_range = query.clone();
    whole_range.insert("createdDate", doc! { "$gte": Bson::MinKey });
    match collection.count_documents(whole_range).hint(Hint::Name(index.to_owned())).await {
        // Until the index of a section's list is built: reading the collection takes half as long as
        // fetching each document by way of the index of the whole list.
        Err(error) if is_missing_index(&error) => collection.count_documents(query).await,
        counted => counted,
    }
}

/// Matches items whose date is kept as text. A list of texts is of that type too, for MongoDB.
fn text_dated_only() -> Document {
    doc! { "createdDate": { "$type": "string", "$not": { "$type": "array" } } }
}

fn query<K: Kind>(filter: &Filter) -> Document {
    let query = match &filter.audience {
        Audience::Public(hidden) => public::<K>(hidden),
        Audience::Editors => doc! { "deleted": { "$ne": true } },
    };
    match filter.section {
        Some(section) => within(query, section),
        None => query,
    }
}

/// The index that has the list in its order.
fn index(filter: &Filter) -> &'static str {
    if filter.section.is_some() { indexes::NEWEST_OF_SECTION } else { indexes::NEWEST }
}

fn order() -> Document {
    doc! { "createdDate": -1, "_id": -1 }
}

/// Restricts a query to what comes after the start of a page.
///
/// The comparisons are the aggregation's: they order values of all types as the index does, so
/// that items without a date come after those with one, and they take no value for an operator.
fn after(mut query: Document, start: &Start) -> Document {
    let Start::After(Position { date, is_text, id }) = start else { return query };
    let compare = |operator: &str, field: &str, value: &Bson| {
        doc! { "$expr": { operator: [field, { "$literal": value.clone() }] } }
    };
    // A text-dated item stands before the others of its date.
    let later = if *is_text {
        compare("$lte", "$createdDate", date)
    } else {
        let lower_id = compare("$lt", "$_id", id);
        if *date == Bson::Null {
            // Absent as well, which the aggregation tells apart.
            doc! { "$and": [{ "createdDate": null }, lower_id] }
        } else {
            let tied = doc! { "$and": [compare("$eq", "$createdDate", date), lower_id] };
            doc! { "$or": [compare("$lt", "$createdDate", date), tied] }
        }
    };
    query.insert("$and", vec![later]);
    query
}

/// Where the index of a whole list is entered to read what comes after an item: one range costs a
/// third less than the alternatives of [`after`]. Values that no usual item has are left to those,
/// and so are the lists of a section, which is referred to in several ways ([`references`]): each is
/// another place in the index.
fn entry(filter: &Filter, start: &Start) -> Option<Document> {
    match start {
        Start::After(Position {
            date: date @ (Bson::DateTime(_) | Bson::Null),
            is_text: false,
            id: id @ Bson::ObjectId(_),
        }) if filter.section.is_none() => Some(doc! {
            // The item's own key is passed over: `MaxKey` comes after whatever it has there.
            "createdDate": date, "_id": id, "is_published": Bson::MaxKey, "deleted": Bson::MaxKey,
        }),
        _ => None,
    }
}

fn position(document: &RawDocument) -> Position {
    let value = |field: &str| document.get(field).ok().flatten();
    let date = match value("createdDate") {
        None => Bson::Null,
        // It cannot be read, but it has a place: that of its latest date.
        Some(RawBsonRef::Array(values)) => {
            let dates = values.into_iter().flatten().filter_map(RawBsonRef::as_datetime);
            dates.max().map_or(Bson::MinKey, Bson::from)
        }
        // Neither can this, and what is in it does not matter.
        Some(RawBsonRef::Document(_)) => Document::new().into(),
        Some(date) => plain(date).unwrap_or(Bson::Null),
    };
    Position { date, is_text: false, id: value("_id").and_then(plain).unwrap_or(Bson::Null) }
}

fn is_missing_index(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == BAD_VALUE)
}
