//! What is wrong with the stored sections and redirects, and repairing what is safe to repair.

use std::collections::HashSet;

use data_service::{Abort, report::Unreachable};
use futures_util::TryStreamExt;
use models::{IntegrityFinding, IntegrityKind};
use mongodb::{
    Collection,
    bson::{DateTime, Document, RawDocumentBuf, doc},
    error::Result,
};

use super::{
    COLLECTION, REDIRECTS, SectionStore,
    document::{Parsed, parse, rule},
    documents,
};
use crate::domain::{Findings, Redirects, Refusal, Tree, inspect};

impl SectionStore {
    /// Everything that is wrong.
    pub(crate) async fn faults(&self) -> Result<Vec<IntegrityFinding>> {
        let (faults, broken, fields) = self.look().await?;
        let kind = IntegrityKind::UnreadableDocument;
        let broken = broken.into_iter().filter_map(|(collection, found)| {
            IntegrityFinding::about_each(kind, collection, found, message(kind))
        });
        let faults = faults.into_iter().filter_map(|(kind, ids)| {
            IntegrityFinding::about(kind, collection_of(kind), ids, message(kind))
        });
        let message = message(IntegrityKind::UnreadableField);
        let fields = IntegrityFinding::about_fields(COLLECTION, &fields, message);
        Ok(broken.chain(fields).chain(faults).collect())
    }

    /// Returns the published sections that neither a list nor a look-up finds: those that cannot be
    /// read, those that are drafts because a field cannot be read, and those that cannot be reached
    /// from the top.
    pub(crate) async fn unreachable(&self) -> Result<Unreachable> {
        let Parsed { stored, unreadable, .. } = parse(&documents(&self.collection).await?);
        let broken = unreadable.into_iter().filter(|one| one.is_published && !one.is_deleted);
        let mut ids: Vec<_> = broken.map(|one| one.error.into_parts().0).collect();
        let withheld = stored.iter().filter(|one| one.is_withheld);
        let withheld = withheld.filter(|one| !one.unreadable.contains(&"is_published"));
        ids.extend(withheld.map(|one| one.section.id.to_string()));
        let published = stored.iter().filter(|one| one.section.is_published);
        let published: HashSet<_> = published.map(|one| one.section.id.to_string()).collect();
        let is_out_of_reach = |kind: &IntegrityKind| {
            matches!(
                kind,
                IntegrityKind::Cycle
                    | IntegrityKind::MissingParent
                    | IntegrityKind::DeletedParent
                    | IntegrityKind::Unreachable
            )
        };
        let (faults, ..) = self.look().await?;
        let faults = faults.into_iter().filter(|(kind, _)| is_out_of_reach(kind));
        ids.extend(faults.flat_map(|(_, ids)| ids).filter(|id| published.contains(id)));
        Ok(Unreachable { collection: COLLECTION, ids })
    }

    /// Repairs what can be repaired without losing anything, and says what that was. Every document
    /// is kept as it was in `section_repairs` before it is changed or removed.
    pub(crate) async fn mend(&self) -> Result<Vec<IntegrityFinding>> {
        let mut found = self.faults().await?;
        found.retain(|finding| finding.repairable);
        // The findings name the first documents alone.
        for (kind, ids) in self.look().await?.0 {
            match kind {
                IntegrityKind::MissingParent => self.adopt(&ids).await?,
                IntegrityKind::DeadRedirect | IntegrityKind::RedirectLoop => {
                    let paths = doc! { "path": { "$in": ids } };
                    self.keep(&self.redirects, paths.clone()).await?;
                    self.redirects.delete_many(paths).await?;
                }
                _ => {}
            }
        }
        self.rules.forget();
        Ok(found)
    }

