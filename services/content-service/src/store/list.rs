//! Lists: a page of items, and how many there are.

use std::{collections::HashMap, sync::Arc};

use data_service::changes::{Cached, Read};
use futures_util::{
    TryStreamExt,
    future::{try_join, try_join3},
};
use models::{Sort, SortField, changes::Revision};
use mongo_kit::{document::readable, lenient};
use mongodb::{
    Cursor,
    action::{Action, Find},
    bson::{Bson, Document, RawDocument, RawDocumentBuf, doc},
    error::{Error, Result},
    options::Hint,
};
use serde::Serialize;

use super::{
    authors::Names,
    content::ContentStore,
    filters::{Oddities, listed},
    ids::ById,
    indexes::{self, is_missing_index},
    keys::ContentKeys,
    kind::{Kind, Reading},
    order::{Bound, Order, collation, position},
    page_memory::{ItemSizes, PageMemory},
    survey::{LIST_TOLERANCE, ListShapes, OddValues, Survey, odd_values, survey},
};
use crate::domain::{
    audience::{Audience, Hidden},
    item_paths::ItemPaths,
    list::{Filter, Limit},
    pagination::{OddItems, Position, Scan, Start, merge, window},
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
    /// The item after which the next page starts; `None` on the last one.
    pub(crate) next: Option<Position>,
    /// The item before which the previous page ends; `None` on the first one.
    pub(crate) previous: Option<Position>,
    /// The state of the total, of what was known about the order, and of the authors.
    pub(crate) revision: Revision,
    /// To be kept until the response is made.
    pub(crate) memory: PageMemory,
}

/// The knowledge of a list that does not depend on its pages.
pub(super) struct ListState {
    survey: Arc<Cached<Arc<Survey>>>,
    /// By the field of an order.
    odd_values: [Arc<Cached<Arc<OddValues>>>; SortField::ALL.len()],
    /// Without the texts and with them.
    item_sizes: [ItemSizes; 2],
}

/// The form of the items of a list.
pub(crate) struct Form<K, T> {
    /// The stored fields that are read.
    pub(crate) projection: Document,
    /// `true` if the texts of the items are among them.
    pub(crate) reads_content: bool,
    /// Converts an item.
    pub(crate) convert: Box<dyn Fn(K) -> T + Send + Sync>,
}

impl<K: Kind> Form<K, K::Card> {
    /// Returns the form that lists of a kind have unless a request asks for another one.
    pub(crate) fn usual() -> Self {
        let projection = K::omitted_in_lists();
        Self { reads_content: projection.is_empty(), projection, convert: Box::new(K::into_card) }
    }
}

impl<K: Kind> Form<K, K> {
    /// Returns the form of items with all of their members.
    pub(crate) fn whole() -> Self {
        Self { projection: Document::new(), reads_content: true, convert: Box::new(|item| item) }
    }

    /// Returns the form of items without their texts.
    fn without_text() -> Self {
        let projection = doc! { "content": 0 };
        Self { projection, reads_content: false, convert: Box::new(|item| item) }
    }
}

/// The page of a list that a request is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRequest<'a> {
    pub(crate) sort: Sort,
    pub(crate) start: &'a Start,
    pub(crate) limit: Limit,
    pub(crate) paths: &'a ItemPaths,
}

/// The items of a page, as they are read one after the other.
struct PageReader<'a, K: Kind, T> {
    form: &'a Form<K, T>,
    paths: &'a ItemPaths,
    names: Arc<Names>,
    items: Vec<T>,
    /// The positions of the first and the last document that was looked at, with an item or not.
    ends: Option<(Position, Position)>,
    audience: &'a Audience,
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

