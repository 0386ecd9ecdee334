//! The documents of one collection, read one after the other: JSON in any layout, or BSON, each
//! optionally compressed with gzip.
//!
//! Memory use is bounded by the size of one document, whatever the file contains.

use std::{fs::File, io::BufReader, path::PathBuf};

use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;

use super::{
    bson::BsonDocuments,
    document::{DocumentError, LocatedDocument, Place, Reader},
    error::ImportError,
    json::JsonDocuments,
};

/// Size of the buffers between a file and its documents in bytes.
const READ_BYTES: usize = 64 * 1024;

/// The documents of one collection.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) collection: &'static str,
    /// The name of the file in messages.
    pub(super) name: String,
    /// The size of the file in bytes.
    pub(super) bytes: u64,
    pub(super) content: Content,
}

/// The place that an [`Input`] is read from.
#[derive(Debug, Clone)]
pub(super) enum Content {
    File {
        path: PathBuf,
        format: Format,
        is_gzip: bool,
    },
    /// JSON that is compiled into this program.
    Text(&'static str),
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Extended JSON: one document per line, pretty-printed documents, or an array of documents.
    Json,
    /// BSON documents one after the other, as `mongodump` writes them.
    Bson,
}

impl Input {
    /// Reads the documents. `bar` shows how much of the file has been read.
    pub(super) fn documents(
        &self,
        bar: &ProgressBar,
    ) -> Result<impl Iterator<Item = Result<LocatedDocument, ImportError>>, ImportError> {
        let mut documents = self.open(bar)?;
        let mut has_failed = false;
        Ok(std::iter::from_fn(move || {
            if has_failed {
                return None;
            }
            let next = documents.next().transpose()?;
            has_failed = next.is_err();
            Some(next.map_err(|DocumentError { place, problem }| self.error(place, problem)))
        }))
    }

    fn open(&self, bar: &ProgressBar) -> Result<Documents, ImportError> {
        let (path, format, is_gzip) = match &self.content {
            Content::Text(text) => {
                return Ok(Documents::Json(JsonDocuments::new(Box::new(text.as_bytes()))));
            }
            Content::File { path, format, is_gzip } => (path, format, *is_gzip),
        };
        let read_error = |source| ImportError::Read { what: self.name.clone(), source };
        let file = bar.wrap_read(File::open(path).map_err(read_error)?);
        let file = BufReader::with_capacity(READ_BYTES, file);
        let reader: Reader = if is_gzip {
            Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        Ok(match format {
            Format::Json => Documents::Json(JsonDocuments::new(reader)),
            Format::Bson => Documents::Bson(BsonDocuments::new(reader)),
        })
    }

    /// Returns the error about a document of this input.
    pub(super) fn error(&self, place: Place, problem: String) -> ImportError {
        ImportError::Document { file: self.name.clone(), place, problem }
    }
}

/// The documents of an open file.
enum Documents {
    Json(JsonDocuments),
    Bson(BsonDocuments),
}

impl Documents {
    fn next(&mut self) -> Result<Option<LocatedDocument>, DocumentError> {
        match self {
            Self::Json(documents) => documents.next(),
            Self::Bson(documents) => documents.next(),
        }
    }
}
