//! The orders of lists as the database has them: one index for each field, which is read in both
//! directions.

use models::SortField;
use mongodb::{
    bson::{Bson, Document, RawBsonRef, RawDocument, doc},
    options::Collation,
};

use super::indexes;
use crate::domain::{
    list::Filter,
    pagination::{Position, Scan, plain},
};

/// The locale by whose rules titles are compared: that of the root of CLDR, which suits most languages.
/// Capital letters and accents decide only between titles that are the same without them.
const TITLE_LOCALE: &str = "en";

/// The types of a date field beside dates and null, apart from lists: the server enters its index
/// for each of them, which costs nothing where there are none.
pub(super) const ODD_DATE_TYPES: [&str; 12] = [
    "minKey",
    "number",
    "string",
    "symbol",
    "object",
    "binData",
    "objectId",
    "bool",
    "timestamp",
    "regex",
    "javascript",
    "maxKey",
];

/// The types of a title beside those that are read as text, apart from lists.
const ODD_TITLE_TYPES: [&str; 9] = [
    "minKey",
    "object",
    "binData",
    "objectId",
    "date",
    "timestamp",
    "regex",
    "javascript",
    "maxKey",
];

/// The field that a list is ordered by, and the direction in which it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) field: SortField,
    pub(super) scan: Scan,
}

/// An end of a range of an index.
pub(super) enum Bound {
    /// The range begins with this key.
    Min(Document),
    /// The range ends before this key.
    Max(Document),
}

impl Order {
    /// Returns the order as MongoDB has it.
    pub(super) fn keys(self) -> Document {
        let direction = match self.scan {
            Scan::Descending => -1,
            Scan::Ascending => 1,
        };
        doc! { self.field.as_str(): direction, "_id": direction }
    }

    /// Restricts a query to what is read after an item.
    ///
    /// The comparisons are the aggregation's: they order values of all types as the index does, so
    /// that items without a value stand at their end, and they take no value for an operator.
    pub(super) fn after(self, mut query: Document, position: &Position) -> Document {
        let Position { value, is_odd, id, .. } = position;
        let name = self.field.as_str();
        let field = format!("${name}");
        let compare = |operator: &str, field: &str, value: &Bson| {
            doc! { "$expr": { operator: [field, { "$literal": value.clone() }] } }
        };
        let beyond = match self.scan {
            Scan::Descending => "$lt",
            Scan::Ascending => "$gt",
        };
        // An odd item stands above the others of its value.
        let later = match (is_odd, self.scan) {
            (true, Scan::Descending) => compare("$lte", &field, value),
            (true, Scan::Ascending) => compare("$gt", &field, value),
            (false, scan) => {
                let beyond_id = compare(beyond, "$_id", id);
                if *value == Bson::Null {
                    // Absent as well, which the aggregation tells apart.
                    let tied = doc! { "$and": [{ name: null }, beyond_id] };
                    match scan {
                        Scan::Descending => tied,
                        Scan::Ascending => doc! { "$or": [compare("$gt", &field, value), tied] },
                    }
                } else {
                    let tied = doc! { "$and": [compare("$eq", &field, value), beyond_id] };
                    doc! { "$or": [compare(beyond, &field, value), tied] }
                }
            }
        };
        query.insert("$and", vec![later]);
        query
    }

    /// Returns the key at which the index of a whole list is entered to read the items after one. A range
    /// costs a third less than the alternatives of [`Order::after`]. Values that no usual item has are
    /// left to those, and so are the lists of a section, which is referred to in several ways
    /// ([`references`](super::filters::references)): each is another place in the index. Of a list that
    /// has few of the items of the index, the range would be read to its end.
    pub(super) fn entry(self, filter: &Filter, position: &Position) -> Option<Bound> {
        let Position { value, is_odd: false, id: id @ Bson::ObjectId(_), .. } = position else {
            return None;
        };
        let is_usual = match self.field {
            SortField::Title => matches!(value, Bson::String(_) | Bson::Null),
            _ => matches!(value, Bson::DateTime(_) | Bson::Null),
        };
        if !is_usual || filter.section.is_some() || filter.is_narrow() {
            return None;
        }
        // The item's own key is passed over: whatever it has there comes between these two.
        let (bound, last): (fn(Document) -> Bound, _) = match self.scan {
            Scan::Descending => (Bound::Min, Bson::MaxKey),
            Scan::Ascending => (Bound::Max, Bson::MinKey),
        };
        let mut key = doc! { self.field.as_str(): value, "_id": id };
        key.extend(indexes::behind(self.field).map(|field| (field.to_owned(), last.clone())));
        Some(bound(key))
    }
}

/// Returns the rules by which the values of a field are compared; `None` for those of binary values.
pub(crate) fn collation(field: SortField) -> Option<Collation> {
    (field == SortField::Title).then(|| Collation::builder().locale(TITLE_LOCALE).build())
}

/// Matches items whose value of a field has a type of which it is not: neither a date nor missing, or
/// neither text nor missing.
pub(super) fn odd(field: SortField, has_lists: bool) -> Document {
    let mut types = match field {
        SortField::Title => ODD_TITLE_TYPES.to_vec(),
        _ => ODD_DATE_TYPES.to_vec(),
    };
    if has_lists {
        types.push("array");
    }
    doc! { field.as_str(): { "$type": types } }
}

/// Returns the place of a document in the order of a field.
pub(super) fn position(document: &RawDocument, field: SortField) -> Position {
    let value = |field: &str| document.get(field).ok().flatten();
    let id = value("_id").and_then(plain).unwrap_or(Bson::Null);
    let value = match value(field.as_str()) {
        None => Bson::Null,
        // It cannot be read, but it has a place: that of its latest date.
        Some(RawBsonRef::Array(values)) => {
            let dates = values.into_iter().flatten().filter_map(RawBsonRef::as_datetime);
            dates.max().map_or(Bson::MinKey, Bson::from)
        }
        // Neither can this, and what is in it does not matter.
        Some(RawBsonRef::Document(_)) => Document::new().into(),
        Some(value) => plain(value).unwrap_or(Bson::Null),
    };
    Position { value, is_odd: false, is_cut: false, id }
}
