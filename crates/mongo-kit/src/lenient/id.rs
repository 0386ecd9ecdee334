//! The `_id`s of documents as text.

use mongodb::bson::{
    Binary, Bson, Document, RawBinaryRef, RawBsonRef, Uuid, doc, oid::ObjectId, spec::BinarySubtype,
};

use super::number_text;

/// The most bytes of an `_id` that is shown as Extended JSON. The conversion is recursive, and a
/// stored document may nest deeper than the stack allows.
const MAX_COMPOUND_ID_BYTES: usize = 256;

/// The longest text of a number: the largest doubles have 309 digits, the smallest 324 and a point.
const MAX_NUMBER_BYTES: usize = 340;

/// An `_id` that is neither an `ObjectId` nor text, a number or a UUID: the document has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the _id is {0}, and must be an ObjectId, text, a number or a UUID")]
pub struct UnreadableId(pub &'static str);

/// Returns an `_id` as the API lists it: hexadecimal digits of an `ObjectId`, the text itself, the
/// text of a number, a UUID with hyphens.
pub fn stored_id_text(id: RawBsonRef<'_>) -> Result<String, UnreadableId> {
    match id {
        RawBsonRef::ObjectId(id) => Ok(id.to_hex()),
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => Ok(text.to_owned()),
        RawBsonRef::Binary(binary) if is_uuid(binary.subtype) => {
            let bytes: Result<[u8; 16], _> = binary.bytes.try_into();
            let uuid = bytes.map(|bytes| Uuid::from_bytes(bytes).to_string());
            uuid.map_err(|_| UnreadableId("binData of another length than a UUID"))
        }
        RawBsonRef::Double(number) if !number.is_finite() => Ok(not_finite(number).to_owned()),
        RawBsonRef::Decimal128(number) => Ok(number.to_string()),
        other => {
            number_text(other).ok_or_else(|| UnreadableId(super::type_name(other.element_type())))
        }
    }
}

/// Returns the name of a number that is not finite in JavaScript.
fn not_finite(number: f64) -> &'static str {
    match number {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

/// Returns `true` for the two binary subtypes of UUIDs in the specification of BSON.
fn is_uuid(subtype: BinarySubtype) -> bool {
    matches!(subtype, BinarySubtype::Uuid | BinarySubtype::UuidOld)
}

/// Returns the values of `_id` that are listed as this text. If several documents have one of them,
/// the text means the one with the lowest [`id_precedence`].
pub fn id_candidates(text: &str) -> Vec<Bson> {
    let mut candidates = Vec::new();
    if let Ok(id) = ObjectId::parse_str(text) {
        candidates.push(Bson::from(id));
    }
    candidates.push(Bson::from(text));
    candidates.extend(number_candidates(text));
    let others = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    candidates
        .extend(others.iter().filter(|one| not_finite(**one) == text).copied().map(Bson::from));
    if let Ok(uuid) = Uuid::parse_str(text)
        && uuid.to_string() == text
    {
        let binary = |subtype| Binary { subtype, bytes: uuid.bytes().to_vec() };
        candidates.push(binary(BinarySubtype::Uuid).into());
        candidates.push(binary(BinarySubtype::UuidOld).into());
    }
    candidates
}

/// Returns the precedence of an `_id` among others that are listed as the same text: first an
/// `ObjectId`, then a text, a number, a UUID.
pub fn id_precedence(id: RawBsonRef<'_>) -> u8 {
    match id {
        RawBsonRef::ObjectId(_) => 0,
        RawBsonRef::String(_) | RawBsonRef::Symbol(_) => 1,
        RawBsonRef::Binary(_) => 3,
        _ => 2,
    }
}

/// Returns the numbers with this text. MongoDB compares numbers of all types by value.
pub(super) fn number_candidates(text: &str) -> Vec<Bson> {
    let is_number = text.len() <= MAX_NUMBER_BYTES
        && text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && text.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'-' | b'+' | b'.' | b'E'));
    if !is_number {
        return Vec::new();
    }
    let mut candidates = Vec::new();
    if let Ok(number) = text.parse::<i64>() {
        candidates.push(Bson::from(number));
    }
    if let Ok(number) = text.parse::<f64>()
        && number.is_finite()
    {
        candidates.push(Bson::from(number));
    }
    if let Ok(number) = text.parse() {
        candidates.push(Bson::Decimal128(number));
    }
    candidates
}

/// Returns a filter for documents whose `_id` is not readable. It uses ranges of the index on `_id`,
/// so that it costs nothing if there are none.
pub fn unreadable_ids() -> Document {
    let types = [
        "minKey",
        "null",
        "undefined",
        "object",
        "bool",
        "date",
        "timestamp",
        "regex",
        "dbPointer",
        "javascript",
        "javascriptWithScope",
        "maxKey",
    ];
    // Binary data is in the order of length, subtype and bytes (MongoDB manual, "Comparison/Sort
    // Order"), so that both subtypes of UUIDs are one range, and the rest is on either side of it.
    let uuid = |subtype, byte| Bson::from(Binary { subtype, bytes: vec![byte; 16] });
    doc! { "$or": [
        { "_id": { "$type": types.to_vec() } },
        { "_id": { "$lt": uuid(BinarySubtype::UuidOld, 0) } },
        { "_id": { "$gt": uuid(BinarySubtype::Uuid, u8::MAX) } },
    ] }
}

/// Returns the `_id` of a document for people: as the API lists it, or else in relaxed Extended JSON.
pub fn id_text(id: &Bson) -> String {
    let text = match id {
        Bson::ObjectId(id) => stored_id_text(RawBsonRef::ObjectId(*id)),
        Bson::String(text) => stored_id_text(RawBsonRef::String(text)),
        Bson::Binary(Binary { subtype, bytes }) => {
            stored_id_text(RawBsonRef::Binary(RawBinaryRef { subtype: *subtype, bytes }))
        }
        Bson::Double(number) => stored_id_text(RawBsonRef::Double(*number)),
        Bson::Decimal128(number) => stored_id_text(RawBsonRef::Decimal128(*number)),
        _ => Err(UnreadableId("")),
    };
    text.unwrap_or_else(|_| id.clone().into_relaxed_extjson().to_string())
}

/// Returns the `_id` of a document for people.
pub(crate) fn raw_id_text(id: RawBsonRef<'_>) -> String {
    if let Ok(text) = stored_id_text(id) {
        return text;
    }
    let length = match id {
        RawBsonRef::Document(document) => document.as_bytes().len(),
        RawBsonRef::Array(array) => array.as_bytes().len(),
        _ => 0,
    };
    if length > MAX_COMPOUND_ID_BYTES {
        return format!("an _id of {length} bytes");
    }
    Bson::try_from(id).map(|id| id_text(&id)).unwrap_or_default()
}
