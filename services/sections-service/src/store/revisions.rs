//! The earlier states of sections ([ADR 0060](../../../../docs/adr/0060-revisions-are-whole-documents.md)).

use std::collections::{BTreeSet, HashMap};

use data_service::revisions::{
    ChangedItem, ComparedState, Revised, Revision, RevisionAction, members,
};
use models::{ObjectId, Section};
use mongodb::{
    bson::{Bson, RawDocument, RawDocumentBuf, doc, oid},
    error::Result,
};
use service_kit::web::error::ApiError;

use super::{SectionStore, collections::COLLECTION, parse::parse_sections, write::Maker};
use crate::domain::stored_section::StoredSection;

/// The members that a revision does not give back: those that other routes or other sections decide, and
/// those that are not stored.
const KEPT: [&str; 8] = [
    "id",
    "createdDate",
    "updatedDate",
    "is_published",
    "is_home",
    "sort_order",
    "path",
    "is_deleted",
];

/// The field with the position among the siblings, which is theirs together: a change of it alone makes no
/// revision.
const POSITION: &str = "sort_order";

/// A section before a change, and at a later time.
pub(crate) struct Comparison {
    pub(crate) revision: Revision,
    pub(crate) before: Section,
    pub(crate) after: Section,
}

/// Returns the names of the members of a section that a revision can give back.
pub(crate) fn restorable_members(
    section: &Section,
) -> std::result::Result<BTreeSet<String>, ApiError> {
    let names = members(section)?.into_iter().map(|(name, _)| name);
    Ok(names.filter(|name| !KEPT.contains(&name.as_str())).collect())
}

/// Returns the kind of a change of a section.
pub(super) fn action(
    before: &StoredSection,
    after: &StoredSection,
    maker: Maker<'_>,
) -> RevisionAction {
    match (before.is_deleted, after.is_deleted) {
        (false, true) => RevisionAction::Deleted,
        (true, false) => RevisionAction::Restored,
        _ if maker.reverted == Some(after.section.id) => RevisionAction::Reverted,
        _ => RevisionAction::Changed,
    }
}

/// Returns the changes that are recorded, with the documents before them.
pub(super) fn changed_items(
    changed: Vec<(Bson, Vec<String>, RevisionAction)>,
    documents: Vec<RawDocumentBuf>,
) -> Vec<ChangedItem> {
    let changed = changed.into_iter();
    let mut recorded: HashMap<_, _> = changed
        .filter(|(_, fields, _)| fields.iter().any(|field| field != POSITION))
        .map(|(id, fields, action)| (key(&id), (id, fields, action)))
        .collect();
    let mut items = Vec::with_capacity(recorded.len());
    for before in documents {
        if recorded.is_empty() {
            break;
        }
        let found = id_of(&before).and_then(|id| recorded.remove(&key(&id)));
        items.extend(found.map(|(id, fields, action)| ChangedItem { id, before, fields, action }));
    }
    items
}

fn id_of(document: &RawDocument) -> Option<Bson> {
    document.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok())
}

/// Returns a key of an `_id`, for maps.
fn key(id: &Bson) -> String {
    format!("{id:?}")
}

fn section(document: RawDocumentBuf) -> Option<Section> {
    let stored = parse_sections(&[document]).stored.into_iter().next();
    stored.map(|stored| stored.section)
}

impl SectionStore {
    /// Returns the document of a section that is not in the trash, with its `_id`.
    async fn document(&self, id: ObjectId) -> Result<Option<(Bson, RawDocumentBuf)>> {
        let snapshot = self.snapshot().await?.value;
        if snapshot.navigation.all().iter().all(|section| section.id != id) {
            return Ok(None);
        }
        // As the text of an id it is stored only if no section has the id itself.
        for stored in [Bson::from(oid::ObjectId::from_bytes(id.bytes())), id.to_string().into()] {
            if let Some(document) = self.collection.find_one(doc! { "_id": &stored }).await? {
                return Ok(Some((stored, document)));
            }
        }
        Ok(None)
    }

    /// Returns a page of the revisions of a section, newest first, and `true` if there are more, or `None`
    /// if there is no such section.
    pub(crate) async fn revisions(
        &self,
        id: ObjectId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Option<(Vec<Revision>, bool)>> {
        let Some((id, _)) = self.document(id).await? else { return Ok(None) };
        let item = Revised { kind: COLLECTION, id: &id };
        self.revisions.page(item, before, limit).await.map(Some)
    }

    /// Returns the section before the change with this number, and at a later time. The outer `None` is no
    /// section, the inner one no revision.
    pub(crate) async fn compare(
        &self,
        id: ObjectId,
        number: i64,
        with: ComparedState,
    ) -> Result<Option<Option<Comparison>>> {
        let Some((id, present)) = self.document(id).await? else { return Ok(None) };
        let item = Revised { kind: COLLECTION, id: &id };
        let state = self.revisions.state(item, number, &present, None).await?;
        let Some((revision, before)) = state else { return Ok(Some(None)) };
        let next = match with {
            ComparedState::Present => None,
            ComparedState::Next => {
                self.revisions.state(item, number.saturating_add(1), &present, None).await?
            }
        };
        let after = next.map_or(present, |(_, document)| document);
        let sections = section(before).zip(section(after));
        Ok(Some(sections.map(|(before, after)| Comparison { revision, before, after })))
    }
}
