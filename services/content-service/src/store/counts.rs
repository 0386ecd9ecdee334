//! The numbers of items of sections.

use futures_util::TryStreamExt;
use models::{ContentCounts, ContentType, ObjectId};
use mongo_kit::Connection;
use mongodb::{
    bson::{Bson, Document, doc},
    error::Result,
};
use serde::Deserialize;

use super::{
    content::ContentStore,
    filters::{Oddities, not_deleted, references},
    kind::Kind,
};

impl<K: Kind> ContentStore<K> {
    /// Adds the numbers of items of these sections that are not deleted.
    pub(crate) async fn count_in(
        &self,
        sections: &[ObjectId],
        counts: &mut ContentCounts,
    ) -> Result<()> {
        #[derive(Deserialize)]
        struct Count {
            #[serde(rename = "_id")]
            section: String,
            items: i64,
        }
        let belongs = doc! { "section_id": { "$in": references(sections) } };
        let mut counted = self
            .collection
            .clone_with_type::<Document>()
            .aggregate([
                doc! { "$match": belongs },
                doc! { "$match": not_deleted(Oddities::ANY) },
                // As text, whichever way it is stored.
                doc! { "$group": { "_id": { "$toString": "$section_id" }, "items": { "$sum": 1_i64 } } },
            ])
            .with_type::<Count>()
            .await?;
        while let Some(Count { section, items }) = counted.try_next().await? {
            if let Ok(section) = section.parse() {
                *counts.entry(section).or_default() += items.unsigned_abs();
            }
        }
        Ok(())
    }
}

/// Returns the number of items, deleted ones too, that belong to one of these sections, which are
/// given by their `_id`s.
pub async fn count_linked(connection: &Connection, sections: &[Bson]) -> Result<u64> {
    let ids = sections.iter().filter_map(Bson::as_object_id);
    let ids: Vec<_> = ids.map(|id| ObjectId::from_bytes(id.bytes())).collect();
    let linked = doc! { "section_id": { "$in": references(&ids) } };
    let mut count = 0;
    for kind in ContentType::ALL {
        let collection = connection.database().collection::<Document>(kind.collection());
        count += collection.count_documents(linked.clone()).await?;
    }
    Ok(count)
}
