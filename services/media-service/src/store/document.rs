//! The documents of the collection `media`.

use chrono::{DateTime, Utc};
use models::media::UPLOADS;
use mongodb::bson::{self, RawDocument, oid};
use serde::{Deserialize, Serialize};

use super::collections::COLLECTION;
use crate::domain::name::FileName;

/// The field that marks a file that is being stored or removed.
pub(crate) const IS_PENDING: &str = "is_pending";

/// A file, and its smaller versions if it is a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredMedia {
    #[serde(rename = "_id")]
    pub(crate) id: oid::ObjectId,
    /// The name below `/uploads`.
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) bytes: i64,
    /// The size in pixels; `None` for videos.
    #[serde(default)]
    pub(crate) width: Option<i64>,
    #[serde(default)]
    pub(crate) height: Option<i64>,
    /// The widths of the smaller versions.
    #[serde(default)]
    pub(crate) smaller_widths: Vec<i64>,
    /// The name that the file had where it came from.
    #[serde(default)]
    pub(crate) original_name: Option<String>,
    #[serde(default)]
    pub(crate) title: Option<String>,
    #[serde(default)]
    pub(crate) alt: Option<String>,
    #[serde(default)]
    pub(crate) user_id: Option<String>,
    /// `true` while the file is being stored or removed. Such a file is not listed.
    #[serde(default)]
    pub(crate) is_pending: bool,
    #[serde(rename = "createdDate")]
    pub(crate) created_date: bson::DateTime,
    #[serde(rename = "updatedDate")]
    pub(crate) updated_date: bson::DateTime,
}

/// Returns a date as it is stored.
pub(crate) fn stored_date(date: DateTime<Utc>) -> bson::DateTime {
    bson::DateTime::from_millis(date.timestamp_millis())
}

/// Returns the names of the files that a document of the collection `media` stands for: none of one that
/// is being stored or removed.
pub fn file_names(document: &RawDocument) -> Vec<FileName> {
    let media = mongo_kit::document::read::<StoredMedia>(COLLECTION, document).ok();
    let media = media.filter(|media| !media.is_pending);
    let name = media.as_ref().and_then(|media| media.name.parse::<FileName>().ok());
    let (Some(media), Some(name)) = (media, name) else { return Vec::new() };
    let smaller = media.smaller_widths.iter().filter_map(|width| u32::try_from(*width).ok());
    let smaller: Vec<_> = smaller.map(|width| name.with_width(width)).collect();
    [name].into_iter().chain(smaller).collect()
}

impl StoredMedia {
    /// Returns the address of the file.
    pub(crate) fn address(&self) -> String {
        format!("{UPLOADS}{}", self.name)
    }

    /// Returns the addresses of all widths for the attribute `srcset`; empty for videos.
    pub(crate) fn srcset(&self) -> String {
        let (Some(width), Ok(name)) = (self.width, self.name.parse::<FileName>()) else {
            return String::new();
        };
        let smaller = self.smaller_widths.iter().filter_map(|width| {
            let name = name.with_width(u32::try_from(*width).ok()?);
            Some(format!("{} {width}w", name.address()))
        });
        let all = [format!("{} {width}w", name.address())].into_iter().chain(smaller);
        all.collect::<Vec<_>>().join(", ")
    }
}
