//! The sections as a tree that is changed: what may be done to it, and what follows from it.
//!
//! A change is made here, in memory, on all sections at once; the store writes what is different
//! afterwards. So no rule needs a query of its own.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use models::{
    ObjectId, Patch, Section, SectionCreate, SectionOrder, SectionPatch, Slug, site_path::join,
};
use serde::Deserialize;
use utoipa::ToSchema;

/// How many levels the tree has at most. Navigations have two or three.
pub(crate) const LARGEST_DEPTH: usize = 8;

/// The latest date of creation that a section can be given, counted from now: clocks and zones of
/// editors differ by hours.
const MAX_CREATED_AHEAD: TimeDelta = TimeDelta::days(1);

/// The slug of a section whose title has no character that a slug can have.
const FALLBACK_SLUG: &str = "section";

/// The fields that decide who sees a section.
pub(crate) const VISIBILITY_FIELDS: [&str; 3] = ["is_published", "is_deleted", "parent_id"];

/// The fields that decide who sees a section and what it holds.
pub(crate) const DECISIVE_FIELDS: [&str; 4] =
    ["is_published", "is_deleted", "parent_id", "content_type"];

/// A section with the state that the API does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The section. If one of [`VISIBILITY_FIELDS`] cannot be read, the section is a draft.
    pub(crate) section: Section,
    /// `true` if the section is in the trash.
    pub(crate) is_deleted: bool,
    /// The id of the deletion that the section was part of. Sections that were deleted together are
    /// restored together.
    pub(crate) deletion: Option<ObjectId>,
    /// The names of the [`DECISIVE_FIELDS`] whose stored values have no plain meaning.
    pub(crate) unreadable: Vec<&'static str>,
    /// `true` if the section may have been meant to be public, and is a draft only because one of
    /// [`VISIBILITY_FIELDS`] cannot be read.
    pub(crate) is_withheld: bool,
}

impl Stored {
    /// Returns a section that is not deleted and of which every field can be read.
    pub(crate) const fn live(section: Section) -> Self {
        let unreadable = Vec::new();
        Self { section, is_deleted: false, deletion: None, unreadable, is_withheld: false }
    }
}

/// What becomes of the sections below one that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnChildren {
    /// There must be none.
    #[default]
    Restrict,
    /// They move up to where it was.
    Reparent,
    /// They are deleted with it.
    Cascade,
}

/// Why the tree cannot be changed in this way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such section.
    NotFound,
    /// The section above does not exist or is deleted.
    NoSuchParent,
    /// The section above cannot be reached from the top itself.
    ParentUnreachable,
    /// A section would be below itself.
    Cycle,
    /// The tree would have too many levels.
    TooDeep,
    /// What was given as a slug is none. The text says why.
    InvalidSlug(String),
    /// The date of creation is more than [`MAX_CREATED_AHEAD`] ahead of now.
    CreatedAhead,
    /// Another section has the slug.
    SlugTaken(String),
    /// There are so many sections below it.
    HasChildren(usize),
    /// The ids are not those of the sections there.
    OrderMismatch {
        /// How many of the ids are not there.
        unknown: usize,
        /// How many sections there are not among the ids.
        missing: usize,
    },
    /// The section above was deleted too, and not together with it. Its title.
    ParentDeleted(String),
    /// The section above does not exist any more.
    ParentGone,
}

/// All sections, while they are changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    sections: HashMap<ObjectId, Stored>,
    /// Slugs of sections that cannot be read, and those that the database refused.
    taken: HashSet<String>,
    /// Paths that led to a section before the change, and which one.
    moved: Vec<(String, ObjectId)>,
    /// Sections that must have no content for the change to be made.
    to_be_empty: Vec<ObjectId>,
}

impl Tree {
    /// The tree of these sections. `taken` are slugs that no other section can have.
    pub(crate) fn new(sections: impl IntoIterator<Item = Stored>, taken: HashSet<String>) -> Self {
        let sections = sections.into_iter().map(|stored| (stored.section.id, stored)).collect();
        Self { sections, taken, moved: Vec::new(), to_be_empty: Vec::new() }
    }

    /// The section with this id, unless it is deleted.
    pub(crate) fn get(&self, id: ObjectId) -> Option<&Section> {
        self.live(id)
    }

