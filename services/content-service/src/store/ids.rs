//! The document that an id in a request means.
//!
//! Ids in requests are texts. The `_id`s of a database that was taken over may be of several types,
//! so that one text may be that of several documents.

use std::collections::HashMap;

use models::ObjectId;
use mongo_kit::lenient;
use mongodb::bson::{RawBsonRef, RawDocument};

/// The reason why an id leads to no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoItem {
    /// No item has the id, or the item is in the trash.
    NotFound,
    /// No item has the id, and a new item could not have it either.
    InvalidId,
}

/// Returns the reason why an id leads to no item.
pub(super) fn no_item(id: &str) -> NoItem {
    if id.parse::<ObjectId>().is_ok() { NoItem::NotFound } else { NoItem::InvalidId }
}

/// Documents by the ids with which they are listed.
pub(super) struct ById<T>(HashMap<String, Entry<T>>);

struct Entry<T> {
    /// The precedence of the type of the `_id` ([`lenient::id_precedence`]).
    precedence: u8,
    is_object_id: bool,
    document: T,
}

impl<T> ById<T> {
    /// Indexes documents by their ids. Of several with the same text the one whose type comes first
    /// is kept: an `ObjectId` wins over a text of the same digits. Documents whose `_id` has no text
    /// are not listed, and no id means them.
    pub(super) fn new(
        documents: impl IntoIterator<Item = T>,
        raw: impl Fn(&T) -> &RawDocument,
    ) -> Self {
        let mut by_id = HashMap::<String, Entry<T>>::new();
        for document in documents {
            let Ok(Some(id)) = raw(&document).get("_id") else { continue };
            let Ok(text) = lenient::stored_id_text(id) else { continue };
            let precedence = lenient::id_precedence(id);
            let is_object_id = matches!(id, RawBsonRef::ObjectId(_));
            if by_id.get(&text).is_none_or(|known| precedence < known.precedence) {
                by_id.insert(text, Entry { precedence, is_object_id, document });
            }
        }
        Self(by_id)
    }

    /// Removes the document that an id means: the one that is listed with it. If there is none, the
    /// digits of an `ObjectId` may be of either case.
    pub(super) fn take(&mut self, id: &str) -> Option<T> {
        if let Some(entry) = self.0.remove(id) {
            return Some(entry.document);
        }
        let listed = id.parse::<ObjectId>().ok()?.to_string();
        let is_object_id = self.0.get(&listed).is_some_and(|entry| entry.is_object_id);
        if is_object_id { self.0.remove(&listed).map(|entry| entry.document) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use mongodb::bson::{Bson, RawDocumentBuf, doc, oid, rawdoc};

    use super::*;

    const DIGITS: &str = "626e3e0035b0bc65bb5e154a";

    fn meant(stored: &[Bson], id: &str) -> Option<usize> {
        let documents = stored.iter().map(|id| RawDocumentBuf::try_from(&doc! { "_id": id }));
        let documents = documents.map(Result::unwrap).enumerate();
        ById::new(documents, |(_, document)| document).take(id).map(|(place, _)| place)
    }

    #[test]
    fn an_id_means_the_document_that_is_listed_with_it() {
        let object_id = Bson::from(oid::ObjectId::parse_str(DIGITS).unwrap());
        let (text, upper) = (Bson::from(DIGITS), DIGITS.to_uppercase());
        let upper_text = Bson::from(upper.as_str());
        assert_eq!(meant(&[text.clone(), object_id.clone()], DIGITS), Some(1));
        assert_eq!(meant(&[object_id.clone(), text.clone()], DIGITS), Some(0));
        assert_eq!(meant(slice::from_ref(&text), DIGITS), Some(0));
        assert_eq!(meant(slice::from_ref(&object_id), &upper), Some(0));
        assert_eq!(meant(&[object_id, upper_text], &upper), Some(1));
        assert_eq!(meant(&[text], &upper), None);
        assert_eq!(meant(&[Bson::from(7.5)], "7.5"), Some(0));
        assert_eq!(meant(&[Bson::from(7.5)], "7.50"), None);
    }

    #[test]
    fn a_document_is_taken_once() {
        let documents = [rawdoc! { "_id": "a" }];
        let mut by_id = ById::new(documents, RawDocumentBuf::as_ref);
        assert!(by_id.take("a").is_some());
        assert!(by_id.take("a").is_none());
    }
}
