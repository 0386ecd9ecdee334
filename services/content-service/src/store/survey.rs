//! The number of items of a list, and the items that an order treats separately.

use std::{sync::Arc, time::Duration};

use data_service::changes::{Cached, Changes};
use futures_util::TryStreamExt;
use models::SortField;
use mongo_kit::lenient;
use mongodb::{
    Collection, Database,
    action::{Action, Find},
    bson::{Bson, Document, RawDocumentBuf, doc},
    options::Hint,
};

use super::{
    filters::{Oddities, listed, narrowed, public, references_to_hidden},
    indexes::{self, is_missing_index},
    kind::{Kind, absent_values},
    order::{collation, odd},
};
use crate::domain::{
    audience::{Audience, Hidden},
    list::{Filter, Period},
    pagination::OddItems,
};

/// The most items whose value is stored in another type that are put in their place. More than that
/// are no slip but another kind of site: a migration gives them dates, and until then they follow
/// the dates, as MongoDB sorts them.
pub(crate) const MAX_ODD_DATED: i64 = 1_000;

/// The time after a change for which what was found out about a list before it may be used. The
/// promise is a second; counting a million documents takes about half of one.
pub(super) const LIST_TOLERANCE: Duration = Duration::from_millis(800);

/// The size of a whole list, and the shapes of its documents. It holds until another item belongs to the
/// list.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(super) total: u64,
    pub(super) oddities: Oddities,
}

/// The items of a list whose value of a field is stored in another type than those of the field.
#[derive(Debug)]
pub(super) struct OddValues {
    /// The items; none if there are too many.
    pub(super) items: OddItems,
    /// Matches them.
    pub(super) filter: Document,
    field: SortField,
}

impl OddValues {
    /// Returns the number of these items that the total of a list does not have: a query for a period
    /// finds no date of another type.
    pub(super) fn beside_total(&self, filter: &Filter) -> u64 {
        match filter.created.is_unbounded() || self.field != SortField::CreatedDate {
            true => 0,
            false => self.items.len() as u64,
        }
    }
}

/// The unusual shapes of a collection, until a change that matters to some of its lists.
#[derive(Clone)]
pub(super) struct ListShapes {
    /// The key of these changes.
    pub(super) key: String,
    collection: Collection<RawDocumentBuf>,
    oddities: Arc<Cached<Oddities>>,
}

impl ListShapes {
    pub(super) fn new(
        database: &Database,
        collection: &'static str,
        changes: &Changes,
        key: String,
    ) -> Self {
        // A survey is kept as long as its oddities hold, so that it must not begin with stale ones.
        let oddities = Cached::new(changes, vec![key.clone()], Duration::ZERO);
        Self { key, collection: database.collection(collection), oddities }
    }

    /// Returns the shapes that a query has to take into account.
    pub(super) async fn oddities(&self) -> mongodb::error::Result<Oddities> {
        let collection = self.collection.clone();
        match self.oddities.get(async move { oddities(&collection).await }).await {
            // All shapes are possible until the index is built, which is no change of the documents.
            Err(error) if is_missing_index(&error) => Ok(Oddities::ANY),
            found => found.map(|found| found.value),
        }
    }
}

/// Surveys a list.
pub(super) async fn survey<K: Kind>(
    lists: &ListShapes,
    filter: &Filter,
) -> mongodb::error::Result<Survey> {
    let collection = &lists.collection;
    let oddities = lists.oddities().await?;
    let total = total::<K>(collection, filter, oddities).await?;
    Ok(Survey { total, oddities })
}

/// Finds the items of a list whose value of a field is stored in another type than those of the field.
pub(super) async fn odd_values<K: Kind>(
    lists: &ListShapes,
    filter: &Filter,
    field: SortField,
) -> mongodb::error::Result<OddValues> {
    let collection = &lists.collection;
    let oddities = lists.oddities().await?;
    let has_lists = match field {
        SortField::CreatedDate => oddities.lists,
        field => match has_lists(collection, indexes::of_order(field)).await {
            Err(error) if is_missing_index(&error) => true,
            has_lists => has_lists?,
        },
    };
    let is_odd = odd(field, has_lists);
    // Which of them are in a period is seen when they are read.
    let period = match field {
        SortField::CreatedDate => filter.created,
        _ => Period::default(),
    };
    let filter = match period.is_unbounded() {
        true => filter.clone(),
        false => Filter { created: Period::default(), ..filter.clone() },
    };
    let query = doc! { "$and": [listed::<K>(&filter, oddities), is_odd.clone()] };
    let odd: Vec<RawDocumentBuf> = collection
        .find(query)
        .projection(doc! { "_id": 1, field.as_str(): 1 })
        .limit(MAX_ODD_DATED + 1)
        .optional(collation(field), Find::collation)
        .await?
        .try_collect()
        .await?;
    let is_few = i64::try_from(odd.len()).is_ok_and(|count| count <= MAX_ODD_DATED);
    let odd = odd.iter().filter(|_| is_few).filter_map(|document| {
        let value = document.get(field.as_str()).ok().flatten();
        let date = match field {
            // Such a title cannot be read.
            SortField::Title => None,
            _ => value.and_then(|value| lenient::stored_date(value).date()),
        };
        if !period.is_unbounded() && !date.is_some_and(|date| period.contains(date)) {
            return None;
        }
        Some((date, Bson::try_from(document.get("_id").ok().flatten()?).ok()?))
    });
    Ok(OddValues { items: OddItems::new(odd), filter: is_odd, field })
}

