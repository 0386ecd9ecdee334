//! The order of lists, and the start of a page.
//!
//! Lists are in the order of a field ([`Sort`]), and of `_id` where its values are the same. The ascending
//! order is the descending one reversed. MongoDB sorts by type before value, so a date that a program
//! stored as text or as a number stands apart from the dates; such documents are few, and [`merge`] puts
//! them where they belong.

use std::cmp::{Ordering, Reverse};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use models::Sort;
use mongodb::bson::{self, Bson, RawBsonRef, RawDocument, doc};

use super::list::Offset;

/// The largest document that is part of a position, in bytes: as an `_id` it has a few fields.
const LARGEST_COMPOUND: usize = 256;

/// The most bytes of a text that a cursor has: cursors are part of addresses. The titles of this
/// service have at most 800.
const MAX_CURSOR_TEXT: usize = 1_024;

/// The place of an item in its list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Position {
    /// The value of the field that the list is ordered by, or what the index has in its place.
    pub(crate) value: Bson,
    /// `true` if that value is stored in another type than those of its field.
    pub(crate) is_odd: bool,
    /// `true` if only the beginning of that text is known.
    pub(crate) is_cut: bool,
    /// Its `_id`.
    pub(crate) id: Bson,
}

/// The start of a page of a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Start {
    /// After this many items.
    Offset(Offset),
    /// After this item.
    After(Position),
    /// Before this item: the page ends there.
    Before(Position),
}

/// The direction in which the values of a field are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    /// The highest value first.
    Descending,
    /// The lowest value first.
    Ascending,
}

/// A place in a list, as the API gives it to clients.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cursor {
    /// The order of the list.
    pub(crate) sort: Sort,
    /// `true` if it leads to the items before the position.
    pub(crate) is_backward: bool,
    pub(crate) position: Position,
}

/// The text is no cursor that this service made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidCursor;

impl Start {
    /// Returns the direction in which a page of a list in this order is read: backwards, if the page ends
    /// at a known item.
    pub(crate) fn scan(&self, sort: Sort) -> Scan {
        match sort.is_descending() != matches!(self, Self::Before(_)) {
            true => Scan::Descending,
            false => Scan::Ascending,
        }
    }

    /// Returns the item at which the page begins or ends.
    pub(crate) fn position(&self) -> Option<&Position> {
        match self {
            Self::Offset(_) => None,
            Self::After(position) | Self::Before(position) => Some(position),
        }
    }
}

impl Scan {
    /// Returns the order of two items as they are read, given their order if the highest value is read
    /// first.
    fn order(self, descending: Ordering) -> Ordering {
        match self {
            Self::Descending => descending,
            Self::Ascending => descending.reverse(),
        }
    }
}

/// Returns an id as a text for addresses.
pub(crate) fn id_to_text(id: &Bson) -> Option<String> {
    let document = bson::serialize_to_vec(&doc! { "i": id.clone() });
    document.ok().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
}

/// Reads an id of [`id_to_text`]. Like the values of a [`Cursor`], it is a plain one.
pub(crate) fn id_from_text(text: &str) -> Option<Bson> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let raw = RawDocument::from_bytes(&bytes).ok()?;
    raw.get("i").ok().flatten().and_then(plain)
}

