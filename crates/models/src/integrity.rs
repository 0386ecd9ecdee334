//! What is wrong with what is stored, as the services report it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Everything that a service found wrong with what it owns.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct IntegrityReport {
    /// What was found; nothing where all is well.
    pub findings: Vec<IntegrityFinding>,
}

/// What a service repaired, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IntegrityRepair {
    /// Whether nothing was changed: this is what would be.
    pub dry_run: bool,
    /// What was found and is repaired by that.
    pub repaired: Vec<IntegrityFinding>,
}

/// One kind of fault and the documents that have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IntegrityFinding {
    /// What is wrong.
    pub kind: IntegrityKind,
    /// The collection that has the documents.
    pub collection: String,
    /// The ids of the documents, or the first [`IntegrityFinding::MAX_IDS`] of them.
    pub ids: Vec<String>,
    /// How many documents there are.
    pub count: u64,
    /// What is wrong with each of `ids`, where that differs from one to the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What that means, and what to do about it, for a person.
    pub message: String,
    /// Whether a repair removes it without losing anything.
    pub repairable: bool,
}

impl IntegrityFinding {
    /// The most ids that a finding names.
    pub const MAX_IDS: usize = 50;

    /// The finding about these documents; none where there are none.
    pub fn about(
        kind: IntegrityKind,
        collection: &str,
        mut ids: Vec<String>,
        message: impl Into<String>,
    ) -> Option<Self> {
        let count = ids.len() as u64;
        ids.truncate(Self::MAX_IDS);
        let (collection, message) = (collection.to_owned(), message.into());
        let repairable = kind.is_repairable();
        let reasons = Vec::new();
        (count > 0).then_some(Self { kind, collection, ids, count, reasons, message, repairable })
    }

    /// The same with what is wrong with each.
    pub fn about_each(
        kind: IntegrityKind,
        collection: &str,
        found: impl IntoIterator<Item = (String, String)>,
        message: impl Into<String>,
    ) -> Option<Self> {
        let (ids, mut reasons): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        reasons.truncate(Self::MAX_IDS);
        Some(Self { reasons, ..Self::about(kind, collection, ids, message)? })
    }
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntegrityKind {
    /// Sections that are above themselves.
    Cycle,
    /// Sections below one that does not exist.
    MissingParent,
    /// Sections below one that is deleted.
    DeletedParent,
    /// Sections that no way from the top leads to, for what is wrong further above.
    Unreachable,
    /// Different things with the same slug.
    DuplicateSlug,
    /// Documents in a shape that cannot be read.
    UnreadableDocument,
    /// Documents with a field whose meaning is not plain: it is absent in answers.
    UnreadableField,
    /// Redirects that lead back to where they begin.
    RedirectLoop,
    /// Redirects to sections that do not exist.
    DeadRedirect,
    /// Content in a section that does not exist.
    MissingSection,
    /// Content in a section that is deleted.
    DeletedSection,
    /// Content in a section for content of another kind.
    WrongType,
    /// Content of a user who does not exist.
    MissingUser,
}

impl IntegrityKind {
    /// What is wrong with the documents, to stand after their number.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Cycle => "above themselves",
            Self::MissingParent => "below a section that does not exist",
            Self::DeletedParent => "below a deleted section",
            Self::Unreachable => "out of reach",
            Self::DuplicateSlug => "with a slug that others have",
            Self::UnreadableDocument => "unreadable",
            Self::UnreadableField => "with a field that cannot be read",
            Self::RedirectLoop => "leading back to themselves",
            Self::DeadRedirect => "leading nowhere",
            Self::MissingSection => "in a section that does not exist",
            Self::DeletedSection => "in a deleted section",
            Self::WrongType => "in a section for another kind of content",
            Self::MissingUser => "of a user who does not exist",
        }
    }

    /// Whether a repair removes it without losing anything.
    pub const fn is_repairable(self) -> bool {
        matches!(self, Self::MissingParent | Self::DeadRedirect | Self::RedirectLoop)
    }
}
