//! The order of lists, and the start of a page.
//!
//! Lists are in the order of `createdDate`, newest first, and of `_id` where that is the same.
//! MongoDB sorts by type before value, so a date that a program stored as text or as a number
//! stands apart from the dates; such documents are few, and [`merge`] puts them where they belong.

use std::cmp::{Ordering, Reverse};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use mongodb::bson::{self, Bson, RawBsonRef, RawDocument};
use serde::{Deserialize, Serialize};

use super::list::Offset;

/// The largest document that is part of a position, in bytes: as an `_id` it has a few fields.
const LARGEST_COMPOUND: usize = 256;

/// The place of an item in its list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Its `createdDate`: a date, or what the index has in its place.
    #[serde(rename = "d")]
    pub(crate) date: Bson,
    /// `true` if that date is stored in another type.
    #[serde(rename = "t")]
    pub(crate) is_odd: bool,
    /// Its `_id`.
    #[serde(rename = "i")]
    pub(crate) id: Bson,
}

/// The start of a page of a list.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a request has one")]
pub(crate) enum Start {
    /// After this many items.
    Offset(Offset),
    /// After this item.
    After(Position),
}

/// The text is no cursor that this service made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidCursor;

impl Position {
    /// Returns the position as an opaque text for the API.
    pub(crate) fn to_cursor(&self) -> Option<String> {
        bson::serialize_to_vec(self).ok().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Returns the position in a cursor. Values that no item is sorted by are refused, and so are
    /// large compound ones: another program may have made the cursor, and nested it deeper than a
    /// stack is deep.
    pub(crate) fn from_cursor(cursor: &str) -> Result<Self, InvalidCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| InvalidCursor)?;
        let raw = RawDocument::from_bytes(&bytes).map_err(|_| InvalidCursor)?;
        let value = |field| match raw.get(field) {
            Ok(Some(value)) => plain(value).ok_or(InvalidCursor),
            Ok(None) | Err(_) => Err(InvalidCursor),
        };
        let is_odd = raw.get_bool("t").map_err(|_| InvalidCursor)?;
        Ok(Self { date: value("d")?, is_odd, id: value("i")? })
    }

    /// Returns the time of its creation: the end of time for values that sort above all dates, `None`
    /// for those that sort below.
    fn instant(&self) -> Option<i64> {
        match &self.date {
            Bson::DateTime(date) => Some(date.timestamp_millis()),
            Bson::Timestamp(_)
            | Bson::RegularExpression(_)
            | Bson::DbPointer(_)
            | Bson::JavaScriptCode(_)
            | Bson::JavaScriptCodeWithScope(_)
            | Bson::MaxKey => Some(i64::MAX),
            _ => None,
        }
    }

    /// The order of odd-dated items among themselves.
    fn odd_order(&self) -> (Reverse<Option<i64>>, String) {
        (Reverse(self.instant()), self.id.to_string())
    }

    /// The order of an odd-dated item and one that is not: by date, newest first; the odd-dated
    /// one first where the dates are the same.
    fn order(odd: &Self, other: &Self) -> Ordering {
        Reverse(odd.instant()).cmp(&Reverse(other.instant())).then(Ordering::Less)
    }
}

/// The value, unless nothing is sorted by its kind or it is too large to be gone into.
pub(crate) fn plain(value: RawBsonRef<'_>) -> Option<Bson> {
    let is_plain = match value {
        RawBsonRef::Document(document) => document.as_bytes().len() <= LARGEST_COMPOUND,
        RawBsonRef::Array(_) | RawBsonRef::Undefined | RawBsonRef::JavaScriptCodeWithScope(_) => {
            false
        }
        _ => true,
    };
    if is_plain { Bson::try_from(value).ok() } else { None }
}

/// Items whose date is stored in another type, in the order of lists.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OddDated(Vec<Position>);

