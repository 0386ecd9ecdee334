//! Integrity reports: faults of the stored data.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The faults that a service has found in its data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct IntegrityReport {
    /// The findings; empty if there is no fault.
    pub findings: Vec<IntegrityFinding>,
}

/// The repairs that a service has made or would make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IntegrityRepair {
    /// `true` if nothing was changed: the findings would be repaired.
    pub dry_run: bool,
    /// The findings that the repair removes.
    pub repaired: Vec<IntegrityFinding>,
}

/// A kind of fault and the documents that have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IntegrityFinding {
    /// The kind of fault.
    pub kind: IntegrityKind,
    /// The collection of the documents.
    pub collection: String,
    /// The ids of the documents, or the first [`IntegrityFinding::MAX_IDS`] of them.
    pub ids: Vec<String>,
    /// Number of documents.
    pub count: u64,
    /// The fault of each of `ids`; empty if it is the same for all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// The meaning of the fault and its remedy, for a person.
    pub message: String,
    /// `true` if a repair can remove the fault without losing data.
    pub repairable: bool,
}

impl IntegrityFinding {
    /// Maximum number of ids in a finding.
    pub const MAX_IDS: usize = 50;

    /// Returns the finding about these documents, or `None` if there are none.
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

    /// Returns the finding about these documents, given with the fault of each, or `None` if there are
    /// none.
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
    /// Returns the finding about documents with fields that cannot be read, or `None` if there are
    /// none. The fields are given by document, each with the type of its value. The message begins
    /// with the number of documents for each field.
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

    /// Maximum number of fields in a message.
    const MAX_FIELDS: usize = 20;
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntegrityKind {
    /// Sections that are their own ancestors.
    Cycle,
    /// Sections whose parent does not exist.
    MissingParent,
    /// Sections whose parent is deleted.
    DeletedParent,
    /// Sections that cannot be reached from the top because of a fault of an ancestor.
    Unreachable,
    /// Sections or items of content with the same slug.
    DuplicateSlug,
    /// Documents that cannot be read.
    UnreadableDocument,
    /// Documents with a field that has no plain meaning; answers omit it or have its default.
    UnreadableField,
    /// Redirects to their own paths.
    RedirectLoop,
    /// Redirects to sections that do not exist.
    DeadRedirect,
    /// Content in a section that does not exist.
    MissingSection,
    /// Content in a section that is deleted.
    DeletedSection,
    /// Content in a section for content of another kind.
    WrongType,
    /// Content at whose path a section or a redirect is.
    PathTaken,
    /// Content of a user who does not exist.
    MissingUser,
}

impl IntegrityKind {
    /// Returns the fault of the documents, in words that follow their number.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Cycle => "that are their own ancestors",
            Self::MissingParent => "below a section that does not exist",
            Self::DeletedParent => "below a deleted section",
            Self::Unreachable => "out of reach",
            Self::DuplicateSlug => "with a slug that others have",
            Self::UnreadableDocument => "unreadable",
            Self::UnreadableField => "with a field that cannot be read",
            Self::RedirectLoop => "to their own paths",
            Self::DeadRedirect => "to sections that do not exist",
            Self::MissingSection => "in a section that does not exist",
            Self::DeletedSection => "in a deleted section",
            Self::WrongType => "in a section for another kind of content",
            Self::PathTaken => "whose path leads elsewhere",
            Self::MissingUser => "of a user who does not exist",
        }
    }

    /// Returns the fault of one document, in words that follow the number one.
    pub const fn title_of_one(self) -> &'static str {
        match self {
            Self::Cycle => "that is its own ancestor",
            Self::RedirectLoop => "to its own path",
            Self::DeadRedirect => "to a section that does not exist",
            _ => self.title(),
        }
    }

    /// Returns the action of a repair for each document, or `None` if no repair can remove the fault
    /// without losing data.
    pub const fn repair(self) -> Option<&'static str> {
        match self {
            Self::MissingParent => Some("is moved to the top as a draft"),
            Self::DeadRedirect | Self::RedirectLoop => Some("is removed"),
            _ => None,
        }
    }

    /// Returns `true` if a repair can remove the fault without losing data.
    pub const fn is_repairable(self) -> bool {
        self.repair().is_some()
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
