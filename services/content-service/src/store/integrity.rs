//! The faults of the stored content.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt;
use models::{IntegrityFinding, IntegrityKind, ObjectId, section_paths::Below};
use mongo_kit::lenient;
use mongodb::{
    bson::{Bson, Document, RawDocumentBuf, doc},
    error::Result,
};
use serde::Deserialize;

use super::{
    content::ContentStore,
    filters::{Oddities, not_deleted},
    kind::{Kind, Reading},
};
use crate::domain::audience::Directory;

const UNREADABLE: &str = "They are left out of every answer: give them an _id that is an ObjectId, \
                          text, a number or a UUID.";

const UNREADABLE_FIELDS: &str = "They are answered without the fields that are named, whose values \
                                 mean nothing there: correct them.";

/// The faults of readable items, in the order of the report.
const KINDS: [(IntegrityKind, &str); 6] = [
    (
        IntegrityKind::MissingSection,
        "Their section does not exist. They are public, and in no section's list: move them.",
    ),
    (
        IntegrityKind::DeletedSection,
        "Their section is in the trash, and the public does not see them: move them, or restore it.",
    ),
    (
        IntegrityKind::WrongType,
        "Their section is for content of another kind, and shows none of them: move them.",
    ),
    (
        IntegrityKind::DuplicateSlug,
        "Several that are not deleted have the same slug; the newest that is public is found by it.",
    ),
    (
        IntegrityKind::PathTaken,
        "A section or a redirect is at their path, so that no path leads to them: change their slug.",
    ),
    (IntegrityKind::MissingUser, "Their user does not exist: admins alone can change them."),
];

impl<K: Kind> ContentStore<K> {
    /// Returns everything that is wrong. Reads all of the collection but its texts.
    pub(crate) async fn check_integrity(
        &self,
        sections: &Directory,
        users: &HashSet<String>,
    ) -> Result<Vec<IntegrityFinding>> {
        let mut found: HashMap<IntegrityKind, Vec<String>> = HashMap::new();
        let (mut broken, mut fields) = (Vec::new(), Vec::new());
        let mut paths = HashMap::new();
        let documents = self.collection.clone_with_type::<Document>();
        let documents = documents.aggregate([without_texts()]).with_type::<RawDocumentBuf>();
        let mut documents = documents.await?;
        while let Some(document) = documents.try_next().await? {
            let item = match Reading::<K>::new(&document) {
                Ok(Reading { item, unreadable, .. }) => {
                    if !unreadable.is_empty() {
                        let unreadable = unreadable.iter().map(ToString::to_string).collect();
                        fields.push((item.meta().id.to_string(), unreadable));
                    }
                    item
                }
                Err(unreadable) => {
                    broken.push(unreadable.into_parts());
                    continue;
                }
            };
            let meta = item.meta();
            if meta.deleted {
                continue;
            }
            for kind in faults(&item, sections, users, &mut paths).into_iter().flatten() {
                found.entry(kind).or_default().push(meta.id.to_string());
            }
        }
        found.insert(IntegrityKind::DuplicateSlug, self.duplicate_slugs().await?);
        let finding = |(kind, message)| {
            let ids = found.remove(&kind).unwrap_or_default();
            IntegrityFinding::about(kind, K::TYPE.collection(), ids, message)
        };
        let kind = IntegrityKind::UnreadableDocument;
        let broken = IntegrityFinding::about_each(kind, K::TYPE.collection(), broken, UNREADABLE);
        let fields =
            IntegrityFinding::about_fields(K::TYPE.collection(), &fields, UNREADABLE_FIELDS);
        Ok(broken.into_iter().chain(fields).chain(KINDS.into_iter().filter_map(finding)).collect())
    }

    /// Returns the items whose slug another item has, both of them not deleted.
    async fn duplicate_slugs(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Group {
            ids: Vec<Bson>,
        }
        let mut named = not_deleted(Oddities::ANY);
        named.insert("slug", doc! { "$type": "string", "$ne": "" });
        let together = doc! { "_id": "$slug", "ids": { "$push": "$_id" }, "count": { "$sum": 1 } };
        let documents = self.collection.clone_with_type::<Document>();
        let groups = documents
            .aggregate([
                doc! { "$match": named },
                doc! { "$group": together },
                doc! { "$match": { "count": { "$gt": 1 } } },
                doc! { "$sort": { "_id": 1 } },
            ])
            .allow_disk_use(true)
            .with_type::<Group>();
        let groups: Vec<Group> = groups.await?.try_collect().await?;
        Ok(groups.iter().flat_map(|group| &group.ids).map(lenient::id_text).collect())
    }
}

/// Returns the stage that empties texts: an empty text is read like any other.
fn without_texts() -> Document {
    let is_text = doc! { "$eq": [{ "$type": "$content" }, "string"] };
    doc! { "$set": { "content": { "$cond": [is_text, "", "$content"] } } }
}

/// Returns the faults of an item. `paths` are those below the sections of earlier ones.
fn faults<'s, K: Kind>(
    item: &K,
    sections: &'s Directory,
    users: &HashSet<String>,
    paths: &mut HashMap<ObjectId, Below<'s>>,
) -> [Option<IntegrityKind>; 2] {
    let meta = item.meta();
    let section = meta.section_id.as_deref().and_then(|id| match sections.referenced(id) {
        None => Some(IntegrityKind::MissingSection),
        Some(entry) if entry.is_deleted => Some(IntegrityKind::DeletedSection),
        Some(entry) if entry.section.content_type != K::TYPE => Some(IntegrityKind::WrongType),
        Some(entry) => {
            let id = entry.section.id;
            let below = paths.entry(id).or_insert_with(|| sections.below(id));
            below.obstacle(item.slug()).map(|_| IntegrityKind::PathTaken)
        }
    });
    let user = meta.user_id.as_deref().filter(|id| !users.contains(*id));
    [section, user.map(|_| IntegrityKind::MissingUser)]
}
