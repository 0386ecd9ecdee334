//! The names of parts of the content of a kind: an answer depends on some of them, and a change concerns
//! some.
//!
//! | key | changes with |
//! |---|---|
//! | `stories` | any change of any story: lists |
//! | `stories/<id>` | any change of one story |
//! | `stories/slug/<slug>` | a new story with the slug |
//! | `stories/slug` | a field that decides which story is found by a slug, also by a former one |
//! | `stories/listed` | a field that decides which stories are in a list, and a new or deleted one |
//! | `stories/listed/section` | the same, and the section |
//!
//! A change stream does not tell the slug of a document that is changed. An answer to a look-up therefore
//! depends on its slug, on all look-ups, and on the item that was found.

use data_service::changes::Family;
use models::SortField;
use mongo_kit::{
    feed::{Change, ChangeKind, WatchedCollection},
    lenient::FieldReader,
};
use service_kit::web::changes::key;

use super::kind::{Address, Kind, SLUG};

/// The fields that decide which items lists have and in which order. A write of any other field does
/// not make a list be counted again.
const LISTED_BY: &[&str] = &[
    "is_published",
    "deleted",
    "createdDate",
    "is_featured",
    "tags",
    "status",
    "draft",
    "published",
    "visibility",
];

/// The field with the section of an item.
const SECTION: &str = "section_id";

/// The second part of the keys of totals.
const LISTED: &str = "listed";

/// The keys of a kind of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentKeys {
    family: &'static str,
    /// The segment of the path before the address of an item.
    segment: &'static str,
}

impl ContentKeys {
    /// Returns the keys of a kind.
    pub(crate) const fn of<K: Kind>() -> Self {
        Self { family: K::TYPE.collection(), segment: K::ADDRESS.segment() }
    }

    /// Returns the key of everything that depends on any item.
    pub(crate) fn list(self) -> String {
        key([self.family])
    }

    /// Returns the key of an item.
    pub(crate) fn item(self, id: &str) -> String {
        key([self.family, id])
    }

    /// Returns the keys of a look-up by the first of these addresses that any item has.
    pub(crate) fn lookup(self, addresses: &[String]) -> impl Iterator<Item = String> {
        let exact = addresses.iter().map(move |address| key([self.family, self.segment, address]));
        [self.lookups()].into_iter().chain(exact)
    }

    /// Returns the keys of a look-up by the first of these slugs that any item has or had.
    pub(crate) fn slug_lookup(self, slugs: &[String]) -> impl Iterator<Item = String> {
        let exact = slugs.iter().map(move |slug| self.slug(slug));
        [self.lookups()].into_iter().chain(exact)
    }

    /// Returns the key of a slug. The path of the look-up consists of the same parts.
    pub(crate) fn slug(self, slug: &str) -> String {
        key([self.family, SLUG, slug])
    }

    /// Returns the keys that stand for all of these: those that any public answer depends on.
    pub(crate) fn all(self) -> Vec<String> {
        vec![self.list(), self.lookups(), self.total(false), self.total(true)]
    }

    /// Returns the key of the totals of lists for which the section does not matter, or of the others.
    pub(super) fn total(self, depends_on_sections: bool) -> String {
        match depends_on_sections {
            false => key([self.family, LISTED]),
            true => key([self.family, LISTED, "section"]),
        }
    }

    /// Returns the key of the order of items in the lists of sections. A change stream tells of no other
    /// field than those of [`LISTED_BY`] that it decides the order.
    pub(crate) fn order_in_sections(self, field: SortField) -> String {
        match field {
            SortField::CreatedDate => self.total(true),
            _ => self.list(),
        }
    }

    fn lookups(self) -> String {
        key([self.family, self.segment])
    }
}

