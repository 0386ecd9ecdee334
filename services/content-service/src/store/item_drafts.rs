//! Drafts beside what is published: one document for each item that has one
//! ([ADR 0062](../../../../docs/adr/0062-a-draft-beside-what-is-published.md)).

use data_service::{Abort, transact};
use models::ContentType;
use mongo_kit::document::{read, readable};
use mongodb::{
    ClientSession, Collection, Cursor, Database,
    bson::{self, DateTime as BsonDate, Document, RawDocument, RawDocumentBuf, doc},
    error::Result,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service_kit::web::error::ApiError;

use super::{content::ContentStore, dates::to_bson, kind::Kind, write::WriteError};

/// The collection of drafts.
pub(crate) const DRAFTS: &str = "content_drafts";

/// A draft as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Draft {
    /// The members of the body that was saved, as a request has them; the HTML is sanitised.
    pub(crate) body: Map<String, Value>,
    /// The state of the published text when the draft was begun.
    pub(crate) base: String,
    /// The id of the user who saved it last.
    pub(crate) user_id: Option<String>,
    /// The time of the first save.
    #[serde(rename = "createdDate")]
    pub(crate) created_date: BsonDate,
    /// The time of the last save that changed it.
    #[serde(rename = "updatedDate")]
    pub(crate) updated_date: BsonDate,
}

/// A draft that is to be saved.
pub(crate) struct NewDraft {
    /// The members of the body.
    pub(crate) body: Map<String, Value>,
    /// The state of the published text, for a draft that is begun.
    pub(crate) base: String,
    /// The id of the user who saves it.
    pub(crate) user_id: Option<String>,
}

/// Reads and removes the drafts of all kinds.
#[derive(Debug, Clone)]
pub(crate) struct DraftStore(Collection<RawDocumentBuf>);

impl DraftStore {
    pub(super) fn new(database: &Database) -> Self {
        Self(database.collection(DRAFTS))
    }

    /// Returns the draft of an item. `id` is the id with which the item is listed.
    pub(super) async fn find(
        &self,
        content_type: ContentType,
        id: &str,
        session: Option<&mut ClientSession>,
    ) -> Result<Option<Draft>> {
        let find = self.0.find_one(doc! { "_id": key(content_type, id) });
        let found = match session {
            Some(session) => find.session(session).await?,
            None => find.await?,
        };
        Ok(found.and_then(|document| readable(read(DRAFTS, &document))))
    }

    /// Returns the drafts of a kind that a filter matches.
    pub(super) async fn matching(
        &self,
        content_type: ContentType,
        mut filter: Document,
    ) -> Result<Cursor<RawDocumentBuf>> {
        filter.insert("_id.collection", content_type.collection());
        self.0.find(filter).await
    }

    /// Removes the draft of an item, if it has one.
    pub(super) async fn forget(
        &self,
        content_type: ContentType,
        id: &str,
        session: &mut ClientSession,
    ) -> Result<()> {
        let draft = doc! { "_id": key(content_type, id) };
        self.0.delete_one(draft).session(session).await.map(drop)
    }

    async fn write(
        &self,
        content_type: ContentType,
        id: &str,
        draft: &Draft,
        session: &mut ClientSession,
    ) -> Result<()> {
        let set = doc! { "$set": bson::serialize_to_document(draft)? };
        let update = self.0.update_one(doc! { "_id": key(content_type, id) }, set).upsert(true);
        update.session(session).await.map(drop)
    }
}

/// Returns the `_id` of the draft of an item.
fn key(content_type: ContentType, id: &str) -> Document {
    doc! { "collection": content_type.collection(), "item": id }
}

/// Returns the id of the item and the members of the body of a stored draft.
pub(super) fn parts(draft: &RawDocument) -> Option<(&str, &RawDocument)> {
    let id = draft.get_document("_id").ok()?.get_str("item").ok()?;
    Some((id, draft.get_document("body").ok()?))
}

impl<K: Kind> ContentStore<K> {
    /// Returns the draft of an item. `id` is the id with which the item is listed.
    pub(crate) async fn draft(&self, id: &str) -> Result<Option<Draft>> {
        self.drafts.find(K::TYPE, id, None).await
    }

    /// Saves the draft of an item, to what follows from the item and its present draft. A draft stays
    /// based on the text on which it was begun. One that changes nothing is not written.
    pub(crate) async fn save_draft(
        &self,
        id: &str,
        new: impl AsyncFn(&K, Option<&Draft>) -> std::result::Result<NewDraft, ApiError>,
    ) -> std::result::Result<(K, Draft), Abort<WriteError>> {
        let names = self.names().await?.value;
        transact(&self.writers, async |session: &mut ClientSession| {
            let (_, reading) = self.look_up_present(id, session).await?;
            let item = names.sign(reading.item);
            let id = item.meta().id.as_str();
            let present = self.drafts.find(K::TYPE, id, Some(&mut *session)).await?;
            let new = new(&item, present.as_ref()).await.map_err(WriteError::Refused)?;
            let NewDraft { body, base, user_id } = new;
            if let Some(present) = present.as_ref().filter(|present| present.body == body) {
                return Ok((item, present.clone()));
            }
            // Within a transaction, the clock is that of the server.
            let now = to_bson(self.clock.now());
            let (base, created_date) =
                present.map_or((base, now), |present| (present.base, present.created_date));
            let draft = Draft { body, base, user_id, created_date, updated_date: now };
            self.drafts.write(K::TYPE, id, &draft, session).await?;
            Ok((item, draft))
        })
        .await
    }

    /// Removes the draft of an item. `check` decides about the item and its draft.
    pub(crate) async fn drop_draft(
        &self,
        id: &str,
        check: impl Fn(&K, Option<&Draft>) -> std::result::Result<(), ApiError>,
    ) -> std::result::Result<(), Abort<WriteError>> {
        transact(&self.writers, async |session: &mut ClientSession| {
            let (_, reading) = self.look_up_present(id, session).await?;
            let id = reading.item.meta().id.as_str();
            let draft = self.drafts.find(K::TYPE, id, Some(&mut *session)).await?;
            check(&reading.item, draft.as_ref()).map_err(WriteError::Refused)?;
            Ok(self.drafts.forget(K::TYPE, id, session).await?)
        })
        .await
    }
}
