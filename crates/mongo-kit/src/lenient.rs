//! Reads documents that other programs wrote.
//!
//! [`FieldReader`] reads each field in every shape in which its meaning is clear. A field whose
//! meaning is not clear is absent and reported: it never hides the document.

mod date;
mod id;

use chrono::{DateTime, Utc};
use mongodb::bson::{Bson, RawBson, RawBsonRef, RawDocument, raw::RawElement, spec::ElementType};

pub use date::{StoredDate, stored_date};
pub(crate) use id::raw_id_text;
pub use id::{UnreadableId, id_candidates, id_precedence, id_text, stored_id_text, unreadable_ids};

/// The most elements of a list of texts: a list of a million would take a second to read.
const MAX_TEXTS: usize = 10_000;

/// The values that mean `true`, in the order of their likelihood. MongoDB compares numbers of all
/// types by value.
const TRUE: [Flag; 6] = [
    Flag::Bool(true),
    Flag::Text("true"),
    Flag::Text("True"),
    Flag::Text("TRUE"),
    Flag::Number(1),
    Flag::Text("1"),
];

/// The values that mean `false`.
const FALSE: [Flag; 6] = [
    Flag::Bool(false),
    Flag::Text("false"),
    Flag::Text("False"),
    Flag::Text("FALSE"),
    Flag::Number(0),
    Flag::Text("0"),
];

#[derive(Debug, Clone, Copy)]
enum Flag {
    Bool(bool),
    Text(&'static str),
    Number(i32),
}

/// Returns the stored values that are read as this flag, for a query.
pub fn flag_values(value: bool) -> Vec<Bson> {
    let values = if value { TRUE } else { FALSE };
    let bson = |flag: &Flag| match *flag {
        Flag::Bool(value) => Bson::from(value),
        Flag::Text(text) => Bson::from(text),
        Flag::Number(number) => Bson::from(number),
    };
    values.iter().map(bson).collect()
}

/// Returns the stored values that are read as this text, for a query. The documents that it finds
/// must be read and compared with the text.
pub fn text_candidates(text: &str) -> Vec<Bson> {
    let mut candidates = vec![Bson::from(text)];
    candidates.extend(id::number_candidates(text));
    candidates.extend(text.parse::<bool>().ok().map(Bson::from));
    candidates
}

/// A field whose meaning is not clear. It is absent in answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UnreadableField {
    /// The name of the field.
    pub field: String,
    /// The type of its value as the MongoDB manual names it, such as `array`, or the fault of the
    /// value, such as `text that is no date`.
    pub found: &'static str,
}

impl std::fmt::Display for UnreadableField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.found)
    }
}

/// Reads the fields of one document and remembers those that it cannot read.
#[derive(Debug)]
pub struct FieldReader<'a> {
    document: &'a RawDocument,
    unreadable: Vec<UnreadableField>,
}

impl<'a> FieldReader<'a> {
    /// Returns a reader of this document.
    pub fn new(document: &'a RawDocument) -> Self {
        Self { document, unreadable: Vec::new() }
    }

    /// Returns the fields that could not be read.
    pub fn unreadable(self) -> Vec<UnreadableField> {
        self.unreadable
    }

    /// Returns the first of these fields that was read so far and could not be read.
    pub fn first_unreadable(&self, fields: &[&str]) -> Option<&UnreadableField> {
        self.unreadable.iter().find(|one| fields.contains(&one.field.as_str()))
    }

    /// Returns `true` if a field was read so far and could not be read.
    pub fn is_unreadable(&self, field: &str) -> bool {
        self.unreadable.iter().any(|one| one.field == field)
    }

    /// Reads a date (see [`stored_date`]).
    pub fn date(&mut self, field: &str) -> Option<DateTime<Utc>> {
        let value = self.value(field)?;
        match stored_date(value) {
            StoredDate::Date(date) => return Some(date),
            StoredDate::Absent => {}
            StoredDate::Unclear => self.report(
                field,
                match value {
                    RawBsonRef::String(_) | RawBsonRef::Symbol(_) => "text that is no date",
                    RawBsonRef::Int32(_)
                    | RawBsonRef::Int64(_)
                    | RawBsonRef::Double(_)
                    | RawBsonRef::Decimal128(_) => "a number that is no date",
                    RawBsonRef::DateTime(_) => "a date beyond the year 262143",
                    other => type_name(other.element_type()),
                },
            ),
        }
        None
    }

