//! The description of an export.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::folder::{COLLECTIONS_FOLDER, Facts};

/// The name of the format.
pub(crate) const FORMAT: &str = "turbulence-export";

/// The version of the format. It grows when an older program could not read an export any more.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// The members by which a program recognises an export that it cannot read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) format: String,
    pub(crate) format_version: u32,
    pub(crate) program_version: String,
}

/// The content of `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    #[serde(flatten)]
    pub(crate) head: Head,
    /// The time of the export, by the clock of the machine that wrote it.
    pub(crate) exported_at: DateTime<Utc>,
    /// The time of the database server at the beginning of the export.
    pub(crate) server_time: DateTime<Utc>,
    pub(crate) server_version: String,
    /// The time of the cluster that all documents are of.
    pub(crate) cluster_time: ClusterTime,
    /// The migrations that the program knew, by service, with their revisions.
    pub(crate) migrations: BTreeMap<String, BTreeMap<String, i32>>,
    pub(crate) collections: Vec<Collection>,
    /// `None` if the files were left out.
    pub(crate) media: Option<Media>,
}

/// A time of the cluster: seconds since 1970, and a number within the second.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct ClusterTime {
    pub(crate) t: u32,
    pub(crate) i: u32,
}

/// A collection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Collection {
    pub(crate) name: String,
    /// The service that it belongs to.
    pub(crate) service: String,
    /// The database that it was in.
    pub(crate) database: String,
    /// The options of the collection, as `listCollections` answers them.
    pub(crate) options: Box<RawValue>,
    /// The indexes but that of `_id`, as `listIndexes` answers them.
    pub(crate) indexes: Vec<Box<RawValue>>,
    /// `None` for a collection whose documents are left out, since the services make them.
    pub(crate) documents: Option<Documents>,
}

/// The documents of a collection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Documents {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// The files of media.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Media {
    pub(crate) count: u64,
    /// The size of all files together.
    pub(crate) bytes: u64,
    /// The SHA-256 of `media.jsonl`.
    pub(crate) sha256: String,
    /// The names of files that the collection `media` names and the folder of media lacked.
    pub(crate) missing: Vec<String>,
}

/// A line of `media.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MediaFile {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Collection {
    /// Returns the path of the file with the documents in the folder.
    pub(crate) fn path(&self) -> String {
        documents_path(&self.name)
    }
}

/// Returns the path of the file with the documents of a collection in the folder.
pub(crate) fn documents_path(collection: &str) -> String {
    format!("{COLLECTIONS_FOLDER}/{collection}.jsonl")
}

impl Documents {
    /// Returns the size and the digest of the file.
    pub(crate) fn facts(&self) -> Facts {
        Facts { bytes: self.bytes, sha256: self.sha256.clone() }
    }
}

impl MediaFile {
    /// Returns the path of the file in the folder.
    pub(crate) fn path(&self) -> String {
        media_path(&self.name)
    }

    /// Returns the size and the digest of the file.
    pub(crate) fn facts(&self) -> Facts {
        Facts { bytes: self.bytes, sha256: self.sha256.clone() }
    }
}

/// Returns the path of a file of media in the folder.
pub(crate) fn media_path(name: &str) -> String {
    format!("media/{name}")
}
