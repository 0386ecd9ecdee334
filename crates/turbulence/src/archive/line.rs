//! The lines of an export: each is one document, and becomes the same bytes of BSON again.
//!
//! A document is canonical Extended JSON. If reading that would give other bytes, as with a name that
//! occurs twice, text that is not UTF-8, a NaN with a payload or a stored `{"$oid": "…"}`, or if its
//! text would be larger than 16 MiB, the line is the BSON of the document in Base64 instead: a value
//! `$binary` in place of a document, which no document is.

use base64::{Engine, engine::general_purpose::STANDARD};
use mongodb::bson::{RawDocument, RawDocumentBuf};

use super::canonical;
use crate::import::{extended_json, limits::MAX_DOCUMENT_BYTES};

/// The text before and after the Base64 of a document.
const BINARY: [&str; 2] = [r#"{"$binary":{"base64":""#, r#"","subType":"00"}}"#];

/// The length of the longest line in bytes: the Base64 of the largest document, with a margin for the 16
/// KiB by which MongoDB lets documents of its own exceed 16 MiB.
pub(crate) const MAX_LINE_BYTES: usize = MAX_DOCUMENT_BYTES / 3 * 4 + 64 * 1024;

/// Appends the line of a document, with its line break.
pub(crate) fn encode(document: &RawDocument, out: &mut String) {
    let begin = out.len();
    let is_written = canonical::write(document, out, begin + MAX_DOCUMENT_BYTES).is_ok();
    let is_same =
        |line: &str| decode(line).is_ok_and(|decoded| decoded.as_bytes() == document.as_bytes());
    if !is_written || !is_same(&out[begin..]) {
        out.truncate(begin);
        out.push_str(BINARY[0]);
        STANDARD.encode_string(document.as_bytes(), out);
        out.push_str(BINARY[1]);
    }
    out.push('\n');
}

/// Returns the document of a line without its line break, or the reason why it is none.
pub(crate) fn decode(line: &str) -> Result<RawDocumentBuf, String> {
    let base64 = line.strip_prefix(BINARY[0]).and_then(|rest| rest.strip_suffix(BINARY[1]));
    match base64 {
        Some(base64) => {
            let bytes = STANDARD.decode(base64).map_err(|error| error.to_string())?;
            RawDocumentBuf::from_bytes(bytes).map_err(|error| error.to_string())
        }
        None => extended_json::parse(line).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{
        Binary, Bson, DateTime, Decimal128, Regex, Timestamp, cstr, doc, oid::ObjectId, rawdoc,
        spec::BinarySubtype,
    };
    use proptest::prelude::*;

    use super::*;

    /// Returns the line of a document after checking that it gives the same bytes.
    fn line_of(document: &RawDocument) -> String {
        let mut line = String::new();
        encode(document, &mut line);
        let line = line.strip_suffix('\n').unwrap().to_owned();
        assert!(!line.contains('\n'));
        assert_eq!(decode(&line).unwrap().as_bytes(), document.as_bytes(), "{line}");
        line
    }

    /// Returns a document of raw elements.
    fn raw(elements: &[&[u8]]) -> RawDocumentBuf {
        let body: Vec<u8> = elements.concat();
        let length = i32::try_from(body.len() + 5).unwrap().to_le_bytes();
        RawDocumentBuf::from_bytes([&length[..], &body, &[0]].concat()).unwrap()
    }

    #[test]
    fn usual_documents_are_canonical_extended_json() {
        let document = doc! {
            "_id": ObjectId::from_bytes([1; 12]),
            "title": "“Tides”\n\u{2028}\u{7f}", "count": 1, "long": 1_i64, "double": 1.0, "small": 5e-324,
            "negative zero": -0.0, "infinite": f64::NEG_INFINITY, "nan": f64::NAN,
            "decimal": Bson::Decimal128("1.50E+10".parse::<Decimal128>().unwrap()),
            "date": DateTime::from_millis(-1), "far": DateTime::from_millis(i64::MAX),
            "at": Timestamp { time: u32::MAX, increment: 0 },
            "bytes": Binary { subtype: BinarySubtype::UserDefined(0x80), bytes: vec![0, 255] },
            "pattern": Bson::RegularExpression(Regex { pattern: cstr!("a/\"").to_owned(), options: cstr!("im").to_owned() }),
            "code": Bson::JavaScriptCode("f()".into()), "symbol": Bson::Symbol("s".into()),
            "list": [null, true, [], {}, { "a": Bson::MinKey, "b": Bson::MaxKey, "c": Bson::Undefined }],
            "": "an empty name", "$set": 1, "a.b": 2,
        };
        let line = line_of(&RawDocumentBuf::try_from(&document).unwrap());
        insta::assert_snapshot!(line);
    }

    #[test]
    fn documents_that_extended_json_cannot_keep_are_base64() {
        let twice = raw(&[b"\x10a\0\x01\0\0\0", b"\x10a\0\x02\0\0\0"]);
        let not_utf8 = raw(&[b"\x02a\0\x02\0\0\0\xff\0"]);
        let name_not_utf8 = raw(&[b"\x10\xff\0\x01\0\0\0"]);
        let payload = raw(&[b"\x01a\0\x01\0\0\0\0\0\xf8\x7f"]);
        let unusual_keys = raw(&[b"\x04a\0\x0c\0\0\0\x107\0\x01\0\0\0\0"]);
        let unsorted_options = raw(&[b"\x0ba\0x\0mi\0"]);
        let pointer =
            raw(&[b"\x0ca\0\x02\0\0\0b\0\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"]);
        let old_binary = raw(&[b"\x05a\0\x06\0\0\0\x02\x02\0\0\0ab"]);
        let stored_json = rawdoc! { "a": { "$oid": "010101010101010101010101" } };
        let invalid_json = rawdoc! { "a": { "$date": "yesterday" } };
        let like_a_line = rawdoc! { "$binary": { "base64": "BQAAAAA=", "subType": "00" } };
        for document in [
            twice,
            not_utf8,
            name_not_utf8,
            payload,
            unusual_keys,
            unsorted_options,
            pointer,
            stored_json,
            invalid_json,
            like_a_line,
        ] {
            assert!(line_of(&document).starts_with(BINARY[0]), "{document:?}");
        }
        // Either form will do.
        line_of(&old_binary);
    }

    #[test]
    fn a_document_whose_text_is_larger_than_16_mib_is_base64() {
        let numbers = vec![7_i32; 1_000_000];
        let document = RawDocumentBuf::try_from(&doc! { "numbers": numbers }).unwrap();
        assert!(document.as_bytes().len() < MAX_DOCUMENT_BYTES);
        let line = line_of(&document);
        assert!(line.starts_with(BINARY[0]) && line.len() < MAX_LINE_BYTES);
    }

    #[test]
    fn a_deeply_nested_document_is_kept() {
        let mut document = rawdoc! { "end": 1 };
        for _ in 0..250 {
            document = rawdoc! { "below": document };
        }
        line_of(&document);
    }

    proptest! {
        #[test]
        fn any_bytes_that_are_a_document_are_kept(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            line_of(&raw(&[&body]));
        }

        #[test]
        fn any_element_is_kept(
            kind in prop_oneof![1_u8..=0x13, Just(0xff), Just(0x7f)],
            name in "[$a-c.]{0,4}",
            value in proptest::collection::vec(any::<u8>(), 0..24),
        ) {
            line_of(&raw(&[&[kind], name.as_bytes(), &[0], &value]));
        }

        #[test]
        fn any_number_is_kept(bits in any::<u64>(), high in any::<u64>()) {
            let double = [&b"\x01a\0"[..], &bits.to_le_bytes()].concat();
            let decimal = [&b"\x13b\0"[..], &bits.to_le_bytes(), &high.to_le_bytes()].concat();
            line_of(&raw(&[&double, &decimal]));
        }
    }
}
