//! What the services and their clients share: ids, slugs, wire types and the catalogue of errors.
//!
//! This crate knows no web framework and no database. A type belongs here when two crates of the
//! workspace exchange it over HTTP, or when it is a rule of the domain that both services apply.

mod body;
mod content;
mod content_body;
mod id;
mod ids;
mod integrity;
mod list;
mod moment;
pub mod patch;
mod problem;
mod resolve;
mod schema;
mod section;
mod section_body;
mod slug;
mod text;
mod user;
mod web_url;

pub use body::{Body, ReadOnlyMembers};
pub use content::{Common, ContentId, Page, Project, ProjectCard, Story};
pub use content_body::{
    ContentMove, ContentMoved, MovedContent, PageCreate, PagePatch, PageReplace, ProjectCreate,
    ProjectPatch, ProjectReplace, StoryCreate, StoryPatch, StoryReplace,
};
pub use id::{InvalidObjectId, ObjectId};
pub use ids::{ContentIds, Ids, InvalidIds};
pub use integrity::{IntegrityFinding, IntegrityKind, IntegrityRepair, IntegrityReport};
pub use list::{InvalidPaging, Limit, List, Offset};
pub use moment::{InvalidMoment, Moment};
pub use patch::Patch;
pub use problem::{ErrorCode, FieldError, Problem};
pub use resolve::{Resolution, Resolved, ResolvedContent};
pub use section::{
    Breadcrumb, ContentCounts, ContentType, DisplayType, NavVisibility, PathResolution,
    ResolvedPath, Section, SectionEntry, SectionNode,
};
pub use section_body::{SectionCreate, SectionOrder, SectionPatch, SectionReplace};
pub use slug::{InvalidSlug, Slug};
pub use text::{
    Content, InvalidText, NewContent, PageType, Summary, Technologies, Technology, Title,
    TooManyTechnologies,
};
pub use user::{Role, User};
pub use web_url::{InvalidWebUrl, WebUrl};

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