impl<'a, K: Kind, T: Serialize> PageReader<'a, K, T> {
    fn new(
        form: &'a Form<K, T>,
        names: Arc<Names>,
        request: PageRequest<'a>,
        audience: &'a Audience,
    ) -> Self {
        let PageRequest { limit, paths, .. } = request;
        let limit = limit.get() as usize;
        let items = Vec::with_capacity(limit);
        Self {
            form,
            paths,
            names,
            items,
            ends: None,
            audience,
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
        // A query that compares texts by the rules of a language may match a little more.
        let reading = reading.filter(|reading| reading.is_visible(self.audience));
        let item = reading.map(|reading| self.names.sign(reading.item).at(self.paths));
        let Some(card) = item.map(|item| (self.form.convert)(item)) else {
            // The next page starts after it.
            self.pass(position);
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
        self.pass(position);
        self.items.push(card);
        true
    }

    fn pass(&mut self, position: Position) {
        self.seen += 1;
        self.ends = Some(match self.ends.take() {
            None => (position.clone(), position),
            Some((first, _)) => (first, position),
        });
    }

    /// Returns the items in the order of the list, and the items at which the previous and the next page
    /// begin.
    fn finish(mut self, start: &Start) -> (Vec<T>, [Option<Position>; 2]) {
        let has_more = self.has_more;
        let Some((first, last)) = self.ends else { return (self.items, [None, None]) };
        let last = has_more.then_some(last);
        match start {
            Start::Offset(offset) if offset.get() == 0 => (self.items, [None, last]),
            Start::Offset(_) | Start::After(_) => (self.items, [Some(first), last]),
            Start::Before(_) => {
                self.items.reverse();
                (self.items, [last, Some(first)])
            }
        }
    }
}

/// Returns the size of a value in an answer, with the comma behind it.
fn answered_bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len() + 1)
}

impl<K: Kind> ContentStore<K> {
    /// Returns a page of the list. It is short only at the end of the list, or where one more item
    /// would exceed [`MAX_PAGE_BYTES`].
    pub(crate) async fn list<T: Serialize + Send>(
        &self,
        filter: &Filter,
        request: PageRequest<'_>,
        form: &Form<K, T>,
    ) -> Result<ListPage<T>> {
        let PageRequest { sort, start, .. } = request;
        let order = Order { field: sort.field(), scan: start.scan(sort) };
        // Remembered as a rule, and it decides how the page is found.
        let state = self.list_state(filter);
        let survey = self.survey(filter, &state);
        let odd = self.odd_values(filter, &state, order.field);
        let (survey, odd, names) = try_join3(survey, odd, self.names()).await?;
        let revision = survey.revision.min(odd.revision).min(names.revision);
        let (survey, odd) = (survey.value, odd.value);
        let mut page = PageReader::new(form, names.value, request, &filter.audience);
        let item_sizes = &state.item_sizes[usize::from(form.reads_content)];
        let memory = item_sizes.reserve(page.limit + 1).await?;
        let query = listed::<K>(filter, survey.oddities);
        let whole_start = self.whole(filter, start, order).await?;
        let start = whole_start.as_ref().unwrap_or(start);
        if odd.items.is_empty() {
            let entry = start.position().and_then(|position| order.entry(filter, position));
            let batch_size = memory.batch_size();
            self.find_page(query, start, order, entry, batch_size, &mut page).await?;
        } else {
            self.find_merged_page(query, start, order, &odd, &mut page).await?;
        }
        item_sizes.observe(page.stored_bytes, page.seen);
        let (items, [previous, next]) = page.finish(start);
        let total = survey.total + odd.beside_total(filter);
        Ok(ListPage { items, total, next, previous, revision, memory })
    }

