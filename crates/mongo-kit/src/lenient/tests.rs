#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the path of a method of one lifetime does not fit all of them"
)]

use mongodb::bson::{
    self, Binary, Decimal128, RawDocumentBuf, Uuid, doc, oid::ObjectId, spec::BinarySubtype,
};

use super::*;

fn raw(document: &bson::Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

/// Reads a field with this value. Returns the result and the reported fault.
fn read<T>(
    value: impl Into<Bson>,
    read: impl FnOnce(&mut FieldReader<'_>, &str) -> T,
) -> (T, Vec<&'static str>) {
    let document = raw(&doc! { "other": 1, "field": value.into() });
    let mut reader = FieldReader::new(&document);
    let value = read(&mut reader, "field");
    (value, reader.unreadable().into_iter().map(|one| one.found).collect())
}

#[test]
fn absent_and_null_are_nothing_and_no_fault() {
    for document in [doc! {}, doc! { "field": null }, doc! { "field": Bson::Undefined }] {
        let document = raw(&document);
        let mut reader = FieldReader::new(&document);
        assert_eq!(reader.date("field"), None);
        assert_eq!(reader.text("field"), None);
        assert!(reader.texts("field").is_empty());
        assert_eq!(reader.flag("field"), None);
        assert_eq!(reader.reference("field"), None);
        assert_eq!(reader.integer("field"), None);
        assert!(reader.unreadable().is_empty(), "{document:?}");
    }
}

#[test]
fn a_number_or_a_boolean_is_its_text() {
    let decimal: Decimal128 = "20.15".parse().unwrap();
    for (value, text) in [
        (Bson::from("x"), "x"),
        (2015.into(), "2015"),
        (2015_i64.into(), "2015"),
        (2015.0.into(), "2015"),
        (20.5.into(), "20.5"),
        (decimal.into(), "20.15"),
        (true.into(), "true"),
        (Bson::Symbol("s".to_owned()), "s"),
    ] {
        assert_eq!(
            read(value.clone(), |r, f| r.text(f)),
            (Some(text.to_owned()), vec![]),
            "{value}"
        );
        let found = text_candidates(text);
        let is_found = |candidate: &Bson| match (candidate, &value) {
            (Bson::Symbol(one), Bson::String(other)) | (Bson::String(other), Bson::Symbol(one)) => {
                one == other
            }
            (one, other) => {
                one == other
                    || matches!((one, other), (Bson::Int64(one), Bson::Int32(other)) if *one == i64::from(*other))
            }
        };
        assert!(found.iter().any(is_found), "{value}: {found:?}");
    }
    for (value, found) in [
        (Bson::Array(vec![]), "array"),
        (doc! {}.into(), "object"),
        (f64::NAN.into(), "double"),
        (bson::DateTime::now().into(), "date"),
    ] {
        assert_eq!(read(value, |r, f| r.text(f)), (None, vec![found]));
    }
}

#[test]
fn text_that_is_not_utf_8_is_read_as_far_as_it_is() {
    let mut bytes = raw(&doc! { "a": 1, "field": "caf__", "z": "end" }).into_bytes();
    let at = bytes.windows(2).position(|pair| pair == b"__").unwrap();
    bytes[at..at + 2].copy_from_slice(b"\xe9!");
    let document = RawDocumentBuf::from_bytes(bytes).unwrap();
    let mut reader = FieldReader::new(&document);
    assert_eq!(reader.text("field").as_deref(), Some("caf\u{fffd}!"));
    assert_eq!(reader.text("z").as_deref(), Some("end"));
    assert_eq!(reader.unreadable()[0].to_string(), "field: text that is not UTF-8");
}

#[test]
fn texts_are_a_list_or_one_text_with_commas() {
    let texts = |value: Bson| read(value, |r, f| r.texts(f));
    let both = || (vec!["Rust".to_owned(), "Go".to_owned()], vec![]);
    for value in [
        Bson::from(vec!["Rust", "Go"]),
        "Rust, Go".into(),
        " Rust ,, Go,".into(),
        r#"["Rust","Go"]"#.into(),
        Bson::Array(vec!["Rust".into(), Bson::Null, "Go".into()]),
    ] {
        assert_eq!(texts(value), both());
    }
    assert_eq!(texts(7.into()), (vec!["7".to_owned()], vec![]));
    let mixed = Bson::Array(vec!["Rust".into(), doc! {}.into()]);
    let found = vec!["an array of other values than text"];
    assert_eq!(texts(mixed), (vec!["Rust".to_owned()], found));
    assert_eq!(texts(doc! {}.into()), (vec![], vec!["object"]));
}

#[test]
fn a_flag_is_read_from_what_a_query_finds() {
    for flag in [true, false] {
        for value in flag_values(flag) {
            assert_eq!(read(value.clone(), |r, f| r.flag(f)), (Some(flag), vec![]), "{value}");
        }
    }
    for value in [Bson::from(1_i64), 1.0.into()] {
        assert_eq!(read(value, |r, f| r.flag(f)), (Some(true), vec![]));
    }
    assert_eq!(read("", |r, f| r.flag(f)), (None, vec![]));
    for (value, found) in [
        (Bson::from("maybe"), "text that is neither true nor false"),
        (2.into(), "a number that is neither 0 nor 1"),
        (vec![true].into(), "array"),
        (bson::DateTime::now().into(), "date"),
    ] {
        assert_eq!(read(value, |r, f| r.flag(f)), (None, vec![found]));
    }
}

#[test]
fn a_reference_is_text_or_an_object_id() {
    let id = ObjectId::new();
    assert_eq!(read(id, |r, f| r.reference(f)), (Some(id.to_hex()), vec![]));
    assert_eq!(read("x", |r, f| r.reference(f)), (Some("x".to_owned()), vec![]));
    assert_eq!(read(5, |r, f| r.reference(f)), (None, vec!["int"]));
}

#[test]
fn a_whole_number_may_be_of_any_type() {
    for value in [Bson::from(3), 3_i64.into(), 3.0.into(), "3".into()] {
        assert_eq!(read(value, |r, f| r.integer(f)), (Some(3), vec![]));
    }
    assert_eq!(read(3.5, |r, f| r.integer(f)), (None, vec!["double"]));
}

#[test]
fn a_date_that_is_none_is_named() {
    for (value, found) in [
        (Bson::from("yesterday"), "text that is no date"),
        (5.into(), "a number that is no date"),
        (Bson::DateTime(bson::DateTime::MAX), "a date beyond the year 262143"),
        (Bson::Array(vec![]), "array"),
    ] {
        assert_eq!(read(value, |r, f| r.date(f)), (None, vec![found]));
    }
}

#[test]
fn a_document_that_nests_deeper_than_a_stack_is_no_danger() {
    let mut deep = doc! {};
    for _ in 0..180 {
        deep = doc! { "a": deep };
    }
    let document = raw(&doc! { "_id": deep.clone(), "field": deep });
    let mut reader = FieldReader::new(&document);
    assert_eq!(
        (reader.date("field"), reader.text("field"), reader.flag("field")),
        (None, None, None)
    );
    let id = document.get("_id").unwrap().unwrap();
    assert!(raw_id_text(id).starts_with("an _id of"));
}

#[test]
fn an_id_is_found_by_the_text_that_it_is_listed_as() {
    let uuid = Uuid::new();
    let binary = |subtype| Binary { subtype, bytes: uuid.bytes().to_vec() };
    let object_id = ObjectId::new();
    let decimal: Decimal128 = "7.50".parse().unwrap();
    for (id, text) in [
        (Bson::from(object_id), object_id.to_hex()),
        ("post/17 ü".into(), "post/17 ü".to_owned()),
        ("".into(), String::new()),
        (7.into(), "7".to_owned()),
        (7_i64.into(), "7".to_owned()),
        (7.5.into(), "7.5".to_owned()),
        ((-0.5).into(), "-0.5".to_owned()),
        (f64::INFINITY.into(), "Infinity".to_owned()),
        (decimal.into(), "7.50".to_owned()),
        (binary(BinarySubtype::Uuid).into(), uuid.to_string()),
        (binary(BinarySubtype::UuidOld).into(), uuid.to_string()),
    ] {
        let document = raw(&doc! { "_id": id.clone() });
        let raw_id = document.get("_id").unwrap().unwrap();
        assert_eq!(stored_id_text(raw_id).as_ref(), Ok(&text));
        let equal = |one: &Bson| match (one, &id) {
            (Bson::Int64(one), Bson::Int32(other)) => *one == i64::from(*other),
            (one, other) => one == other,
        };
        assert!(id_candidates(&text).iter().any(equal), "{id}: {:?}", id_candidates(&text));
    }
    let hex = object_id.to_hex();
    assert_eq!(id_candidates(&hex)[0], Bson::from(object_id), "an ObjectId wins over text");
}

#[test]
fn an_id_of_another_type_has_no_address() {
    let short = Binary { subtype: BinarySubtype::Uuid, bytes: vec![1; 15] };
    let other = Binary { subtype: BinarySubtype::Generic, bytes: vec![1; 16] };
    for id in [
        Bson::from(true),
        doc! { "n": 1 }.into(),
        bson::DateTime::now().into(),
        Bson::Null,
        short.into(),
        other.into(),
    ] {
        let document = raw(&doc! { "_id": id });
        assert!(stored_id_text(document.get("_id").unwrap().unwrap()).is_err());
    }
}