    /// Everything, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Stored> {
        self.sections.values()
    }

    /// Paths that led to a section before the change and do not any more.
    pub(crate) fn moved(&self) -> &[(String, ObjectId)] {
        &self.moved
    }

    /// Sections that must have no content for the change to be made.
    pub(crate) fn to_be_empty(&self) -> &[ObjectId] {
        &self.to_be_empty
    }

    /// Adds a section. Its slug, unless given, is the first free one that the title makes.
    pub(crate) fn create(
        &mut self,
        id: ObjectId,
        body: &SectionCreate,
        now: DateTime<Utc>,
    ) -> Result<Section, Refusal> {
        if let Some(parent) = body.parent_id
            && self.depth_of_parent(parent)? + 1 > LARGEST_DEPTH
        {
            return Err(Refusal::TooDeep);
        }
        let slug = match &body.slug {
            Some(slug) if self.is_taken(slug.as_str()) => {
                return Err(Refusal::SlugTaken(slug.as_str().to_owned()));
            }
            Some(slug) => slug.as_str().to_owned(),
            None => self.free_slug(body.title.as_str()),
        };
        let last = || self.last_place(body.parent_id);
        let section = Section {
            id,
            title: body.title.as_str().to_owned(),
            slug,
            parent_id: body.parent_id,
            display_type: body.display_type.unwrap_or(body.content_type.usual_display()),
            content_type: body.content_type,
            nav_visibility: body.nav_visibility,
            sort_order: body.sort_order.map_or_else(last, i64::from),
            is_published: body.is_published,
            created_date: Some(now),
            updated_date: Some(now),
        };
        self.sections.insert(id, Stored::live(section.clone()));
        Ok(section)
    }

    /// Changes a section. Where nothing is different afterwards, its date stays too.
    pub(crate) fn change(
        &mut self,
        id: ObjectId,
        patch: &SectionPatch,
        now: DateTime<Utc>,
    ) -> Result<Section, Refusal> {
        let stored = self.sections.get(&id).filter(|stored| !stored.is_deleted);
        let Stored { section: before, unreadable, .. } = stored.ok_or(Refusal::NotFound)?.clone();
        let mut after = before.clone();
        if let Some(title) = &patch.title {
            title.as_str().clone_into(&mut after.title);
        }
        if let Some(created) = patch.created_date.map(DateTime::<Utc>::from)
            && before.created_date.map(|date| date.timestamp_millis())
                != Some(created.timestamp_millis())
        {
            if created > now + MAX_CREATED_AHEAD {
                return Err(Refusal::CreatedAhead);
            }
            after.created_date = Some(created);
        }
        if let Some(slug) = patch.slug.as_ref().filter(|slug| **slug != before.slug) {
            let slug = Slug::try_from(slug.clone())
                .map_err(|error| Refusal::InvalidSlug(error.to_string()))?;
            if self.is_taken(slug.as_str()) {
                return Err(Refusal::SlugTaken(slug.into()));
            }
            after.slug = slug.into();
        }
        match patch.parent_id {
            Patch::Absent => {}
            Patch::Null => after.parent_id = None,
            Patch::Value(parent) => after.parent_id = Some(parent),
        }
        if after.parent_id != before.parent_id {
            self.check_move(id, after.parent_id)?;
            after.sort_order = self.last_place(after.parent_id);
        }
        after.display_type = patch.display_type.unwrap_or(before.display_type);
        after.nav_visibility = patch.nav_visibility.unwrap_or(before.nav_visibility);
        after.is_published = patch.is_published.unwrap_or(before.is_published);
        if let Some(place) = patch.sort_order {
            after.sort_order = place.into();
        }
        after.content_type = patch.content_type.unwrap_or(before.content_type);
        // Content was put there by a type that nobody can read: it may be of the new one.
        if after.content_type != before.content_type && !unreadable.contains(&"content_type") {
            self.to_be_empty.push(id);
        }
        if after != before {
            after.updated_date = Some(now);
            self.put(after.clone());
        }
        Ok(after)
    }

    /// Moves a section to the trash. `deletion` names what goes together.
    pub(crate) fn delete(
        &mut self,
        id: ObjectId,
        on_children: OnChildren,
        deletion: ObjectId,
        now: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        let section = self.live(id).ok_or(Refusal::NotFound)?.clone();
        let children: Vec<_> = self.children(id).collect();
        let gone = match on_children {
            OnChildren::Restrict if !children.is_empty() => {
                return Err(Refusal::HasChildren(children.len()));
            }
            OnChildren::Restrict => vec![id],
            OnChildren::Reparent => {
                // A section in a cycle is its own grandparent.
                let above = section.parent_id.filter(|parent| !children.contains(parent));
                let mut place = self.last_place(above);
                for child in self.in_order(children) {
                    let Some(mut child) = self.live(child).cloned() else { continue };
                    child.parent_id = above;
                    child.sort_order = place;
                    child.updated_date = Some(now);
                    place = next_place(place);
                    self.put(child);
                }
                vec![id]
            }
            OnChildren::Cascade => self.subtree(id),
        };
        for id in &gone {
            if let Some(stored) = self.sections.get_mut(id) {
                stored.is_deleted = true;
                stored.deletion = Some(deletion);
                stored.section.updated_date = Some(now);
            }
        }
        self.to_be_empty.extend(gone);
        Ok(())
    }

    /// Takes a section out of the trash, with everything that was deleted together with it. One
    /// that is not there stays as it is.
    pub(crate) fn restore(&mut self, id: ObjectId, now: DateTime<Utc>) -> Result<Section, Refusal> {
        let stored = self.sections.get(&id).ok_or(Refusal::NotFound)?;
        if !stored.is_deleted {
            return Ok(stored.section.clone());
        }
        let above = match stored.section.parent_id {
            None => 0,
            Some(parent) => match self.sections.get(&parent) {
                None => return Err(Refusal::ParentGone),
                Some(parent) if parent.is_deleted => {
                    return Err(Refusal::ParentDeleted(parent.section.title.clone()));
                }
                Some(_) => self.depth_of_parent(parent)?,
            },
        };
        let cohort = match stored.deletion {
            None => vec![id],
            Some(deletion) => {
                let with_it = self.sections.values();
                let with_it =
                    with_it.filter(|other| other.is_deleted && other.deletion == Some(deletion));
                with_it.map(|other| other.section.id).collect()
            }
        };
        for id in &cohort {
            let Some(slug) = self.sections.get(id).map(|stored| stored.section.slug.clone()) else {
                continue;
            };
            if !slug.is_empty() && self.is_taken(&slug) {
                return Err(Refusal::SlugTaken(slug));
            }
            if let Some(stored) = self.sections.get_mut(id) {
                stored.is_deleted = false;
                stored.deletion = None;
                stored.section.updated_date = Some(now);
            }
        }
        if above + self.height(id) > LARGEST_DEPTH {
            return Err(Refusal::TooDeep);
        }
        self.live(id).cloned().ok_or(Refusal::NotFound)
    }

    /// Puts all sections below one in order. Nothing else about them changes, not even their date.
    pub(crate) fn order(&mut self, order: &SectionOrder) -> Result<Vec<Section>, Refusal> {
        if let Some(parent) = order.parent_id {
            self.live(parent).ok_or(Refusal::NoSuchParent)?;
        }
        let siblings: HashSet<_> = self.siblings(order.parent_id).collect();
        let ids = order.ids.as_slice();
        let unknown = ids.iter().filter(|id| !siblings.contains(id)).count();
        let missing = siblings.len() - (ids.len() - unknown);
        if unknown + missing > 0 {
            return Err(Refusal::OrderMismatch { unknown, missing });
        }
        let mut ordered = Vec::with_capacity(ids.len());
        for (id, place) in ids.iter().zip(0..) {
            if let Some(stored) = self.sections.get_mut(id) {
                stored.section.sort_order = place;
                ordered.push(stored.section.clone());
            }
        }
        Ok(ordered)
    }

    /// Puts those of these sections whose parent does not exist at the top, as drafts.
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

    /// The way from the top to the section, which is the last; none where there is no such way.
    pub(crate) fn ancestry(&self, id: ObjectId) -> Option<Vec<&Section>> {
        let mut way = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next {
            let section = self.live(id)?;
            if way.len() > self.sections.len() {
                return None;
            }
            way.push(section);
            next = section.parent_id;
        }
        way.reverse();
        Some(way)
    }

    /// Returns the path of the section, or `None` if it cannot be reached from the top or a section
    /// on the way has no slug.
    pub(crate) fn path(&self, id: ObjectId) -> Option<String> {
        self.ancestry(id).filter(|way| has_path(way)).map(|way| path_of(&way))
    }

    /// How many levels the section and those below it have.
    pub(crate) fn height(&self, id: ObjectId) -> usize {
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

    /// Writes the new state of a section, and notes the path that it had.
    fn put(&mut self, after: Section) {
        let id = after.id;
        let path = self.path(id);
        let Some(stored) = self.sections.get_mut(&id) else { return };
        let is_moved =
            stored.section.slug != after.slug || stored.section.parent_id != after.parent_id;
        stored.section = after;
        if is_moved {
            self.moved.extend(path.map(|path| (path, id)));
        }
    }

    /// Whether the section can be put below this one.
    fn check_move(&self, id: ObjectId, parent: Option<ObjectId>) -> Result<(), Refusal> {
        let Some(parent) = parent else {
            return self.check_height(0, id);
        };
        self.live(parent).ok_or(Refusal::NoSuchParent)?;
        if self.subtree(id).contains(&parent) {
            return Err(Refusal::Cycle);
        }
        self.check_height(self.depth_of_parent(parent)?, id)
    }

    fn check_height(&self, above: usize, id: ObjectId) -> Result<(), Refusal> {
        let is_too_deep = above + self.height(id) > LARGEST_DEPTH;
        if is_too_deep { Err(Refusal::TooDeep) } else { Ok(()) }
    }

    /// On which level the section that something is put below stands; 1 is the top.
    fn depth_of_parent(&self, parent: ObjectId) -> Result<usize, Refusal> {
        self.live(parent).ok_or(Refusal::NoSuchParent)?;
        self.ancestry(parent).map(|way| way.len()).ok_or(Refusal::ParentUnreachable)
    }

    fn live(&self, id: ObjectId) -> Option<&Section> {
        let stored = self.sections.get(&id).filter(|stored| !stored.is_deleted);
        stored.map(|stored| &stored.section)
    }

    /// The sections directly below one, or at the top.
    fn siblings(&self, parent: Option<ObjectId>) -> impl Iterator<Item = ObjectId> {
        let live = self.sections.values().filter(|stored| !stored.is_deleted);
        let there = live.filter(move |stored| stored.section.parent_id == parent);
        there.map(|stored| stored.section.id)
    }

    fn children(&self, id: ObjectId) -> impl Iterator<Item = ObjectId> {
        self.siblings(Some(id))
    }

    /// The section and everything below it.
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
        ids.sort_by_key(|id| (self.live(*id).map(|section| section.sort_order), *id));
        ids
    }

    fn last_place(&self, parent: Option<ObjectId>) -> i64 {
        let places = self.siblings(parent).filter_map(|id| self.live(id));
        places.map(|section| section.sort_order).max().map_or(0, next_place)
    }

    fn is_taken(&self, slug: &str) -> bool {
        self.taken.contains(slug)
            || self.sections.values().any(|other| !other.is_deleted && other.section.slug == slug)
    }

    fn free_slug(&self, title: &str) -> String {
        let live = self.sections.values().filter(|stored| !stored.is_deleted);
        let slugs: HashSet<_> = live.map(|stored| stored.section.slug.as_str()).collect();
        let is_free = |slug: &String| !slugs.contains(slug.as_str()) && !self.taken.contains(slug);
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
        // One of so many is free.
        (2..).map(numbered).find(is_free).unwrap_or(first)
    }
}

