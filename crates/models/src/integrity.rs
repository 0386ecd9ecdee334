//! What is wrong with what is stored, as the services report it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

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

impl IntegrityFinding {
    /// Returns the finding about documents some of whose fields cannot be read, given with their
    /// ids, or `None` if there are none. A field is given with what was found there. The message
    /// says how many documents each of them is about.
    pub fn about_fields(
        collection: &str,
        found: &[(String, Vec<String>)],
        message: &str,
    ) -> Option<Self> {
        let mut counts = BTreeMap::<&str, u64>::new();
        for field in found.iter().flat_map(|(_, fields)| fields.iter().collect::<BTreeSet<_>>()) {
            *counts.entry(field).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(field, count)| (Reverse(*count), *field));
        let more = counts.len().saturating_sub(Self::MAX_FIELDS);
        let shown = counts.iter().take(Self::MAX_FIELDS);
        let mut shown: Vec<_> = shown.map(|(field, count)| format!("{field} ({count})")).collect();
        if more > 0 {
            shown.push(format!("{more} more"));
        }
        let message = format!("{}. {message}", shown.join(", "));
        let reasons = found.iter().map(|(id, fields)| (id.clone(), fields.join("; ")));
        Self::about_each(IntegrityKind::UnreadableField, collection, reasons, message)
    }

    /// The most fields that a message names.
    const MAX_FIELDS: usize = 20;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_cannot_be_read_are_counted_by_documents_the_most_frequent_first() {
        let found = [
            ("1", vec!["date: array"]),
            ("2", vec!["technologies: object", "date: array"]),
            ("3", vec!["date: bool", "date: bool"]),
        ];
        let found = found.map(|(id, fields)| {
            (id.to_owned(), fields.into_iter().map(str::to_owned).collect::<Vec<_>>())
        });
        let finding = IntegrityFinding::about_fields("stories", &found, "Correct it.").unwrap();
        let expected = "date: array (2), date: bool (1), technologies: object (1). Correct it.";
        assert_eq!(finding.message, expected);
        assert_eq!((finding.kind, finding.count), (IntegrityKind::UnreadableField, 3));
        assert_eq!(finding.reasons[1], "technologies: object; date: array");
        assert_eq!(IntegrityFinding::about_fields("stories", &[], ""), None);

        let many = [("1".to_owned(), (0..23).map(|n| format!("f{n}: array")).collect())];
        let finding = IntegrityFinding::about_fields("stories", &many, "").unwrap();
        assert!(finding.message.ends_with(", 3 more. "), "{}", finding.message);
    }
}
