//! Several ids at once.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use utoipa::openapi::schema::ArrayBuilder;

use crate::{ObjectId, bounded::at_most, schema::schema};

/// Ids in an order, each once: from 1 to [`Ids::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ids = at_most(deserializer, Self::MAX, InvalidIds)?;
        Self::try_from(ids).map_err(D::Error::custom)
    }
}

impl TryFrom<Vec<ObjectId>> for Ids {
    type Error = InvalidIds;

    fn try_from(ids: Vec<ObjectId>) -> Result<Self, InvalidIds> {
        let mut seen = HashSet::with_capacity(ids.len());
        if (1..=Self::MAX).contains(&ids.len()) && ids.iter().all(|id| seen.insert(id)) {
            Ok(Self(ids))
        } else {
            Err(InvalidIds)
        }
    }
}