/// Returns `true` if the last section on this way has a path: each has a slug.
pub(super) fn has_path(way: &[&Section]) -> bool {
    way.iter().all(|section| !section.slug.is_empty())
}

/// The path of the last section on this way, percent-encoded.
pub(super) fn path_of(way: &[&Section]) -> String {
    way.iter().fold(String::new(), |path, section| join(&path, &section.slug))
}

/// Existing sites may have any number; what can be written ends at the largest of 32 bits.
fn next_place(place: i64) -> i64 {
    place.saturating_add(1).min(i32::MAX.into())
}

#[cfg(test)]
mod tests {
    use models::{ContentType, Ids, Title};
    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> ObjectId {
        ObjectId::from_bytes([number; 12])
    }

    fn new(title: &str, parent: Option<u8>) -> SectionCreate {
        SectionCreate {
            title: Title::try_from(title.to_owned()).unwrap(),
            slug: None,
            parent_id: parent.map(id),
            display_type: None,
            content_type: ContentType::Story,
            nav_visibility: models::NavVisibility::Main,
            sort_order: None,
            is_published: true,
        }
    }

    fn now() -> DateTime<Utc> {
        DateTime::default()
    }

    /// A tree of sections with these numbers and parents.
    fn tree(sections: &[(u8, Option<u8>)]) -> Tree {
        let mut tree = Tree::default();
        for (number, parent) in sections {
            tree.create(id(*number), &new(&format!("s{number}"), *parent), now()).unwrap();
        }
        tree
    }

