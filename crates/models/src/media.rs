//! Uploaded files: their addresses, and the places that show them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ContentType;

/// The path below which uploaded files are served.
pub const UPLOADS: &str = "/uploads/";

/// The widths of pictures besides the whole one, in pixels. The name of a smaller file is that of the
/// whole one with its width.
pub const SMALLER_WIDTHS: [u32; 2] = [750, 500];

/// Returns the name of the file of another width of the same picture.
///
/// ```
/// assert_eq!(models::media::with_width("2024/a.webp", 750), "2024/a_750.webp");
/// ```
pub fn with_width(name: &str, width: u32) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}_{width}.{extension}"),
        None => format!("{name}_{width}"),
    }
}

/// A place that shows an uploaded file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MediaPlace {
    /// The type of the item, or `section` or `site`.
    pub content_type: PlaceType,
    /// The id of the item or section; that of the site is `site`.
    pub id: String,
    /// The title.
    pub title: String,
    /// `true` if the item or section is in the trash, from which it can be restored.
    pub deleted: bool,
}

/// The type of a place that shows an uploaded file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum PlaceType {
    /// An item.
    Item(ContentType),
    /// Another part of the site.
    Part(SitePart),
}

/// The parts of a site besides its items that show files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SitePart {
    /// A section, with its picture for previews of links.
    Section,
    /// The site, with its logo.
    Site,
}

impl PlaceType {
    /// Returns the path of the API at which a place with this id is changed.
    pub fn path(self, id: &str) -> String {
        match self {
            Self::Item(kind) => format!("/{}/{id}", kind.collection()),
            Self::Part(SitePart::Section) => format!("/sections/{id}"),
            Self::Part(SitePart::Site) => "/site".to_owned(),
        }
    }
}

/// The places that show uploaded files, by the names of the files.
pub type MediaUses = BTreeMap<String, Vec<MediaPlace>>;
