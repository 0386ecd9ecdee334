//! Lists of distinct ids.

use std::{collections::HashSet, hash::Hash};

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use utoipa::openapi::{RefOr, Schema, schema::ArrayBuilder};

use crate::{ObjectId, bounded::at_most, schema::schema};

/// An ordered list of 1 to [`Ids::MAX`] distinct ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ids(Vec<ObjectId>);

schema!(Ids, schema_of(ObjectId::schema()));

/// The list is empty or too long, or has an id twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must have from 1 to {} ids, each once", Ids::MAX)]
pub struct InvalidIds;

impl Ids {
    /// Maximum number of ids. A transaction of 5,000 documents takes a tenth of a second.
    pub const MAX: usize = 5_000;

    /// Returns the ids in their order.
    pub fn as_slice(&self) -> &[ObjectId] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_unique(deserializer, |id: &ObjectId| *id).map(Self)
    }
}

impl TryFrom<Vec<ObjectId>> for Ids {
    type Error = InvalidIds;

    fn try_from(ids: Vec<ObjectId>) -> Result<Self, InvalidIds> {
        require_unique(&ids, |id| *id)?;
        Ok(Self(ids))
    }
}

/// Reads a list of 1 to [`Ids::MAX`] distinct ids. Two ids are equal if their keys are.
pub fn deserialize_unique<'de, T, K, D>(
    deserializer: D,
    key: impl Fn(&T) -> K,
) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    K: Eq + Hash,
    D: Deserializer<'de>,
{
    let ids = at_most(deserializer, Ids::MAX, InvalidIds)?;
    require_unique(&ids, key).map_err(D::Error::custom)?;
    Ok(ids)
}

fn require_unique<T, K: Eq + Hash>(ids: &[T], key: impl Fn(&T) -> K) -> Result<(), InvalidIds> {
    let mut seen = HashSet::with_capacity(ids.len());
    let is_unique = ids.iter().all(|id| seen.insert(key(id)));
    if is_unique && (1..=Ids::MAX).contains(&ids.len()) { Ok(()) } else { Err(InvalidIds) }
}

/// Returns the schema of a list of ids with this schema.
pub fn schema_of(id: impl Into<RefOr<Schema>>) -> ArrayBuilder {
    ArrayBuilder::new()
        .items(id.into())
        .min_items(Some(1))
        .max_items(Some(Ids::MAX))
        .unique_items(true)
}
