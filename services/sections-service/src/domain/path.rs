//! Paths of sections.

use models::{Section, site_path::join};

/// Returns `true` if the last of these sections, each the parent of the next, has a path: all of
/// them have a slug.
pub(super) fn has_path(ancestry: &[&Section]) -> bool {
    ancestry.iter().all(|section| !section.slug.is_empty())
}

/// Returns the path of the last of these sections, each the parent of the next, percent-encoded.
pub(super) fn path_of(ancestry: &[&Section]) -> String {
    ancestry.iter().fold(String::new(), |path, section| join(&path, &section.slug))
}
