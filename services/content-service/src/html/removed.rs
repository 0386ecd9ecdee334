//! The elements and attributes that the sanitiser removed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An element or an attribute that was removed from a text before it was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Removed {
    /// The name of the element; of an attribute, the element that had it. `*` stands for all that
    /// are not listed by name.
    pub(crate) element: String,
    /// The name of the attribute; absent where the element itself was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attribute: Option<String>,
    /// The number of times that it was removed.
    pub(crate) count: u64,
}

impl Removed {
    /// The maximum number of entries of a list. The others are counted in one entry, [`Self::OTHERS`].
    pub(crate) const MAX_ENTRIES: usize = 50;

    /// The maximum number of characters of a name; longer names are truncated.
    pub(crate) const MAX_NAME_LENGTH: usize = 40;

    /// The name of the entry that counts all that are not listed by name.
    pub(crate) const OTHERS: &str = "*";
}

/// Counts removed elements and attributes by name, in a bounded list.
#[derive(Default)]
pub(super) struct RemovedCounts(BTreeMap<(String, Option<String>), u64>);

impl RemovedCounts {
    /// Counts an element that was removed.
    pub(super) fn add_element(&mut self, element: &str) {
        self.add(element, None, 1);
    }

    /// Counts an attribute that was removed or shortened.
    pub(super) fn add_attribute(&mut self, element: &str, attribute: &str) {
        self.add(element, Some(attribute), 1);
    }

    fn add(&mut self, element: &str, attribute: Option<&str>, count: u64) {
        let mut key = (shortened(element), attribute.map(shortened));
        if self.0.len() >= Removed::MAX_ENTRIES - 1 && !self.0.contains_key(&key) {
            key = (Removed::OTHERS.to_owned(), None);
        }
        *self.0.entry(key).or_default() += count;
    }

    /// Returns `true` if nothing was removed.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the counts of a later pass.
    pub(super) fn merge(&mut self, later: Self) {
        for ((element, attribute), count) in later.0 {
            self.add(&element, attribute.as_deref(), count);
        }
    }

    /// Returns the counts, sorted by name.
    pub(super) fn into_list(self) -> Vec<Removed> {
        let removed = |((element, attribute), count)| Removed { element, attribute, count };
        self.0.into_iter().map(removed).collect()
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(Removed::MAX_NAME_LENGTH).collect()
}