    fn under(parent: Option<u8>) -> SectionPatch {
        let parent_id = parent.map_or(Patch::Null, |parent| Patch::Value(id(parent)));
        SectionPatch { parent_id, ..SectionPatch::default() }
    }

    #[test]
    fn a_slug_is_made_from_the_title_and_numbered_where_it_is_taken() {
        let mut tree = Tree::new([], HashSet::from(["news-3".to_owned()]));
        for (number, title, slug) in [
            (1, "News", "news"),
            (2, "News!", "news-2"),
            (3, "news", "news-4"),
            (4, "¿?", "section"),
            (5, "?", "section-2"),
            (6, "Größe", "grosse"),
            (7, "Gro\u{308}ße", "grosse-2"),
        ] {
            assert_eq!(tree.create(id(number), &new(title, None), now()).unwrap().slug, slug);
        }
    }

    #[test]
    fn a_section_cannot_be_below_itself() {
        let mut tree = tree(&[(1, None), (2, Some(1)), (3, Some(2))]);
        for parent in [1, 2, 3] {
            assert_eq!(tree.change(id(1), &under(Some(parent)), now()), Err(Refusal::Cycle));
        }
        assert!(tree.change(id(3), &under(Some(1)), now()).is_ok());
    }

    #[test]
    fn a_tree_has_8_levels_at_most() {
        let chain: Vec<_> = (1..=8).map(|n: u8| (n, n.checked_sub(1).filter(|n| *n > 0))).collect();
        let mut tree = tree(&chain);
        assert_eq!(tree.create(id(9), &new("x", Some(8)), now()), Err(Refusal::TooDeep));
        tree.create(id(9), &new("x", None), now()).unwrap();
        tree.create(id(10), &new("y", Some(9)), now()).unwrap();
        assert_eq!(tree.change(id(9), &under(Some(7)), now()), Err(Refusal::TooDeep));
        assert!(tree.change(id(9), &under(Some(6)), now()).is_ok());
    }

