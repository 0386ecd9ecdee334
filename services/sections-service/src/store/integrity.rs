//! Faults of the stored sections and redirects, and the repair of those that lose nothing.

use std::collections::HashSet;

use data_service::{Abort, report::Unreachable};
use futures_util::TryStreamExt;
use models::{IntegrityFinding, IntegrityKind, section_paths::Redirects};
use mongodb::{
    Collection,
    bson::{DateTime, Document, RawDocumentBuf, doc},
    error::Result,
};

use super::{
    SectionStore, all_documents,
    collections::{COLLECTION, REDIRECTS},
    parse::{ParsedSections, parse_redirect, parse_sections},
    write::{Checked, Maker},
};
use crate::domain::{
    integrity::{Violations, find_violations},
    tree::Tree,
    tree_error::TreeError,
};

impl SectionStore {
    /// Returns all faults.
    pub(crate) async fn check_integrity(&self) -> Result<Vec<IntegrityFinding>> {
        let Faults { violations, unreadable, unreadable_fields } = self.find_faults().await?;
        let kind = IntegrityKind::UnreadableDocument;
        let unreadable = unreadable.into_iter().filter_map(|(collection, found)| {
            IntegrityFinding::about_each(kind, collection, found, message(kind))
        });
        let message_of_fields = message(IntegrityKind::UnreadableField);
        let fields =
            IntegrityFinding::about_fields(COLLECTION, &unreadable_fields, message_of_fields);
        let violations = violations.into_iter().filter_map(|(kind, ids)| {
            IntegrityFinding::about(kind, collection_of(kind), ids, message(kind))
        });
        Ok(unreadable.chain(fields).chain(violations).collect())
    }

    /// Returns the published sections that neither a list nor a look-up finds: those that cannot be
    /// read, those that are drafts because a field cannot be read, and those that cannot be reached
    /// from the top.
    pub(crate) async fn unreachable(&self) -> Result<Unreachable> {
        let ParsedSections { stored, unreadable, .. } =
            parse_sections(&all_documents(&self.collection).await?);
        let unreadable = unreadable.into_iter().filter(|one| one.is_published && !one.is_deleted);
        let mut ids: Vec<_> = unreadable.map(|one| one.error.into_parts().0).collect();
        let withheld = stored.iter().filter(|one| one.is_withheld);
        let withheld = withheld.filter(|one| !one.unreadable.contains(&"is_published"));
        ids.extend(withheld.map(|one| one.section.id.to_string()));
        let published = stored.iter().filter(|one| one.section.is_published);
        let published: HashSet<_> = published.map(|one| one.section.id.to_string()).collect();
        let is_obstacle = |kind: &IntegrityKind| {
            matches!(
                kind,
                IntegrityKind::Cycle
                    | IntegrityKind::MissingParent
                    | IntegrityKind::DeletedParent
                    | IntegrityKind::Unreachable
            )
        };
        let violations = self.find_faults().await?.violations.into_iter();
        let obstructed = violations.filter(|(kind, _)| is_obstacle(kind)).flat_map(|(_, ids)| ids);
        ids.extend(obstructed.filter(|id| published.contains(id)));
        Ok(Unreachable { collection: COLLECTION, ids })
    }

    /// Repairs the faults whose repair loses nothing, and returns them. Every document is copied to
    /// `section_repairs` before it is changed or removed.
    pub(crate) async fn repair_faults(&self) -> Result<Vec<IntegrityFinding>> {
        let mut repaired = self.check_integrity().await?;
        repaired.retain(|finding| finding.repairable);
        // A finding has the ids of its first documents only.
        for (kind, ids) in self.find_faults().await?.violations {
            match kind {
                IntegrityKind::MissingParent => self.adopt(&ids).await?,
                IntegrityKind::DeadRedirect | IntegrityKind::RedirectLoop => {
                    let paths = doc! { "path": { "$in": ids } };
                    self.back_up(&self.redirects, paths.clone()).await?;
                    self.redirects.delete_many(paths).await?;
                }
                _ => {}
            }
        }
        self.changes.record_unknown();
        Ok(repaired)
    }