impl OddDated {
    /// Puts the items in order. Those without a date that could be read come last.
    pub(crate) fn new(items: impl IntoIterator<Item = (Option<DateTime<Utc>>, Bson)>) -> Self {
        let mut items: Vec<_> = items
            .into_iter()
            .map(|(date, id)| {
                let date = date.map(|date| bson::DateTime::from_millis(date.timestamp_millis()));
                Position { date: date.map_or(Bson::Null, Bson::from), is_odd: true, id }
            })
            .collect();
        items.sort_by_cached_key(Position::odd_order);
        Self(items)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that come after a position.
    fn after(&self, position: &Position) -> &[Position] {
        let first = if position.is_odd {
            let order = position.odd_order();
            self.0.partition_point(|item| item.odd_order() <= order)
        } else {
            self.0.partition_point(|item| Position::order(item, position) == Ordering::Less)
        };
        &self.0[first..]
    }
}

/// Returns the number of other items to skip, and the number that a page needs.
pub(crate) fn window(start: &Start, length: usize, odd: &OddDated) -> (usize, usize) {
    match start {
        // Any of the odd-dated items may stand before the page.
        Start::Offset(offset) => {
            let offset = offset.get() as usize;
            let skip = offset.saturating_sub(odd.len());
            (skip, offset + length - skip)
        }
        Start::After(_) => (0, length),
    }
}

/// The positions of a page: `others` is what the [`window`] holds of the items that are not
/// odd-dated.
pub(crate) fn merge(
    start: &Start,
    length: usize,
    odd: &OddDated,
    others: Vec<Position>,
) -> Vec<Position> {
    let (skip, _) = window(start, length, odd);
    let (odd, to_pass) = match start {
        Start::After(position) => (odd.after(position), 0),
        Start::Offset(offset) => {
            let offset = offset.get() as usize;
            // The odd-dated items before the window stand before the page as well.
            let before = match others.first() {
                Some(first) if skip > 0 => {
                    odd.0.partition_point(|one| Position::order(one, first) == Ordering::Less)
                }
                Some(_) => 0,
                None if skip > 0 => odd.len(),
                None => 0,
            };
            (&odd.0[before..], offset.saturating_sub(skip + before))
        }
    };
    let mut odd = odd.iter().cloned().peekable();
    let mut others = others.into_iter().peekable();
    let mut next = || match (odd.peek(), others.peek()) {
        (Some(one), Some(other)) if Position::order(one, other) == Ordering::Less => odd.next(),
        (Some(_), None) => odd.next(),
        _ => others.next(),
    };
    std::iter::from_fn(&mut next).skip(to_pass).take(length).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(millis: i64) -> Bson {
        bson::DateTime::from_millis(millis).into()
    }

    fn other(date: Bson, id: i32) -> Position {
        Position { date, is_odd: false, id: id.into() }
    }

    fn odd_dated(millis: &[i64]) -> OddDated {
        // One in five has no date that could be read.
        let dates = millis
            .iter()
            .map(|millis| DateTime::from_timestamp_millis(*millis).filter(|_| millis % 5 != 4));
        OddDated::new(dates.zip((1000..).map(Bson::from)))
    }

    /// The whole list, as it would be if all dates were dates.
    fn whole(odd: &OddDated, others: &[Position]) -> Vec<Position> {
        let mut all: Vec<_> = odd.0.iter().chain(others).cloned().collect();
        all.sort_by_key(|item| (Reverse(item.instant()), !item.is_odd));
        all
    }

    proptest! {
        #[test]
        fn pages_by_offset_are_slices_of_the_whole_list(
            odd_dates in proptest::collection::vec(0i64..20, 0..6),
            mut dates in proptest::collection::vec(0i64..20, 0..20),
            undated in 0i32..4,
            offset in 0u32..30,
            length in 1usize..8,
        ) {
            dates.sort_by_key(|date| Reverse(*date));
            let mut others: Vec<_> =
                dates.iter().zip(0..).map(|(millis, id)| other(date(*millis), id)).collect();
            others.extend((0..undated).map(|id| other(Bson::Null, 100 + id)));
            let odd = odd_dated(&odd_dates);
            let start = Start::Offset(i64::from(offset).try_into().unwrap());

            let (skip, count) = window(&start, length, &odd);
            let in_window = others.iter().skip(skip).take(count).cloned().collect();
            let page = merge(&start, length, &odd, in_window);

            let whole = whole(&odd, &others);
            let expected: Vec<_> =
                whole.into_iter().skip(offset as usize).take(length).collect();
            prop_assert_eq!(page, expected);
        }

        #[test]
        fn following_cursors_gives_the_whole_list(
            odd_dates in proptest::collection::vec(0i64..10, 0..6),
            mut dates in proptest::collection::vec(0i64..10, 0..15),
            undated in 0i32..3,
            length in 1usize..5,
        ) {
            dates.sort_by_key(|date| Reverse(*date));
            let mut others: Vec<_> =
                dates.iter().zip(0..).map(|(millis, id)| other(date(*millis), id)).collect();
            others.extend((0..undated).map(|id| other(Bson::Null, 100 + id)));
            let odd = odd_dated(&odd_dates);
            let whole = whole(&odd, &others);

            let mut listed = Vec::new();
            let mut start = Start::Offset(Offset::default());
            loop {
                // What the database would answer: the others after the position.
                let after = match &start {
                    Start::Offset(_) => others.clone(),
                    Start::After(last) => {
                        let at = whole.iter().position(|item| item == last).unwrap();
                        whole[at + 1..].iter().filter(|item| !item.is_odd).cloned().collect()
                    }
                };
                let in_window = after.into_iter().take(length).collect();
                let page = merge(&start, length, &odd, in_window);
                let Some(last) = page.last().cloned() else { break };
                listed.extend(page);
                start = Start::After(last);
            }
            prop_assert_eq!(listed, whole);
        }

        #[test]
        fn a_cursor_survives_its_text(millis: i64, id: i32, is_odd: bool) {
            let position = Position { date: date(millis), is_odd, id: id.into() };
            let cursor = position.to_cursor().unwrap();
            prop_assert_eq!(Position::from_cursor(&cursor), Ok(position));
        }

        #[test]
        fn any_text_is_a_cursor_or_refused(text in ".*") {
            let _ = Position::from_cursor(&text);
        }
    }

    #[test]
    fn a_cursor_that_nests_deeper_than_a_stack_is_refused() {
        let mut deep = bson::Document::new();
        for _ in 0..60 {
            deep = bson::doc! { "a": deep };
        }
        for position in [
            bson::doc! { "d": null, "t": false, "i": deep.clone() },
            bson::doc! { "d": deep.clone(), "t": false, "i": 1 },
            bson::doc! { "d": null, "t": false, "i": [1] , "x": deep.clone() },
        ] {
            let cursor = URL_SAFE_NO_PAD.encode(bson::serialize_to_vec(&position).unwrap());
            assert_eq!(Position::from_cursor(&cursor), Err(InvalidCursor));
        }
    }

    #[test]
    fn a_text_dated_item_that_is_gone_keeps_its_place() {
        let odd = odd_dated(&[5, 5, 5]);
        let gone = odd.0[1].clone();
        let rest = OddDated(vec![odd.0[0].clone(), odd.0[2].clone()]);
        assert_eq!(rest.after(&gone), &odd.0[2..]);
    }

    #[test]
    fn a_cursor_has_nothing_that_no_item_is_sorted_by() {
        for value in [Bson::from(vec![1]), Bson::Undefined] {
            let position = Position { date: date(0), is_odd: false, id: value };
            let cursor = position.to_cursor().unwrap();
            assert_eq!(Position::from_cursor(&cursor), Err(InvalidCursor));
        }
    }
}
