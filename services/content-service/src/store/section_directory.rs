//! The last known sections of sections-service, for the time when it is unavailable.
//!
//! This is a copy of a response and never a second source: it is replaced by each response that
//! differs from it.

use std::time::Duration;

use models::SectionEntry;
use mongo_kit::is_duplicate_key;
use mongodb::{
    Collection, Database,
    bson::{Bson, Document, doc},
    error::{Error, Result},
    options::WriteConcern,
};

use super::collections::SECTION_DIRECTORY;

/// The `_id` of the one document of the collection.
const ID: &str = "sections";

/// Reads and replaces the kept sections.
pub(crate) struct DirectoryStore(Collection<Document>);

/// The state of the kept sections. Each replacement has another one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Revision(Bson);

/// The kept sections.
pub(crate) struct StoredDirectory {
    pub(crate) revision: Revision,
    /// The sections and the time since they were last replaced or confirmed, by the clock of the
    /// database. `None` if there are none that this program can read.
    pub(crate) sections: Option<(Vec<SectionEntry>, Duration)>,
}

/// The outcome of a replacement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Replaced {
    /// The sections are kept, with this revision.
    By(Revision),
    /// Another process has replaced the sections since the revision was read.
    Raced,
}

impl DirectoryStore {
    pub(crate) fn new(database: &Database) -> Self {
        Self(database.collection(SECTION_DIRECTORY))
    }

    /// Returns the kept sections.
    pub(crate) async fn load(&self) -> Result<StoredDirectory> {
        let age = doc! { "$subtract": ["$$NOW", "$confirmed_at"] };
        let fields = doc! { "revision": 1, "entries": 1, "age": age };
        let stored = self.0.find_one(doc! { "_id": ID }).projection(fields).await?;
        let Some(stored) = stored else {
            return Ok(StoredDirectory { revision: Revision(Bson::Null), sections: None });
        };
        let revision = Revision(stored.get("revision").cloned().unwrap_or(Bson::Null));
        let entries = stored.get_str("entries").map_err(Error::custom);
        let entries =
            entries.and_then(|entries| serde_json::from_str(entries).map_err(Error::custom));
        let sections = match (entries, stored.get_i64("age")) {
            (Ok(entries), Ok(age)) => {
                Some((entries, Duration::from_millis(age.try_into().unwrap_or(0))))
            }
            (entries, _) => {
                let error = entries.err().map(|error| error.to_string());
                tracing::warn!(error, "the last known sections are ignored: they cannot be read");
                None
            }
        };
        Ok(StoredDirectory { revision, sections })
    }

    /// Replaces the kept sections if they still have this revision. The same sections are confirmed.
    pub(crate) async fn replace(
        &self,
        revision: &Revision,
        entries: &[SectionEntry],
    ) -> Result<Replaced> {
        let json = serde_json::to_string(entries).map_err(Error::custom)?;
        let Revision(current) = revision;
        let next = Bson::Int64(current.as_i64().unwrap_or(0) + 1);
        let fields = doc! {
            "revision": next.clone(),
            "entries": { "$literal": json },
            "confirmed_at": "$$NOW",
        };
        let replaced = self
            .0
            .update_one(doc! { "_id": ID, "revision": current }, vec![doc! { "$set": fields }])
            // Without a revision there is no document; null matches the missing field.
            .upsert(*current == Bson::Null)
            .write_concern(WriteConcern::majority())
            .await;
        match replaced {
            Ok(result) if result.matched_count == 0 && result.upserted_id.is_none() => {
                Ok(Replaced::Raced)
            }
            Ok(_) => Ok(Replaced::By(Revision(next))),
            Err(error) if is_duplicate_key(&error) => Ok(Replaced::Raced),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use models::{ContentType, DisplayType, NavVisibility, ObjectId, PageMeta, Section};
    use test_support::TestDatabase;

    use super::*;

    fn entry(slug: &str, title: &str) -> SectionEntry {
        SectionEntry {
            section: Section {
                id: ObjectId::from_bytes([1; 12]),
                title: title.to_owned(),
                slug: slug.to_owned(),
                parent_id: None,
                display_type: DisplayType::Feed,
                content_type: ContentType::Story,
                nav_visibility: NavVisibility::Main,
                sort_order: -3,
                sort_by: None,
                is_published: false,
                is_home: false,
                created_date: Some(chrono::DateTime::<chrono::Utc>::MIN_UTC),
                updated_date: chrono::DateTime::from_timestamp_millis(253_402_300_800_123),
                path: None,
                page: PageMeta::default(),
            },
            is_deleted: false,
            is_unreadable: true,
            is_public: false,
            former_paths: vec!["/a%20b".to_owned()],
        }
    }

    #[tokio::test]
    async fn sections_are_kept_as_they_are_and_replaced_only_by_who_knows_the_last_ones() {
        let database = TestDatabase::new().await;
        let store = DirectoryStore::new(database.database());
        let empty = store.load().await.unwrap();
        assert!(empty.sections.is_none());
        let first = [entry("$a", "\u{1F600} {\"$b\": 1}")];
        let Replaced::By(one) = store.replace(&empty.revision, &first).await.unwrap() else {
            panic!("no other process writes")
        };
        let stored = store.load().await.unwrap();
        assert_eq!(stored.revision, one);
        let (entries, age) = stored.sections.unwrap();
        assert_eq!(entries, first);
        assert!(age < Duration::from_secs(60), "{age:?}");
        // A process that started before.
        let stale = store.replace(&empty.revision, &[]).await.unwrap();
        assert_eq!(stale, Replaced::Raced);
        let second = [entry("b", "B")];
        let Replaced::By(two) = store.replace(&one, &second).await.unwrap() else {
            panic!("no other process writes")
        };
        assert_eq!(store.replace(&one, &first).await.unwrap(), Replaced::Raced);
        let stored = store.load().await.unwrap();
        assert_eq!((stored.revision, stored.sections.unwrap().0), (two, second.to_vec()));
    }

    #[tokio::test]
    async fn sections_of_another_form_are_ignored_and_can_be_replaced() {
        let database = TestDatabase::new().await;
        let store = DirectoryStore::new(database.database());
        for odd in [
            doc! { "_id": ID },
            doc! { "_id": ID, "revision": "x", "entries": 7 },
            doc! { "_id": ID, "revision": 5_i64, "entries": "[{}]", "confirmed_at": null },
        ] {
            store.0.delete_many(doc! {}).await.unwrap();
            store.0.insert_one(odd).await.unwrap();
            let stored = store.load().await.unwrap();
            assert!(stored.sections.is_none());
            let entries = [entry("a", "A")];
            let replaced = store.replace(&stored.revision, &entries).await.unwrap();
            assert!(matches!(replaced, Replaced::By(_)));
            assert_eq!(store.load().await.unwrap().sections.unwrap().0, entries);
        }
    }
}
