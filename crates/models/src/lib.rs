//! Types that the services exchange: ids, slugs, sections, users and the catalogue of errors.
//!
//! This crate depends on no web framework and no database. It has the types that two crates of the
//! workspace exchange over HTTP, and the rules of the domain that both services apply.

pub mod body;
pub mod bounded;
pub mod changes;
mod content_type;
mod id;
pub mod ids;
mod integrity;
mod link_url;
pub mod media;
mod moment;
mod page_meta;
pub mod patch;
mod path_claim;
mod problem;
mod public_change;
pub mod schema;
mod section;
pub mod section_paths;
mod section_type;
pub mod site_path;
mod slug;
mod sort;
pub mod text;
mod url_or_path;
mod user;
mod web_url;

pub use body::Body;
pub use content_type::ContentType;
pub use id::{InvalidObjectId, ObjectId};
pub use ids::{Ids, InvalidIds};
pub use integrity::{IntegrityFinding, IntegrityKind, IntegrityRepair, IntegrityReport};
pub use link_url::{InvalidLinkUrl, LinkUrl};
pub use moment::{InvalidMoment, Moment};
pub use page_meta::{PageDescription, PageMeta, PageMetaPatch};
pub use patch::Patch;
pub use path_claim::{ItemAtPath, PlacedItem};
pub use problem::{CurrentState, ErrorCode, FieldError, Problem};
pub use public_change::{InvalidPublicKind, PublicChange, PublicEvent, PublicKind};
pub use section::{
    Breadcrumb, ContentCounts, DisplayType, NavVisibility, PathResolution, ResolvedPath, Section,
    SectionEntry, SectionLink,
};
pub use section_type::{InvalidSectionType, SectionType};
pub use slug::{InvalidSlug, Slug};
pub use sort::{Sort, SortField, UnknownSort};
pub use text::{InvalidText, Title};
pub use url_or_path::{InvalidUrlOrPath, UrlOrPath};
pub use user::{Role, User};
pub use web_url::{InvalidWebUrl, WebUrl};

/// Dates on the wire: RFC 3339 in UTC with a trailing `Z` and milliseconds.
pub mod rfc3339 {
    use chrono::{DateTime, SecondsFormat, Utc};
    use serde::Serializer;

    /// Writes a date or null. It is for `serialize_with`.
    pub fn serialize<S: Serializer>(
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
