//! What is wrong with the stored content.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt;
use models::{Common, IntegrityFinding, IntegrityKind};
use mongo_kit::lenient;
use mongodb::{
    bson::{Bson, Document, RawDocumentBuf, doc},
    error::Result,
};
use serde::Deserialize;

use super::{ContentStore, Kind, Oddities, kind::Reading, not_deleted};
use crate::domain::Directory;

const UNREADABLE: &str = "They are left out of every answer: give them an _id that is an ObjectId, \
                          text, a number or a UUID.";

const UNREADABLE_FIELDS: &str = "They are answered without the fields that are named, whose values \
                                 mean nothing there: correct them.";

/// What is found besides, in the order of the report.
const KINDS: [(IntegrityKind, &str); 5] = [
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
    (IntegrityKind::MissingUser, "Their user does not exist: admins alone can change them."),
];

impl<K: Kind> ContentStore<K> {
    /// Everything that is wrong. Reads all of the collection but its texts.
    pub(crate) async fn faults(
        &self,
        sections: &Directory,
        users: &HashSet<String>,
    ) -> Result<Vec<IntegrityFinding>> {
        let mut found: HashMap<IntegrityKind, Vec<String>> = HashMap::new();
        let (mut broken, mut fields) = (Vec::new(), Vec::new());
        let documents = self.collection.clone_with_type::<Document>();
        let documents = documents.aggregate([without_texts()]).with_type::<RawDocumentBuf>();
        let mut documents = documents.await?;
        while let Some(document) = documents.try_next().await? {
            let common = match Reading::<K>::new(&document) {
                Ok(Reading { common, unreadable, .. }) => {
                    if !unreadable.is_empty() {
                        let unreadable = unreadable.iter().map(ToString::to_string).collect();
                        fields.push((common.id.to_string(), unreadable));
                    }
                    common
                }
                Err(unreadable) => {
                    broken.push(unreadable.into_parts());
                    continue;
                }
            };
            if common.deleted {
                continue;
            }
            for kind in of_item::<K>(&common, sections, users) {
                found.entry(kind).or_default().push(common.id.to_string());
            }
        }
        if K::UNTITLED.is_some() {
            found.insert(IntegrityKind::DuplicateSlug, self.twins().await?);
        }
        let finding = |(kind, message)| {
            let ids = found.remove(&kind).unwrap_or_default();
            IntegrityFinding::about(kind, K::COLLECTION, ids, message)
        };
        let kind = IntegrityKind::UnreadableDocument;
        let broken = IntegrityFinding::about_each(kind, K::COLLECTION, broken, UNREADABLE);
        let fields = IntegrityFinding::about_fields(K::COLLECTION, &fields, UNREADABLE_FIELDS);
        Ok(broken.into_iter().chain(fields).chain(KINDS.into_iter().filter_map(finding)).collect())
    }

    /// Items whose slug another one has that is not deleted either.
    async fn twins(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Twins {
            ids: Vec<Bson>,
        }
        let mut named = not_deleted(Oddities::ANY);
        named.insert("slug", doc! { "$type": "string", "$ne": "" });
        let together = doc! { "_id": "$slug", "ids": { "$push": "$_id" }, "count": { "$sum": 1 } };
        let documents = self.collection.clone_with_type::<Document>();
        let twins = documents
            .aggregate([
                doc! { "$match": named },
                doc! { "$group": together },
                doc! { "$match": { "count": { "$gt": 1 } } },
                doc! { "$sort": { "_id": 1 } },
            ])
            .allow_disk_use(true)
            .with_type::<Twins>();
        let twins: Vec<Twins> = twins.await?.try_collect().await?;
        Ok(twins.iter().flat_map(|twins| &twins.ids).map(lenient::id_text).collect())
    }
}

/// A text is read no differently from an empty one.
fn without_texts() -> Document {
    let is_text = doc! { "$eq": [{ "$type": "$content" }, "string"] };
    doc! { "$set": { "content": { "$cond": [is_text, "", "$content"] } } }
}

fn of_item<'a, K: Kind>(
    common: &'a Common,
    sections: &Directory,
    users: &'a HashSet<String>,
) -> impl Iterator<Item = IntegrityKind> {
    let section = common.section_id.as_deref().and_then(|id| match sections.referenced(id) {
        None => Some(IntegrityKind::MissingSection),
        Some(section) if section.is_deleted => Some(IntegrityKind::DeletedSection),
        Some(section) if section.content_type != K::CONTENT_TYPE => Some(IntegrityKind::WrongType),
        Some(_) => None,
    });
    let user = common.user_id.as_deref().filter(|id| !users.contains(*id));
    section.into_iter().chain(user.map(|_| IntegrityKind::MissingUser))
}
