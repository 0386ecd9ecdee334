//! The sections at one moment, with entity tags.

use std::collections::{HashMap, HashSet};

use models::{ObjectId, Section, section_paths::Redirects};
use mongodb::error::{Error, Result};
use service_kit::web::conditional::ETag;

use crate::domain::navigation::Navigation;

/// The sections at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The sections.
    pub(crate) navigation: Navigation,
    /// The `_id`s of the documents that are not deleted and cannot be read.
    unreadable: HashSet<String>,
    tag: ETag,
    tags: HashMap<ObjectId, ETag>,
}

impl Snapshot {
    pub(super) fn new(navigation: Navigation, unreadable: HashSet<String>) -> Result<Self> {
        let tag_of = |section: &Section| {
            serde_json::to_vec(section).map(|json| ETag::of(&json)).map_err(Error::custom)
        };
        let tags = navigation.all().iter().map(|section| Ok((section.id, tag_of(section)?)));
        let tags: HashMap<_, _> = tags.collect::<Result<_>>()?;
        let state = (navigation.all(), navigation.entries(&Redirects::default()));
        let tag = ETag::of(&serde_json::to_vec(&state).map_err(Error::custom)?);
        Ok(Self { navigation, unreadable, tag, tags })
    }

    /// Returns the tag of all sections together.
    pub(crate) fn tag(&self) -> &ETag {
        &self.tag
    }

    /// Returns the tag of a section that is not deleted.
    pub(crate) fn tag_of(&self, id: ObjectId) -> Option<&ETag> {
        self.tags.get(&id)
    }

    /// Returns `true` if a document has this `_id` and cannot be read.
    pub(crate) fn is_unreadable(&self, id: &str) -> bool {
        self.unreadable.contains(id)
    }
}
