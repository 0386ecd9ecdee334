//! The paths of items on the site.

use std::{collections::HashMap, sync::Arc};

use models::{ContentType, ObjectId};

use super::{audience::Directory, content::ContentMeta};

/// The ids of the items that static pages show, by section.
pub(crate) type ShownItems = HashMap<ObjectId, String>;

/// Everything that the paths of items of a kind depend on. The one place that decides them.
#[derive(Debug, Clone)]
pub(crate) struct ItemPaths {
    /// The sections, or `None` if they are unknown: then no path is.
    pub(crate) directory: Option<Arc<Directory>>,
    pub(crate) shown: Arc<ShownItems>,
    pub(crate) content_type: ContentType,
}

impl ItemPaths {
    /// Returns the path of an item, or `None` if no path leads to it. A draft has the path at which it
    /// will be published.
    pub(crate) fn path(&self, meta: &ContentMeta, slug: &str) -> Option<String> {
        let section = meta.section_id.as_deref().filter(|_| !meta.deleted)?;
        self.path_in(section, meta.id.as_str(), slug)
    }

    /// Returns the path of the item of a section with this id and slug, which is not in the trash.
    pub(crate) fn path_in(&self, section: &str, id: &str, slug: &str) -> Option<String> {
        let directory = self.directory.as_deref()?;
        let shown = directory.referenced(section).map(|entry| self.shown.get(&entry.section.id));
        let is_shown = match shown? {
            Some(shown) => shown == id,
            None => slug.is_empty(),
        };
        directory.item_path(self.content_type, section, slug, is_shown)
    }

    /// Returns the path of the same item, unless it is that of the section, which shows it.
    pub(crate) fn path_below(&self, section: &str, id: &str, slug: &str) -> Option<String> {
        let path = self.path_in(section, id, slug)?;
        let of_section = &self.directory.as_deref()?.referenced(section)?.section.path;
        (of_section.as_ref() != Some(&path)).then_some(path)
    }

    /// Returns a number that is equal for the same paths of sections.
    pub(crate) fn digest(&self) -> Option<u64> {
        self.directory.as_deref().map(Directory::paths_digest)
    }
}