    /// Reads a text: a number or boolean is its text.
    pub fn text(&mut self, field: &str) -> Option<String> {
        let element = self.element(field)?;
        let Ok(value) = element.value() else {
            // Not UTF-8, such as Latin-1 of old drivers: the rest of the text is still useful.
            self.report(field, "text that is not UTF-8");
            return match element.value_utf8_lossy() {
                Ok(RawBson::String(text) | RawBson::Symbol(text)) => Some(text),
                _ => None,
            };
        };
        if is_null(value) {
            return None;
        }
        let text = plain_text(value);
        if text.is_none() {
            self.report(field, type_name(value.element_type()));
        }
        text
    }

    /// Reads a list of texts: a list, one text, or several texts in one, separated by commas.
    pub fn texts(&mut self, field: &str) -> Vec<String> {
        let Some(value) = self.value(field) else { return Vec::new() };
        match value {
            RawBsonRef::Array(values) => {
                let mut texts = Vec::new();
                for value in values.into_iter().take(MAX_TEXTS) {
                    match value {
                        Ok(value) if is_null(value) => {}
                        Ok(value) => match plain_text(value) {
                            Some(text) => texts.push(text),
                            None => self.report(field, "an array of other values than text"),
                        },
                        Err(_) => self.report(field, "text that is not UTF-8"),
                    }
                }
                texts
            }
            value => match plain_text(value) {
                Some(text) => {
                    let listed = serde_json::from_str::<Vec<String>>(&text);
                    listed.unwrap_or_else(|_| {
                        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                        texts.map(str::to_owned).collect()
                    })
                }
                None => {
                    self.report(field, type_name(value.element_type()));
                    Vec::new()
                }
            },
        }
    }

    /// Reads a flag: a boolean, the numbers 0 and 1, and their texts.
    pub fn flag(&mut self, field: &str) -> Option<bool> {
        let value = self.value(field)?;
        let flag = match value {
            RawBsonRef::Boolean(flag) => Some(flag),
            RawBsonRef::String("") | RawBsonRef::Symbol("") => return None,
            value => {
                let means = |flag: &Flag| match (*flag, value) {
                    (Flag::Text(text), RawBsonRef::String(value) | RawBsonRef::Symbol(value)) => {
                        text == value
                    }
                    (Flag::Number(number), value) => as_integer(value) == Some(number.into()),
                    _ => false,
                };
                let of = |values: [Flag; 6], flag| values.iter().any(means).then_some(flag);
                of(TRUE, true).or_else(|| of(FALSE, false))
            }
        };
        if flag.is_none() {
            self.report(
                field,
                match value {
                    RawBsonRef::String(_) | RawBsonRef::Symbol(_) => {
                        "text that is neither true nor false"
                    }
                    other if as_integer(other).is_some() => "a number that is neither 0 nor 1",
                    other => type_name(other.element_type()),
                },
            );
        }
        flag
    }

    /// Reads the id of another document: text or an `ObjectId`.
    pub fn reference(&mut self, field: &str) -> Option<String> {
        match self.value(field)? {
            RawBsonRef::String("") => None,
            RawBsonRef::String(text) | RawBsonRef::Symbol(text) => Some(text.to_owned()),
            RawBsonRef::ObjectId(id) => Some(id.to_hex()),
            other => {
                self.report(field, type_name(other.element_type()));
                None
            }
        }
    }

    /// Reads a whole number of any of BSON's types, or its text.
    pub fn integer(&mut self, field: &str) -> Option<i64> {
        let value = self.value(field)?;
        let number = match value {
            RawBsonRef::String(text) | RawBsonRef::Symbol(text) => text.trim().parse().ok(),
            other => as_integer(other),
        };
        if number.is_none() {
            self.report(field, type_name(value.element_type()));
        }
        number
    }

