//! Pages of a collection, by `_id`.

use futures_util::TryStreamExt;
use mongodb::{
    Collection,
    bson::{Bson, Document, RawDocument, RawDocumentBuf, doc, spec::ElementType},
};

/// A range of the collection: documents in it that are to be changed, and its end.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// The range, so that it can be looked at again.
    pub(super) range: Document,
    /// The `_id` and the fields that the change sets, in the order of the ids.
    pub(super) documents: Vec<Document>,
    /// The cursor when the page is done.
    pub(super) end: Bson,
}

impl Page {
    /// Its two halves.
    pub(super) fn split(self) -> [Self; 2] {
        let Self { range, mut documents, end } = self;
        let second = documents.split_off(documents.len() / 2);
        let middle = documents.last().map_or(Bson::Null, |document| id_of(document).clone());
        let before = doc! { "$and": [range.clone(), up_to(&middle)] };
        let after = doc! { "$and": [range, { "$nor": [up_to(&middle)] }] };
        [
            Self { range: before, documents, end: middle },
            Self { range: after, documents: second, end },
        ]
    }
}

pub(super) fn id_of(document: &Document) -> &Bson {
    document.get("_id").unwrap_or(&Bson::Null)
}

/// Where pages come from.
pub(super) struct Pages {
    pub(super) collection: Collection<Document>,
    pub(super) filter: Document,
    pub(super) projection: Document,
}

impl Pages {
    /// The page of at most `size` documents after a cursor. Documents that need no change count
    /// too, so that the cursor moves over ranges that are done.
    pub(super) async fn after(
        &self,
        cursor: Bson,
        upper: &Bson,
        size: u64,
    ) -> mongodb::error::Result<Page> {
        let last = self
            .collection
            .find_one(between(&cursor, upper))
            .sort(doc! { "_id": 1 })
            .skip(size - 1)
            .projection(doc! { "_id": 1 });
        let last = last.await?.and_then(|mut found| found.remove("_id"));
        let end = last.unwrap_or_else(|| upper.clone());
        let range = between(&cursor, &end);
        let filter = doc! { "$and": [range.clone(), self.filter.clone()] };
        let collection = self.collection.clone_with_type::<RawDocumentBuf>();
        let found = collection.find(filter);
        let found = found.sort(doc! { "_id": 1 }).projection(self.projection.clone()).await?;
        let found: Vec<_> = found.try_collect().await?;
        let documents = found.iter().map(|found| lossy(found)).collect::<Result<_, _>>()?;
        Ok(Page { range, documents, end })
    }
}

/// Reads a document. Text that is not UTF-8, as programs have stored Latin-1, is read as far as it
/// is: one such text must not end the run. What a change replaces is compared with what is stored
/// before it is written.
pub(super) fn lossy(document: &RawDocument) -> mongodb::error::Result<Document> {
    let mut read = Document::new();
    for element in document.iter_elements() {
        let element = element?;
        let key = element.key().as_str();
        // An `_id` is exact, or it would lead nowhere.
        let value = match key {
            "_id" => Bson::try_from(element.value()?)?,
            _ => Bson::try_from(element.value_utf8_lossy()?)?,
        };
        read.insert(key, value);
    }
    Ok(read)
}

/// Whether two `_id`s are the same to the server, to which "not a number" is one value.
pub(super) fn is_same(one: &Bson, other: &Bson) -> bool {
    one == other || (is_nan(one) && is_nan(other))
}

fn is_nan(id: &Bson) -> bool {
    match id {
        Bson::Double(number) => number.is_nan(),
        Bson::Decimal128(number) => number.to_string().ends_with("NaN"),
        _ => false,
    }
}

/// `low < _id ≤ high` in the order of the index on `_id`.
///
/// The comparison operators of a query stay within one BSON type; the aggregation's compare across
/// types in the very order of the index, and use it, but are evaluated once more on each document.
fn between(low: &Bson, high: &Bson) -> Document {
    // For them nothing is less or greater than what is not a number.
    let is_plain = |id: &Bson| id.element_type() != ElementType::EmbeddedDocument && !is_nan(id);
    if low.element_type() == high.element_type() && is_plain(low) && is_plain(high) {
        return doc! { "_id": { "$gt": low.clone(), "$lte": high.clone() } };
    }
    doc! { "$expr": { "$and": [
        { "$gt": ["$_id", { "$literal": low.clone() }] },
        { "$lte": ["$_id", { "$literal": high.clone() }] },
    ] } }
}

/// `_id ≤ high` in the order of the index on `_id`, across types.
fn up_to(high: &Bson) -> Document {
    doc! { "$expr": { "$lte": ["$_id", { "$literal": high.clone() }] } }
}