    /// Returns the items before an item and those after it in a list, the nearest first: up to
    /// [`Limit::NEIGHBOURS`] of each, without their texts.
    pub(crate) async fn neighbours(
        &self,
        filter: &Filter,
        sort: Sort,
        id: &str,
        paths: &ItemPaths,
    ) -> Result<Read<[Vec<K>; 2]>> {
        let (field, state) = (sort.field(), self.list_state(filter));
        let found = self.collection.find(doc! { "_id": { "$in": lenient::id_candidates(id) } });
        let found = found.projection(doc! { "_id": 1, field.as_str(): 1 });
        let found = async { found.await?.try_collect::<Vec<RawDocumentBuf>>().await };
        let odd = self.odd_values(filter, &state, field);
        let (found, odd, names) = try_join3(found, odd, self.names()).await?;
        let revision = odd.revision.min(names.revision);
        let (odd, names) = (odd.value, names.value);
        let Some(item) = ById::new(found, RawDocumentBuf::as_ref).take(id) else {
            return Ok(Read { value: [Vec::new(), Vec::new()], revision });
        };
        let place = position(&item, field);
        let place = odd.items.get(&place.id).cloned().unwrap_or(place);
        let query = listed::<K>(filter, self.shapes_of(filter).oddities().await?);
        let form = Form::<K, K>::without_text();
        let limit = Limit::NEIGHBOURS;
        let read = async |start: Start| {
            let order = Order { field, scan: start.scan(sort) };
            let request = PageRequest { sort, start: &start, limit, paths };
            let mut page = PageReader::new(&form, names.clone(), request, &filter.audience);
            match odd.items.is_empty() {
                true => {
                    self.find_page(query.clone(), &start, order, None, None, &mut page).await?;
                }
                false => {
                    self.find_merged_page(query.clone(), &start, order, &odd, &mut page).await?;
                }
            }
            Ok::<_, Error>(page.items)
        };
        let (before, after) = (read(Start::Before(place.clone())), read(Start::After(place)));
        let (before, after) = try_join(before, after).await?;
        Ok(Read { value: [before, after], revision })
    }

    /// Returns the start of a page with the whole text of its item, if a cursor has the beginning of it
    /// alone. If the item is gone, others that begin with the same text may be passed over.
    async fn whole(&self, filter: &Filter, start: &Start, order: Order) -> Result<Option<Start>> {
        let Some(position) = start.position().filter(|position| position.is_cut) else {
            return Ok(None);
        };
        let field = order.field.as_str();
        let begins = position.value.as_str().unwrap_or_default();
        // A cursor can be made up: the title of an item that the reader does not see is not used.
        let mut query = listed::<K>(filter, Oddities::ANY);
        query.insert("_id", doc! { "$eq": position.id.clone() });
        let item = self.collection.find_one(query).await?.filter(|item| {
            let reading = readable(Reading::<K>::with_warnings(item));
            reading.is_some_and(|reading| reading.is_visible(&filter.audience))
        });
        let text = item.as_ref().and_then(|item| item.get_str(field).ok());
        let value = match (text.filter(|text| text.starts_with(begins)), order.scan) {
            (Some(text), _) => text.to_owned(),
            (None, Scan::Descending) => begins.to_owned(),
            // A character that sorts behind all others (Unicode Technical Standard 35, "Root Collation").
            (None, Scan::Ascending) => [begins, "\u{FFFF}"].concat(),
        };
        let position = Position { value: value.into(), is_cut: false, ..position.clone() };
        Ok(Some(match start {
            Start::Before(_) => Start::Before(position),
            _ => Start::After(position),
        }))
    }

    async fn find_page<T: Serialize>(
        &self,
        query: Document,
        start: &Start,
        order: Order,
        entry: Option<Bound>,
        batch_size: Option<u32>,
        page: &mut PageReader<'_, K, T>,
    ) -> Result<()> {
        // One more than asked for tells whether there is another page.
        let (skip, length) = window(start, page.limit + 1, &OddItems::default());
        let find = |query: Document| {
            let found = self.find_in_order(query, order, skip, length);
            found.projection(page.form.projection.clone()).optional(batch_size, Find::batch_size)
        };
        let index = || Hint::Name(indexes::of_order(order.field).to_owned());
        let from_start = || find(after(query.clone(), start, order));
        let mut documents = match entry {
            Some(entry) => {
                let found = find(query.clone()).hint(index());
                let found = match entry {
                    Bound::Min(key) => found.min(key),
                    Bound::Max(key) => found.max(key),
                };
                match found.await {
                    Err(error) if is_missing_index(&error) => from_start().await?,
                    found => found?,
                }
            }
            None => from_start().await?,
        };
        while let Some(document) = documents.try_next().await? {
            if !page.add(position(&document, order.field), &document) {
                break;
            }
        }
        Ok(())
    }

