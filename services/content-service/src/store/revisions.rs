//! The earlier states of items ([ADR 0060](../../../../docs/adr/0060-revisions-are-whole-documents.md)).

use std::collections::BTreeSet;

use data_service::{
    Abort,
    revisions::{
        ComparedState, Recorded, Revised, Revision, RevisionAction, differing_fields, members,
        merge,
    },
    transact,
};
use mongo_kit::document::readable;
use mongodb::{
    ClientSession,
    bson::{RawDocument, RawDocumentBuf, doc, oid, rawdoc},
    error::Result,
};
use service_kit::web::error::ApiError;

use super::{
    content::{Changed, ContentStore},
    ids::{NoItem, no_item},
    kind::{Kind, Reading, SLUG, stored_date},
    write::{Guard, UPDATED, WriteError, is_searched, item, stored_id},
};
use crate::domain::schedule::{PUBLISH_AT, UNPUBLISH_AT};

/// The collection of revisions.
pub(crate) const REVISIONS: &str = "content_revisions";

/// The members that a revision does not give back: those of the item as a whole, which other routes
/// change, and those that are not stored.
const KEPT: [&str; 10] = [
    "id",
    "createdDate",
    UPDATED,
    "deleted",
    "is_published",
    PUBLISH_AT,
    UNPUBLISH_AT,
    "user_id",
    "author",
    "path",
];

/// The fields that migrations fill. A revision from before that does not empty them again.
const FILLED: [&str; 2] = [SLUG, "section_id"];

/// An item before a change, and the same item at a later time.
pub(crate) struct Comparison<K> {
    pub(crate) revision: Revision,
    pub(crate) before: K,
    pub(crate) after: K,
}

/// Returns the names of the fields that a revision of this kind can give back: those that the API writes.
pub(crate) fn restorable_fields<K: Kind>() -> BTreeSet<String> {
    let document = rawdoc! { "_id": oid::ObjectId::from_bytes([0; 12]) };
    let item = Reading::<K>::new(&document).ok().map(|reading| reading.item);
    let names = item.and_then(|item| members(&item).ok()).unwrap_or_default();
    names.into_iter().map(|(name, _)| name).filter(|name| !KEPT.contains(&name.as_str())).collect()
}

impl<K: Kind> ContentStore<K> {
    /// Returns an item that is not in the trash, as it is stored and as it is read.
    pub(crate) async fn revised(
        &self,
        id: &str,
    ) -> Result<std::result::Result<(RawDocumentBuf, K), NoItem>> {
        let Some(document) = self.find_by_id(id, None).await? else { return Ok(Err(no_item(id))) };
        let reading = readable(Reading::<K>::with_warnings(&document));
        let item = reading.map(|one| one.item).filter(|item| !item.meta().deleted);
        Ok(item.map(|item| (document, item)).ok_or(NoItem::NotFound))
    }

    /// Returns a page of the revisions of an item, newest first, and `true` if there are more.
    pub(crate) async fn revisions(
        &self,
        item: &RawDocument,
        before: Option<i64>,
        limit: u32,
    ) -> Result<(Vec<Revision>, bool)> {
        let id = stored_id(item)?;
        self.revisions.page(Revised { kind: K::TYPE.collection(), id: &id }, before, limit).await
    }

    /// Returns the item before the change with this number, and at a later time.
    pub(crate) async fn compare(
        &self,
        present: &RawDocument,
        number: i64,
        with: ComparedState,
    ) -> Result<Option<Comparison<K>>> {
        let id = stored_id(present)?;
        let item = Revised { kind: K::TYPE.collection(), id: &id };
        let state = self.revisions.state(item, number, present, None).await?;
        let Some((revision, before)) = state else { return Ok(None) };
        let next = match with {
            ComparedState::Present => None,
            ComparedState::Next => {
                self.revisions.state(item, number.saturating_add(1), present, None).await?
            }
        };
        let after = next.as_ref().map_or(present, |(_, document)| document);
        let names = self.names().await?.value;
        let read = |document| readable(Reading::<K>::with_warnings(document));
        let items = read(&before).zip(read(after));
        Ok(items.map(|(before, after)| Comparison {
            revision,
            before: names.sign(before.item),
            after: names.sign(after.item),
        }))
    }

    /// Sets fields of an item to the values that they had before a change: the chosen ones, or all that
    /// [can be](restorable_fields). `check` decides about the item as it would be. An item that has the
    /// values already stays as it is.
    pub(crate) async fn revert(
        &self,
        id: &str,
        number: i64,
        chosen: &BTreeSet<String>,
        guard: Guard<'_, K>,
        check: impl AsyncFn(&K, &K) -> std::result::Result<(), ApiError>,
        user_id: Option<&str>,
    ) -> std::result::Result<Changed<K>, Abort<WriteError>> {
        let names = self.names().await?.value;
        let mut fields = Vec::new();
        let result = transact(&self.writers, async |session: &mut ClientSession| {
            fields.clear();
            let (found, reading) = self.look_up_present(id, session).await?;
            let former_slug = reading.slug;
            let current = names.sign(reading.item);
            guard(&current).map_err(WriteError::Refused)?;
            let stored_id = stored_id(&found)?;
            let of_item = Revised { kind: K::TYPE.collection(), id: &stored_id };
            let state = self.revisions.state(of_item, number, &found, Some(&mut *session)).await?;
            let (_, earlier) = state.ok_or(WriteError::NoRevision)?;
            let is_restored = |name: &str| {
                let is_missing =
                    FILLED.contains(&name) && !matches!(earlier.get(name), Ok(Some(_)));
                chosen.contains(name) && !is_missing
            };
            let restored = merge(&earlier, &found, |name| !is_restored(name))?;
            let changed = differing_fields(&found, &restored)?;
            if changed.is_empty() {
                return Ok(current);
            }
            let target = Reading::<K>::new(&restored).map_err(|_| WriteError::NoRevision)?;
            check(&current, &target.item).await.map_err(WriteError::Refused)?;
            if target.slug != former_slug {
                let slug = target.slug.as_deref().filter(|slug| !slug.is_empty());
                self.rename(&found, former_slug.as_deref(), slug, session).await?;
            }
            let now = stored_date(self.clock.now());
            let restored =
                merge(&restored, &rawdoc! { "updatedDate": now }, |name| name == UPDATED)?;
            // Replaced, since an update cannot set a text that is not UTF-8. The transaction conflicts with
            // every other write of the item, so that none is lost.
            let one = doc! { "_id": &stored_id };
            self.collection.replace_one(one, &restored).session(&mut *session).await?;
            if changed.iter().any(|field| is_searched::<K>(field)) {
                self.search.write::<K>(&restored, session).await?;
            }
            let recorded = Recorded { user_id, action: RevisionAction::Reverted, at: now };
            self.revisions.record(of_item, &found, &changed, recorded, session).await?;
            fields.clone_from(&changed);
            Ok(names.sign(item::<K>(&restored)?))
        })
        .await;
        self.updated(fields, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::tests::{Page, Story};

    #[test]
    fn a_revision_gives_back_what_editors_write() {
        let common = ["title", "content", "section_id", "slug", "tags", "date", "noindex"];
        for (fields, own) in
            [(restorable_fields::<Story>(), None), (restorable_fields::<Page>(), Some("page_type"))]
        {
            assert!(
                common.iter().chain(own.iter()).all(|name| fields.contains(*name)),
                "{fields:?}"
            );
            assert!(!KEPT.iter().any(|name| fields.contains(*name)), "{fields:?}");
        }
    }
}
