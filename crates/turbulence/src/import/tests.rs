//! Reading documents of every shape, compared with the exact BSON that they represent.

use std::{io::Write, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use indicatif::ProgressBar;
use models::ContentType;
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, RawDocumentBuf, Regex, Timestamp, Uuid, cstr,
    doc, oid::ObjectId, rawdoc, spec::BinarySubtype,
};
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::{
    document::Place,
    extended_json::parse,
    input::{Content, Format, Input},
    limits::{MAX_DEPTH, MAX_DOCUMENT_BYTES},
};

/// Returns the documents of a file, or the message about it.
fn read(bytes: &[u8], format: Format, is_gzip: bool) -> Result<Vec<RawDocumentBuf>, String> {
    located(bytes, format, is_gzip)
        .map(|all| all.into_iter().map(|(_, document)| document).collect())
}

fn located(
    bytes: &[u8],
    format: Format,
    is_gzip: bool,
) -> Result<Vec<(Place, RawDocumentBuf)>, String> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    let input = input(path, format, is_gzip);
    let bar = ProgressBar::hidden();
    let documents = input.documents(&bar).unwrap();
    let documents = documents.map(|one| one.map(|one| (one.place, one.document)));
    documents.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn input(path: PathBuf, format: Format, is_gzip: bool) -> Input {
    let content = Content::File { path, format, is_gzip };
    Input {
        collection: ContentType::ALL[0].collection(),
        name: "FILE".to_owned(),
        bytes: 0,
        content,
    }
}