    /// Finds the page of a list some of whose items store their value in another type: first which
    /// items it has, from the index alone, then the items.
    async fn find_merged_page<T: Serialize>(
        &self,
        query: Document,
        start: &Start,
        order: Order,
        odd: &OddValues,
        page: &mut PageReader<'_, K, T>,
    ) -> Result<()> {
        let length = page.limit + 1;
        let (skip, count) = window(start, length, &odd.items);
        let not_odd = doc! { "$nor": [odd.filter.clone()] };
        let query = doc! { "$and": [after(query, start, order), not_odd] };
        let others: Cursor<RawDocumentBuf> = self
            .find_in_order(query, order, skip, count)
            .projection(doc! { "_id": 1, order.field.as_str(): 1 })
            .await?;
        let others =
            others.map_ok(|document| position(&document, order.field)).try_collect().await?;
        let positions = merge(start, order.scan, length, &odd.items, others);
        for positions in positions.chunks(DOCUMENTS_AT_ONCE) {
            let ids: Vec<_> = positions.iter().map(|position| position.id.clone()).collect();
            let documents = self.collection.find(doc! { "_id": { "$in": ids } });
            let documents: Vec<RawDocumentBuf> =
                documents.projection(page.form.projection.clone()).await?.try_collect().await?;
            let key = |id: &Bson| format!("{id:?}");
            let mut by_id: HashMap<String, RawDocumentBuf> = documents
                .into_iter()
                .map(|document| (key(&position(&document, order.field).id), document))
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

    fn find_in_order(
        &self,
        query: Document,
        order: Order,
        skip: usize,
        length: usize,
    ) -> Find<'_, RawDocumentBuf> {
        self.collection
            .find(query)
            .sort(order.keys())
            .optional(collation(order.field), Find::collation)
            .skip(skip as u64)
            .limit(i64::try_from(length).unwrap_or(i64::MAX))
    }

    fn list_state(&self, filter: &Filter) -> Arc<ListState> {
        self.list_states.get_with_by_ref(filter, || {
            let total = self.shapes_of(filter).key.clone();
            let survey = Cached::new(&self.changes, vec![total.clone()], LIST_TOLERANCE);
            let odd_values = SortField::ALL.map(|field| {
                let key = match field {
                    SortField::CreatedDate => total.clone(),
                    _ => ContentKeys::of::<K>().list(),
                };
                Cached::new(&self.changes, vec![key], LIST_TOLERANCE)
            });
            Arc::new(ListState { survey, odd_values, item_sizes: Default::default() })
        })
    }

    async fn survey(&self, filter: &Filter, state: &ListState) -> Result<Read<Arc<Survey>>> {
        let (lists, filter) = (self.shapes_of(filter).clone(), filter.clone());
        let survey = async move { survey::<K>(&lists, &filter).await.map(Arc::new) };
        state.survey.get(survey).await
    }

    async fn odd_values(
        &self,
        filter: &Filter,
        state: &ListState,
        field: SortField,
    ) -> Result<Read<Arc<OddValues>>> {
        let (lists, filter) = (self.shapes_of(filter).clone(), filter.clone());
        let find = async move { odd_values::<K>(&lists, &filter, field).await.map(Arc::new) };
        state.odd_values[field as usize].get(find).await
    }

    fn shapes_of(&self, filter: &Filter) -> &ListShapes {
        match (&filter.section, &filter.audience) {
            (None, Audience::Editors) => &self.lists,
            (None, Audience::Public(Hidden::Of(hidden))) if hidden.ids.is_empty() => &self.lists,
            _ => &self.lists_in_sections,
        }
    }
}

/// Restricts a query to what is read from the start of a page on.
fn after(query: Document, start: &Start, order: Order) -> Document {
    match start.position() {
        Some(position) => order.after(query, position),
        None => query,
    }
}
