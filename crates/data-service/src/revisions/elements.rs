//! Documents as sequences of fields that are compared and copied byte for byte: values may be of any type,
//! and texts need not be UTF-8.

use mongodb::{
    bson::{RawDocument, RawDocumentBuf},
    error::{Error, Result},
};

/// The bytes of a document before its first field: its length.
const LENGTH_BYTES: usize = 4;

/// A field: its type, its name and its value.
struct Element<'a> {
    name: &'a str,
    bytes: &'a [u8],
}

fn elements(document: &RawDocument) -> Result<Vec<Element<'_>>> {
    let mut start = LENGTH_BYTES;
    let mut all = Vec::new();
    for element in document.iter_elements() {
        let element = element.map_err(Error::custom)?;
        let name = element.key().as_str();
        // The type, the name with its end, and the value (BSON specification, "element").
        let end = start + 1 + name.len() + 1 + element.size();
        let bytes = document.as_bytes().get(start..end);
        let bytes = bytes.ok_or_else(|| Error::custom("a field ends after its document"))?;
        all.push(Element { name, bytes });
        start = end;
    }
    Ok(all)
}

/// Returns a document with the fields of `base`, except that those which `from_other` selects are the ones
/// of `other`: with its values, and absent if it does not have them. The order is that of `base`.
pub fn merge(
    base: &RawDocument,
    other: &RawDocument,
    from_other: impl Fn(&str) -> bool,
) -> Result<RawDocumentBuf> {
    let (base, other) = (elements(base)?, elements(other)?);
    let mut bytes = vec![0; LENGTH_BYTES];
    for element in &base {
        let selected = match from_other(element.name) {
            true => other.iter().find(|one| one.name == element.name),
            false => Some(element),
        };
        bytes.extend(selected.map(|one| one.bytes).unwrap_or_default());
    }
    let is_new = |one: &&Element<'_>| !base.iter().any(|present| present.name == one.name);
    for element in other.iter().filter(|one| from_other(one.name)).filter(is_new) {
        bytes.extend(element.bytes);
    }
    bytes.push(0);
    let length = i32::try_from(bytes.len()).map_err(Error::custom)?;
    bytes[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    RawDocumentBuf::from_bytes(bytes).map_err(Error::custom)
}

/// Returns the names of the fields that two documents do not have with the same bytes.
pub fn differing_fields(one: &RawDocument, other: &RawDocument) -> Result<Vec<String>> {
    let (one, other) = (elements(one)?, elements(other)?);
    let has_same = |all: &[Element<'_>], element: &Element<'_>| {
        let same = all.iter().find(|candidate| candidate.name == element.name);
        same.is_some_and(|same| same.bytes == element.bytes)
    };
    let mut differing = Vec::new();
    let of_one = one.iter().filter(|element| !has_same(&other, element));
    for element in of_one.chain(other.iter().filter(|element| !has_same(&one, element))) {
        if !differing.iter().any(|name| name == element.name) {
            differing.push(element.name.to_owned());
        }
    }
    Ok(differing)
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{RawArrayBuf, oid::ObjectId, rawdoc};

    use super::*;

    #[test]
    fn a_merged_document_has_the_order_of_the_first_and_chosen_fields_of_the_other() {
        let base = rawdoc! { "_id": 1, "a": "old", "b": 2.0, "kept": ["x"] };
        let other = rawdoc! { "c": true, "b": 2_i64, "kept": ["y"], "d": null };
        let merged = merge(&base, &other, |name| ["a", "b", "c"].contains(&name)).unwrap();
        assert_eq!(merged, rawdoc! { "_id": 1, "b": 2_i64, "kept": ["x"], "c": true });
        assert_eq!(merge(&base, &other, |_| false).unwrap(), base);
        assert_eq!(merge(&rawdoc! {}, &rawdoc! {}, |_| true).unwrap(), rawdoc! {});
    }

    #[test]
    fn values_that_nothing_reads_are_compared_and_copied() {
        // A text in Latin-1, as old drivers stored it: "é" is one byte that is no UTF-8.
        let mut bytes = rawdoc! { "text": "@" }.into_bytes();
        let place = bytes.iter().position(|byte| *byte == b'@').unwrap();
        bytes[place] = 0xe9;
        let latin = RawDocumentBuf::from_bytes(bytes).unwrap();
        assert!(latin.get("text").is_err());
        let plain = rawdoc! { "text": "@", "n": f64::NAN };
        let merged = merge(&plain, &latin, |name| name == "text").unwrap();
        assert_eq!(differing_fields(&merged, &plain).unwrap(), ["text"]);
        assert_eq!(differing_fields(&merged, &latin).unwrap(), ["n"]);
        assert_eq!(differing_fields(&plain, &plain).unwrap(), [""; 0]);
    }

    #[test]
    fn a_number_of_another_type_is_another_value() {
        let id = ObjectId::new();
        let one = rawdoc! { "_id": id, "n": 1_i32, "list": RawArrayBuf::new() };
        let other = rawdoc! { "_id": id, "n": 1_i64, "list": RawArrayBuf::new() };
        assert_eq!(differing_fields(&one, &other).unwrap(), ["n"]);
    }
}
