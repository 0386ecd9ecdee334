//! Responses to changes that the tree refuses.

use models::{ErrorCode, FieldError};
use service_kit::web::error::ApiError;

use crate::domain::{tree::MAX_DEPTH, tree_error::TreeError};

impl From<TreeError> for ApiError {
    fn from(error: TreeError) -> Self {
        let parent = |message: &str| Self::invalid(FieldError::invalid("parent_id", message));
        match error {
            TreeError::NotFound => Self::not_found("Section"),
            TreeError::NoSuchParent => parent("there is no such section"),
            TreeError::ParentUnreachable => parent("no way from the top leads to this section"),
            TreeError::Cycle => {
                Self::new(ErrorCode::Cycle, "A section cannot be put below itself.")
            }
            TreeError::TooDeep => Self::new(
                ErrorCode::TooDeep,
                format!("Sections can have at most {MAX_DEPTH} levels."),
            ),
            TreeError::InvalidSlug(reason) => Self::invalid(FieldError::invalid("slug", reason)),
            TreeError::InvalidLink(field, reason) => {
                Self::invalid(FieldError::invalid(field, reason))
            }
            TreeError::CreatedTooLate => {
                let message = "must not be more than a day ahead";
                Self::invalid(FieldError::invalid("createdDate", message))
            }
            TreeError::SlugTaken(slug) => {
                Self::new(ErrorCode::SlugTaken, format!("Another section has the slug `{slug}`."))
            }
            TreeError::HasChildren(count) => Self::new(
                ErrorCode::HasChildren,
                format!(
                    "{} below this one. Move them first, or say what becomes of them with \
                     `on_children=reparent` or `on_children=cascade`.",
                    count_phrase(count, "section is", "sections are")
                ),
            ),
            TreeError::OrderMismatch { unknown, missing } => Self::new(
                ErrorCode::OrderMismatch,
                format!(
                    "`ids` must be all sections there, each once: {unknown} unknown, {missing} \
                     missing. Read the sections again."
                ),
            ),
            TreeError::ParentDeleted(title) => Self::new(
                ErrorCode::Conflict,
                format!("The section above it, {title:?}, is deleted. Restore that one first."),
            ),
            TreeError::ParentGone => {
                Self::new(ErrorCode::Conflict, "The section above it does not exist any more.")
            }
        }
    }
}

/// Returns a number with its noun and verb, in singular or plural.
pub(super) fn count_phrase(count: impl TryInto<u64>, one: &str, several: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {one}"),
        count => format!("{count} {several}"),
    }
}
