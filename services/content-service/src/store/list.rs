//! Lists: a page of items, and how many there are.

use std::{collections::HashMap, sync::Arc};

use data_service::changes::{Cached, Read};
use futures_util::TryStreamExt;
use models::changes::Revision;
use mongo_kit::document::readable;
use mongodb::{
    bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc},
    options::Hint,
};
use serde::Serialize;

use super::{
    content::ContentStore,
    filters::{Oddities, listed, odd_dated},
    indexes::{self, is_missing_index},
    kind::{Kind, Reading},
    page_memory::{ItemSizes, PageMemory},
    survey::{LIST_TOLERANCE, ListShapes, Survey, survey},
};
use crate::domain::{
    audience::{Audience, Hidden},
    item_paths::ItemPaths,
    list::{Filter, Limit},
    pagination::{OddDated, Position, Start, merge, plain, window},
};

/// The most bytes of items that a page has, as they are answered.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The most bytes of an answer that one byte of a stored document becomes: a control character is
/// written as `\u001b`.
const MAX_ESCAPED_BYTES: usize = 6;

/// The bytes of an answer that have no stored counterpart: names of members, null, quotes.
const MAX_MEMBER_BYTES: usize = 1_024;

/// The number of documents that are read at once where they are read by their ids.
const DOCUMENTS_AT_ONCE: usize = 10;

/// A page of a list.
pub(crate) struct ListPage<T> {
    pub(crate) items: Vec<T>,
    pub(crate) total: u64,
    /// The start of the next page; `None` on the last one.
    pub(crate) next: Option<Position>,
    /// The state of the total.
    pub(crate) revision: Revision,
    /// To be kept until the response is made.
    pub(crate) memory: PageMemory,
}

/// The knowledge of a list that does not depend on its pages.
pub(super) struct ListState {
    survey: Arc<Cached<Arc<Survey>>>,
    item_sizes: ItemSizes,
}

/// The items of a page, as they are read one after the other.
struct PageReader<'a, K: Kind> {
    paths: &'a ItemPaths,
    items: Vec<K::Card>,
    /// The position of the last document that was looked at, with an item or not.
    last: Option<Position>,
    /// The number of documents that were looked at.
    seen: usize,
    limit: usize,
    /// The size of these documents, in bytes.
    stored_bytes: usize,
    /// The most bytes that the items can have in the answer.
    bytes: usize,
    /// `true` if `bytes` was measured, which costs as much as the answer itself.
    is_measured: bool,
    /// `true` if there is an item behind the last one.
    has_more: bool,
}

impl<'a, K: Kind> PageReader<'a, K> {
    fn new(limit: Limit, paths: &'a ItemPaths) -> Self {
        let limit = limit.get() as usize;
        let items = Vec::with_capacity(limit);
        Self {
            paths,
            items,
            last: None,
            seen: 0,
            limit,
            stored_bytes: 0,
            bytes: 0,
            is_measured: false,
            has_more: false,
        }
    }

    /// Adds the next item, unless the page is full: then this returns `false`.
    fn add(&mut self, position: Position, document: &RawDocument) -> bool {
        if self.seen == self.limit {
            self.has_more = true;
            return false;
        }
        self.stored_bytes += document.as_bytes().len();
        let reading = readable(Reading::<K>::with_warnings(document));
        let Some(card) = reading.map(|reading| reading.item.at(self.paths).into_card()) else {
            // The next page starts after it.
            (self.seen, self.last) = (self.seen + 1, Some(position));
            return true;
        };
        let mut bytes = document.as_bytes().len() * MAX_ESCAPED_BYTES + MAX_MEMBER_BYTES;
        if self.is_measured || self.bytes + bytes > MAX_PAGE_BYTES {
            if !self.is_measured {
                self.is_measured = true;
                self.bytes = self.items.iter().map(answered_bytes).sum();
            }
            bytes = answered_bytes(&card);
            // A page has at least one item, so that a client can always proceed.
            if self.bytes + bytes > MAX_PAGE_BYTES && !self.items.is_empty() {
                self.has_more = true;
                return false;
            }
        }
        self.bytes += bytes;
        (self.seen, self.last) = (self.seen + 1, Some(position));
        self.items.push(card);
        true
    }
}

/// Returns the size of a value in an answer, with the comma behind it.
fn answered_bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len() + 1)
}

impl<K: Kind> ContentStore<K> {
    /// Returns a page of the list. It is short only at the end of the list, or where one more item
    /// would exceed [`MAX_PAGE_BYTES`].
    pub(crate) async fn list(
        &self,
        filter: &Filter,
        start: &Start,
        limit: Limit,
        paths: &ItemPaths,
    ) -> mongodb::error::Result<ListPage<K::Card>> {
        // Remembered as a rule, and it decides how the page is found.
        let state = self.list_state(filter);
        let Read { value: survey, revision } = self.survey(filter, &state).await?;
        let mut page = PageReader::<K>::new(limit, paths);
        let memory = state.item_sizes.reserve(page.limit + 1).await?;
        if survey.odd_dated.is_empty() {
            let batch_size = memory.batch_size();
            self.find_page(filter, start, survey.oddities, batch_size, &mut page).await?;
        } else {
            self.find_merged_page(filter, start, &survey, &mut page).await?;
        }
        state.item_sizes.observe(page.stored_bytes, page.seen);
        let next = page.last.filter(|_| page.has_more);
        Ok(ListPage { items: page.items, total: survey.total, next, revision, memory })
    }

