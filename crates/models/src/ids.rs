//! Several ids at once.

use std::{collections::HashSet, hash::Hash};

use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};

use crate::{ContentId, ObjectId, schema::schema};

/// Ids in an order, each once: from 1 to [`Ids::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<ObjectId>")]
pub struct Ids(Vec<ObjectId>);

schema!(
    Ids,
    ArrayBuilder::new()
        .items(ObjectId::schema())
        .min_items(Some(1))
        .max_items(Some(Ids::MAX))
        .unique_items(true)
);

/// No ids, too many, or one of them twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must have from 1 to {} ids, each once", Ids::MAX)]
pub struct InvalidIds;

impl Ids {
    /// The most ids: a transaction of 5,000 documents takes a tenth of a second.
    pub const MAX: usize = 5_000;

    /// In the order in which they were given.
    pub fn as_slice(&self) -> &[ObjectId] {
        &self.0
    }
}

impl TryFrom<Vec<ObjectId>> for Ids {
    type Error = InvalidIds;

    fn try_from(ids: Vec<ObjectId>) -> Result<Self, InvalidIds> {
        if is_valid(&ids) { Ok(Self(ids)) } else { Err(InvalidIds) }
    }
}

/// Ids of items of content as they are listed, each once: from 1 to [`ContentIds::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<ContentId>")]
pub struct ContentIds(Vec<ContentId>);

schema!(
    ContentIds,
    ArrayBuilder::new()
        .items(ObjectBuilder::new().schema_type(Type::String))
        .min_items(Some(1))
        .max_items(Some(ContentIds::MAX))
        .unique_items(true)
);

impl ContentIds {
    /// The most ids, as many as of sections.
    pub const MAX: usize = Ids::MAX;

    /// Returns the ids in the order in which they were given.
    pub fn as_slice(&self) -> &[ContentId] {
        &self.0
    }
}

impl TryFrom<Vec<ContentId>> for ContentIds {
    type Error = InvalidIds;

    fn try_from(ids: Vec<ContentId>) -> Result<Self, InvalidIds> {
        // Twice the same id in digits of both cases is twice the same id.
        let folded: Vec<_> = ids
            .iter()
            .map(|id| id.as_str().parse().map_or(id.to_string(), |id: ObjectId| id.to_string()))
            .collect();
        if is_valid(&folded) { Ok(Self(ids)) } else { Err(InvalidIds) }
    }
}

fn is_valid<T: Eq + Hash>(ids: &[T]) -> bool {
    let mut seen = HashSet::with_capacity(ids.len());
    (1..=Ids::MAX).contains(&ids.len()) && ids.iter().all(|id| seen.insert(id))
}