fn json(text: &str) -> Result<Vec<RawDocumentBuf>, String> {
    read(text.as_bytes(), Format::Json, false)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw(document: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

#[test]
fn every_layout_of_json_is_read_as_the_same_documents() {
    let expected =
        [rawdoc! { "_id": 1, "t": "a]}\"," }, rawdoc! { "_id": 2, "n": [1, { "x": {} }] }];
    let (one, two) = (r#"{"_id":1,"t":"a]}\","}"#, r#"{"_id":2,"n":[1,{"x":{}}]}"#);
    let pretty = "{\n  \"_id\": 1,\n  \"t\": \"a]}\\\",\"\n}\n{\n\t\"_id\": 2,\r\n\t\"n\": [\n1, {\"x\": {}}]}";
    for text in [
        format!("{one}\n{two}\n"),
        format!("{one}\n\n  \r\n{two}"),
        format!("{one}\r\n{two}\r\n"),
        format!("\u{feff}{one}\n{two}\n"),
        format!("{one} {two}"),
        format!("{one}{two}"),
        pretty.to_owned(),
        format!("[{one},{two}]"),
        format!("\u{feff} [\r\n  {one},\r\n  {two}\r\n]\r\n\r\n"),
        format!("[\n{one}\n,\n{two}]"),
    ] {
        assert_eq!(json(&text).unwrap(), expected, "{text}");
        let packed = gzip(text.as_bytes());
        assert_eq!(read(&packed, Format::Json, true).unwrap(), expected, "{text}");
        // Concatenated gzip members are one file (RFC 1952).
        let (begin, end) = text.split_at(text.find('2').unwrap());
        let parts = [gzip(begin.as_bytes()), gzip(end.as_bytes())].concat();
        assert_eq!(read(&parts, Format::Json, true).unwrap(), expected, "{text}");
    }
    for text in ["", "\n \r\n", "\u{feff}", "[]", " [ ] \n"] {
        assert_eq!(json(text).unwrap(), [], "{text:?}");
    }
}

#[test]
fn the_place_of_a_document_is_its_first_line() {
    let lines = |text: &str| -> Vec<_> {
        let documents = located(text.as_bytes(), Format::Json, false).unwrap();
        documents.into_iter().map(|(place, _)| place).collect()
    };
    assert_eq!(lines("{}\n\n{\n}\n{}"), [1, 3, 5].map(Place::Line));
    assert_eq!(lines("[\r\n{},{}\r\n,{\r\n}]"), [2, 2, 3].map(Place::Line));
}

#[test]
fn canonical_relaxed_and_legacy_values_become_the_same_bson() {
    let id = ObjectId::parse_str("626e3e0035b0bc65bb5e1545").unwrap();
    let date = |millis| Bson::DateTime(DateTime::from_millis(millis));
    let bytes = |subtype: u8, bytes: &[u8]| {
        Bson::Binary(Binary { subtype: BinarySubtype::from(subtype), bytes: bytes.to_vec() })
    };
    let regex = Bson::RegularExpression(Regex {
        pattern: cstr!("^a\\/b").to_owned(),
        options: cstr!("im").to_owned(),
    });
    let decimal = |text: &str| Bson::Decimal128(text.parse::<Decimal128>().unwrap());
    let cases: Vec<(Bson, &[&str])> = vec![
        (
            id.into(),
            &[r#"{"$oid": "626e3e0035b0bc65bb5e1545"}"#, r#"{"$oid":"626E3E0035B0BC65BB5E1545"}"#],
        ),
        (5.into(), &["5", r#"{"$numberInt": "5"}"#, r#"{"$numberInt": 5}"#]),
        ((-0.0).into(), &["-0.0", "-0", r#"{"$numberDouble": "-0.0"}"#]),
        (5i64.into(), &[r#"{"$numberLong": "5"}"#, r#"{"$numberLong": 5}"#]),
        (
            9_007_199_254_740_993i64.into(),
            &["9007199254740993", r#"{"$numberLong": "9007199254740993"}"#],
        ),
        (i64::MIN.into(), &["-9223372036854775808", r#"{"$numberLong": "-9223372036854775808"}"#]),
        (2_147_483_648i64.into(), &["2147483648"]),
        (i32::MIN.into(), &["-2147483648"]),
        (5.0.into(), &["5.0", "5e0", r#"{"$numberDouble": "5.0"}"#, r#"{"$numberDouble": 5}"#]),
        // Numbers that a fast parser misses by one in the last place.
        (
            65.613_616_999_999_98.into(),
            &["65.613616999999977", r#"{"$numberDouble": "65.613616999999977"}"#],
        ),
        (2.638_344_616_030_823_6e-256.into(), &["2.6383446160308236e-256"]),
        (9.5e-306.into(), &["9.5e-306"]),
        (f64::INFINITY.into(), &[r#"{"$numberDouble": "Infinity"}"#]),
        (f64::NEG_INFINITY.into(), &[r#"{"$numberDouble": "-Infinity"}"#]),
        (18_446_744_073_709_551_615.0.into(), &["18446744073709551615"]),
        (decimal("1.10"), &[r#"{"$numberDecimal": "1.10"}"#]),
        (
            decimal("-9.999999999999999999999999999999999E+6144"),
            &[r#"{"$numberDecimal": "-9.999999999999999999999999999999999E+6144"}"#],
        ),
        (
            date(1_356_351_330_501),
            &[
                r#"{"$date": {"$numberLong": "1356351330501"}}"#,
                r#"{"$date": 1356351330501}"#,
                r#"{"$date": "2012-12-24T12:15:30.501Z"}"#,
                r#"{"$date": "2012-12-24T12:15:30.501+0000"}"#,
                r#"{"$date": "2012-12-24T13:15:30.501+0100"}"#,
                r#"{"$date": "2012-12-24T07:15:30.501-05:00"}"#,
                r#"{"$date": "2012-12-24T12:15:30.501"}"#,
            ],
        ),
        (
            date(1_356_351_300_000),
            &[
                r#"{"$date": "2012-12-24T12:15Z"}"#,
                r#"{"$date": "2012-12-24T12:15+0000"}"#,
                r#"{"$date": "2012-12-24T12:15:00Z"}"#,
            ],
        ),
        (date(1_356_307_200_000), &[r#"{"$date": "2012-12-24"}"#]),
        (
            date(-1),
            &[
                r#"{"$date": -1}"#,
                r#"{"$date": {"$numberLong": "-1"}}"#,
                r#"{"$date": "1969-12-31T23:59:59.999Z"}"#,
                r#"{"$date": "1969-12-31T23:59:59.999+0000"}"#,
            ],
        ),
        (
            date(-62_135_596_800_000),
            &[
                r#"{"$date": "0001-01-01T00:00:00Z"}"#,
                r#"{"$date": "0001-01-01T00:00:00.000+0000"}"#,
            ],
        ),
        (date(253_402_300_800_000), &[r#"{"$date": {"$numberLong": "253402300800000"}}"#]),
        (date(i64::MAX), &[r#"{"$date": {"$numberLong": "9223372036854775807"}}"#]),
        (
            bytes(0, b"\xff\x00a"),
            &[
                r#"{"$binary": {"base64": "/wBh", "subType": "00"}}"#,
                r#"{"$binary": {"subType": "0", "base64": "/wBh"}}"#,
                r#"{"$binary": "/wBh", "$type": "00"}"#,
                r#"{"$type": "0", "$binary": "/wBh"}"#,
                r#"{"$binary": "/wBh", "$type": 0}"#,
            ],
        ),
        (
            bytes(0x80, b"a"),
            &[
                r#"{"$binary": {"base64": "YQ==", "subType": "80"}}"#,
                r#"{"$binary": "YQ==", "$type": "80"}"#,
                r#"{"$binary": "YQ==", "$type": "ffffff80"}"#,
            ],
        ),
        (bytes(2, b"a"), &[r#"{"$binary": {"base64": "YQ==", "subType": "02"}}"#]),
        (bytes(3, &[7; 16]), &[r#"{"$binary": "BwcHBwcHBwcHBwcHBwcHBw==", "$type": "03"}"#]),
        (
            bytes(4, &Uuid::parse_str("73ffd264-44b3-4c69-90e8-e7d1dfc035d4").unwrap().bytes()),
            &[
                r#"{"$uuid": "73ffd264-44b3-4c69-90e8-e7d1dfc035d4"}"#,
                r#"{"$binary": {"base64": "c//SZESzTGmQ6OfR38A11A==", "subType": "04"}}"#,
            ],
        ),
        (
            Timestamp { time: 4_000_000_000, increment: 1 }.into(),
            &[r#"{"$timestamp": {"t": 4000000000, "i": 1}}"#],
        ),
        (
            regex,
            &[
                r#"{"$regularExpression": {"pattern": "^a\\/b", "options": "im"}}"#,
                r#"{"$regex": "^a\\/b", "$options": "mi"}"#,
                r#"{"$options": "im", "$regex": "^a\\/b"}"#,
            ],
        ),
        (doc! { "$regex": "^a" }.into(), &[r#"{"$regex": "^a"}"#]),
        (Bson::Undefined, &[r#"{"$undefined": true}"#]),
        (Bson::MinKey, &[r#"{"$minKey": 1}"#]),
        (Bson::MaxKey, &[r#"{"$maxKey": 1}"#]),
        (Bson::Symbol("a".to_owned()), &[r#"{"$symbol": "a"}"#]),
        (Bson::JavaScriptCode("f()".to_owned()), &[r#"{"$code": "f()"}"#]),
        (
            Bson::JavaScriptCodeWithScope(mongodb::bson::JavaScriptCodeWithScope {
                code: "f()".to_owned(),
                scope: doc! { "x": 1 },
            }),
            &[r#"{"$code": "f()", "$scope": {"x": 1}}"#],
        ),
        (
            Bson::try_from(
                json!({ "$dbPointer": { "$ref": "a.b", "$id": { "$oid": id.to_hex() } } }),
            )
            .unwrap(),
            &[r#"{"$dbPointer": {"$ref": "a.b", "$id": {"$oid": "626e3e0035b0bc65bb5e1545"}}}"#],
        ),
        (
            doc! { "$ref": "users", "$id": id, "$db": "site" }.into(),
            &[r#"{"$ref": "users", "$id": {"$oid": "626e3e0035b0bc65bb5e1545"}, "$db": "site"}"#],
        ),
        (doc! { "a": 1, "$oid": "x" }.into(), &[r#"{"a": 1, "$oid": "x"}"#]),
        (doc! { "$set": { "a": 1 } }.into(), &[r#"{"$set": {"a": 1}}"#]),
        ("{\"$oid\": \u{1f980}\u{0}".into(), &[r#""{\"$oid\": \ud83e\udd80\u0000""#]),
        (Bson::Null, &["null"]),
        (true.into(), &["true"]),
        (Bson::Array(vec![]), &["[]"]),
        (doc! {}.into(), &["{}"]),
    ];
    for (expected, texts) in cases {
        let expected = raw(&doc! { "z": &expected, "a": [expected] });
        for text in texts {
            let text = format!(r#"{{"z": {text}, "a": [{text}]}}"#);
            let document = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(document, expected, "{text}");
        }
    }
}

#[test]
fn an_invalid_value_is_refused_with_its_place() {
    let mut said = String::new();
    for value in [
        r#"{"$oid": "short"}"#,
        r#"{"$oid": "626e3e0035b0bc65bb5e1545", "a": 1}"#,
        r#"{"$oid": {"a": 1}}"#,
        r#"{"$numberInt": "2147483648"}"#,
        r#"{"$numberLong": "1.5"}"#,
        r#"{"$numberDouble": "x"}"#,
        r#"{"$numberDecimal": "1,5"}"#,
        r#"{"$date": "yesterday"}"#,
        r#"{"$date": "2015-02-30T00:00:00Z"}"#,
        r#"{"$date": 1.5}"#,
        r#"{"$timestamp": {"t": -1, "i": 1}}"#,
        r#"{"$binary": {"base64": "?", "subType": "00"}}"#,
        r#"{"$binary": "YQ==", "$type": "xx"}"#,
        r#"{"$binary": "YQ=="}"#,
        r#"{"$uuid": "73ffd264"}"#,
        r#"{"$minKey": 2}"#,
        r#"{"$undefined": false}"#,
        r#"{"$code": 1, "$scope": {}}"#,
        r#"{"a": 1, "a": 2}"#,
        r#"{"a\u0000b": 1}"#,
        "NaN",
        "1e999",
    ] {
        let text = format!("\n{{\"v\":\n {value}}}");
        let error = json(&text).unwrap_err();
        said += &format!("{value}\n    {error}\n");
    }
    insta::assert_snapshot!(said);
}

#[test]
fn a_damaged_layout_is_refused_with_its_place() {
    let mut said = String::new();
    for text in [
        "{\"a\":1}\n{\"a\":2,",
        "{\"a\":1}\n{\"a\" 2}\n{}",
        "{\"a\":\n\n \"x\ny\"}",
        "{\"a\":1}\n5",
        "{\"a\":1}\n\"x\"",
        "{\"a\":1},\n{}",
        "{\"a\":1}}",
        "{\"a\":[1}]",
        "ObjectId(\"x\")",
        "[{}\n{}]",
        "[{},]",
        "[{},",
        "[\n{}",
        "[",
        "[,{}]",
        "[{}] {}",
        "[{}]\n[{}]",
        "[[]]",
        "[{}, null]",
        r#"{"$oid": "626e3e0035b0bc65bb5e1545"}"#,
    ] {
        said += &format!("{text:?}\n    {}\n", json(text).unwrap_err());
    }
    let mut bytes = |name: &str, bytes: &[u8], is_gzip: bool| {
        said += &format!("{name}\n    {}\n", read(bytes, Format::Json, is_gzip).unwrap_err());
    };
    bytes("no UTF-8", b"{\"a\":1}\n {\"a\":\"\xff\"}", false);
    bytes("cut off within a character", b"{\"a\":\"\xc3", false);
    bytes("UTF-16", b"\xff\xfe{\0}\0", false);
    bytes("no gzip", b"{}", true);
    let packed = gzip(b"{\"a\":1}\n{\"a\":2}\n");
    bytes("gzip that is cut off", &packed[..packed.len() - 9], true);
    bytes("gzip without its name", &packed, false);
    insta::assert_snapshot!(said);
}

#[test]
fn a_document_beyond_the_size_or_depth_is_refused_without_reading_on() {
    let text = "x".repeat(MAX_DOCUMENT_BYTES);
    let mut said = String::new();
    let mut say = |case: &str, result: Result<Vec<RawDocumentBuf>, String>| {
        said += &format!("{case}\n    {}\n", result.unwrap_err());
    };
    say("a line", json(&format!("{{}}\n{{\"a\":\"{text}\"}}\n")));
    say("a text without an end", json(&format!("{{}}\n\"{text}")));
    say(
        "a missing bracket, far above",
        json(&format!("{{\"a\":[1\n{}", "{\"a\":1}\n".repeat(3_000_000))),
    );
    say("white space", json(&format!("{{}}\n{}{{}}", " ".repeat(MAX_DOCUMENT_BYTES + 70_000))));
    say("numbers", json(&format!("{{\"a\":[{}0]}}", "0,".repeat(7_000_000))));
    say("brackets", json(&"[".repeat(1_000_000)));
    let nested =
        |depth: usize| format!("{}{}", "{\"a\":".repeat(depth - 1) + "{}", "}".repeat(depth - 1));
    let arrays =
        |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    say("documents", json(&nested(MAX_DEPTH + 1)));
    say("arrays", json(&arrays(MAX_DEPTH + 1)));
    assert_eq!(json(&nested(MAX_DEPTH)).unwrap().len(), 1);
    assert_eq!(json(&arrays(MAX_DEPTH)).unwrap().len(), 1);
    let date = nested(MAX_DEPTH).replace("{}", r#"{"a":{"$date":{"$numberLong":"1"}}}"#);
    assert_eq!(json(&date).unwrap().len(), 1);
    let deep = (0..MAX_DEPTH).fold(rawdoc! {}, |inner, _| rawdoc! { "a": inner });
    say("BSON", read(deep.as_bytes(), Format::Bson, false));
    // Concatenated gzip members are one file (RFC 1952).
    let bomb = gzip(&vec![b' '; 1024 * 1024]).repeat(20);
    assert!(bomb.len() < 1024 * 1024);
    say("a small file of much white space", read(&bomb, Format::Json, true));
    let bomb = [gzip(b"{\"a\":\""), gzip(&vec![b'x'; 1024 * 1024]).repeat(20)].concat();
    say("a small file of a long text", read(&bomb, Format::Json, true));
    insta::assert_snapshot!(said);
}

#[test]
fn bson_is_read_byte_for_byte() {
    let mut twice = rawdoc! { "_id": 1, "a": 1, "deep": { "b": [null, 2] } };
    twice.append(cstr!("a"), 2);
    let old_binary = Binary { subtype: BinarySubtype::BinaryOld, bytes: vec![1, 2] };
    let documents = [rawdoc! {}, twice, rawdoc! { "b": old_binary, "s": "\u{0}" }];
    let bytes = documents.iter().flat_map(|one| one.as_bytes().to_vec()).collect::<Vec<_>>();
    assert_eq!(read(&bytes, Format::Bson, false).unwrap(), documents);
    assert_eq!(read(&gzip(&bytes), Format::Bson, true).unwrap(), documents);
    assert_eq!(read(&[], Format::Bson, false).unwrap(), []);
    let places = located(&bytes, Format::Bson, false).unwrap();
    let places: Vec<_> = places.into_iter().map(|(place, _)| place).collect();
    assert_eq!(places, [1, 2, 3].map(Place::Document));
}

#[test]
fn damaged_bson_is_refused_with_the_number_of_the_document() {
    let good = rawdoc! { "_id": 1, "t": "text" }.into_bytes();
    let mut said = String::new();
    let mut say = |case: &str, second: &[u8]| {
        let bytes = [&good, second].concat();
        let error = read(&bytes, Format::Bson, false).unwrap_err();
        said += &format!("{case}\n    {error}\n");
    };
    say("cut off in the length", &good[..3]);
    say("cut off", &good[..good.len() - 1]);
    say("no BSON", b"{\"_id\":1}");
    say("an archive of mongodump", &[0x6d, 0xe2, 0x99, 0x81, 0, 0, 0, 0]);
    say("no length", &[4, 0, 0, 0]);
    say("a length beyond the limit", &[0xff, 0xff, 0xff, 0x7f, 1]);
    let mut wrong = good.clone();
    wrong[4] = 0x7e;
    say("an unknown type", &wrong);
    let mut wrong = good.clone();
    let place = wrong.len() - 3;
    wrong[place] = 0xff;
    say("a text that is no UTF-8", &wrong);
    let mut wrong = good.clone();
    *wrong.last_mut().unwrap() = 1;
    say("no end", &wrong);
    say("an _id that MongoDB refuses", rawdoc! { "_id": [1] }.as_bytes());
    insta::assert_snapshot!(said);
}

proptest! {
    #[test]
    fn whatever_the_bytes_are_nothing_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        place in 0usize..60,
        byte in any::<u8>(),
    ) {
        let mut bson = rawdoc! {
            "a": { "b": [1, "x", Regex { pattern: cstr!("a").to_owned(), options: cstr!("i").to_owned() }] },
            "c": Binary { subtype: BinarySubtype::BinaryOld, bytes: vec![1] },
        }.into_bytes();
        let place = place % bson.len();
        bson[place] = byte;
        let _ = read(&bson, Format::Bson, false);
        let _ = read(&bytes, Format::Bson, false);
        let _ = read(&bytes, Format::Json, false);
    }

    #[test]
    fn every_split_into_chunks_finds_the_same_documents(texts in proptest::collection::vec("[\\]\\[{}\",\\\\ a]{0,6}", 0..6)) {
        let lines: String = texts.iter().map(|text| format!("{}\n", json!({ "t": text, "n": [text] }))).collect();
        let expected: Vec<_> = texts.iter().map(|text| rawdoc! { "t": text.as_str(), "n": [text.as_str()] }).collect();
        prop_assert_eq!(json(&lines).unwrap(), expected);
    }
}
