//! Files of another site: they keep their names and their bytes.
//!
//! A file is stored first, and gets its document after that, so that an interrupted import leaves files
//! that are served, and the next one adds their documents.

use std::io;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt, TryStreamExt};
use models::media::SMALLER_WIDTHS;
use mongo_kit::Connection;
use mongodb::bson::oid;

use crate::{
    domain::{
        format::{ACCEPTED, FileKind, Format, SIGNATURE_BYTES},
        name::FileName,
        picture::size_of,
    },
    store::{
        document::{StoredMedia, stored_date},
        files::Files,
        media::MediaStore,
    },
};

/// The number of bytes at the beginning of a picture in which its size is looked for: that of a JPEG
/// follows its metadata, which may include a preview.
const HEAD_BYTES: u64 = 256 * 1024;

/// Adds files of another site to the store.
#[derive(Debug, Clone)]
pub struct Importer {
    files: Files,
    media: MediaStore,
    max_bytes: u64,
}

/// A file was not added.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Neither a picture nor a video.
    #[error("it has another format than {ACCEPTED}")]
    Format,
    /// A picture with the name of a video, or the other way round.
    #[error("it is {0}, which its name does not end with")]
    Name(&'static str),
    /// More bytes than allowed.
    #[error(
        "it has more than {0} bytes, the larger one of `media.max_picture_bytes` and `media.max_video_bytes`"
    )]
    TooLarge(u64),
    /// The source failed.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// The store failed.
    #[error("it cannot be stored: {0}")]
    Store(String),
}

impl Importer {
    /// Returns an importer into a store. `max_bytes` is the size of the largest file.
    pub fn new(connection: &Connection, files: Files, max_bytes: u64) -> Self {
        Self { files, media: MediaStore::new(connection), max_bytes }
    }

    /// Returns `true` if the store has a file of this name.
    pub async fn has(&self, name: &FileName) -> Result<bool, ImportError> {
        self.files.facts(name).await.map(|facts| facts.is_some()).map_err(store_error)
    }

    /// Stores a file as it is. Returns its size. Nothing of it is visible before its end.
    pub async fn add(
        &self,
        name: &FileName,
        file: impl Stream<Item = io::Result<Bytes>>,
    ) -> Result<u64, ImportError> {
        let mut file = std::pin::pin!(file);
        let mut begin = BytesMut::new();
        while begin.len() < SIGNATURE_BYTES {
            let Some(part) = file.next().await else { break };
            begin.extend_from_slice(&part.map_err(ImportError::Read)?);
        }
        check_format(name, &begin)?;
        // Removes what a killed process has left of it.
        self.files.delete(name).await.map_err(store_error)?;
        let mut writer = self.files.writer(name).await.map_err(store_error)?;
        let mut bytes = begin.len() as u64;
        let copied = async {
            writer.write(&begin).await.map_err(store_error)?;
            while let Some(part) = file.try_next().await.map_err(ImportError::Read)? {
                bytes += part.len() as u64;
                if bytes > self.max_bytes {
                    return Err(ImportError::TooLarge(self.max_bytes));
                }
                writer.write(&part).await.map_err(store_error)?;
            }
            Ok(())
        };
        match copied.await {
            Ok(()) => writer.finish().await.map_err(store_error)?,
            Err(error) => {
                writer.abort().await;
                return Err(error);
            }
        }
        Ok(bytes)
    }

    /// Adds the document of a stored file, unless it has one or is a smaller width of another file. Returns
    /// `true` if it was added.
    pub async fn describe(&self, name: &FileName, now: DateTime<Utc>) -> Result<bool, ImportError> {
        let Some(facts) = self.files.facts(name).await.map_err(store_error)? else {
            return Ok(false);
        };
        if let Some(whole) = name.whole()
            && self.has(&whole).await?
        {
            return Ok(false);
        }
        let head = self.files.read(name, 0..facts.bytes.min(HEAD_BYTES)).await;
        let head: Vec<Bytes> =
            head.map_err(store_error)?.try_collect().await.map_err(ImportError::Read)?;
        let head = head.concat();
        let format = Format::of(&head).ok_or(ImportError::Format)?;
        let mut smaller_widths = Vec::new();
        for width in SMALLER_WIDTHS {
            if self.has(&name.with_width(width)).await? {
                smaller_widths.push(width.into());
            }
        }
        let size = size_of(&head, format);
        let media = StoredMedia {
            id: oid::ObjectId::new(),
            name: name.as_str().to_owned(),
            media_type: format.media_type().to_owned(),
            bytes: i64::try_from(facts.bytes).unwrap_or(i64::MAX),
            width: size.map(|(width, _)| width.into()),
            height: size.map(|(_, height)| height.into()),
            smaller_widths,
            original_name: Some(name.as_str().to_owned()),
            title: None,
            alt: None,
            user_id: None,
            is_pending: false,
            created_date: stored_date(now),
            updated_date: stored_date(now),
        };
        self.media.adopt(&media).await.map_err(store_error)
    }
}

/// Checks that a file is what its name says, as far as browsers care.
fn check_format(name: &FileName, begin: &[u8]) -> Result<(), ImportError> {
    let found = Format::of(begin).ok_or(ImportError::Format)?;
    let named = name.format().map(Format::kind);
    match (found.kind(), named) {
        (found, Some(named)) if found == named => Ok(()),
        (FileKind::Picture, _) => Err(ImportError::Name("a picture")),
        (FileKind::Video, _) => Err(ImportError::Name("a video")),
    }
}

fn store_error(error: impl std::fmt::Display) -> ImportError {
    ImportError::Store(error.to_string())
}
