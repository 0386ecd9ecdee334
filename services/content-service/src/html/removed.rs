//! The count of what the sanitiser removed.

use std::collections::BTreeMap;

use models::Removed;

/// Counts removed elements and attributes by name, in a bounded list.
#[derive(Default)]
pub(super) struct RemovedCounts(BTreeMap<(String, Option<String>), u64>);

impl RemovedCounts {
    /// Counts an element that was removed.
    pub(super) fn add_element(&mut self, element: &str) {
        self.add(element, None, 1);
    }

    /// Counts an attribute that was removed, or lost a part of its value.
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

    /// Returns whether nothing was removed.
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
