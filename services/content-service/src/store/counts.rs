//! How much content belongs to sections.

use futures_util::TryStreamExt;
use models::{ContentCounts, ObjectId};
use mongodb::{
    bson::{Document, doc},
    error::Result,
};
use serde::Deserialize;

use super::{ContentStore, Kind, Oddities, references};

impl<K: Kind> ContentStore<K> {
    /// Adds how many items that are not deleted belong to each of these sections.
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
                doc! { "$match": super::not_deleted(Oddities::ANY) },
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