    #[test]
    fn what_is_renamed_or_moved_leaves_its_path_and_what_is_below_it_does_not() {
        let mut tree = tree(&[(1, None), (2, Some(1)), (3, Some(2))]);
        let rename = SectionPatch { slug: Some("new".to_owned()), ..SectionPatch::default() };
        tree.change(id(2), &rename, now()).unwrap();
        tree.change(id(2), &under(None), now()).unwrap();
        assert_eq!(tree.moved(), [("/s1/s2".to_owned(), id(2)), ("/s1/new".to_owned(), id(2))]);
        assert_eq!(tree.path(id(3)).as_deref(), Some("/new/s3"));
    }

    #[test]
    fn a_change_of_nothing_changes_nothing() {
        let mut tree = tree(&[(1, None)]);
        let before = tree.get(id(1)).unwrap().clone();
        let later = now() + chrono::TimeDelta::days(1);
        let same = SectionPatch { slug: Some("s1".to_owned()), ..under(None) };
        assert_eq!(tree.change(id(1), &same, later), Ok(before));
    }

    #[test]
    fn a_cohort_comes_back_together_and_from_its_top() {
        let mut tree = tree(&[(1, None), (2, Some(1)), (3, Some(2)), (4, Some(1))]);
        tree.delete(id(4), OnChildren::Restrict, id(90), now()).unwrap();
        assert_eq!(
            tree.delete(id(1), OnChildren::Restrict, id(91), now()),
            Err(Refusal::HasChildren(1))
        );
        tree.delete(id(1), OnChildren::Cascade, id(91), now()).unwrap();
        let refused = tree.clone().restore(id(2), now());
        assert_eq!(refused, Err(Refusal::ParentDeleted("s1".to_owned())));
        tree.restore(id(1), now()).unwrap();
        assert!(tree.get(id(3)).is_some() && tree.get(id(4)).is_none());
    }