    async fn find_faults(&self) -> Result<Faults> {
        let ParsedSections { stored, unreadable, unreadable_fields, .. } =
            parse_sections(&all_documents(&self.collection).await?);
        let sections = unreadable.into_iter().map(|one| one.error.into_parts()).collect();
        let (mut redirects, mut unreadable_redirects) = (Vec::new(), Vec::new());
        for document in all_documents(&self.redirects).await? {
            match parse_redirect(&document) {
                Ok(redirect) => redirects.push(redirect),
                Err(error) => unreadable_redirects.push(error.into_parts()),
            }
        }
        let tree = Tree::new(stored, HashSet::new());
        let violations = find_violations(&tree, &Redirects::from_iter(redirects));
        let unreadable_fields = unreadable_fields
            .into_iter()
            .map(|(id, fields)| (id.to_string(), fields.iter().map(ToString::to_string).collect()));
        let unreadable_fields = unreadable_fields.collect();
        let unreadable = [(COLLECTION, sections), (REDIRECTS, unreadable_redirects)];
        Ok(Faults { violations, unreadable, unreadable_fields })
    }

    /// Moves sections whose parent does not exist to the top, as drafts.
    async fn adopt(&self, ids: &[String]) -> Result<()> {
        let orphans: HashSet<_> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let ParsedSections { stored_ids, .. } =
            parse_sections(&all_documents(&self.collection).await?);
        let ids: Vec<_> = orphans.iter().map(|id| stored_ids.get(*id)).collect();
        self.back_up(&self.collection, doc! { "_id": { "$in": ids } }).await?;
        let checked = Checked::default();
        let adopted = self.change(&checked, Maker::default(), |tree, now| {
            tree.adopt_orphans(&orphans, now);
            Ok::<_, TreeError>(())
        });
        match adopted.await {
            // The tree refuses no adoption, and an adoption needs no empty section.
            Ok(_) | Err(Abort::Refused(_)) => Ok(()),
            Err(Abort::Database(error)) => Err(error),
        }
    }

    /// Copies documents to `section_repairs`.
    async fn back_up(&self, of: &Collection<RawDocumentBuf>, filter: Document) -> Result<()> {
        let now = DateTime::from_millis(self.clock.now().timestamp_millis());
        let found: Vec<Document> =
            of.clone_with_type::<Document>().find(filter).await?.try_collect().await?;
        let copies: Vec<_> = found
            .into_iter()
            .map(|document| doc! { "at": now, "collection": of.name(), "document": document })
            .collect();
        if !copies.is_empty() {
            self.repairs.insert_many(copies).await?;
        }
        Ok(())
    }
}

/// The faults of the stored documents.
struct Faults {
    violations: Violations,
    /// The documents that cannot be read, by collection: their ids and faults.
    unreadable: [(&'static str, Vec<(String, String)>); 2],
    /// The fields of sections that cannot be read, by the id of the section.
    unreadable_fields: Vec<(String, Vec<String>)>,
}

fn collection_of(kind: IntegrityKind) -> &'static str {
    match kind {
        IntegrityKind::DeadRedirect | IntegrityKind::RedirectLoop => REDIRECTS,
        _ => COLLECTION,
    }
}

/// Returns the meaning of a kind of fault for an operator, with the remedy.
fn message(kind: IntegrityKind) -> &'static str {
    match kind {
        IntegrityKind::Cycle => {
            "Each of these sections is its own ancestor, so that none can be reached: give one of them \
             another `parent_id`."
        }
        IntegrityKind::MissingParent => {
            "The parent of these sections does not exist: give them another `parent_id`. A repair moves \
             them to the top as drafts, so that the public sees no more than before."
        }
        IntegrityKind::DeletedParent => {
            "The parent of these sections is deleted: restore it, or give them another `parent_id`."
        }
        IntegrityKind::Unreachable => {
            "These sections cannot be reached from the top, because of a fault of one of their ancestors."
        }
        IntegrityKind::DuplicateSlug => {
            "These sections have the same slug: change the slug of all but one."
        }
        IntegrityKind::UnreadableDocument => {
            "These documents are left out of every answer: correct the faults that are named."
        }
        IntegrityKind::UnreadableField => {
            "These sections are answered with defaults for the fields that are named: correct the \
             values. A section is a draft if such a field decides who sees it; publishing the section \
             stores what editors see."
        }
        IntegrityKind::DeadRedirect => {
            "These paths redirect to sections that do not exist. A repair removes the redirects."
        }
        IntegrityKind::RedirectLoop => {
            "These paths redirect to themselves. A repair removes the redirects."
        }
        _ => "",
    }
}
