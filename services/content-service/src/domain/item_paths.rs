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
        if meta.deleted {
            return None;
        }
        let directory = self.directory.as_deref()?;
        let section = meta.section_id.as_deref()?;
        let shown = directory.referenced(section).map(|entry| self.shown.get(&entry.section.id));
        let is_shown = match shown? {
            Some(id) => *id == meta.id.as_str(),
            None => slug.is_empty(),
        };
        directory.item_path(self.content_type, section, slug, is_shown)
    }

    /// Returns a number that is equal for the same paths of sections.
    pub(crate) fn digest(&self) -> Option<u64> {
        self.directory.as_deref().map(Directory::paths_digest)
    }
}