/// Returns the unusual shapes of a collection. Fails if it lacks the index of lists.
async fn oddities(collection: &Collection<RawDocumentBuf>) -> mongodb::error::Result<Oddities> {
    let by_id = Hint::Keys(doc! { "_id": 1 });
    let odd_id = collection.find_one(lenient::unreadable_ids()).hint(by_id);
    let ids = odd_id.projection(doc! { "_id": 1 }).await?.is_some();
    let lists = has_lists(collection, indexes::NEWEST).await?;
    Ok(Oddities { lists, ids })
}

/// Returns `true` if a field of an index is a list in any document: the index knows. Fails if there is no
/// such index.
async fn has_lists(
    collection: &Collection<RawDocumentBuf>,
    index: &str,
) -> mongodb::error::Result<bool> {
    let find = doc! { "find": collection.name(), "filter": {}, "hint": index };
    let explain = doc! { "explain": find, "verbosity": "queryPlanner" };
    let database = collection.client().database(&collection.namespace().db);
    Ok(is_multikey(&database.run_command(explain).await?))
}

/// Returns whether the plan of a query reads an index with lists in it.
fn is_multikey(plan: &Document) -> bool {
    plan.get_bool("isMultiKey").unwrap_or_default()
        || plan.values().any(|value| value.as_document().is_some_and(is_multikey))
}

async fn total<K: Kind>(
    collection: &Collection<RawDocumentBuf>,
    filter: &Filter,
    oddities: Oddities,
) -> mongodb::error::Result<u64> {
    let query = listed::<K>(filter, oddities);
    // Neither tags nor what is featured are in the indexes of lists.
    if oddities != Oddities::NONE || filter.tag.is_some() || filter.is_featured.is_some() {
        return collection.count_documents(query).await;
    }
    let index = index(filter);
    match &filter.audience {
        Audience::Editors => count(collection, query, index).await,
        Audience::Public(Hidden::AllOfSections) => collection.count_documents(query).await,
        // Which section an item belongs to is not in the index of all: those that are hidden are
        // counted by themselves.
        Audience::Public(Hidden::Of(hidden))
            if filter.section.is_none() && !hidden.ids.is_empty() =>
        {
            let all = narrowed(public::<K>(&Hidden::nothing(), oddities), filter);
            let mut of_hidden = all.clone();
            of_hidden.insert("section_id", doc! { "$in": references_to_hidden(hidden) });
            let all = count_public::<K>(collection, all, index).await?;
            let hidden = count_public::<K>(collection, of_hidden, indexes::NEWEST_OF_SECTION);
            Ok(all.saturating_sub(hidden.await?))
        }
        Audience::Public(_) => count_public::<K>(collection, query, index).await,
    }
}

/// Counts public items. Those that say nothing about being published are counted by themselves:
/// whether they are drafts is in no index.
async fn count_public<K: Kind>(
    collection: &Collection<RawDocumentBuf>,
    query: Document,
    index: &str,
) -> mongodb::error::Result<u64> {
    if !K::PUBLISHED_BY_DEFAULT {
        return count(collection, query, index).await;
    }
    let (mut said, mut unsaid) = (query.clone(), query);
    said.remove("$nor");
    said.insert("is_published", doc! { "$in": lenient::flag_values(true) });
    unsaid.insert("is_published", doc! { "$in": absent_values().to_vec() });
    Ok(count(collection, said, index).await? + count(collection, unsaid, index).await?)
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
    whole_range.entry("createdDate".to_owned()).or_insert(doc! { "$gte": Bson::MinKey }.into());
    match collection.count_documents(whole_range).hint(Hint::Name(index.to_owned())).await {
        // Until the index of a section's list is built: reading the collection takes half as long as
        // fetching each document by way of the index of the whole list.
        Err(error) if is_missing_index(&error) => collection.count_documents(query).await,
        counted => counted,
    }
}

/// The index that has the list in its order.
fn index(filter: &Filter) -> &'static str {
    if filter.section.is_some() { indexes::NEWEST_OF_SECTION } else { indexes::NEWEST }
}