    async fn find_page(
        &self,
        filter: &Filter,
        start: &Start,
        oddities: Oddities,
        batch_size: Option<u32>,
        page: &mut PageReader<'_, K>,
    ) -> mongodb::error::Result<()> {
        // One more than asked for tells whether there is another page.
        let (skip, length) = window(start, page.limit + 1, &OddDated::default());
        let query = listed::<K>(filter, oddities);
        let find = |query: Document| {
            let found = self
                .collection
                .find(query)
                .sort(order())
                .skip(skip as u64)
                .limit(i64::try_from(length).unwrap_or(i64::MAX))
                .projection(K::omitted_in_lists());
            match batch_size {
                Some(batch_size) => found.batch_size(batch_size),
                None => found,
            }
        };
        let from_start = || find(after(query.clone(), start));
        let mut documents = match entry(filter, start) {
            Some(entry) => {
                let index = Hint::Name(indexes::NEWEST.to_owned());
                match find(query.clone()).hint(index).min(entry).await {
                    Err(error) if is_missing_index(&error) => from_start().await?,
                    found => found?,
                }
            }
            None => from_start().await?,
        };
        while let Some(document) = documents.try_next().await? {
            if !page.add(position(&document), &document) {
                break;
            }
        }
        Ok(())
    }

    /// Finds the page of a list some of whose items store their date in another type: first which
    /// items it has, from the index alone, then the items.
    async fn find_merged_page(
        &self,
        filter: &Filter,
        start: &Start,
        survey: &Survey,
        page: &mut PageReader<'_, K>,
    ) -> mongodb::error::Result<()> {
        let length = page.limit + 1;
        let (skip, count) = window(start, length, &survey.odd_dated);
        let not_odd = doc! { "$nor": [odd_dated(survey.oddities)] };
        let query = listed::<K>(filter, survey.oddities);
        let others = self
            .collection
            .find(doc! { "$and": [after(query, start), not_odd] })
            .sort(order())
            .skip(skip as u64)
            .limit(i64::try_from(count).unwrap_or(i64::MAX))
            .projection(doc! { "_id": 1, "createdDate": 1 })
            .await?;
        let others = others.map_ok(|document| position(&document)).try_collect().await?;
        let positions = merge(start, length, &survey.odd_dated, others);
        for positions in positions.chunks(DOCUMENTS_AT_ONCE) {
            let ids: Vec<_> = positions.iter().map(|position| position.id.clone()).collect();
            let documents = self.collection.find(doc! { "_id": { "$in": ids } });
            let documents: Vec<RawDocumentBuf> =
                documents.projection(K::omitted_in_lists()).await?.try_collect().await?;
            let key = |id: &Bson| format!("{id:?}");
            let mut by_id: HashMap<String, RawDocumentBuf> = documents
                .into_iter()
                .map(|document| (key(&position(&document).id), document))
                .collect();
            for position in positions {
                let Some(document) = by_id.remove(&key(&position.id)) else { continue };
                if !page.add(position.clone(), &document) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn list_state(&self, filter: &Filter) -> Arc<ListState> {
        self.list_states.get_with_by_ref(filter, || {
            let keys = vec![self.shapes_of(filter).key.clone()];
            let survey = Cached::new(&self.changes, keys, LIST_TOLERANCE);
            Arc::new(ListState { survey, item_sizes: ItemSizes::default() })
        })
    }

    async fn survey(
        &self,
        filter: &Filter,
        state: &ListState,
    ) -> mongodb::error::Result<Read<Arc<Survey>>> {
        let (lists, filter) = (self.shapes_of(filter).clone(), filter.clone());
        let survey = async move { survey::<K>(&lists, &filter).await.map(Arc::new) };
        state.survey.get(survey).await
    }

    fn shapes_of(&self, filter: &Filter) -> &ListShapes {
        match (&filter.section, &filter.audience) {
            (None, Audience::Editors) => &self.lists,
            (None, Audience::Public(Hidden::Of(hidden))) if hidden.ids.is_empty() => &self.lists,
            _ => &self.lists_in_sections,
        }
    }
}

fn order() -> Document {
    doc! { "createdDate": -1, "_id": -1 }
}

/// Restricts a query to what comes after the start of a page.
///
/// The comparisons are the aggregation's: they order values of all types as the index does, so
/// that items without a date come after those with one, and they take no value for an operator.
fn after(mut query: Document, start: &Start) -> Document {
    let Start::After(Position { date, is_odd, id }) = start else { return query };
    let compare = |operator: &str, field: &str, value: &Bson| {
        doc! { "$expr": { operator: [field, { "$literal": value.clone() }] } }
    };
    // An odd-dated item stands before the others of its date.
    let later = if *is_odd {
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

/// Returns the key at which the index of a whole list is entered to read the items after one. A range
/// costs a third less than the alternatives of [`after`]. Values that no usual item has are left to those,
/// and so are the lists of a section, which is referred to in several ways ([`references`]): each is
/// another place in the index.
fn entry(filter: &Filter, start: &Start) -> Option<Document> {
    match start {
        Start::After(Position {
            date: date @ (Bson::DateTime(_) | Bson::Null),
            is_odd: false,
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
    Position { date, is_odd: false, id: value("_id").and_then(plain).unwrap_or(Bson::Null) }
}
