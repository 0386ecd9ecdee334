//! The one definition of content that plainly says that it is a draft.
//!
//! Content from other systems has no `is_published`, but fields of those systems that say the same:
//! WordPress exports `status`, static site generators use `draft` and `published`, Ghost uses
//! `visibility`. Such content is not public until an editor publishes it, which writes
//! `is_published`. The definition is a filter of MongoDB, so that lists, counts and migrations
//! share it. It says nothing about `is_published`, which decides wherever it is present.

use mongo_kit::lenient::FieldReader;
use mongodb::bson::{Bson, Document, RawBsonRef, Regex, cstr, doc, raw::CStr};

/// The values of `status` that keep content from the public.
const DRAFT_STATUS: &CStr = cstr!(r"^\s*(draft|pending|private|trash|scheduled|future)\s*$");

/// The texts that stand for a truth value.
const TRUE: &CStr = cstr!(r"^\s*(true|1)\s*$");
const FALSE: &CStr = cstr!(r"^\s*(false|0)\s*$");

/// The values of `visibility` that do not make content a draft; an empty text counts as absent.
const PUBLIC: &CStr = cstr!(r"^\s*(public)?\s*$");

/// Returns a filter that matches content that plainly says that it is a draft. Capital letters and
/// white space around a text do not matter.
pub(crate) fn is_draft() -> Document {
    doc! { "$or": signs() }
}

/// Returns a filter that matches all other content.
pub(crate) fn not_a_draft() -> Document {
    doc! { "$nor": signs() }
}

/// Returns one filter for each field that can say it. MongoDB compares numbers of all types by
/// value, so `1` stands for `1.0` as well.
fn signs() -> Vec<Document> {
    let not_public = doc! { "$type": "string", "$not": any_case(PUBLIC) };
    vec![
        doc! { "status": any_case(DRAFT_STATUS) },
        doc! { "draft": { "$in": [true, 1, any_case(TRUE)] } },
        doc! { "published": { "$in": [false, 0, any_case(FALSE)] } },
        doc! { "visibility": not_public },
        doc! { "visibility": { "$in": [false, 0] } },
    ]
}

/// Returns an expression that matches a text, capital letters or not.
fn any_case(pattern: &CStr) -> Bson {
    Regex { pattern: pattern.into(), options: cstr!("i").into() }.into()
}

/// Returns `true` if a document is plainly a draft. Agrees with [`is_draft`].
pub(crate) fn says_draft(reader: &mut FieldReader<'_>) -> bool {
    let is_one_of =
        |text: &str, texts: &[&str]| texts.iter().any(|one| text.trim().eq_ignore_ascii_case(one));
    let says = |value: RawBsonRef<'_>, truth: bool| match value {
        RawBsonRef::Boolean(value) => value == truth,
        RawBsonRef::String(text) => {
            is_one_of(text, if truth { &["true", "1"] } else { &["false", "0"] })
        }
        RawBsonRef::Int32(number) => number == i32::from(truth),
        RawBsonRef::Int64(number) => number == i64::from(truth),
        RawBsonRef::Double(number) => number == f64::from(u8::from(truth)),
        _ => false,
    };
    let any = |value: Option<RawBsonRef<'_>>, says: &dyn Fn(RawBsonRef<'_>) -> bool| match value {
        // A query looks at each value of a list.
        Some(RawBsonRef::Array(values)) => values.into_iter().flatten().any(says),
        Some(value) => says(value),
        None => false,
    };
    let is_status = |value: RawBsonRef<'_>| {
        let statuses = ["draft", "pending", "private", "trash", "scheduled", "future"];
        matches!(value, RawBsonRef::String(text) if is_one_of(text, &statuses))
    };
    let is_hidden = |value: RawBsonRef<'_>| match value {
        RawBsonRef::String(text) => !is_one_of(text, &["public", ""]),
        value => says(value, false),
    };
    any(reader.value("status"), &is_status)
        || any(reader.value("draft"), &|value| says(value, true))
        || any(reader.value("published"), &|value| says(value, false))
        || any(reader.value("visibility"), &is_hidden)
}
