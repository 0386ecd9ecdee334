//! The question of a section for the items at its path.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ObjectId;

/// The item that a section with a slug below another one would hide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemAtPath {
    /// The id of the section above.
    pub section_id: ObjectId,
    /// The slug.
    pub slug: String,
    /// The item, or null if there is none.
    #[schema(required = true)]
    pub item: Option<PlacedItem>,
}

/// An item at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlacedItem {
    /// The name of its kind, such as `Story`.
    pub kind: String,
    /// The title.
    pub title: String,
    /// The slug.
    pub slug: String,
}