impl Cursor {
    /// Returns the cursor as an opaque text. Cursors of the usual order have been the position alone
    /// since before there were others.
    pub(crate) fn to_text(&self) -> Option<String> {
        let Position { value, is_odd, is_cut, id } = &self.position;
        let (value, is_cut) = match value {
            Bson::String(text) if text.len() > MAX_CURSOR_TEXT => {
                let ends = text.char_indices().map(|(at, _)| at);
                let end = ends.take_while(|at| *at <= MAX_CURSOR_TEXT).last().unwrap_or_default();
                (text[..end].into(), true)
            }
            value => (value.clone(), *is_cut),
        };
        let mut document = doc! { "d": value, "t": *is_odd, "i": id.clone() };
        if self.sort != Sort::default() {
            document.insert("s", self.sort.as_str());
        }
        for (field, flag) in [("b", self.is_backward), ("c", is_cut)] {
            if flag {
                document.insert(field, true);
            }
        }
        bson::serialize_to_vec(&document).ok().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a cursor. Values that no item is sorted by are refused, and so are large compound ones:
    /// another program may have made the cursor, and nested it deeper than a stack is deep.
    pub(crate) fn from_text(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let raw = RawDocument::from_bytes(&bytes).map_err(|_| InvalidCursor)?;
        let member = |field| raw.get(field).map_err(|_| InvalidCursor);
        let value = |field| member(field)?.and_then(plain).ok_or(InvalidCursor);
        let flag = |field| match member(field)? {
            None => Ok(false),
            Some(flag) => flag.as_bool().ok_or(InvalidCursor),
        };
        let is_odd = raw.get_bool("t").map_err(|_| InvalidCursor)?;
        let sort = match member("s")? {
            None => Sort::default(),
            Some(sort) => {
                let sort = sort.as_str().ok_or(InvalidCursor)?;
                sort.parse().map_err(|_| InvalidCursor)?
            }
        };
        let (value, id) = (value("d")?, value("i")?);
        let position = Position { value, is_odd, is_cut: flag("c")?, id };
        Ok(Self { sort, is_backward: flag("b")?, position })
    }

    /// Returns the start of the page that it leads to.
    pub(crate) fn into_start(self) -> Start {
        match self.is_backward {
            true => Start::Before(self.position),
            false => Start::After(self.position),
        }
    }
}

impl Position {
    /// Returns the time of its value: the end of time for values that sort above all dates, the beginning
    /// for texts and other values that have a place of their own, and `None` for all others, such as null.
    fn instant(&self) -> Option<i64> {
        match &self.value {
            Bson::DateTime(date) => Some(date.timestamp_millis()),
            Bson::Timestamp(_)
            | Bson::RegularExpression(_)
            | Bson::DbPointer(_)
            | Bson::JavaScriptCode(_)
            | Bson::JavaScriptCodeWithScope(_)
            | Bson::MaxKey => Some(i64::MAX),
            Bson::String(_)
            | Bson::Symbol(_)
            | Bson::Boolean(_)
            | Bson::Int32(_)
            | Bson::Int64(_)
            | Bson::Double(_)
            | Bson::Decimal128(_) => Some(i64::MIN),
            _ => None,
        }
    }

    /// The order of odd items among themselves, the highest value first.
    fn odd_order(&self) -> (Reverse<Option<i64>>, String) {
        (Reverse(self.instant()), self.id.to_string())
    }

