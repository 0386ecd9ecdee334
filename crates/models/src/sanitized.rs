//! What was removed from a text before it was stored.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An element or an attribute that was removed from a text before it was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// The name of the element; of an attribute, the element that had it. `*` stands for all that
    /// are not listed by name.
    pub element: String,
    /// The name of the attribute; absent where the element itself was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// The number of times that it was removed.
    pub count: u64,
}

impl Removed {
    /// The most entries of a list; what does not fit is counted in one entry, [`Self::OTHERS`].
    pub const MAX_ENTRIES: usize = 50;

    /// The most characters of a name; longer names are cut.
    pub const MAX_NAME_LENGTH: usize = 40;

    /// The name of the entry that counts all that are not listed by name.
    pub const OTHERS: &str = "*";
}
