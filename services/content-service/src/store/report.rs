//! The documents of a kind that the content report names, besides those with a fault.

use data_service::report::Unreachable;
use futures_util::TryStreamExt;
use migrations::Skipped;
use mongo_kit::lenient;
use mongodb::{
    bson::{Bson, RawDocumentBuf, doc},
    error::Result,
};

use super::{
    content::ContentStore,
    filters::{Oddities, public, references},
    kind::{Kind, Note, Reading},
};
use crate::domain::audience::{Directory, Hidden};

impl<K: Kind> ContentStore<K> {
    /// Counts the groups of documents that the kind notes, and names some of each.
    pub(crate) async fn notes(&self) -> Result<Vec<Skipped>> {
        let mut notes = Vec::new();
        for note in K::notes() {
            notes.extend(self.note(note).await?);
        }
        Ok(notes)
    }

    async fn note(&self, Note { what, reason, filter }: Note) -> Result<Option<Skipped>> {
        let count = self.collection.count_documents(filter.clone()).await?;
        if count == 0 {
            return Ok(None);
        }
        let limit = i64::try_from(Skipped::MAX_EXAMPLES).unwrap_or(i64::MAX);
        let some = self.collection.find(filter).projection(doc! { "_id": 1 });
        let some: Vec<RawDocumentBuf> =
            some.sort(doc! { "_id": 1 }).limit(limit).await?.try_collect().await?;
        let id = |document: &RawDocumentBuf| Bson::try_from(document.get("_id").ok()??).ok();
        Ok(Some(Skipped {
            step: what.into(),
            reason: reason.to_owned(),
            count: i64::try_from(count).unwrap_or(i64::MAX),
            examples: some.iter().filter_map(id).collect(),
            unreachable: false,
        }))
    }

    /// Returns the published items that neither a list nor a look-up finds.
    ///
    /// Both restrict the public's filter ([`public`]) to items that can be read, and to those whose
    /// section does not hide them. An unpublished section hides them because an editor wants that;
    /// a deleted or unreadable one hides them by accident.
    pub(crate) async fn unreachable(&self, sections: &Directory) -> Result<Unreachable> {
        let nothing_hidden = Hidden::nothing();
        let mut of_hidden = public::<K>(&nothing_hidden, Oddities::ANY);
        of_hidden.insert("section_id", doc! { "$in": references(&sections.hidden_by_fault()) });
        let public = public::<K>(&nothing_hidden, Oddities { lists: true, ids: false });
        let unreadable = doc! { "$and": [lenient::unreadable_ids(), public] };
        let mut ids = Vec::new();
        for filter in [of_hidden, unreadable] {
            let documents = self.collection.find(filter).projection(doc! { "_id": 1 });
            let mut documents = documents.sort(doc! { "_id": 1 }).await?;
            while let Some(document) = documents.try_next().await? {
                ids.push(match Reading::<K>::new(&document) {
                    Ok(reading) => reading.item.meta().id.to_string(),
                    Err(unreadable) => unreadable.into_parts().0,
                });
            }
        }
        Ok(Unreachable { collection: K::TYPE.collection(), ids })
    }
}
