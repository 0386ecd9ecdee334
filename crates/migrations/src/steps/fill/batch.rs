//! Batches of a collection, by `_id`.

use futures_util::TryStreamExt;
use mongodb::{
    ClientSession, Collection,
    action::Find,
    bson::{Bson, Document, RawDocument, RawDocumentBuf, doc, spec::ElementType},
    error::Result,
};

/// A range of the collection, the documents to change in it, and its end.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    /// A filter for the range, to read it again.
    pub(super) range: Document,
    /// The `_id`s and the fields that the change reads and sets, in the order of the ids.
    pub(super) documents: Vec<Document>,
    /// The cursor after the batch.
    pub(super) end: Bson,
}

impl Batch {
    /// Splits the batch into halves.
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

/// Returns the `_id` of a document.
pub(super) fn id_of(document: &Document) -> &Bson {
    document.get("_id").unwrap_or(&Bson::Null)
}

/// Reads the documents to change of a collection.
pub(super) struct BatchReader {
    pub(super) collection: Collection<RawDocumentBuf>,
    pub(super) filter: Document,
    pub(super) projection: Document,
}

impl BatchReader {
    /// Reads the batch of at most `size` documents after a cursor. Documents that need no change
    /// count too, so that the cursor moves over ranges that are done.
    pub(super) async fn after(&self, cursor: Bson, upper: &Bson, size: u64) -> Result<Batch> {
        let last = self
            .collection
            .clone_with_type::<Document>()
            .find_one(between(&cursor, upper))
            .sort(doc! { "_id": 1 })
            .skip(size - 1)
            .projection(doc! { "_id": 1 })
            .await?;
        let end = last.and_then(|mut found| found.remove("_id")).unwrap_or_else(|| upper.clone());
        let range = between(&cursor, &end);
        Ok(Batch { documents: self.find(&range).await?, range, end })
    }

    fn action(&self, range: &Document) -> Find<'_, RawDocumentBuf> {
        let filter = doc! { "$and": [range, &self.filter] };
        let found = self.collection.find(filter);
        found.sort(doc! { "_id": 1 }).projection(self.projection.clone())
    }

    /// Returns the documents of a range that are to be changed.
    pub(super) async fn find(&self, range: &Document) -> Result<Vec<Document>> {
        let found: Vec<_> = self.action(range).await?.try_collect().await?;
        found.iter().map(|found| lossy(found)).collect()
    }

    /// Returns the same documents in the transaction of the session.
    pub(super) async fn find_in(
        &self,
        session: &mut ClientSession,
        range: &Document,
    ) -> Result<Vec<Document>> {
        let mut found = self.action(range).session(&mut *session).await?;
        let found: Vec<_> = found.stream(session).try_collect().await?;
        found.iter().map(|found| lossy(found)).collect()
    }
}

/// Decodes a document. Text that is not UTF-8, such as Latin-1, is decoded with replacement
/// characters, because one such text must not end the run. A value that a change replaces is
/// compared with the stored one before it is written.
fn lossy(document: &RawDocument) -> Result<Document> {
    let mut decoded = Document::new();
    for element in document.iter_elements() {
        let element = element?;
        let key = element.key().as_str();
        // An inexact `_id` would match no document.
        let value = match key {
            "_id" => Bson::try_from(element.value()?)?,
            _ => Bson::try_from(element.value_utf8_lossy()?)?,
        };
        decoded.insert(key, value);
    }
    Ok(decoded)
}

/// Returns `true` if two `_id`s are equal to the server, for which "not a number" is one value.
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

/// Returns a filter for `low < _id ≤ high` in the order of the index on `_id`.
///
/// The comparison operators of a query stay within one BSON type. Those of the aggregation compare
/// across types in the order of the index, and use it, but are evaluated again for each document.
fn between(low: &Bson, high: &Bson) -> Document {
    // For the query operators nothing is less or greater than "not a number".
    let is_plain = |id: &Bson| id.element_type() != ElementType::EmbeddedDocument && !is_nan(id);
    if low.element_type() == high.element_type() && is_plain(low) && is_plain(high) {
        return doc! { "_id": { "$gt": low.clone(), "$lte": high.clone() } };
    }
    doc! { "$expr": { "$and": [
        { "$gt": ["$_id", { "$literal": low.clone() }] },
        { "$lte": ["$_id", { "$literal": high.clone() }] },
    ] } }
}

/// Returns a filter for `_id ≤ high` in the order of the index on `_id`, across types.
fn up_to(high: &Bson) -> Document {
    doc! { "$expr": { "$lte": ["$_id", { "$literal": high.clone() }] } }
}
