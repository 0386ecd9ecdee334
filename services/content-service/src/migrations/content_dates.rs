//! BSON dates for content whose dates are stored in another type.
//!
//! A few such items are put in their place whenever a list is read. On a site that stored all of
//! its dates as text or numbers that would cost too much, so its dates become dates.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use migrations::{
    Assign, Definition, EachDocument, Fill, Migration, MigrationKind, Skip, Step, Steps, StepsError,
};
use mongo_kit::lenient::stored_date;
use mongodb::{
    ClientSession, Collection, Database,
    bson::{Bson, Document, RawDocumentBuf, doc},
};

use super::{CONTENT, Context, definition, story_dates::STORY_DATES};
use crate::store::{kind, survey::MAX_ODD_DATED};

/// The fields that become dates. The one that orders lists comes last: until it is converted, a
/// resumed run finds work to do.
const FIELDS: [&str; 2] = ["updatedDate", "createdDate"];

/// The BSON types of values that may stand for a date, apart from dates.
const TYPES: [&str; 5] = ["string", "symbol", "number", "object", "timestamp"];

/// Maximum number of distinct values without a meaning that a filter lists. Beyond it, the documents
/// that will change cannot be determined in advance, and the field is left as it is.
const MAX_UNCLEAR_VALUES: usize = 10_000;

/// The most bytes of one such value: a longer one would make the filter too large for a command.
const MAX_UNCLEAR_BYTES: usize = 256;

/// Gives BSON dates to the content of a collection where more than a few items have dates of
/// another type.
pub(super) struct ContentDates {
    database: Database,
}

pub(super) fn migration(context: &Context<'_>) -> ContentDates {
    ContentDates { database: context.database.clone() }
}

#[async_trait]
impl Migration for ContentDates {
    fn definition(&self) -> Definition {
        Definition {
            // It fills in dates in the type in which it finds them.
            requires: &[STORY_DATES],
            ..definition("0008_content_dates", MigrationKind::Backfill, "dates are stored as dates")
        }
    }

    fn specification(&self) -> Document {
        doc! {
            "collections": CONTENT, "fields": FIELDS.to_vec(),
            "types": TYPES.to_vec(), "above": MAX_ODD_DATED,
        }
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        let mut steps = Steps::new();
        for name in CONTENT {
            let collection = self.database.collection(name);
            let limit = u64::try_from(MAX_ODD_DATED + 1).unwrap_or(u64::MAX);
            let odd = collection.count_documents(of_another_type("createdDate", &[])).limit(limit);
            if odd.await? < limit {
                continue;
            }
            for field in FIELDS {
                steps.push(step(&collection, name, field).await?);
            }
        }
        Ok(steps)
    }
}

async fn step(
    collection: &Collection<Document>,
    name: &'static str,
    field: &'static str,
) -> Result<Arc<dyn Step>, StepsError> {
    let key = format!("{name}: {field} of another type → date").into();
    Ok(match unclear_values(collection, field).await? {
        Some(unclear) => Arc::new(Fill {
            key,
            collection: name,
            filter: of_another_type(field, &unclear),
            assign: Assign::Each(Arc::new(AsDate([field]))),
        }),
        None => Arc::new(Skip {
            key,
            reason: "too many or too odd values of it are no dates".to_owned(),
            documents: Some((name, of_another_type(field, &[]))),
        }),
    })
}

/// Matches documents whose field is of another type than a date, and none of these values.
fn of_another_type(field: &str, unclear: &[Bson]) -> Document {
    let mut condition = doc! { "$type": TYPES.to_vec(), "$not": { "$type": "array" } };
    if !unclear.is_empty() {
        condition.insert("$nin", unclear);
    }
    doc! { field: condition }
}

/// Returns the different values of a field that are no dates, or `None` if they are too many.
async fn unclear_values(
    collection: &Collection<Document>,
    field: &str,
) -> mongodb::error::Result<Option<Vec<Bson>>> {
    let mut documents = collection
        .clone_with_type::<RawDocumentBuf>()
        .find(of_another_type(field, &[]))
        .projection(doc! { "_id": 0, field: 1 })
        .await?;
    let mut unclear: BTreeMap<Vec<u8>, Bson> = BTreeMap::new();
    while let Some(document) = documents.try_next().await? {
        // A text that is not UTF-8 can stand in no query of the driver.
        let Ok(value) = document.get(field) else { return Ok(None) };
        let Some(value) = value else { continue };
        if stored_date(value).date().is_some() {
            continue;
        }
        if document.as_bytes().len() > MAX_UNCLEAR_BYTES || unclear.len() >= MAX_UNCLEAR_VALUES {
            return Ok(None);
        }
        let Ok(owned) = Bson::try_from(value) else { return Ok(None) };
        // No query can name a document like this: it would be taken for an operator.
        if owned.as_document().is_some_and(|one| one.keys().any(|key| key.starts_with('$'))) {
            return Ok(None);
        }
        unclear.insert(document.as_bytes().to_vec(), owned);
    }
    Ok(Some(unclear.into_values().collect()))
}

/// Makes a date of one of [`FIELDS`].
#[derive(Debug)]
struct AsDate([&'static str; 1]);

#[async_trait]
impl EachDocument for AsDate {
    fn reads(&self) -> &'static [&'static str] {
        &[]
    }

    fn writes(&self) -> &[&'static str] {
        &self.0
    }

    async fn assign(
        &self,
        documents: Vec<Document>,
        _: &mut ClientSession,
    ) -> mongodb::error::Result<Vec<(Bson, Document)>> {
        let [field] = self.0;
        let mut assigned = Vec::with_capacity(documents.len());
        for mut document in documents {
            let raw = RawDocumentBuf::try_from(&document)?;
            let date = raw.get(field).ok().flatten().and_then(|value| stored_date(value).date());
            if let Some(date) = date {
                let id = document.remove("_id").unwrap_or(Bson::Null);
                assigned.push((id, doc! { field: kind::stored_date(date) }));
            }
        }
        Ok(assigned)
    }
}
