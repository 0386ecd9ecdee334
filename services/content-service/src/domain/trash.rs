//! The order of the trash, and the places in it.
//!
//! It is one list of the items of all kinds: those with the time of their deletion, the last one first,
//! and then those whose time is unknown, kind by kind.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use models::ContentType;
use mongodb::bson::{self, Bson, RawDocument, doc};

use super::pagination::plain;

/// A part of the trash. They follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TrashPart {
    /// The items with the time of their deletion, the last one first.
    Dated,
    /// The items that have another value in its place, such as a text, the newest `_id` first.
    Odd,
    /// The items without one, the newest `_id` first.
    Undated,
}

impl TrashPart {
    /// All parts, in their order.
    pub(crate) const ALL: [Self; 3] = [Self::Dated, Self::Odd, Self::Undated];

    fn number(self) -> i32 {
        match self {
            Self::Dated => 0,
            Self::Odd => 1,
            Self::Undated => 2,
        }
    }
}

/// The place of an item in the trash of its kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrashPlace {
    pub(crate) part: TrashPart,
    /// The time of the deletion in milliseconds since 1970; 0 in the parts without one.
    pub(crate) at: i64,
    /// The `_id`.
    pub(crate) id: Bson,
}

/// The start of a page in the trash of a kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrashStart {
    pub(crate) part: TrashPart,
    /// The latest time of a deletion, in milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) ties: Ties,
}

/// The items of the same part and time as that of a cursor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ties {
    /// All of them are behind it.
    All,
    /// Those with an `_id` below this one are behind it.
    Below(Bson),
    /// None of them is behind it.
    None,
}

/// The item after which a page begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrashCursor {
    pub(crate) content_type: ContentType,
    pub(crate) place: TrashPlace,
}

impl TrashStart {
    /// The start of the first page.
    pub(crate) const FIRST: Self = Self { part: TrashPart::Dated, at: i64::MAX, ties: Ties::All };
}

impl TrashPlace {
    /// Returns the key by which the items of several kinds are ordered. Those of one kind are in order
    /// already.
    pub(crate) fn key(&self) -> (TrashPart, std::cmp::Reverse<i64>) {
        (self.part, std::cmp::Reverse(self.at))
    }
}

impl TrashCursor {
    /// Returns the start of the page in the trash of a kind. Kinds follow each other where the times are
    /// the same.
    pub(crate) fn start_of(&self, content_type: ContentType) -> TrashStart {
        let place = |kind| ContentType::ALL.iter().position(|one| *one == kind);
        let TrashPlace { part, at, id } = &self.place;
        let ties = match place(content_type).cmp(&place(self.content_type)) {
            std::cmp::Ordering::Less => Ties::None,
            std::cmp::Ordering::Equal => Ties::Below(id.clone()),
            std::cmp::Ordering::Greater => Ties::All,
        };
        TrashStart { part: *part, at: *at, ties }
    }

    /// Returns the cursor as an opaque text.
    pub(crate) fn to_text(&self) -> Option<String> {
        let TrashPlace { part, at, id } = &self.place;
        let collection = self.content_type.collection();
        let document = doc! { "k": collection, "p": part.number(), "d": at, "i": id.clone() };
        bson::serialize_to_vec(&document).ok().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a cursor. Returns `None` for a text that this service did not make.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let raw = RawDocument::from_bytes(&bytes).ok()?;
        let content_type = ContentType::of_collection(raw.get_str("k").ok()?)?;
        let number = raw.get_i32("p").ok()?;
        let part = TrashPart::ALL.into_iter().find(|part| part.number() == number)?;
        let at = raw.get_i64("d").ok()?;
        let id = plain(raw.get("i").ok()??)?;
        Some(Self { content_type, place: TrashPlace { part, at, id } })
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;

    use super::*;

    fn cursor(part: TrashPart, id: impl Into<Bson>) -> TrashCursor {
        let place = TrashPlace { part, at: 7, id: id.into() };
        TrashCursor { content_type: ContentType::Project, place }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for part in TrashPart::ALL {
            for id in [Bson::from(ObjectId::new()), "2015/02/a".into(), 1.5.into()] {
                let cursor = cursor(part, id);
                let text = cursor.to_text().unwrap();
                assert_eq!(TrashCursor::from_text(&text), Some(cursor));
            }
        }
        let encoded = |document: bson::Document| {
            URL_SAFE_NO_PAD.encode(bson::serialize_to_vec(&document).unwrap())
        };
        for wrong in [
            String::new(),
            "x".to_owned(),
            "AAAA".to_owned(),
            encoded(doc! {}),
            encoded(doc! { "k": "users", "p": 0, "d": 7_i64, "i": "a" }),
            encoded(doc! { "k": "pages", "p": 3, "d": 7_i64, "i": "a" }),
            encoded(doc! { "k": "pages", "p": 0, "d": "7", "i": "a" }),
            encoded(doc! { "k": "pages", "p": 0, "d": 7_i64, "i": ["a"] }),
            encoded(doc! { "k": "pages", "p": 0, "d": 7_i64 }),
        ] {
            assert_eq!(TrashCursor::from_text(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn kinds_follow_each_other_where_the_times_are_the_same() {
        let cursor = cursor(TrashPart::Dated, "a");
        let ties = |content_type| cursor.start_of(content_type).ties;
        assert_eq!(ties(ContentType::Story), Ties::None);
        assert_eq!(ties(ContentType::Project), Ties::Below("a".into()));
        assert_eq!(ties(ContentType::Page), Ties::All);
    }
}
