//! Moving content to another section: all of it or none.

use data_service::{Abort, transact};
use futures_util::TryStreamExt;
use models::{Ids, MovedContent, ObjectId};
use mongo_kit::lenient;
use mongodb::{
    ClientSession,
    bson::{Bson, doc},
};
use serde::Deserialize;
use service_kit::ApiError;

use super::{ContentStore, Kind, kind::stored_date, references, stored_id};

/// Why nothing is moved.
#[derive(Debug)]
pub(crate) enum MoveError {
    /// Items with these ids do not exist, or are in the trash.
    Missing(Vec<ObjectId>),
    /// The section has more items than are moved at once.
    TooMany,
    /// The caller may not.
    Refused(ApiError),
}

/// What decides whether an item is moved.
#[derive(Debug, Deserialize)]
struct Moved {
    #[serde(rename = "_id")]
    id: Bson,
    #[serde(default)]
    user_id: Bson,
    #[serde(default)]
    section_id: Bson,
}

impl<K: Kind> ContentStore<K> {
    /// Moves content to a section, and tells how many items that were. What is moved by its
    /// section takes along what is in the trash: it is restored to where the others are.
    pub(crate) async fn move_to(
        &self,
        content: &MovedContent,
        section: ObjectId,
        may: &(dyn Fn(Option<&str>) -> Result<(), ApiError> + Sync),
    ) -> Result<u64, Abort<MoveError>> {
        let now = stored_date(self.clock.now());
        let moved = transact(&self.client, async |session: &mut ClientSession| {
            let found = self.moved(content, session).await?;
            for item in &found {
                may(owner(&item.user_id).as_deref())
                    .map_err(MoveError::Refused)
                    .map_err(Abort::Refused)?;
            }
            let there = Bson::from(section.to_string());
            let elsewhere = found.into_iter().filter(|item| item.section_id != there);
            let ids: Vec<_> = elsewhere.map(|item| item.id).collect();
            let change = doc! { "$set": { "section_id": there, "updatedDate": now } };
            let filter = doc! { "_id": { "$in": ids } };
            let result = self.collection.update_many(filter, change).session(session).await?;
            Ok(result.matched_count)
        })
        .await;
        self.wrote();
        moved
    }

    async fn moved(
        &self,
        content: &MovedContent,
        session: &mut ClientSession,
    ) -> Result<Vec<Moved>, Abort<MoveError>> {
        let filter = match content {
            MovedContent::Ids(ids) => {
                let ids: Vec<_> = ids.as_slice().iter().map(|id| stored_id(*id)).collect();
                doc! { "_id": { "$in": ids }, "deleted": { "$ne": true } }
            }
            MovedContent::SectionId(section) => {
                doc! { "section_id": { "$in": references(&[*section]) } }
            }
        };
        let limit = i64::try_from(Ids::MAX).unwrap_or(i64::MAX);
        let found: Vec<Moved> = self
            .collection
            .clone_with_type()
            .find(filter)
            .projection(doc! { "user_id": 1, "section_id": 1 })
            .limit(limit + 1)
            .session(&mut *session)
            .await?
            .stream(session)
            .try_collect()
            .await?;
        if found.len() > Ids::MAX {
            return Err(Abort::Refused(MoveError::TooMany));
        }
        if let MovedContent::Ids(ids) = content
            && found.len() < ids.as_slice().len()
        {
            let is_missing = |id: &ObjectId| {
                let id = Bson::from(stored_id(*id));
                !found.iter().any(|item| item.id == id)
            };
            let missing = ids.as_slice().iter().copied().filter(is_missing).collect();
            return Err(Abort::Refused(MoveError::Missing(missing)));
        }
        Ok(found)
    }
}

/// Whom an item belongs to; nobody where that cannot be read.
fn owner(user_id: &Bson) -> Option<String> {
    match user_id {
        Bson::String(_) | Bson::ObjectId(_) => Some(lenient::id_text(user_id)),
        _ => None,
    }
}