    /// Reads a text that must be one of several, and returns its parsed value.
    pub fn choice<T>(&mut self, field: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = self.value(field)?;
        let choice = match value {
            RawBsonRef::String(text) | RawBsonRef::Symbol(text) => parse(text),
            _ => None,
        };
        if choice.is_none() {
            self.report(
                field,
                match value {
                    RawBsonRef::String(_) | RawBsonRef::Symbol(_) => {
                        "text that is not among the allowed values"
                    }
                    other => type_name(other.element_type()),
                },
            );
        }
        choice
    }

    /// Returns `true` if a field is absent or null.
    pub fn is_absent(&self, field: &str) -> bool {
        self.element(field).is_none_or(|element| element.value().is_ok_and(is_null))
    }

    /// Returns the value of a field, or `None` if it is absent or null.
    pub fn value(&mut self, field: &str) -> Option<RawBsonRef<'a>> {
        let element = self.element(field)?;
        match element.value() {
            Ok(value) if is_null(value) => None,
            Ok(value) => Some(value),
            Err(_) => {
                self.report(field, "a value that is not BSON or not UTF-8");
                None
            }
        }
    }

    fn element(&self, field: &str) -> Option<RawElement<'a>> {
        self.document.iter_elements().flatten().find(|element| element.key().as_str() == field)
    }

    fn report(&mut self, field: &str, found: &'static str) {
        if !self.is_unreadable(field) {
            self.unreadable.push(UnreadableField { field: field.to_owned(), found });
        }
    }
}

fn is_null(value: RawBsonRef<'_>) -> bool {
    matches!(value, RawBsonRef::Null | RawBsonRef::Undefined)
}

/// Returns the text of a text, number or boolean.
fn plain_text(value: RawBsonRef<'_>) -> Option<String> {
    match value {
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => Some(text.to_owned()),
        RawBsonRef::Boolean(value) => Some(value.to_string()),
        value => number_text(value),
    }
}

/// Returns the text of a finite number, without `.0` for a whole one: JavaScript stores every number
/// as a double.
fn number_text(value: RawBsonRef<'_>) -> Option<String> {
    match value {
        RawBsonRef::Int32(number) => Some(number.to_string()),
        RawBsonRef::Int64(number) => Some(number.to_string()),
        RawBsonRef::Double(number) if number.is_finite() => Some(number.to_string()),
        RawBsonRef::Decimal128(number) => {
            let text = number.to_string();
            (!text.contains(['N', 'I'])).then_some(text)
        }
        _ => None,
    }
}

fn as_integer(value: RawBsonRef<'_>) -> Option<i64> {
    match value {
        RawBsonRef::Int32(number) => Some(number.into()),
        RawBsonRef::Int64(number) => Some(number),
        #[expect(clippy::cast_possible_truncation, reason = "whole and within ±2^53, checked")]
        RawBsonRef::Double(number) if number.fract() == 0.0 && number.abs() <= 2f64.powi(53) => {
            Some(number as i64)
        }
        RawBsonRef::Decimal128(number) => {
            let number: f64 = number.to_string().parse().ok()?;
            as_integer(RawBsonRef::Double(number))
        }
        _ => None,
    }
}

/// Returns the alias of a type in the MongoDB manual ("BSON Types").
pub fn type_name(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::Double => "double",
        ElementType::String => "string",
        ElementType::EmbeddedDocument => "object",
        ElementType::Array => "array",
        ElementType::Binary => "binData",
        ElementType::Undefined => "undefined",
        ElementType::ObjectId => "objectId",
        ElementType::Boolean => "bool",
        ElementType::DateTime => "date",
        ElementType::Null => "null",
        ElementType::RegularExpression => "regex",
        ElementType::DbPointer => "dbPointer",
        ElementType::JavaScriptCode => "javascript",
        ElementType::Symbol => "symbol",
        ElementType::JavaScriptCodeWithScope => "javascriptWithScope",
        ElementType::Int32 => "int",
        ElementType::Timestamp => "timestamp",
        ElementType::Int64 => "long",
        ElementType::Decimal128 => "decimal",
        ElementType::MaxKey => "maxKey",
        ElementType::MinKey => "minKey",
    }
}

#[cfg(test)]
mod tests;
