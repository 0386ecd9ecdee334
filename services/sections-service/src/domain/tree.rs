//! The tree of sections and the changes that can be made to it.
//!
//! A change is made in memory on all sections at once. The store then writes the differences, so that
//! no rule needs a query of its own.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use models::{
    ObjectId, PageMeta, Patch, Section, Slug,
    section_paths::{SectionPaths, has_path, path_of},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    section_body::{SectionCreate, SectionOrder, SectionPatch},
    stored_section::StoredSection,
    tree_error::TreeError,
};

/// Maximum number of levels of the tree. Navigations have two or three.
pub(crate) const MAX_DEPTH: usize = 8;

/// The latest date of creation that a section can be given, counted from now. Clocks and time zones
/// of editors differ by hours.
const MAX_CREATED_AHEAD: TimeDelta = TimeDelta::days(1);

/// The slug of a section whose title has no character that a slug can have.
const FALLBACK_SLUG: &str = "section";

/// The treatment of the sections below one that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnChildren {
    /// The deletion is refused if there are any.
    #[default]
    Restrict,
    /// They move up to the parent of the deleted section.
    Reparent,
    /// They are deleted too.
    Cascade,
}

/// All sections while they are changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    sections: HashMap<ObjectId, StoredSection>,
    /// Slugs of documents that cannot be read, and slugs that the database refused.
    reserved_slugs: HashSet<String>,
    /// The paths that sections had before the change.
    former_paths: Vec<(String, ObjectId)>,
    /// The sections that must have no content for the change to be made.
    must_be_empty: Vec<ObjectId>,
    /// The places of sections at which no content may be for the change to be made.
    must_be_free: Vec<Place>,
}

/// A slug below a section: the place of another section, or of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) parent: ObjectId,
    pub(crate) slug: String,
}

impl Tree {
    /// Builds the tree of these sections. No section can get one of the reserved slugs.
    pub(crate) fn new(
        sections: impl IntoIterator<Item = StoredSection>,
        reserved_slugs: HashSet<String>,
    ) -> Self {
        let sections = sections.into_iter().map(|stored| (stored.section.id, stored)).collect();
        Self { sections, reserved_slugs, ..Self::default() }
    }

    /// Returns the section with this id, unless it is deleted.
    pub(crate) fn get(&self, id: ObjectId) -> Option<&Section> {
        self.live(id).map(|stored| &stored.section)
    }

    /// Returns the section with this id as it is answered, with its path, unless it is deleted.
    pub(crate) fn answered(&self, id: ObjectId) -> Option<Section> {
        let path = self.paths().path_to(id);
        self.get(id).map(|section| Section { path, ..section.clone() })
    }

    /// Returns the paths of the sections that are not deleted.
    fn paths(&self) -> SectionPaths {
        let live = self.sections.values().filter(|stored| !stored.is_deleted);
        SectionPaths::index(live.map(|stored| stored.section.clone()).collect())
    }

