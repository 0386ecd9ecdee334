//! Documents in BSON, as `mongodump` writes them: one after the other, each beginning with its
//! length.

use std::io::{self, Read};

use mongodb::bson::RawDocumentBuf;

use super::{
    document::{DocumentError, LocatedDocument, Place, Reader, check, invalid_bson},
    limits::MAX_DOCUMENT_BYTES,
};

/// Size of the length prefix of a document in bytes (BSON specification).
const LENGTH_BYTES: usize = 4;

/// Size of the empty document in bytes (BSON specification).
const MIN_DOCUMENT_BYTES: usize = 5;

/// Reads the documents of a file in BSON.
pub(super) struct BsonDocuments {
    reader: Reader,
    /// Number of documents that have been read.
    read: u64,
}

impl BsonDocuments {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader, read: 0 }
    }

    /// Reads the next document. Returns `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<LocatedDocument>, DocumentError> {
        let place = Place::Document(self.read + 1);
        let error = |problem: String| DocumentError { place, problem };
        let mut bytes = Vec::new();
        self.read_bytes(LENGTH_BYTES, &mut bytes).map_err(|cause| error(cause.to_string()))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let truncated = || error("the file ends within this document".to_owned());
        let length = <[u8; LENGTH_BYTES]>::try_from(&bytes[..]).map_err(|_| truncated())?;
        let length = i32::from_le_bytes(length);
        let length = match usize::try_from(length) {
            Ok(length @ MIN_DOCUMENT_BYTES..=MAX_DOCUMENT_BYTES) => length,
            Ok(length @ MIN_DOCUMENT_BYTES..) => {
                return Err(error(format!(
                    "its length of {length} bytes exceeds 16 MiB (the limit of MongoDB), or the file \
                     is not BSON"
                )));
            }
            _ => {
                return Err(error(format!(
                    "{length} is not a valid document length: the file is not BSON"
                )));
            }
        };
        self.read_bytes(length - LENGTH_BYTES, &mut bytes)
            .map_err(|cause| error(cause.to_string()))?;
        if bytes.len() < length {
            return Err(truncated());
        }
        let document =
            RawDocumentBuf::from_bytes(bytes).map_err(|cause| error(invalid_bson(&cause)))?;
        check(&document).map_err(error)?;
        self.read += 1;
        Ok(Some(LocatedDocument { place, document }))
    }

    /// Appends `count` bytes, or fewer at the end of the file.
    fn read_bytes(&mut self, count: usize, bytes: &mut Vec<u8>) -> io::Result<usize> {
        self.reader.by_ref().take(count as u64).read_to_end(bytes)
    }
}
