//! Parser of MongoDB Extended JSON: canonical and relaxed (version 2), and the legacy form
//! (version 1) that `mongoexport` wrote before MongoDB 4.2.
//!
//! A document is built as raw BSON while it is parsed, so that the order of the fields and the type
//! of every number are kept, and a document takes no more memory than its BSON.

use std::{collections::HashSet, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use mongodb::bson::{
    self, Binary, Bson, Decimal128, RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf,
    RawJavaScriptCodeWithScope, Regex, Timestamp, oid::ObjectId, raw::CString, spec::BinarySubtype,
};
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use super::limits::{MAX_DEPTH, MAX_DOCUMENT_BYTES};

/// Number of additional JSON levels that the deepest BSON value may need, as in
/// `{"$date": {"$numberLong": "0"}}`.
const WRAPPER_DEPTH: usize = 2;

/// Parses one document.
pub(crate) fn parse(text: &str) -> Result<RawDocumentBuf, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // The seed counts the levels: MongoDB allows more of them than serde_json does.
    deserializer.disable_recursion_limit();
    let value = ValueSeed { depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    match value {
        RawBson::Document(document) => Ok(document),
        other => {
            let found = type_name(other.as_raw_bson_ref());
            Err(serde_json::Error::custom(format_args!("expected a document, found {found}")))
        }
    }
}

/// Returns the name of a value's type for a message.
pub(super) fn type_name(value: RawBsonRef<'_>) -> String {
    match value {
        RawBsonRef::Null => "null".to_owned(),
        RawBsonRef::Array(_) => "an array".to_owned(),
        RawBsonRef::Document(_) => "a document".to_owned(),
        RawBsonRef::String(_) => "a string".to_owned(),
        RawBsonRef::Boolean(_) => "a boolean".to_owned(),
        RawBsonRef::Int32(_) | RawBsonRef::Int64(_) | RawBsonRef::Double(_) => {
            "a number".to_owned()
        }
        other => format!("a value of the type {:?}", other.element_type()),
    }
}

/// Reads a value below `depth` arrays and objects.
struct ValueSeed {
    depth: usize,
}

impl ValueSeed {
    fn nested<E: Error>(&self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH + WRAPPER_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = RawBson;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawBson, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = RawBson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<RawBson, E> {
        Ok(RawBson::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawBson, E> {
        Ok(RawBson::Boolean(value))
    }

    // The type of a bare number follows the specification of relaxed Extended JSON.
    fn visit_i64<E>(self, number: i64) -> Result<RawBson, E> {
        Ok(i32::try_from(number).map_or(RawBson::Int64(number), RawBson::Int32))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<RawBson, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            #[expect(clippy::cast_precision_loss, reason = "beyond 64 bits it is a double")]
            Err(_) => Ok(RawBson::Double(number as f64)),
        }
    }

    fn visit_f64<E>(self, number: f64) -> Result<RawBson, E> {
        Ok(RawBson::Double(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<RawBson, E> {
        Ok(RawBson::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<RawBson, E> {
        Ok(RawBson::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<RawBson, A::Error> {
        let mut array = RawArrayBuf::new();
        while let Some(value) = sequence.next_element_seed(self.nested()?)? {
            array.push(value);
            refuse_large(array.as_bytes().len())?;
        }
        Ok(RawBson::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawBson, A::Error> {
        let mut document = RawDocumentBuf::new();
        let mut names = HashSet::new();
        let mut is_wrapper = false;
        while let Some(name) = map.next_key::<String>()? {
            is_wrapper |= names.is_empty() && name.starts_with('$');
            let value = map.next_value_seed(self.nested()?)?;
            let key = CString::try_from(name.as_str()).map_err(|_| {
                A::Error::custom(format_args!("the field name {name:?} contains a NUL"))
            })?;
            document.append(key, value);
            refuse_large(document.as_bytes().len())?;
            if let Some(name) = names.replace(name) {
                return Err(A::Error::custom(format_args!(
                    "the field `{name}` occurs twice in one object"
                )));
            }
        }
        if is_wrapper { unwrap(document).map_err(A::Error::custom) } else { Ok(document.into()) }
    }
}

fn refuse_large<E: Error>(bytes: usize) -> Result<(), E> {
    if bytes > MAX_DOCUMENT_BYTES {
        return Err(E::custom("larger than 16 MiB (the limit of MongoDB)"));
    }
    Ok(())
}

/// Converts an object whose first member begins with `$` to the value that it represents. Objects
/// that represent no other value, such as `{"$ref": …, "$id": …}`, remain documents.
fn unwrap(document: RawDocumentBuf) -> Result<RawBson, String> {
    let fields = document.iter().take(3).collect::<Result<Vec<_>, _>>();
    let mut fields: Vec<_> = fields
        .map_err(|error| error.to_string())?
        .into_iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    fields.sort_by_key(|(name, _)| *name);
    let value = match fields[..] {
        [(name, value)] => from_one_member(name, value)?,
        [(one, first), (two, second)] => from_two_members((one, first), (two, second))?,
        _ => None,
    };
    if let Some(value) = value {
        return Ok(value);
    }
    match fields.iter().find(|(name, _)| wrapper_named(name).is_some()) {
        Some((name, _)) => Err(format!("`{name}` must be the only member of its object")),
        None => Ok(document.into()),
    }
}

/// A member that represents a value as the only member of its object.
struct Wrapper {
    name: &'static str,
    /// The values that it may have, in words that follow "must be".
    expected: &'static str,
    parse: fn(RawBsonRef<'_>) -> Option<RawBson>,
}

const fn wrapper(
    name: &'static str,
    expected: &'static str,
    parse: fn(RawBsonRef<'_>) -> Option<RawBson>,
) -> Wrapper {
    Wrapper { name, expected, parse }
}

/// The members that represent a value. `$regex` is not among them, since a stored query may contain
/// it alone.
const WRAPPERS: [Wrapper; 16] = [
    wrapper("$binary", "an object with `base64` and `subType`", |value| {
        let [bytes, subtype] = strings(value.as_document()?, ["base64", "subType"])?;
        Some(binary(bytes, subtype)?.into())
    }),
    wrapper("$code", "a string", |value| Some(RawBson::JavaScriptCode(value.as_str()?.to_owned()))),
    wrapper("$date", "a date in RFC 3339 or milliseconds since 1970", |value| {
        Some(RawBson::DateTime(bson::DateTime::from_millis(date(value)?)))
    }),
    wrapper("$dbPointer", "an object with `$ref` and `$id`", db_pointer),
    wrapper("$maxKey", "1", |value| is_one(value).then_some(RawBson::MaxKey)),
    wrapper("$minKey", "1", |value| is_one(value).then_some(RawBson::MinKey)),
    wrapper("$numberDecimal", "a decimal number", |value| {
        Some(RawBson::Decimal128(number(value)?.parse::<Decimal128>().ok()?))
    }),
    wrapper("$numberDouble", "a number", |value| {
        Some(RawBson::Double(number(value)?.parse().ok()?))
    }),
    wrapper("$numberInt", "an integer of 32 bits", |value| {
        Some(RawBson::Int32(number(value)?.parse().ok()?))
    }),
    wrapper("$numberLong", "an integer of 64 bits", |value| {
        Some(RawBson::Int64(number(value)?.parse().ok()?))
    }),
    wrapper("$oid", "24 hexadecimal digits", |value| {
        Some(RawBson::ObjectId(ObjectId::parse_str(value.as_str()?).ok()?))
    }),
    wrapper(
        "$regularExpression",
        "an object with `pattern` and `options`, both without a NUL",
        |value| regex(strings(value.as_document()?, ["pattern", "options"])?).ok(),
    ),
    wrapper("$symbol", "a string", |value| Some(RawBson::Symbol(value.as_str()?.to_owned()))),
    wrapper("$timestamp", "an object with `t` and `i`", |value| Some(timestamp(value)?.into())),
    wrapper("$undefined", "true", |value| {
        (value.as_bool() == Some(true)).then_some(RawBson::Undefined)
    }),
    wrapper("$uuid", "a UUID", |value| {
        Some(Binary::from_uuid(bson::Uuid::parse_str(value.as_str()?).ok()?).into())
    }),
];

/// Returns the wrapper with this name, or `None` for an ordinary member.
fn wrapper_named(name: &str) -> Option<&'static Wrapper> {
    WRAPPERS.iter().find(|wrapper| wrapper.name == name)
}

/// Returns the value that an object with one member represents, or `None` if it is an ordinary
/// object.
fn from_one_member(name: &str, value: RawBsonRef<'_>) -> Result<Option<RawBson>, String> {
    let Some(Wrapper { expected, parse, .. }) = wrapper_named(name) else { return Ok(None) };
    let parsed = parse(value);
    parsed
        .map(Some)
        .ok_or_else(|| format!("`{name}` must be {expected}, but is {}", describe(value)))
}

/// Returns the value that an object with two members, sorted by name, represents, or `None` if it is
/// an ordinary object.
fn from_two_members(
    (one, first): (&str, RawBsonRef<'_>),
    (two, second): (&str, RawBsonRef<'_>),
) -> Result<Option<RawBson>, String> {
    let value = match (one, two) {
        ("$binary", "$type") => {
            let subtype = match (second.as_str(), integer(second)) {
                (Some(text), _) => text.to_owned(),
                (None, Some(number)) => format!("{number:x}"),
                (None, None) => String::new(),
            };
            let value = first.as_str().and_then(|bytes| binary(bytes, &subtype));
            value.ok_or("`$binary` must be Base64 and its `$type` a hexadecimal byte")?.into()
        }
        ("$code", "$scope") => match (first, second) {
            (RawBsonRef::String(code), RawBsonRef::Document(scope)) => {
                let (code, scope) = (code.to_owned(), scope.to_owned());
                RawBson::JavaScriptCodeWithScope(RawJavaScriptCodeWithScope { code, scope })
            }
            _ => return Err("`$code` must be a string and its `$scope` a document".to_owned()),
        },
        ("$options", "$regex") => match (second, first) {
            (RawBsonRef::String(pattern), RawBsonRef::String(options)) => {
                regex([pattern, options])?
            }
            // A stored query that contains a regular expression.
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some(value))
}

/// Returns a short form of a value for a message.
fn describe(value: RawBsonRef<'_>) -> String {
    /// Number of characters up to which a string is shown.
    const MAX_CHARS: usize = 40;
    match value {
        RawBsonRef::String(text) if text.chars().count() <= MAX_CHARS => format!("`{text}`"),
        RawBsonRef::Boolean(value) => value.to_string(),
        RawBsonRef::Int32(number) => number.to_string(),
        RawBsonRef::Int64(number) => number.to_string(),
        RawBsonRef::Double(number) => number.to_string(),
        other => type_name(other),
    }
}

/// Returns a number as text. Old exports write some numbers without quotation marks.
fn number(value: RawBsonRef<'_>) -> Option<String> {
    match value {
        RawBsonRef::String(text) => Some(text.to_owned()),
        RawBsonRef::Double(number) => Some(number.to_string()),
        other => integer(other).map(|number| number.to_string()),
    }
}

fn integer(value: RawBsonRef<'_>) -> Option<i64> {
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}

fn is_one(value: RawBsonRef<'_>) -> bool {
    integer(value) == Some(1)
}

/// Returns the milliseconds since 1970 that a `$date` represents.
fn date(value: RawBsonRef<'_>) -> Option<i64> {
    match value {
        RawBsonRef::String(text) => parse_date(text),
        #[expect(clippy::cast_possible_truncation, reason = "checked: an integer within ±2^53")]
        RawBsonRef::Double(number) if number.fract() == 0.0 && number.abs() <= 2f64.powi(53) => {
            Some(number as i64)
        }
        other => integer(other),
    }
}

/// Returns the milliseconds since 1970 of a date in one of the forms that `mongoimport` accepts:
/// RFC 3339, with the zone as `+0100` (written by `mongoexport` up to version 4.0), without seconds,
/// without a zone (UTC), or without a time.
fn parse_date(text: &str) -> Option<i64> {
    if let Ok(date) = DateTime::parse_from_rfc3339(text) {
        return Some(date.timestamp_millis());
    }
    let (local, is_utc) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, true),
        None => (text, false),
    };
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(date) = NaiveDateTime::parse_from_str(local, format) {
            return Some(date.and_utc().timestamp_millis());
        }
        if !is_utc && let Ok(date) = DateTime::parse_from_str(text, &format!("{format}%z")) {
            return Some(date.timestamp_millis());
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

fn timestamp(value: RawBsonRef<'_>) -> Option<Timestamp> {
    let body = value.as_document()?;
    let part = |name| u32::try_from(integer(body.get(name).ok()??)?).ok();
    let has_two = body.iter().count() == 2;
    has_two.then_some(Timestamp { time: part("t")?, increment: part("i")? })
}

/// Decodes bytes in Base64 with a subtype in hexadecimal. Old tools extended the sign of a
/// user-defined subtype: `ffffff80` is `80`.
fn binary(bytes: &str, subtype: &str) -> Option<Binary> {
    let bytes = STANDARD.decode(bytes).ok()?;
    let subtype = match subtype.len() {
        1 | 2 => subtype,
        8 => subtype.strip_prefix("ffffff")?,
        _ => return None,
    };
    let subtype = BinarySubtype::from(u8::from_str_radix(subtype, 16).ok()?);
    Some(Binary { subtype, bytes })
}

fn regex([pattern, options]: [&str; 2]) -> Result<RawBson, String> {
    // BSON stores the options in alphabetical order (BSON specification, "Regular expression").
    let mut options: Vec<_> = options.chars().collect();
    options.sort_unstable();
    let text = |text: String| {
        CString::try_from(text).map_err(|_| "a regular expression contains a NUL".to_owned())
    };
    let pattern = text(pattern.to_owned())?;
    let options = text(options.into_iter().collect())?;
    Ok(RawBson::RegularExpression(Regex { pattern, options }))
}

fn db_pointer(value: RawBsonRef<'_>) -> Option<RawBson> {
    let body = value.as_document()?;
    let (namespace, id) = (body.get_str("$ref").ok()?, body.get_object_id("$id").ok()?);
    // The crate has no constructor for it.
    let pointer = serde_json::json!({
        "$dbPointer": { "$ref": namespace, "$id": { "$oid": id.to_hex() } }
    });
    RawBson::try_from(Bson::try_from(pointer).ok()?).ok()
}

/// Returns the members of a document if it has exactly these, and all are strings.
fn strings<'a, const N: usize>(
    document: &'a RawDocument,
    names: [&str; N],
) -> Option<[&'a str; N]> {
    if document.iter().count() != N {
        return None;
    }
    let texts: Vec<_> = names.iter().filter_map(|name| document.get_str(name).ok()).collect();
    texts.try_into().ok()
}
