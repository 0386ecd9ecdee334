//! Everything that a person should know about the stored content: the same for `doctor` and for
//! what migrations report.

use data_service::report::Unreachable;
use futures_util::TryStreamExt;
use migrations::Skipped;
use models::{IntegrityFinding, IntegrityKind};
use mongo_kit::{Connection, lenient};
use mongodb::{
    bson::{Bson, Document, RawDocumentBuf, doc},
    error::Result,
};
use service_kit::runtime::clock::Clock;

use super::{
    ContentStore, Kind, Oddities, Pages, Projects, Stories, USERS, UserStore,
    kind::{Reading, absent_values},
    not_deleted, public, references,
};
use crate::domain::{Directory, Hidden};

const UNREADABLE_USERS: &str = "They are taken for nobody: correct what is wrong with them.";

/// Reads all content and all users, and changes nothing.
pub(crate) struct DataReport {
    users: UserStore,
    stories: ContentStore<Stories>,
    projects: ContentStore<Projects>,
    pages: ContentStore<Pages>,
}

impl DataReport {
    pub(crate) fn new(connection: &Connection) -> Self {
        Self {
            users: UserStore::new(connection.database()),
            stories: ContentStore::new(connection, Clock::system()),
            projects: ContentStore::new(connection, Clock::system()),
            pages: ContentStore::new(connection, Clock::system()),
        }
    }

    /// Returns everything that is wrong.
    pub(crate) async fn findings(&self, sections: &Directory) -> Result<Vec<IntegrityFinding>> {
        let (users, broken) = self.users.ids().await?;
        let kind = IntegrityKind::UnreadableDocument;
        let broken = IntegrityFinding::about_each(kind, USERS, broken, UNREADABLE_USERS);
        let mut findings = self.stories.faults(sections, &users).await?;
        findings.extend(self.projects.faults(sections, &users).await?);
        findings.extend(self.pages.faults(sections, &users).await?);
        findings.extend(broken);
        Ok(findings)
    }

    /// Returns the published items that neither a list nor a look-up finds.
    pub(crate) async fn unreachable(&self, sections: &Directory) -> Result<[Unreachable; 3]> {
        Ok([
            self.stories.unreachable(sections).await?,
            self.projects.unreachable(sections).await?,
            self.pages.unreachable(sections).await?,
        ])
    }
}

impl DataReport {
    /// Returns what nothing is wrong with and a person may want to know. These are no steps of the
    /// migrations that they belong to, since no index finds the documents: looking for them at each
    /// start would read whole collections.
    pub(crate) async fn notes(&self) -> Result<Vec<Skipped>> {
        let mut unsaid = public::<Projects>(&Hidden::Of([].into()), Oddities::ANY);
        unsaid.insert("is_published", doc! { "$in": absent_values().to_vec() });
        let mut without_slug = not_deleted(Oddities::ANY);
        without_slug.insert("slug", doc! { "$in": [null, ""] });
        let notes = [
            (
                "projects without is_published",
                "they are public, as a project is that does not say otherwise",
                unsaid,
            ),
            (
                "projects without slug",
                "they are in lists, and have no address of their own until an editor gives them one",
                without_slug,
            ),
        ];
        let mut found = Vec::new();
        for (what, reason, filter) in notes {
            found.extend(self.projects.note(what, reason, filter).await?);
        }
        Ok(found)
    }
}

impl<K: Kind> ContentStore<K> {
    /// Counts documents and names some of them. Returns `None` if there are none.
    async fn note(
        &self,
        what: &'static str,
        reason: &str,
        filter: Document,
    ) -> Result<Option<Skipped>> {
        let count = self.collection.count_documents(filter.clone()).await?;
        if count == 0 {
            return Ok(None);
        }
        let limit = i64::try_from(Skipped::MAX_EXAMPLES).unwrap_or(i64::MAX);
        let some = self.collection.find(filter).projection(doc! { "_id": 1 });
        let some: Vec<RawDocumentBuf> =
            some.sort(doc! { "_id": 1 }).limit(limit).await?.try_collect().await?;
        let id = |document: &RawDocumentBuf| Bson::try_from(document.get("_id").ok()??).ok();
        Ok(Some(Skipped {
            step: what.into(),
            reason: reason.to_owned(),
            count: i64::try_from(count).unwrap_or(i64::MAX),
            examples: some.iter().filter_map(id).collect(),
            unreachable: false,
        }))
    }

    /// Returns the items that say that they are public and that neither a list nor a look-up finds.
    ///
    /// Both restrict the public's filter ([`public`]) to items that can be read, and to those whose
    /// section does not hide them. An unpublished section hides them because an editor wants that;
    /// a deleted or unreadable one hides them by accident.
    async fn unreachable(&self, sections: &Directory) -> Result<Unreachable> {
        let nothing_hidden = Hidden::Of([].into());
        let mut of_hidden = public::<K>(&nothing_hidden, Oddities::ANY);
        of_hidden.insert("section_id", doc! { "$in": references(&sections.hidden_by_fault()) });
        let public = public::<K>(&nothing_hidden, Oddities { lists: true, ids: false });
        let unreadable = doc! { "$and": [lenient::unreadable_ids(), public] };
        let mut ids = Vec::new();
        for filter in [of_hidden, unreadable] {
            let documents = self.collection.find(filter).projection(doc! { "_id": 1 });
            let mut documents = documents.sort(doc! { "_id": 1 }).await?;
            while let Some(document) = documents.try_next().await? {
                ids.push(match Reading::<K>::new(&document) {
                    Ok(reading) => reading.common.id.to_string(),
                    Err(unreadable) => unreadable.into_parts().0,
                });
            }
        }
        Ok(Unreachable { collection: K::COLLECTION, ids })
    }
}