/// Returns the family of the keys of a kind.
pub(crate) fn family<K: Kind>() -> Family {
    let keys = ContentKeys::of::<K>();
    let fields: &[_] = const {
        match K::ADDRESS {
            Address::Slug { .. } => &[SLUG],
            Address::Field { name, .. } => &[name, SLUG],
        }
    };
    let collection = WatchedCollection { name: K::TYPE.collection(), fields };
    Family {
        name: keys.family,
        collections: vec![collection],
        keys: changed::<K>,
        public: vec![keys.list(), keys.lookups()],
    }
}

/// Returns the keys that a change concerns.
pub(super) fn changed<K: Kind>(change: &Change) -> Vec<String> {
    let keys = ContentKeys::of::<K>();
    let mut changed = vec![keys.list()];
    changed.extend(change.id.as_deref().map(|id| keys.item(id)));
    let totals = [keys.total(false), keys.total(true)];
    match &change.kind {
        ChangeKind::Inserted | ChangeKind::Replaced => {
            changed.extend(totals);
            match change.document.as_deref() {
                Some(document) => {
                    let mut reader = FieldReader::new(document);
                    if let Some(address) = reader.text(K::ADDRESS.field()) {
                        changed.extend(keys.lookup(&[address]).skip(1));
                    }
                    if !K::ADDRESS.is_slug() {
                        changed.extend(reader.text(SLUG).map(|slug| keys.slug(&slug)));
                    }
                }
                None => changed.push(keys.lookups()),
            }
        }
        ChangeKind::Deleted => changed.extend(totals),
        ChangeKind::Updated { fields } => {
            let has = |names: &[&str]| fields.iter().any(|field| names.contains(&field.as_str()));
            let [total, total_of_section] = totals;
            if has(LISTED_BY) {
                changed.push(total);
            }
            if has(LISTED_BY) || has(&[SECTION]) {
                changed.push(total_of_section);
            }
            if has(LISTED_BY) || has(&[SECTION, SLUG, K::ADDRESS.field()]) {
                changed.push(keys.lookups());
            }
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{RawDocumentBuf, doc};

    use super::*;
    use crate::kinds::tests::{Page, Story};

    fn change(kind: ChangeKind, document: Option<mongodb::bson::Document>) -> Change {
        let document = document.map(|document| RawDocumentBuf::try_from(&document).unwrap());
        Change {
            at: 1,
            wall_time: None,
            collection: "stories",
            id: Some("1".to_owned()),
            kind,
            document,
        }
    }

    fn updated(fields: &[&str]) -> Change {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        change(ChangeKind::Updated { fields }, None)
    }

    #[test]
    fn a_change_concerns_what_may_answer_otherwise_after_it() {
        let item = ["stories", "stories/1"];
        let totals = ["stories/listed", "stories/listed/section"];
        assert_eq!(changed::<Story>(&updated(&["title", "content"])), item);
        for field in LISTED_BY {
            let expected = [&item[..], &totals, &["stories/slug"]].concat();
            assert_eq!(changed::<Story>(&updated(&["title", field])), expected);
        }
        let moved = changed::<Story>(&updated(&["section_id"]));
        assert_eq!(moved, [&item[..], &totals[1..], &["stories/slug"]].concat());
        assert_eq!(changed::<Story>(&updated(&["slug"])), [&item[..], &["stories/slug"]].concat());
        let new = change(ChangeKind::Inserted, Some(doc! { "slug": "a b" }));
        assert_eq!(changed::<Story>(&new), [&item[..], &totals, &["stories/slug/a%20b"]].concat());
        let without = change(ChangeKind::Replaced, Some(doc! {}));
        assert_eq!(changed::<Story>(&without), [&item[..], &totals].concat());
        let gone = change(ChangeKind::Deleted, None);
        assert_eq!(changed::<Story>(&gone), [&item[..], &totals].concat());
        let page = doc! { "page_type": "about", "slug": "us" };
        let page = changed::<Page>(&change(ChangeKind::Inserted, Some(page)));
        let expected = ["pages/type/about", "pages/slug/us"];
        assert_eq!(page[page.len() - 2..], expected);
        assert!(changed::<Page>(&updated(&["slug"])).contains(&"pages/type".to_owned()));
    }
}
