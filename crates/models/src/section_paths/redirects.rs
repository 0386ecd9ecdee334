//! Redirects from the paths that sections had.

use std::collections::HashMap;

use crate::{ObjectId, site_path::canonical};

/// The paths that sections had before they were renamed or moved.
///
/// A redirect leads to a section, not to a path. However often a section is moved, one step leads from
/// each of its former paths to it. A redirect also holds for the paths below its own.
#[derive(Debug, Clone, Default)]
pub struct Redirects {
    /// The redirects as they are stored.
    stored: HashMap<String, ObjectId>,
    /// The same by their paths as [`canonical`] writes them.
    by_path: HashMap<String, ObjectId>,
}

impl FromIterator<(String, ObjectId)> for Redirects {
    fn from_iter<T: IntoIterator<Item = (String, ObjectId)>>(redirects: T) -> Self {
        let stored: HashMap<_, _> = redirects.into_iter().collect();
        let mut by_path: HashMap<_, _> =
            stored.iter().map(|(path, id)| (canonical(path), *id)).collect();
        // Of two redirects for one path, the one that is stored in canonical form holds.
        by_path.extend(stored.iter().map(|(path, id)| (path.clone(), *id)));
        Self { stored, by_path }
    }
}

impl Redirects {
    /// Returns all redirects in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, ObjectId)> {
        self.stored.iter().map(|(path, id)| (path.as_str(), *id))
    }

    /// Returns the paths that lead to each section, sorted.
    pub fn by_section(&self) -> HashMap<ObjectId, Vec<String>> {
        let mut paths: HashMap<_, Vec<_>> = HashMap::new();
        for (path, id) in self.iter() {
            paths.entry(id).or_default().push(path.to_owned());
        }
        paths.values_mut().for_each(|paths| paths.sort_unstable());
        paths
    }

    /// Finds the redirect for the longest path that consists of `base` and up to `max` of the
    /// segments. Returns its section and the number of segments.
    pub(super) fn find(
        &self,
        base: &str,
        segments: &[&str],
        max: usize,
    ) -> Option<(ObjectId, usize)> {
        if self.by_path.is_empty() {
            return None;
        }
        (1..=segments.len().min(max)).rev().find_map(|length| {
            let id = self.by_path.get(&append(base, &segments[..length]))?;
            Some((*id, length))
        })
    }
}

/// Appends segments to a path, percent-encoded.
pub(super) fn append(base: &str, segments: &[&str]) -> String {
    let base = base.trim_end_matches('/');
    segments.iter().fold(base.to_owned(), |path, segment| path + "/" + &canonical(segment))
}
