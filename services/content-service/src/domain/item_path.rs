//! The path of an item on the site.

use models::{PathResolution, site_path::join};

use super::audience::Directory;

/// Returns the path at which the public finds the item of a section with this slug. Returns `None` if
/// there is none: the public does not see the section, the slug is empty, or another section is at the
/// path.
pub(crate) fn item_path(sections: &Directory, section: &str, slug: &str) -> Option<String> {
    let entry = sections.referenced(section)?;
    let path = join(entry.path.as_deref()?, slug);
    match sections.resolve(&path, false)? {
        PathResolution::Found(found)
            if found.section.id == entry.section.id && !found.rest.is_empty() =>
        {
            Some(path)
        }
        PathResolution::Found(_) | PathResolution::Moved { .. } => None,
    }
}
