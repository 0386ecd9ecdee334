//! Moving content to another section: all of it or none.

use std::collections::HashMap;

use data_service::{Abort, transact};
use futures_util::TryStreamExt;
use models::{ContentId, ContentIds, MovedContent, ObjectId};
use mongo_kit::lenient::{self, FieldReader};
use mongodb::{
    ClientSession,
    bson::{Bson, RawDocumentBuf, doc},
};
use service_kit::web::error::ApiError;

use super::{ContentStore, Kind, Oddities, kind::stored_date, not_deleted, references};

/// Why nothing is moved.
#[derive(Debug)]
pub(crate) enum MoveError {
    /// Items with these ids do not exist, or are in the trash.
    Missing(Vec<ContentId>),
    /// The section has more items than are moved at once.
    TooMany,
    /// The caller may not.
    Refused(ApiError),
}

/// The fields that decide whether an item is moved.
#[derive(Debug)]
struct Moved {
    id: Bson,
    /// The `_id` as it is listed.
    listed: String,
    precedence: u8,
    user_id: Option<String>,
    section_id: Option<String>,
}

impl Moved {
    /// Reads a document, unless its `_id` has no text.
    fn read(document: &RawDocumentBuf) -> Option<Self> {
        let mut reader = FieldReader::new(document);
        let id = reader.value("_id")?;
        Some(Self {
            id: Bson::try_from(id).ok()?,
            listed: lenient::stored_id_text(id).ok()?,
            precedence: lenient::id_precedence(id),
            user_id: reader.reference("user_id"),
            section_id: reader.reference("section_id"),
        })
    }
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
                may(item.user_id.as_deref()).map_err(MoveError::Refused).map_err(Abort::Refused)?;
            }
            let there = section.to_string();
            let elsewhere =
                found.into_iter().filter(|item| item.section_id.as_ref() != Some(&there));
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
                let candidates =
                    ids.as_slice().iter().flat_map(|id| lenient::id_candidates(id.as_str()));
                let mut filter = not_deleted(Oddities::ANY);
                filter.insert("_id", doc! { "$in": candidates.collect::<Vec<_>>() });
                filter
            }
            MovedContent::SectionId(section) => {
                doc! { "section_id": { "$in": references(&[*section]) } }
            }
        };
        let limit = i64::try_from(ContentIds::MAX).unwrap_or(i64::MAX);
        let found: Vec<RawDocumentBuf> = self
            .collection
            .find(filter)
            .projection(doc! { "user_id": 1, "section_id": 1 })
            // Twice, since a text may be that of two documents, of which one is meant.
            .limit(2 * limit + 1)
            .session(&mut *session)
            .await?
            .stream(session)
            .try_collect()
            .await?;
        let found = found.iter().filter_map(Moved::read);
        let MovedContent::Ids(ids) = content else {
            let found: Vec<_> = found.collect();
            let is_too_many = found.len() > ContentIds::MAX;
            return if is_too_many { Err(Abort::Refused(MoveError::TooMany)) } else { Ok(found) };
        };
        let mut by_id: HashMap<String, Moved> = HashMap::with_capacity(ids.as_slice().len());
        for moved in found {
            let known = by_id.get(&moved.listed);
            if known.is_none_or(|known| moved.precedence < known.precedence) {
                by_id.insert(moved.listed.clone(), moved);
            }
        }
        let mut moved = Vec::with_capacity(ids.as_slice().len());
        let mut missing = Vec::new();
        for id in ids.as_slice() {
            // The digits of an ObjectId may be of either case.
            let listed = id.as_str().parse().map(|id: ObjectId| id.to_string());
            let one = by_id.remove(id.as_str());
            match one.or_else(|| by_id.remove(&listed.ok()?)) {
                Some(one) => moved.push(one),
                None => missing.push(id.clone()),
            }
        }
        if missing.is_empty() {
            Ok(moved)
        } else {
            Err(Abort::Refused(MoveError::Missing(missing)))
        }
    }
}