    #[test]
    fn a_cycle_that_is_there_already_harms_nothing() {
        let stored = |number, parent| {
            let section = tree(&[(number, None)]).get(id(number)).cloned().unwrap();
            let section = Section { parent_id: Some(id(parent)), ..section };
            Stored::live(section)
        };
        let cycle = || Tree::new([stored(1, 2), stored(2, 1), stored(3, 9)], HashSet::new());
        for on_children in [OnChildren::Reparent, OnChildren::Cascade] {
            cycle().delete(id(1), on_children, id(90), now()).unwrap();
        }
        assert_eq!(cycle().path(id(1)), None);
        let unreachable = cycle().create(id(4), &new("x", Some(1)), now());
        assert_eq!(unreachable, Err(Refusal::ParentUnreachable));
        assert!(cycle().change(id(1), &under(None), now()).is_ok());
    }

    #[derive(Debug, Clone)]
    enum Operation {
        Create(Option<u8>, u8),
        Rename(u8, u8),
        Move(u8, Option<u8>),
        Delete(u8, OnChildren),
        Restore(u8),
        Order(Option<u8>, u64),
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        // Numbers of sections in the order of their making: some do not exist yet.
        let number = 0u8..14;
        let parent = proptest::option::of(0u8..14);
        let on_children = prop_oneof![
            Just(OnChildren::Restrict),
            Just(OnChildren::Reparent),
            Just(OnChildren::Cascade)
        ];
        let operation = prop_oneof![
            4 => (parent.clone(), 0u8..4).prop_map(|(parent, title)| Operation::Create(parent, title)),
            2 => (number.clone(), 0u8..4).prop_map(|(id, slug)| Operation::Rename(id, slug)),
            4 => (number.clone(), parent.clone()).prop_map(|(id, to)| Operation::Move(id, to)),
            2 => (number.clone(), on_children).prop_map(|(id, how)| Operation::Delete(id, how)),
            2 => number.prop_map(Operation::Restore),
            1 => (parent, any::<u64>()).prop_map(|(parent, seed)| Operation::Order(parent, seed)),
        ];
        proptest::collection::vec(operation, 0..60)
    }

    fn attempt(tree: &mut Tree, operation: &Operation, step: u8) -> Result<(), Refusal> {
        match operation {
            Operation::Create(parent, title) => {
                tree.create(id(step), &new(&format!("t{title}"), *parent), now()).map(drop)
            }
            Operation::Rename(number, slug) => {
                let patch =
                    SectionPatch { slug: Some(format!("t{slug}")), ..SectionPatch::default() };
                tree.change(id(*number), &patch, now()).map(drop)
            }
            Operation::Move(number, to) => tree.change(id(*number), &under(*to), now()).map(drop),
            Operation::Delete(number, how) => tree.delete(id(*number), *how, id(100 + step), now()),
            Operation::Restore(number) => tree.restore(id(*number), now()).map(drop),
            Operation::Order(parent, seed) => {
                let mut ids: Vec<_> = tree.siblings(parent.map(id)).collect();
                ids.sort_by_key(|id| u64::from(id.bytes()[0]).wrapping_mul(*seed));
                let Ok(ids) = Ids::try_from(ids) else { return Ok(()) };
                let order = SectionOrder { parent_id: parent.map(id), ids };
                tree.order(&order).map(drop)
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_done_the_tree_stays_one(operations in operations()) {
            let mut tree = Tree::default();
            for (operation, step) in operations.iter().zip(0u8..) {
                // What is refused changes nothing: the store writes nothing then.
                let mut attempted = tree.clone();
                if attempt(&mut attempted, operation, step).is_ok() {
                    tree = attempted;
                }
                let live: Vec<_> = tree.all().filter(|stored| !stored.is_deleted).collect();
                let slugs: HashSet<_> = live.iter().map(|stored| &stored.section.slug).collect();
                prop_assert_eq!(slugs.len(), live.len(), "a slug twice after {:?}", operation);
                for stored in &live {
                    let way = tree.ancestry(stored.section.id);
                    prop_assert!(way.is_some(), "{:?} is not reachable after {:?}", stored, operation);
                    prop_assert!(way.unwrap_or_default().len() <= LARGEST_DEPTH, "{:?}", operation);
                }
                for (path, id) in tree.moved() {
                    prop_assert!(tree.sections.contains_key(id), "{} leads nowhere", path);
                }
            }
        }
    }
}