    /// Returns all sections, deleted or not, in no particular order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &StoredSection> {
        self.sections.values()
    }

    /// Returns the paths that sections had before the change and have no longer.
    pub(crate) fn former_paths(&self) -> &[(String, ObjectId)] {
        &self.former_paths
    }

    /// Returns the sections that must have no content for the change to be made.
    pub(crate) fn must_be_empty(&self) -> &[ObjectId] {
        &self.must_be_empty
    }

    /// Returns the places at which no content may be for the change to be made.
    pub(crate) fn must_be_free(&self) -> &[Place] {
        &self.must_be_free
    }

    /// Adds a section. Unless the body has a slug, the section gets the first free one that its title
    /// makes.
    pub(crate) fn create(
        &mut self,
        id: ObjectId,
        body: &SectionCreate,
        now: DateTime<Utc>,
    ) -> Result<Section, TreeError> {
        if let Some(parent) = body.parent_id
            && self.depth(parent)? + 1 > MAX_DEPTH
        {
            return Err(TreeError::TooDeep);
        }
        let slug = match &body.slug {
            Some(slug) if self.is_taken(slug.as_str()) => {
                return Err(TreeError::SlugTaken(slug.as_str().to_owned()));
            }
            Some(slug) => slug.as_str().to_owned(),
            None => self.free_slug(body.title.as_str()),
        };
        let last = || self.next_sort_order(body.parent_id);
        let mut page = PageMeta::default();
        body.page().apply_to(&mut page);
        let section = Section {
            id,
            title: body.title.as_str().to_owned(),
            slug,
            parent_id: body.parent_id,
            display_type: body.display_type.unwrap_or(body.content_type.usual_display()),
            content_type: body.content_type,
            nav_visibility: body.nav_visibility,
            sort_order: body.sort_order.map_or_else(last, i64::from),
            sort_by: body.sort_by,
            is_published: body.is_published,
            is_home: body.is_home,
            created_date: Some(now),
            updated_date: Some(now),
            path: None,
            page,
        };
        if section.is_home {
            self.remove_home(now);
        }
        self.take_place(&section);
        self.sections.insert(id, StoredSection::live(section));
        self.answered(id).ok_or(TreeError::NotFound)
    }

    /// Changes a section. Its `updatedDate` changes only if another field does.
    pub(crate) fn change(
        &mut self,
        id: ObjectId,
        patch: &SectionPatch,
        now: DateTime<Utc>,
    ) -> Result<Section, TreeError> {
        let StoredSection { section: before, unreadable, .. } =
            self.live(id).ok_or(TreeError::NotFound)?.clone();
        let mut after = before.clone();
        if let Some(title) = &patch.title {
            title.as_str().clone_into(&mut after.title);
        }
        if let Some(slug) = patch.slug.as_ref().filter(|slug| **slug != before.slug) {
            after.slug = self.new_slug(slug)?;
        }
        match patch.parent_id {
            Patch::Absent => {}
            Patch::Null => after.parent_id = None,
            Patch::Value(parent) => after.parent_id = Some(parent),
        }
        if after.parent_id != before.parent_id {
            self.check_move(id, after.parent_id)?;
            after.sort_order = self.next_sort_order(after.parent_id);
        }
        if let Some(sort_order) = patch.sort_order {
            after.sort_order = sort_order.into();
        }
        if let Some(sort_by) = patch.sort_by.into_option() {
            after.sort_by = sort_by;
        }
        patch.page().apply_to(&mut after.page);
        after.display_type = patch.display_type.unwrap_or(before.display_type);
        after.nav_visibility = patch.nav_visibility.unwrap_or(before.nav_visibility);
        after.is_published = patch.is_published.unwrap_or(before.is_published);
        after.is_home = patch.is_home.unwrap_or(before.is_home);
        if after.is_home && !before.is_home {
            self.remove_home(now);
        }
        after.content_type = patch.content_type.unwrap_or(before.content_type);
        // The content of a section whose type cannot be read may be of the new type.
        if after.content_type != before.content_type && !unreadable.contains(&"content_type") {
            self.must_be_empty.push(id);
        }
        if let Some(date) = patch.created_date {
            after.created_date = new_created_date(before.created_date, date.into(), now)?;
        }
        if after != before {
            after.updated_date = Some(now);
            self.replace(after);
        }
        self.answered(id).ok_or(TreeError::NotFound)
    }

    /// Moves a section to the trash. `deletion` identifies the sections that are deleted together.
    pub(crate) fn delete(
        &mut self,
        id: ObjectId,
        on_children: OnChildren,
        deletion: ObjectId,
        now: DateTime<Utc>,
    ) -> Result<(), TreeError> {
        let parent = self.live(id).ok_or(TreeError::NotFound)?.section.parent_id;
        let children: Vec<_> = self.children(id).collect();
        let deleted = match on_children {
            OnChildren::Restrict if !children.is_empty() => {
                return Err(TreeError::HasChildren(children.len()));
            }
            OnChildren::Restrict => vec![id],
            OnChildren::Reparent => {
                // A section in a cycle is its own grandparent.
                let parent = parent.filter(|parent| !children.contains(parent));
                self.append_children(children, parent, now);
                vec![id]
            }
            OnChildren::Cascade => self.subtree(id),
        };
        for id in &deleted {
            if let Some(stored) = self.sections.get_mut(id) {
                stored.is_deleted = true;
                stored.deletion = Some(deletion);
                stored.section.updated_date = Some(now);
            }
        }
        self.must_be_empty.extend(deleted);
        Ok(())
    }

    /// Takes a section out of the trash, with all that were deleted together with it. A section that
    /// is not in the trash stays as it is.
    pub(crate) fn restore(
        &mut self,
        id: ObjectId,
        now: DateTime<Utc>,
    ) -> Result<Section, TreeError> {
        let stored = self.sections.get(&id).ok_or(TreeError::NotFound)?;
        if !stored.is_deleted {
            return self.answered(id).ok_or(TreeError::NotFound);
        }
        let depth_above = match stored.section.parent_id {
            None => 0,
            Some(parent) => match self.sections.get(&parent) {
                None => return Err(TreeError::ParentGone),
                Some(parent) if parent.is_deleted => {
                    return Err(TreeError::ParentDeleted(parent.section.title.clone()));
                }
                Some(_) => self.depth(parent)?,
            },
        };
        let has_home = self.sections.values().any(|one| one.section.is_home && !one.is_deleted);
        for id in self.deleted_together(id, stored.deletion) {
            let Some(slug) = self.sections.get(&id).map(|stored| stored.section.slug.clone())
            else {
                continue;
            };
            if !slug.is_empty() && self.is_taken(&slug) {
                return Err(TreeError::SlugTaken(slug));
            }
            if let Some(stored) = self.sections.get_mut(&id) {
                stored.is_deleted = false;
                stored.deletion = None;
                stored.section.updated_date = Some(now);
                // Another one has become the home.
                stored.section.is_home &= !has_home;
                let section = stored.section.clone();
                self.take_place(&section);
            }
        }
        if depth_above + self.height(id) > MAX_DEPTH {
            return Err(TreeError::TooDeep);
        }
        self.answered(id).ok_or(TreeError::NotFound)
    }

    /// Puts all sections below one in order. Nothing else about them changes, not even `updatedDate`.
    pub(crate) fn order(&mut self, order: &SectionOrder) -> Result<Vec<Section>, TreeError> {
        if let Some(parent) = order.parent_id {
            self.live(parent).ok_or(TreeError::NoSuchParent)?;
        }
        let siblings: HashSet<_> = self.siblings(order.parent_id).collect();
        let ids = order.ids.as_slice();
        let unknown = ids.iter().filter(|id| !siblings.contains(id)).count();
        let missing = siblings.len() - (ids.len() - unknown);
        if unknown + missing > 0 {
            return Err(TreeError::OrderMismatch { unknown, missing });
        }
        for (id, sort_order) in ids.iter().zip(0..) {
            if let Some(stored) = self.sections.get_mut(id) {
                stored.section.sort_order = sort_order;
            }
        }
        let paths = self.paths();
        let ordered = ids.iter().filter_map(|id| self.get(*id));
        Ok(ordered.map(|one| Section { path: paths.path_to(one.id), ..one.clone() }).collect())
    }

    /// Moves those of these sections whose parent does not exist to the top, as drafts.
    pub(crate) fn adopt_orphans(&mut self, orphans: &HashSet<ObjectId>, now: DateTime<Utc>) {
        let known: HashSet<_> = self.sections.keys().copied().collect();
        for stored in self.sections.values_mut().filter(|one| orphans.contains(&one.section.id)) {
            if stored.section.parent_id.is_some_and(|parent| !known.contains(&parent)) {
                stored.section.parent_id = None;
                stored.section.is_published = false;
                stored.section.updated_date = Some(now);
            }
        }
    }

    /// Returns the path of the section, or `None` if it has none: it cannot be reached from the top,
    /// or a section on the way has no slug.
    pub(crate) fn path(&self, id: ObjectId) -> Option<String> {
        self.ancestry(id).filter(|ancestry| has_path(ancestry)).map(|ancestry| path_of(&ancestry))
    }

    /// Returns the ancestors of the section from the top, and the section itself as the last. Returns
    /// `None` if it cannot be reached from the top.
    fn ancestry(&self, id: ObjectId) -> Option<Vec<&Section>> {
        let mut ancestry = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next {
            let section = self.get(id)?;
            if ancestry.len() > self.sections.len() {
                return None;
            }
            ancestry.push(section);
            next = section.parent_id;
        }
        ancestry.reverse();
        Some(ancestry)
    }

    /// Returns the number of levels that the section and those below it have.
    fn height(&self, id: ObjectId) -> usize {
        let mut seen = HashSet::from([id]);
        let mut level = vec![id];
        let mut height = 0;
        while !level.is_empty() {
            height += 1;
            let below = level.iter().flat_map(|id| self.children(*id));
            level = below.filter(|id| seen.insert(*id)).collect();
        }
        height
    }

    /// Makes no section the home.
    fn remove_home(&mut self, now: DateTime<Utc>) {
        let homes = self.sections.values_mut().filter(|one| one.section.is_home && !one.is_deleted);
        for home in homes {
            home.section.is_home = false;
            home.section.updated_date = Some(now);
        }
    }

    /// Records the place that a section gets.
    fn take_place(&mut self, section: &Section) {
        if let Some(parent) = section.parent_id
            && !section.slug.is_empty()
        {
            self.must_be_free.push(Place { parent, slug: section.slug.clone() });
        }
    }

    /// Replaces the state of a section and records the path that it had, if that changes.
    fn replace(&mut self, after: Section) {
        let id = after.id;
        let path = self.path(id);
        let Some(before) = self.sections.get(&id).map(|stored| &stored.section) else { return };
        if before.slug != after.slug || before.parent_id != after.parent_id {
            self.take_place(&after);
            self.former_paths.extend(path.map(|path| (path, id)));
        }
        if let Some(stored) = self.sections.get_mut(&id) {
            stored.section = after;
        }
    }

    /// Moves sections behind those that are below `parent`.
    fn append_children(
        &mut self,
        children: Vec<ObjectId>,
        parent: Option<ObjectId>,
        now: DateTime<Utc>,
    ) {
        let mut sort_order = self.next_sort_order(parent);
        for child in self.in_order(children) {
            let Some(mut child) = self.get(child).cloned() else { continue };
            child.parent_id = parent;
            child.sort_order = sort_order;
            child.updated_date = Some(now);
            sort_order = after_sort_order(sort_order);
            self.replace(child);
        }
    }

    /// Returns the ids of the sections that were deleted together with this one, itself among them.
    fn deleted_together(&self, id: ObjectId, deletion: Option<ObjectId>) -> Vec<ObjectId> {
        if deletion.is_none() {
            return vec![id];
        }
        let all = self.sections.values();
        let together = all.filter(|other| other.is_deleted && other.deletion == deletion);
        together.map(|other| other.section.id).collect()
    }

    /// Checks that the section can be put below this parent.
    fn check_move(&self, id: ObjectId, parent: Option<ObjectId>) -> Result<(), TreeError> {
        let Some(parent) = parent else {
            return self.check_height(0, id);
        };
        self.live(parent).ok_or(TreeError::NoSuchParent)?;
        if self.subtree(id).contains(&parent) {
            return Err(TreeError::Cycle);
        }
        self.check_height(self.depth(parent)?, id)
    }

    fn check_height(&self, depth_above: usize, id: ObjectId) -> Result<(), TreeError> {
        let is_too_deep = depth_above + self.height(id) > MAX_DEPTH;
        if is_too_deep { Err(TreeError::TooDeep) } else { Ok(()) }
    }

    /// Returns the level of a section that is to have children; 1 is the top.
    fn depth(&self, parent: ObjectId) -> Result<usize, TreeError> {
        self.live(parent).ok_or(TreeError::NoSuchParent)?;
        self.ancestry(parent).map(|ancestry| ancestry.len()).ok_or(TreeError::ParentUnreachable)
    }

    fn live(&self, id: ObjectId) -> Option<&StoredSection> {
        self.sections.get(&id).filter(|stored| !stored.is_deleted)
    }

    /// Returns the ids of the sections directly below one, or at the top.
    fn siblings(&self, parent: Option<ObjectId>) -> impl Iterator<Item = ObjectId> {
        let live = self.sections.values().filter(|stored| !stored.is_deleted);
        let siblings = live.filter(move |stored| stored.section.parent_id == parent);
        siblings.map(|stored| stored.section.id)
    }

    fn children(&self, id: ObjectId) -> impl Iterator<Item = ObjectId> {
        self.siblings(Some(id))
    }

    /// Returns the ids of the section and of everything below it.
    fn subtree(&self, id: ObjectId) -> Vec<ObjectId> {
        let mut found = vec![id];
        let mut seen = HashSet::from([id]);
        let mut next = 0;
        while let Some(id) = found.get(next).copied() {
            found.extend(self.children(id).filter(|child| seen.insert(*child)));
            next += 1;
        }
        found
    }

    fn in_order(&self, mut ids: Vec<ObjectId>) -> Vec<ObjectId> {
        ids.sort_by_key(|id| (self.get(*id).map(|section| section.sort_order), *id));
        ids
    }

    /// Returns the `sort_order` that puts a section behind its siblings.
    fn next_sort_order(&self, parent: Option<ObjectId>) -> i64 {
        let siblings = self.siblings(parent).filter_map(|id| self.get(id));
        siblings.map(|section| section.sort_order).max().map_or(0, after_sort_order)
    }

    /// Checks a slug that an editor has chosen.
    fn new_slug(&self, slug: &str) -> Result<String, TreeError> {
        let slug = Slug::try_from(slug.to_owned())
            .map_err(|error| TreeError::InvalidSlug(error.to_string()))?;
        if self.is_taken(slug.as_str()) {
            Err(TreeError::SlugTaken(slug.into()))
        } else {
            Ok(slug.into())
        }
    }

    fn is_taken(&self, slug: &str) -> bool {
        self.reserved_slugs.contains(slug)
            || self.sections.values().any(|other| !other.is_deleted && other.section.slug == slug)
    }

    /// Returns the first free slug that a title makes.
    fn free_slug(&self, title: &str) -> String {
        let live = self.sections.values().filter(|stored| !stored.is_deleted);
        let slugs: HashSet<_> = live.map(|stored| stored.section.slug.as_str()).collect();
        let is_free =
            |slug: &String| !slugs.contains(slug.as_str()) && !self.reserved_slugs.contains(slug);
        let (first, numbered): (String, Box<dyn Fn(u64) -> String>) = match Slug::from_title(title)
        {
            Some(slug) => {
                (slug.as_str().to_owned(), Box::new(move |number| slug.numbered(number).into()))
            }
            None => {
                (FALLBACK_SLUG.to_owned(), Box::new(|number| format!("{FALLBACK_SLUG}-{number}")))
            }
        };
        if is_free(&first) {
            return first;
        }
        // The slugs that are taken are finite.
        (2..).map(numbered).find(is_free).unwrap_or(first)
    }
}

/// Returns the date of creation after a change. The stored date can be sent back wherever it is.
fn new_created_date(
    before: Option<DateTime<Utc>>,
    date: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, TreeError> {
    // A stored text may have more digits than the milliseconds that are answered.
    if before.is_some_and(|before| before.timestamp_millis() == date.timestamp_millis()) {
        Ok(before)
    } else if date > now + MAX_CREATED_AHEAD {
        Err(TreeError::CreatedTooLate)
    } else {
        Ok(Some(date))
    }
}

/// Returns the next `sort_order`. Stored values may be any numbers; those that can be written have 32
/// bits.
fn after_sort_order(sort_order: i64) -> i64 {
    sort_order.saturating_add(1).min(i32::MAX.into())
}