    /// The order of an odd item and one that is not, the highest value first; the odd one is first
    /// where the values are the same.
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

/// Items whose value is stored in another type than those of its field, the highest value first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OddItems(Vec<Position>);

impl OddItems {
    /// Puts the items in order. Those without a date that could be read come last.
    pub(crate) fn new(items: impl IntoIterator<Item = (Option<DateTime<Utc>>, Bson)>) -> Self {
        let mut items: Vec<_> = items
            .into_iter()
            .map(|(date, id)| {
                let date = date.map(|date| bson::DateTime::from_millis(date.timestamp_millis()));
                let value = date.map_or(Bson::Null, Bson::from);
                Position { value, is_odd: true, is_cut: false, id }
            })
            .collect();
        items.sort_by_cached_key(Position::odd_order);
        Self(items)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the position of the item with this `_id`, if it is one of them.
    pub(crate) fn get(&self, id: &Bson) -> Option<&Position> {
        self.0.iter().find(|position| position.id == *id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the items from the start of a page on, in the order in which they are read.
    fn from(&self, start: &Start, scan: Scan) -> Vec<Position> {
        let mut items = self.0.clone();
        if let Some(position) = start.position() {
            let key = position.odd_order();
            items.retain(|item| {
                let order = match position.is_odd {
                    true => item.odd_order().cmp(&key),
                    false => Position::order(item, position),
                };
                scan.order(order) == Ordering::Greater
            });
        }
        if scan == Scan::Ascending {
            items.reverse();
        }
        items
    }
}

/// Returns the number of other items to skip, and the number that a page needs.
pub(crate) fn window(start: &Start, length: usize, odd: &OddItems) -> (usize, usize) {
    match start {
        // Any of the odd items may stand before the page.
        Start::Offset(offset) => {
            let offset = offset.get() as usize;
            let skip = offset.saturating_sub(odd.len());
            (skip, offset + length - skip)
        }
        Start::After(_) | Start::Before(_) => (0, length),
    }
}

/// The positions of a page in the order in which they are read: `others` is what the [`window`] holds of
/// the items that are not odd.
pub(crate) fn merge(
    start: &Start,
    scan: Scan,
    length: usize,
    odd: &OddItems,
    others: Vec<Position>,
) -> Vec<Position> {
    let (skip, _) = window(start, length, odd);
    let precedes = |odd: &Position, other: &Position| {
        scan.order(Position::order(odd, other)) == Ordering::Less
    };
    let mut odd = odd.from(start, scan);
    let to_pass = match start {
        Start::After(_) | Start::Before(_) => 0,
        Start::Offset(offset) => {
            // The odd items before the window stand before the page as well.
            let before = match others.first() {
                Some(first) if skip > 0 => odd.partition_point(|one| precedes(one, first)),
                Some(_) => 0,
                None if skip > 0 => odd.len(),
                None => 0,
            };
            odd.drain(..before);
            (offset.get() as usize).saturating_sub(skip + before)
        }
    };
    let mut odd = odd.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    let mut next = || match (odd.peek(), others.peek()) {
        (Some(one), Some(other)) if precedes(one, other) => odd.next(),
        (Some(_), None) => odd.next(),
        _ => others.next(),
    };
    std::iter::from_fn(&mut next).skip(to_pass).take(length).collect()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::Document;
    use proptest::prelude::*;

    use super::*;

    const SCANS: [Scan; 2] = [Scan::Descending, Scan::Ascending];

    fn date(millis: i64) -> Bson {
        bson::DateTime::from_millis(millis).into()
    }

    fn other(value: Bson, id: i32) -> Position {
        Position { value, is_odd: false, is_cut: false, id: id.into() }
    }

    fn odd_dated(millis: &[i64]) -> OddItems {
        // One in five has no date that could be read.
        let dates = millis
            .iter()
            .map(|millis| DateTime::from_timestamp_millis(*millis).filter(|_| millis % 5 != 4));
        OddItems::new(dates.zip((1000..).map(Bson::from)))
    }

    /// The items that are not odd, the highest value first.
    fn others(mut dates: Vec<i64>, undated: i32) -> Vec<Position> {
        dates.sort_by_key(|date| Reverse(*date));
        let dated = dates.iter().zip(0..).map(|(millis, id)| other(date(*millis), id));
        dated.chain((0..undated).map(|id| other(Bson::Null, 100 + id))).collect()
    }

    /// The whole list, as it would be if all dates were dates.
    fn whole(odd: &OddItems, others: &[Position], scan: Scan) -> Vec<Position> {
        let mut all: Vec<_> = odd.0.iter().chain(others).cloned().collect();
        all.sort_by_key(|item| (Reverse(item.instant()), !item.is_odd));
        if scan == Scan::Ascending {
            all.reverse();
        }
        all
    }

    fn not_odd<'a>(items: impl IntoIterator<Item = &'a Position>) -> Vec<Position> {
        items.into_iter().filter(|item| !item.is_odd).cloned().collect()
    }

    proptest! {
        #[test]
        fn pages_by_offset_are_slices_of_the_whole_list(
            odd_dates in proptest::collection::vec(0i64..20, 0..6),
            dates in proptest::collection::vec(0i64..20, 0..20),
            undated in 0i32..4,
            offset in 0u32..30,
            length in 1usize..8,
        ) {
            let (odd, others) = (odd_dated(&odd_dates), others(dates, undated));
            let start = Start::Offset(i64::from(offset).try_into().unwrap());
            for scan in SCANS {
                let whole = whole(&odd, &others, scan);
                let (skip, count) = window(&start, length, &odd);
                let in_window = not_odd(&whole).into_iter().skip(skip).take(count).collect();
                let page = merge(&start, scan, length, &odd, in_window);
                let expected: Vec<_> =
                    whole.into_iter().skip(offset as usize).take(length).collect();
                prop_assert_eq!(page, expected);
            }
        }

        #[test]
        fn a_page_before_or_after_any_item_is_a_slice_of_the_whole_list(
            odd_dates in proptest::collection::vec(0i64..10, 0..6),
            dates in proptest::collection::vec(0i64..10, 0..15),
            undated in 0i32..3,
            length in 1usize..5,
        ) {
            let (odd, others) = (odd_dated(&odd_dates), others(dates, undated));
            for sort in [Sort::NewestCreated, Sort::OldestCreated] {
                let list = whole(&odd, &others, Start::Offset(Offset::default()).scan(sort));
                for (at, item) in list.iter().enumerate() {
                    // The rest of the list, as the page is read.
                    let mut before = list[..at].to_vec();
                    before.reverse();
                    let after = list[at + 1..].to_vec();
                    for (start, rest) in
                        [(Start::After(item.clone()), after), (Start::Before(item.clone()), before)]
                    {
                        let in_window = not_odd(&rest).into_iter().take(length).collect();
                        let page = merge(&start, start.scan(sort), length, &odd, in_window);
                        let expected: Vec<_> = rest.into_iter().take(length).collect();
                        prop_assert_eq!(page, expected);
                    }
                }
            }
        }

        #[test]
        fn a_cursor_survives_its_text(
            millis: i64, id: i32, is_odd: bool, is_cut: bool, is_backward: bool,
            sort in proptest::sample::select(&Sort::ALL[..]),
        ) {
            let position = Position { value: date(millis), is_odd, is_cut, id: id.into() };
            let cursor = Cursor { sort, is_backward, position };
            prop_assert_eq!(Cursor::from_text(&cursor.to_text().unwrap()), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_cursor_or_refused(text in ".*") {
            let _ = Cursor::from_text(&text);
        }
    }

    fn forward(position: Position) -> Cursor {
        Cursor { sort: Sort::default(), is_backward: false, position }
    }

    #[test]
    fn a_cursor_from_before_there_were_other_orders_is_understood() {
        let cursor = Cursor::from_text("IwAAAAlkAMAqwW2ZAQAACHQAAAdpAGjQUjjpnQBeEmcToQA").unwrap();
        assert_eq!((cursor.sort, cursor.is_backward), (Sort::NewestCreated, false));
        // And is the same today, for processes of that time.
        let text = cursor.to_text().unwrap();
        assert_eq!(text, "IwAAAAlkAMAqwW2ZAQAACHQAAAdpAGjQUjjpnQBeEmcToQA");
    }

    #[test]
    fn a_long_title_is_cut_at_a_character() {
        for title in ["ä".repeat(5_000), format!("a{}", "ä".repeat(5_000))] {
            let cursor = forward(other(title.clone().into(), 1)).to_text().unwrap();
            assert!(cursor.len() < 1_600);
            let Position { value, is_cut, .. } = Cursor::from_text(&cursor).unwrap().position;
            assert!(is_cut && title.starts_with(value.as_str().unwrap()));
        }
        let whole = forward(other("ä".repeat(512).into(), 1));
        assert_eq!(Cursor::from_text(&whole.to_text().unwrap()), Ok(whole));
    }

    #[test]
    fn a_cursor_that_nests_deeper_than_a_stack_is_refused() {
        let mut deep = Document::new();
        for _ in 0..60 {
            deep = doc! { "a": deep };
        }
        for position in [
            doc! { "d": null, "t": false, "i": deep.clone() },
            doc! { "d": deep.clone(), "t": false, "i": 1 },
            doc! { "d": null, "t": false, "i": [1] , "x": deep.clone() },
            doc! { "d": null, "t": false, "i": 1, "s": deep.clone() },
            doc! { "d": null, "t": false, "i": 1, "b": deep.clone() },
            doc! { "d": null, "t": false, "i": 1, "s": "name" },
        ] {
            let cursor = URL_SAFE_NO_PAD.encode(bson::serialize_to_vec(&position).unwrap());
            assert_eq!(Cursor::from_text(&cursor), Err(InvalidCursor));
        }
    }

    #[test]
    fn a_text_dated_item_that_is_gone_keeps_its_place() {
        let odd = odd_dated(&[5, 5, 5]);
        let gone = odd.0[1].clone();
        let rest = OddItems(vec![odd.0[0].clone(), odd.0[2].clone()]);
        let after = rest.from(&Start::After(gone.clone()), Scan::Descending);
        assert_eq!(after, &odd.0[2..]);
        assert_eq!(rest.from(&Start::After(gone), Scan::Ascending), &odd.0[..1]);
    }

    #[test]
    fn a_cursor_has_nothing_that_no_item_is_sorted_by() {
        for value in [Bson::from(vec![1]), Bson::Undefined] {
            let position = Position { id: value, ..other(date(0), 1) };
            let cursor = forward(position).to_text().unwrap();
            assert_eq!(Cursor::from_text(&cursor), Err(InvalidCursor));
        }
    }
}
