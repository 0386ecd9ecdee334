//! Moving content to another section: all of it or none.

use data_service::{
    Abort,
    revisions::{ChangedItem, RecordedPart, RevisionAction, merge},
    transact,
};
use futures_util::TryStreamExt;
use models::ObjectId;
use mongo_kit::lenient::{self, FieldReader};
use mongodb::{
    ClientSession,
    bson::{Bson, Document, RawDocument, RawDocumentBuf, doc, rawdoc},
};
use service_kit::web::error::ApiError;

use super::{
    content::{Changed, ContentStore},
    filters::references,
    ids::ById,
    keys::ContentKeys,
    kind::{Kind, SLUG, stored_date},
    write::{SlugGuard, UPDATED},
};
use crate::domain::content::{ContentId, ContentIds, MovedContent};

/// The reason why nothing is moved.
#[derive(Debug)]
pub(crate) enum MoveError {
    /// Items with these ids do not exist, or are in the trash.
    Missing(Vec<ContentId>),
    /// The section has more items than are moved at once.
    TooMany,
    /// The caller may not move them.
    Refused(ApiError),
}

impl From<MoveError> for Abort<MoveError> {
    fn from(error: MoveError) -> Self {
        Self::Refused(error)
    }
}

/// The fields that a move changes.
const MOVED: [&str; 2] = ["section_id", UPDATED];

/// The fields that decide whether an item is moved.
#[derive(Debug)]
struct Candidate {
    id: Bson,
    user_id: Option<String>,
    section_id: Option<String>,
    slug: String,
    deleted: bool,
    /// The fields that a move changes, as they are stored.
    former: RawDocumentBuf,
}

impl Candidate {
    /// Reads a document, unless its `_id` has no text.
    fn read(document: &RawDocument) -> Option<Self> {
        let mut reader = FieldReader::new(document);
        let id = reader.value("_id")?;
        lenient::stored_id_text(id).ok()?;
        Some(Self {
            id: Bson::try_from(id).ok()?,
            user_id: reader.reference("user_id"),
            section_id: reader.reference("section_id"),
            slug: reader.text(SLUG).unwrap_or_default(),
            deleted: reader.flag("deleted").unwrap_or_default(),
            former: merge(&rawdoc! {}, document, |field| MOVED.contains(&field)).ok()?,
        })
    }
}

impl<K: Kind> ContentStore<K> {
    /// Moves content to a section, and returns the number of items. With all content of a section the
    /// items in its trash are moved too, so that they are restored to where the others are.
    pub(crate) async fn move_to(
        &self,
        content: &MovedContent,
        section: ObjectId,
        may: &(dyn Fn(Option<&str>) -> Result<(), ApiError> + Sync),
        guard: SlugGuard<'_>,
        user_id: Option<&str>,
    ) -> Result<Changed<u64>, Abort<MoveError>> {
        let moved = transact(&self.writers, async |session: &mut ClientSession| {
            let now = stored_date(self.clock.now());
            let found = self.candidates(content, session).await?;
            for item in &found {
                may(item.user_id.as_deref()).map_err(MoveError::Refused)?;
            }
            let there = section.to_string();
            let (mut ids, mut former) = (Vec::new(), Vec::new());
            for item in found.into_iter().filter(|item| item.section_id.as_ref() != Some(&there)) {
                if !item.deleted {
                    guard(&item.slug).map_err(MoveError::Refused)?;
                }
                ids.push(item.id.clone());
                former.push(ChangedItem {
                    id: item.id,
                    before: item.former,
                    fields: MOVED.map(str::to_owned).to_vec(),
                    action: RevisionAction::Moved,
                });
            }
            let change = doc! { "$set": { "section_id": &there, UPDATED: now } };
            let filter = doc! { "_id": { "$in": &ids } };
            let result = self.collection.update_many(filter, change).session(&mut *session).await?;
            self.search.move_to::<K>(&ids, &there, session).await?;
            let (kind, part) = (K::TYPE.collection(), RecordedPart::ChangedFields);
            let recorded =
                self.revisions.record_together(kind, &former, part, user_id, now, session);
            recorded.await?;
            Ok(result.matched_count)
        })
        .await;
        // As for any number of items.
        let keys = ContentKeys::of::<K>().all();
        self.changes.record(&keys, &moved);
        Ok(Changed { value: moved?, keys })
    }

    /// Returns the items that are to be moved, if all of them are there.
    async fn candidates(
        &self,
        content: &MovedContent,
        session: &mut ClientSession,
    ) -> Result<Vec<Candidate>, Abort<MoveError>> {
        let ids = match content {
            MovedContent::Ids(ids) => ids.as_slice(),
            MovedContent::SectionId(section) => {
                let of_section = doc! { "section_id": { "$in": references(&[*section]) } };
                let found = self.find_candidates(of_section, session).await?;
                let found: Vec<_> =
                    found.iter().filter_map(|document| Candidate::read(document)).collect();
                let is_too_many = found.len() > ContentIds::MAX;
                return if is_too_many { Err(MoveError::TooMany.into()) } else { Ok(found) };
            }
        };
        let stored: Vec<_> =
            ids.iter().flat_map(|id| lenient::id_candidates(id.as_str())).collect();
        let found = self.find_candidates(doc! { "_id": { "$in": stored } }, session).await?;
        let mut by_id = ById::new(found, RawDocumentBuf::as_ref);
        let mut moved = Vec::with_capacity(ids.len());
        let mut missing = Vec::new();
        for id in ids {
            let candidate = by_id.take(id.as_str());
            let candidate = candidate.and_then(|document| Candidate::read(&document));
            match candidate.filter(|candidate| !candidate.deleted) {
                Some(candidate) => moved.push(candidate),
                None => missing.push(id.clone()),
            }
        }
        if missing.is_empty() { Ok(moved) } else { Err(MoveError::Missing(missing).into()) }
    }

    async fn find_candidates(
        &self,
        filter: Document,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<Vec<RawDocumentBuf>> {
        let limit = i64::try_from(ContentIds::MAX).unwrap_or(i64::MAX);
        self.collection
            .find(filter)
            .projection(doc! { "user_id": 1, "section_id": 1, SLUG: 1, "deleted": 1, UPDATED: 1 })
            // Twice, since one id may be the text of two documents, of which it means one.
            .limit(2 * limit + 1)
            .session(&mut *session)
            .await?
            .stream(session)
            .try_collect()
            .await
    }
}
