//! What is wrong with the stored sections and redirects, and repairing what is safe to repair.

use std::collections::HashSet;

use data_service::Abort;
use models::{IntegrityFinding, IntegrityKind};
use mongodb::{bson::doc, error::Result};

use super::{
    COLLECTION, REDIRECTS, SectionStore,
    document::{Parsed, parse, rule},
    documents,
};
use crate::{
    domain::{Redirects, Refusal, Tree, inspect},
    store::Written,
};

impl SectionStore {
    /// Everything that is wrong.
    pub(crate) async fn inspect(&self) -> Result<Vec<IntegrityFinding>> {
        let Parsed { stored, unreadable } = parse(&documents(&self.collection).await?);
        let rules = documents(&self.redirects).await?;
        let rules: Vec<_> = rules.iter().map(|document| rule(document)).collect();
        let broken: Vec<_> = rules
            .iter()
            .filter_map(|rule| rule.as_ref().err())
            .map(|error| error.id.clone())
            .collect();
        let redirects: Redirects = rules.into_iter().filter_map(std::result::Result::ok).collect();
        let tree = Tree::new(stored, HashSet::new());

        let kind = IntegrityKind::UnreadableDocument;
        let sections = unreadable.into_iter().map(|one| one.error.id).collect();
        let mut findings = Vec::new();
        for (collection, ids) in [(COLLECTION, sections), (REDIRECTS, broken)] {
            findings.extend(IntegrityFinding::about(kind, collection, ids, message(kind)));
        }
        for (kind, ids) in inspect(&tree, &redirects) {
            findings.extend(IntegrityFinding::about(kind, collection_of(kind), ids, message(kind)));
        }
        Ok(findings)
    }

    /// Repairs what can be repaired without losing anything, and says what that was.
    pub(crate) async fn repair(&self) -> Result<Vec<IntegrityFinding>> {
        let found: Vec<_> =
            self.inspect().await?.into_iter().filter(|finding| finding.repairable).collect();
        if found.iter().any(|finding| finding.kind == IntegrityKind::MissingParent) {
            let needs_nothing = HashSet::new();
            let adopted = self.change(&needs_nothing, |tree, now| {
                tree.adopt_orphans(now);
                Ok::<_, Refusal>(())
            });
            match adopted.await {
                Ok(Written::Done(()) | Written::NeedsEmpty(_)) | Err(Abort::Refused(_)) => {}
                Err(Abort::Database(error)) => return Err(error),
            }
        }
        let sections = parse(&documents(&self.collection).await?).stored;
        let tree = Tree::new(sections, HashSet::new());
        let rules = documents(&self.redirects).await?;
        let redirects: Redirects =
            rules.iter().filter_map(|document| rule(document).ok()).collect();
        for (kind, paths) in inspect(&tree, &redirects) {
            if collection_of(kind) == REDIRECTS && kind.is_repairable() {
                self.redirects.delete_many(doc! { "path": { "$in": paths } }).await?;
            }
        }
        self.rules.forget();
        Ok(found)
    }
}

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
             them at the top, where the published ones are public."
        }
        IntegrityKind::DeletedParent => {
            "The section above these is deleted: restore it, or give them another `parent_id`."
        }
        IntegrityKind::Unreachable => {
            "No way from the top leads to these sections; what is wrong is further up."
        }
        IntegrityKind::DuplicateSlug => "These sections share a slug: change that of all but one.",
        IntegrityKind::UnreadableDocument => {
            "These documents are in a shape that cannot be read: the log says what is wrong with them."
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