    /// What is wrong with what can be read, and what cannot be read, by collection; the fields
    /// that cannot be read in the sections that can.
    async fn look(&self) -> Result<(Findings, Broken, Vec<(String, Vec<String>)>)> {
        let Parsed { stored, unreadable, fields, .. } = parse(&documents(&self.collection).await?);
        let sections: Vec<_> = unreadable.into_iter().map(|one| one.error.into_parts()).collect();
        let (mut redirects, mut rules) = (Vec::new(), Vec::new());
        for document in documents(&self.redirects).await? {
            match rule(&document) {
                Ok(rule) => redirects.push(rule),
                Err(error) => rules.push(error.into_parts()),
            }
        }
        let tree = Tree::new(stored, HashSet::new());
        let redirects = Redirects::from_iter(redirects);
        let findings = inspect(&tree, &redirects);
        let fields = fields.into_iter().map(|(id, fields)| {
            (id.to_string(), fields.iter().map(ToString::to_string).collect())
        });
        let fields = fields.collect();
        Ok((findings, [(COLLECTION, sections), (REDIRECTS, rules)], fields))
    }

    /// Puts sections whose parent does not exist at the top.
    async fn adopt(&self, ids: &[String]) -> Result<()> {
        let orphans: HashSet<_> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let Parsed { stored_ids, .. } = parse(&documents(&self.collection).await?);
        let ids: Vec<_> = orphans.iter().map(|id| stored_ids.get(*id)).collect();
        self.keep(&self.collection, doc! { "_id": { "$in": ids } }).await?;
        let needs_nothing = HashSet::new();
        let adopted = self.change(&needs_nothing, |tree, now| {
            tree.adopt_orphans(&orphans, now);
            Ok::<_, Refusal>(())
        });
        match adopted.await {
            // Nothing is emptied, and nothing refuses.
            Ok(_) | Err(Abort::Refused(_)) => Ok(()),
            Err(Abort::Database(error)) => Err(error),
        }
    }

    /// Keeps documents as they are.
    async fn keep(&self, of: &Collection<RawDocumentBuf>, filter: Document) -> Result<()> {
        let now = DateTime::from_millis(self.clock.now().timestamp_millis());
        let found: Vec<Document> =
            of.clone_with_type::<Document>().find(filter).await?.try_collect().await?;
        let kept: Vec<_> = found
            .into_iter()
            .map(|document| doc! { "at": now, "collection": of.name(), "document": document })
            .collect();
        if !kept.is_empty() {
            self.repairs.insert_many(kept).await?;
        }
        Ok(())
    }
}

/// Documents that cannot be read, with what is wrong with each.
type Broken = [(&'static str, Vec<(String, String)>); 2];

fn collection_of(kind: IntegrityKind) -> &'static str {
    match kind {
        IntegrityKind::DeadRedirect | IntegrityKind::RedirectLoop => REDIRECTS,
        _ => COLLECTION,
    }
}

fn message(kind: IntegrityKind) -> &'static str {
    match kind {
        IntegrityKind::Cycle => {
            "These sections are above themselves, so nobody can reach them: give one of them another \
             `parent_id`."
        }
        IntegrityKind::MissingParent => {
            "The section above these does not exist: give them another `parent_id`. A repair puts \
             them at the top as drafts, so that the public sees no more than before."
        }
        IntegrityKind::DeletedParent => {
            "The section above these is deleted: restore it, or give them another `parent_id`."
        }
        IntegrityKind::Unreachable => {
            "No way from the top leads to these sections; what is wrong is further up."
        }
        IntegrityKind::DuplicateSlug => "These sections share a slug: change that of all but one.",
        IntegrityKind::UnreadableDocument => {
            "These documents are left out of every answer: correct the faults that are named."
        }
        IntegrityKind::UnreadableField => {
            "These sections are shown without a field whose value means nothing here: correct it. Where \
             it decides who sees a section, the section is a draft until an editor publishes it."
        }
        IntegrityKind::DeadRedirect => {
            "These paths lead to sections that do not exist. A repair removes the redirects."
        }
        IntegrityKind::RedirectLoop => {
            "These paths lead to where they are themselves. A repair removes the redirects."
        }
        _ => "",
    }
}
