//! What is answered to a change that the tree refuses.

use models::{ErrorCode, FieldError};
use service_kit::web::error::ApiError;

use crate::domain::{LARGEST_DEPTH, Refusal};

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let parent = |message: &str| Self::invalid(FieldError::invalid("parent_id", message));
        match refusal {
            Refusal::NotFound => Self::not_found("Section"),
            Refusal::NoSuchParent => parent("there is no such section"),
            Refusal::ParentUnreachable => parent("no way from the top leads to this section"),
            Refusal::Cycle => Self::new(ErrorCode::Cycle, "A section cannot be put below itself."),
            Refusal::TooDeep => Self::new(
                ErrorCode::TooDeep,
                format!("Sections can have at most {LARGEST_DEPTH} levels."),
            ),
            Refusal::InvalidSlug(why) => Self::invalid(FieldError::invalid("slug", why)),
            Refusal::SlugTaken(slug) => {
                Self::new(ErrorCode::SlugTaken, format!("Another section has the slug `{slug}`."))
            }
            Refusal::HasChildren(count) => Self::new(
                ErrorCode::HasChildren,
                format!(
                    "{} below this one. Move them first, or say what becomes of them with \
                     `on_children=reparent` or `on_children=cascade`.",
                    number(count, "section is", "sections are")
                ),
            ),
            Refusal::OrderMismatch { unknown, missing } => Self::new(
                ErrorCode::OrderMismatch,
                format!(
                    "`ids` must be all sections there, each once: {unknown} unknown, {missing} \
                     missing. Read the sections again."
                ),
            ),
            Refusal::ParentDeleted(title) => Self::new(
                ErrorCode::Conflict,
                format!("The section above it, {title:?}, is deleted. Restore that one first."),
            ),
            Refusal::ParentGone => {
                Self::new(ErrorCode::Conflict, "The section above it does not exist any more.")
            }
        }
    }
}

/// A number of things in words.
pub(super) fn number(count: impl TryInto<u64>, one: &str, several: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {one}"),
        count => format!("{count} {several}"),
    }
}
