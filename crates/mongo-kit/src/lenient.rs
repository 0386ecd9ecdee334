//! Reading documents that other programs wrote over the years.
//!
//! Each function is a `deserialize_with` for one meaning and accepts every shape in which that
//! meaning is plain. What is left is an error, which names the value's type.

use chrono::{DateTime, Utc};
use mongodb::bson::{Bson, RawBsonRef, oid::ObjectId};
use serde::{Deserialize, Deserializer, de::Error};

/// The longest `_id` that is shown as Extended JSON, in bytes. Making it recurses into nested
/// documents, and a stored document may nest deeper than a stack is deep.
const LONGEST_COMPOUND_ID: usize = 256;

/// A date: a BSON date, or text in RFC 3339. Absent and null are no date.
pub fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    match value(deserializer)? {
        None => Ok(None),
        Some(RawBsonRef::DateTime(date)) => {
            DateTime::from_timestamp_millis(date.timestamp_millis())
                .map(Some)
                .ok_or_else(|| D::Error::custom("a date beyond the year 262143"))
        }
        Some(RawBsonRef::String(text)) => {
            parse_date(text).map(Some).ok_or_else(|| D::Error::custom("text that is no date"))
        }
        Some(other) => Err(unexpected("a date", other)),
    }
}

/// The value as it is stored, without going into nested ones. Null is none.
fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RawBsonRef<'de>>, D::Error> {
    let value = RawBsonRef::deserialize(deserializer)?;
    Ok(Some(value).filter(|value| !matches!(value, RawBsonRef::Null | RawBsonRef::Undefined)))
}

/// The date that a text in RFC 3339 says.
pub fn parse_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|date| date.to_utc())
}

/// Text that every answer has: absent and null are empty.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

/// A list of texts: absent and null are empty.
pub fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

/// The id of another document: hexadecimal text or an `ObjectId`. Absent and null are none.
pub fn reference<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match value(deserializer)? {
        None => Ok(None),
        Some(RawBsonRef::String(text)) => Ok(Some(text.to_owned())),
        Some(RawBsonRef::ObjectId(id)) => Ok(Some(id.to_hex())),
        Some(other) => Err(unexpected("an id", other)),
    }
}

/// A whole number, kept by other programs as any of BSON's number types. Absent and null are 0.
pub fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    match value(deserializer)? {
        None => Ok(0),
        Some(RawBsonRef::Int32(number)) => Ok(number.into()),
        Some(RawBsonRef::Int64(number)) => Ok(number),
        #[expect(clippy::cast_possible_truncation, reason = "whole and within ±2^53, checked")]
        Some(RawBsonRef::Double(number))
            if number.fract() == 0.0 && number.abs() <= 2f64.powi(53) =>
        {
            Ok(number as i64)
        }
        Some(other) => Err(unexpected("a whole number", other)),
    }
}

/// The `_id` of a document, as [`id_text`] has it.
pub fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(raw_id_text(RawBsonRef::deserialize(deserializer)?))
}

/// The `_id` of a document as text: hexadecimal for an `ObjectId`, itself for text, relaxed
/// Extended JSON for everything else.
pub fn id_text(id: &Bson) -> String {
    match id {
        Bson::ObjectId(id) => ObjectId::to_hex(*id),
        Bson::String(text) => text.clone(),
        other => other.clone().into_relaxed_extjson().to_string(),
    }
}

pub(crate) fn raw_id_text(id: RawBsonRef<'_>) -> String {
    let length = match id {
        RawBsonRef::Document(document) => document.as_bytes().len(),
        RawBsonRef::Array(array) => array.as_bytes().len(),
        _ => 0,
    };
    if length > LONGEST_COMPOUND_ID {
        return format!("an _id of {length} bytes");
    }
    Bson::try_from(id).map(|id| id_text(&id)).unwrap_or_default()
}

fn unexpected<E: Error>(expected: &str, value: RawBsonRef<'_>) -> E {
    E::custom(format_args!("{:?} instead of {expected}", value.element_type()))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{self, doc, oid::ObjectId};

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Odd {
        #[serde(default, deserialize_with = "date")]
        date: Option<DateTime<Utc>>,
        #[serde(default, deserialize_with = "text")]
        text: String,
        #[serde(default, deserialize_with = "texts")]
        texts: Vec<String>,
        #[serde(default, deserialize_with = "reference")]
        reference: Option<String>,
        #[serde(default, deserialize_with = "integer")]
        integer: i64,
    }

    fn read(document: &bson::Document) -> bson::error::Result<Odd> {
        bson::deserialize_from_slice(&bson::serialize_to_vec(document)?)
    }

    #[test]
    fn absent_and_null_are_the_same() {
        for document in [
            doc! {},
            doc! { "date": null, "text": null, "texts": null, "reference": null, "integer": null },
        ] {
            let odd = read(&document).unwrap();
            assert_eq!((odd.date, odd.text.as_str(), odd.texts.len()), (None, "", 0));
            assert_eq!((odd.reference, odd.integer), (None, 0));
        }
    }

    #[test]
    fn a_date_kept_as_text_is_that_date() {
        let kept_as_text = doc! { "date": "2024-02-13T13:57:15.5+01:00" };
        let kept_as_date = doc! { "date": bson::DateTime::from_millis(1_707_829_035_500) };
        assert_eq!(read(&kept_as_text).unwrap().date, read(&kept_as_date).unwrap().date);
    }

    #[test]
    fn a_reference_kept_as_an_object_id_is_its_text() {
        let id = ObjectId::new();
        assert_eq!(read(&doc! { "reference": id }).unwrap().reference, Some(id.to_hex()));
    }

    #[test]
    fn a_whole_number_may_be_of_any_type() {
        for document in [doc! { "integer": 3 }, doc! { "integer": 3i64 }, doc! { "integer": 3.0 }] {
            assert_eq!(read(&document).unwrap().integer, 3);
        }
    }

    #[test]
    fn a_document_that_nests_deeper_than_a_stack_is_an_error_and_no_more() {
        let mut deep = doc! {};
        for _ in 0..180 {
            deep = doc! { "a": deep };
        }
        for field in ["date", "reference", "integer"] {
            assert!(read(&doc! { field: deep.clone() }).is_err(), "{field}");
        }
        let id = bson::serialize_to_vec(&doc! { "_id": deep }).unwrap();
        let id = bson::RawDocument::from_bytes(&id).unwrap().get("_id").unwrap().unwrap();
        assert!(raw_id_text(id).starts_with("an _id of"));
    }

    #[test]
    fn what_has_no_plain_meaning_is_an_error() {
        for document in [
            doc! { "date": "yesterday" },
            doc! { "date": 5 },
            doc! { "text": 5 },
            doc! { "texts": "Rust" },
            doc! { "reference": 5 },
            doc! { "integer": 3.5 },
        ] {
            assert!(read(&document).is_err(), "{document}");
        }
    }
}
