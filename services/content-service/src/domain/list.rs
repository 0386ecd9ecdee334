//! Lists and the numbers that page through them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use models::{
    Moment, ObjectId,
    schema::{number, schema},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audience::Audience;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct List<T> {
    /// The items of this page.
    pub(crate) items: Vec<T>,
    /// The number of items of the whole list.
    pub(crate) total: u64,
    /// The largest number of items of a page.
    pub(crate) limit: u32,
    /// The number of items before this page.
    pub(crate) offset: u64,
    /// The value of `cursor` that returns the next page; null on the last one.
    #[schema(required = true)]
    pub(crate) next_cursor: Option<String>,
    /// The value of `cursor` that returns the previous page; null on the first one.
    #[schema(required = true)]
    pub(crate) previous_cursor: Option<String>,
}

/// An item beside another one in the list of their section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Neighbour {
    /// The title.
    pub(crate) title: String,
    /// The path on the site, percent-encoded.
    pub(crate) path: String,
}

/// The items of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    /// The section of the items; `None` for items of any section and of none.
    pub(crate) section: Option<ObjectId>,
    /// The dates of creation.
    pub(crate) created: Period,
    /// The texts in which the tag of the items is stored; `None` for items with any tags and without.
    pub(crate) tag: Option<Arc<[String]>>,
    /// `true` for items that the site shows first, `false` for the others, `None` for both.
    pub(crate) is_featured: Option<bool>,
    /// The reader, who decides which items are visible.
    pub(crate) audience: Audience,
}

/// A period of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Period {
    /// The first moment.
    pub(crate) from: Option<Moment>,
    /// The moment after the last one.
    pub(crate) until: Option<Moment>,
}

impl Filter {
    /// Returns the filter of all items that an audience sees, of a section or of all.
    pub(crate) fn new(section: Option<ObjectId>, audience: Audience) -> Self {
        Self { section, created: Period::default(), tag: None, is_featured: None, audience }
    }

    /// Returns `true` if it selects items by more than their audience and their section.
    pub(crate) fn is_narrow(&self) -> bool {
        !self.created.is_unbounded() || self.tag.is_some() || self.is_featured.is_some()
    }
}

impl Period {
    /// Returns `true` if all moments are in it.
    pub(crate) fn is_unbounded(self) -> bool {
        self == Self::default()
    }

    /// Returns `true` if a moment is in it.
    pub(crate) fn contains(self, moment: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| DateTime::from(from) <= moment)
            && self.until.is_none_or(|until| moment < until.into())
    }
}

/// The largest number of items of a page: 1 to 50, by default 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub(crate) struct Limit(u32);

/// The number of items to skip, by default 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub(crate) struct Offset(u32);

schema!(Limit, number(1, Limit::MAX, Limit::default().get()));
schema!(Offset, number(0, Offset::MAX, 0));

/// A limit or an offset out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPaging {
    /// A limit that is zero or too large.
    #[error("must be from 1 to {}", Limit::MAX)]
    Limit,
    /// An offset that is negative or too large.
    #[error("must be from 0 to {}; `cursor` leads to all items", Offset::MAX)]
    Offset,
}

impl Limit {
    /// The most items that one page has.
    pub(crate) const MAX: u32 = 50;

    /// The number of items that are read beside an item to find one with a path.
    pub(crate) const NEIGHBOURS: Self = Self(3);

    /// The number of items.
    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(10)
    }
}

impl TryFrom<u64> for Limit {
    type Error = InvalidPaging;

    fn try_from(limit: u64) -> Result<Self, Self::Error> {
        match u32::try_from(limit) {
            Ok(limit @ 1..=Self::MAX) => Ok(Self(limit)),
            _ => Err(InvalidPaging::Limit),
        }
    }
}

impl Offset {
    /// The largest number of items to skip: the server reads each of them. Pages by number have a
    /// few hundred items; who reads more follows cursors, which cost the same everywhere.
    pub(crate) const MAX: u32 = 10_000;

    /// The number of items.
    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for Offset {
    type Error = InvalidPaging;

    fn try_from(offset: i64) -> Result<Self, Self::Error> {
        match u32::try_from(offset) {
            Ok(offset @ 0..=Self::MAX) => Ok(Self(offset)),
            _ => Err(InvalidPaging::Offset),
        }
    }
}
