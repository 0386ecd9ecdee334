//! Writer of canonical Extended JSON (MongoDB specification, "Extended JSON", version 2), from raw BSON:
//! a document takes no more memory than its text.

use std::fmt::Write as _;

use base64::{Engine, engine::general_purpose::STANDARD};
use mongodb::bson::{RawBsonRef, RawDocument};

/// The document has a value that canonical Extended JSON cannot express, or is not valid BSON.
#[derive(Debug)]
pub(super) struct Unwritable;

type Result = std::result::Result<(), Unwritable>;

impl<E: std::error::Error> From<E> for Unwritable {
    fn from(_: E) -> Self {
        Self
    }
}

/// Appends a document of at most `max_bytes` bytes of text.
pub(super) fn write(document: &RawDocument, out: &mut String, max_bytes: usize) -> Result {
    let mut separator = '{';
    for field in document {
        let (name, value) = field?;
        out.push(separator);
        write_text(name.as_str(), out)?;
        out.push(':');
        write_value(value, out, max_bytes)?;
        separator = ',';
    }
    if separator == '{' {
        out.push('{');
    }
    out.push('}');
    if out.len() > max_bytes { Err(Unwritable) } else { Ok(()) }
}

fn write_value(value: RawBsonRef<'_>, out: &mut String, max_bytes: usize) -> Result {
    if out.len() > max_bytes {
        return Err(Unwritable);
    }
    match value {
        RawBsonRef::Null => out.push_str("null"),
        RawBsonRef::Boolean(value) => write!(out, "{value}")?,
        RawBsonRef::String(text) => write_text(text, out)?,
        RawBsonRef::Document(document) => write(document, out, max_bytes)?,
        RawBsonRef::Array(array) => {
            out.push('[');
            for (place, value) in array.into_iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_value(value?, out, max_bytes)?;
            }
            out.push(']');
        }
        RawBsonRef::Int32(number) => write!(out, r#"{{"$numberInt":"{number}"}}"#)?,
        RawBsonRef::Int64(number) => write!(out, r#"{{"$numberLong":"{number}"}}"#)?,
        RawBsonRef::Double(number) if number.is_infinite() => {
            let sign = if number < 0.0 { "-" } else { "" };
            write!(out, r#"{{"$numberDouble":"{sign}Infinity"}}"#)?;
        }
        RawBsonRef::Double(number) => write!(out, r#"{{"$numberDouble":"{number:?}"}}"#)?,
        RawBsonRef::Decimal128(number) => write!(out, r#"{{"$numberDecimal":"{number}"}}"#)?,
        RawBsonRef::ObjectId(id) => write!(out, r#"{{"$oid":"{}"}}"#, id.to_hex())?,
        RawBsonRef::DateTime(date) => {
            write!(out, r#"{{"$date":{{"$numberLong":"{}"}}}}"#, date.timestamp_millis())?;
        }
        RawBsonRef::Timestamp(at) => {
            write!(out, r#"{{"$timestamp":{{"t":{},"i":{}}}}}"#, at.time, at.increment)?;
        }
        RawBsonRef::Binary(binary) => {
            out.push_str(r#"{"$binary":{"base64":""#);
            STANDARD.encode_string(binary.bytes, out);
            write!(out, r#"","subType":"{:02x}"}}}}"#, u8::from(binary.subtype))?;
        }
        RawBsonRef::RegularExpression(regex) => {
            out.push_str(r#"{"$regularExpression":{"pattern":"#);
            write_text(regex.pattern.as_str(), out)?;
            out.push_str(r#","options":"#);
            write_text(regex.options.as_str(), out)?;
            out.push_str("}}");
        }
        RawBsonRef::JavaScriptCode(code) => {
            out.push_str(r#"{"$code":"#);
            write_text(code, out)?;
            out.push('}');
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            out.push_str(r#"{"$code":"#);
            write_text(code.code, out)?;
            out.push_str(r#","$scope":"#);
            write(code.scope, out, max_bytes)?;
            out.push('}');
        }
        RawBsonRef::Symbol(text) => {
            out.push_str(r#"{"$symbol":"#);
            write_text(text, out)?;
            out.push('}');
        }
        RawBsonRef::Undefined => out.push_str(r#"{"$undefined":true}"#),
        RawBsonRef::MinKey => out.push_str(r#"{"$minKey":1}"#),
        RawBsonRef::MaxKey => out.push_str(r#"{"$maxKey":1}"#),
        // The crate does not show its parts; no driver writes it any more.
        RawBsonRef::DbPointer(_) => return Err(Unwritable),
    }
    Ok(())
}

fn write_text(text: &str, out: &mut String) -> Result {
    out.push_str(&serde_json::to_string(text)?);
    Ok(())
}
