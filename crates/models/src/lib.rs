//! What the services and their clients share: ids, slugs, wire types and the catalogue of errors.
//!
//! This crate knows no web framework and no database. A type belongs here when two crates of the
//! workspace exchange it over HTTP, or when it is a rule of the domain that both services apply.

mod content;
mod id;
mod list;
mod problem;
mod section;
mod slug;

pub use content::{Common, ContentId, Page, Project, ProjectCard, Story};
pub use id::{InvalidObjectId, ObjectId};
pub use list::{InvalidPaging, Limit, List, Offset};
pub use problem::{ErrorCode, FieldError, Problem};
pub use section::{ContentType, DisplayType, NavVisibility, Section, SectionEntry, SectionNode};
pub use slug::{InvalidSlug, Slug};

/// Dates on the wire: RFC 3339 in UTC with a trailing `Z`, to the millisecond that BSON keeps.
pub(crate) mod rfc3339 {
    use chrono::{DateTime, SecondsFormat, Utc};
    use serde::Serializer;

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(crate) fn serialize<S: Serializer>(
        date: &Option<DateTime<Utc>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match date {
            Some(date) => {
                serializer.serialize_str(&date.to_rfc3339_opts(SecondsFormat::Millis, true))
            }
            None => serializer.serialize_none(),
        }
    }
}
