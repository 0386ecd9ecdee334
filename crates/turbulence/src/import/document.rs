//! A document that was read from a file, and the checks that every document has to pass.

use std::{fmt, io::BufRead};

use mongodb::bson::{RawBsonRef, RawDocument, RawDocumentBuf};

use super::{
    extended_json,
    limits::{MAX_DEPTH, MAX_DOCUMENT_BYTES},
};

/// The bytes of a file, decompressed.
pub(super) type Reader = Box<dyn BufRead + Send>;

/// The position of a document in its file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The line in which the document or the error begins.
    Line(u64),
    /// The number of the document, in a file without lines.
    Document(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Document(number) => write!(f, "document {number}"),
        }
    }
}

/// A document with its position in the file.
#[derive(Debug)]
pub(super) struct LocatedDocument {
    pub(super) place: Place,
    pub(super) document: RawDocumentBuf,
}

/// The reason why a document cannot be read or loaded.
#[derive(Debug)]
pub(super) struct DocumentError {
    pub(super) place: Place,
    pub(super) problem: String,
}

/// Checks that every value of a document can be read, and that MongoDB accepts its size, its depth
/// and its `_id`.
pub(super) fn check(document: &RawDocument) -> Result<(), String> {
    if document.as_bytes().len() > MAX_DOCUMENT_BYTES {
        return Err("larger than 16 MiB (the limit of MongoDB)".to_owned());
    }
    check_document(document, 1)?;
    match document.get("_id").map_err(|error| invalid_bson(&error))? {
        Some(
            id @ (RawBsonRef::Array(_) | RawBsonRef::RegularExpression(_) | RawBsonRef::Undefined),
        ) => Err(format!("MongoDB does not accept {} as `_id`", extended_json::type_name(id))),
        _ => Ok(()),
    }
}

fn check_document(document: &RawDocument, depth: usize) -> Result<(), String> {
    check_depth(depth)?;
    for field in document {
        let (_, value) = field.map_err(|error| invalid_bson(&error))?;
        check_value(value, depth)?;
    }
    Ok(())
}

fn check_value(value: RawBsonRef<'_>, depth: usize) -> Result<(), String> {
    match value {
        RawBsonRef::Document(document) => check_document(document, depth + 1),
        RawBsonRef::Array(array) => {
            check_depth(depth + 1)?;
            array.into_iter().try_for_each(|value| {
                check_value(value.map_err(|error| invalid_bson(&error))?, depth + 1)
            })
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => check_document(code.scope, depth + 1),
        _ => Ok(()),
    }
}

fn check_depth(depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("nested deeper than {MAX_DEPTH} levels"));
    }
    Ok(())
}

/// Returns the message about bytes that are not valid BSON.
pub(super) fn invalid_bson(error: &impl fmt::Display) -> String {
    format!("invalid BSON: {error}")
}
