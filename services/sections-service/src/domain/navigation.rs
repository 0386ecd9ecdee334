//! The sections of a site in their order, and the view that each audience has of them.

use std::collections::{HashMap, HashSet};

use models::{
    ObjectId, PathResolution, Section, SectionEntry,
    section_paths::{Redirects, SectionPaths},
};
use serde::Serialize;
use utoipa::ToSchema;

/// Maximum depth of a tree in an answer. Databases that were taken over may hold deeper trees than
/// can be written, and both ends of the connection recurse into the answer.
const MAX_TREE_DEPTH: usize = 64;

/// The audience of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Callers without a token. They see the sections that are published, as are all above them.
    Public,
    /// Callers with a token. They see drafts too.
    Editors,
}

/// A section with the sections below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SectionNode {
    /// The section.
    #[serde(flatten)]
    pub(crate) section: Section,
    /// The sections directly below it, by `sort_order`.
    #[schema(no_recursion)]
    pub(crate) children: Vec<SectionNode>,
}

/// All sections in the order in which they are shown, indexed for frequent look-ups.
#[derive(Debug, Clone, Default)]
pub(crate) struct Navigation {
    /// The sections that are not deleted.
    live: SectionPaths,
    deleted: Vec<Section>,
    /// The sections that are drafts only because a field cannot be read.
    withheld: HashSet<ObjectId>,
}

impl Navigation {
    /// Sorts the sections by `sort_order`, and by id where that is equal.
    pub(crate) fn new(live: Vec<Section>, deleted: Vec<Section>) -> Self {
        Self { live: SectionPaths::new(live), deleted, withheld: HashSet::new() }
    }

    /// Sets the sections that are drafts only because a field cannot be read.
    pub(crate) fn with_withheld(self, withheld: HashSet<ObjectId>) -> Self {
        Self { withheld, ..self }
    }

    /// Returns every section that is not deleted.
    pub(crate) fn all(&self) -> &[Section] {
        self.live.all()
    }

    /// Returns `true` if the section is public.
    pub(crate) fn is_public(&self, id: ObjectId) -> bool {
        self.live.is_public(id)
    }

    /// Resolves a path such as `/projects/rust/turbulence` for the public.
    pub(crate) fn resolve(&self, path: &str, redirects: &Redirects) -> Option<PathResolution> {
        self.live.resolve(path, redirects)
    }

    /// Returns the sections that this audience sees.
    pub(crate) fn visible_to(&self, audience: Audience) -> impl Iterator<Item = &Section> {
        self.all().iter().filter(move |section| match audience {
            Audience::Editors => true,
            Audience::Public => self.is_public(section.id),
        })
    }

    /// Returns the sections that this audience sees as a tree. Editors find sections whose parent
    /// does not exist at the top.
    pub(crate) fn tree(&self, audience: Audience) -> Vec<SectionNode> {
        let visible: Vec<_> = self.visible_to(audience).collect();
        let ids: HashSet<_> = visible.iter().map(|section| section.id).collect();
        let mut children: HashMap<_, Vec<&Section>> = HashMap::new();
        for section in visible {
            let parent = section.parent_id.filter(|parent| ids.contains(parent));
            children.entry(parent).or_default().push(section);
        }
        nodes(None, MAX_TREE_DEPTH, &mut children)
    }

    /// Returns an entry for every section, deleted or not, for the other services. Content of a
    /// section that is not among the entries is not hidden.
    pub(crate) fn entries(&self, redirects: &Redirects) -> Vec<SectionEntry> {
        let mut former_paths = redirects.by_section();
        let mut entry = |section: &Section, is_deleted| SectionEntry {
            section: section.clone(),
            is_deleted,
            is_unreadable: self.withheld.contains(&section.id),
            is_public: !is_deleted && self.is_public(section.id),
            former_paths: former_paths.remove(&section.id).unwrap_or_default(),
        };
        let live = self.all().iter().map(|section| (section, false));
        let all = live.chain(self.deleted.iter().map(|section| (section, true)));
        all.map(|(section, is_deleted)| entry(section, is_deleted)).collect()
    }
}

/// Builds the tree below `parent`. Takes the children out of the map, so that a cycle ends too.
fn nodes(
    parent: Option<ObjectId>,
    depth: usize,
    children: &mut HashMap<Option<ObjectId>, Vec<&Section>>,
) -> Vec<SectionNode> {
    let sections = children.remove(&parent).unwrap_or_default();
    if depth == 0 {
        if !sections.is_empty() {
            tracing::warn!(?parent, "sections below this one are omitted: the tree is too deep");
        }
        return Vec::new();
    }
    sections
        .into_iter()
        .map(|section| SectionNode {
            section: section.clone(),
            children: nodes(Some(section.id), depth - 1, children),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use models::{ContentType, DisplayType, NavVisibility, PageMeta};
    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> ObjectId {
        ObjectId::from_bytes([number; 12])
    }

    fn section(number: u8, parent: Option<u8>, is_published: bool) -> Section {
        Section {
            id: id(number),
            title: number.to_string(),
            slug: number.to_string(),
            parent_id: parent.map(id),
            display_type: DisplayType::Feed,
            content_type: ContentType::Story,
            nav_visibility: NavVisibility::Main,
            sort_order: i64::from(number),
            sort_by: None,
            is_published,
            is_home: false,
            created_date: None,
            updated_date: None,
            path: None,
            page: PageMeta::default(),
        }
    }

    fn public(sections: Vec<Section>) -> Vec<String> {
        let sections = Navigation::new(sections, Vec::new());
        let visible = sections.visible_to(Audience::Public);
        visible.map(|section| section.title.clone()).collect()
    }

    #[test]
    fn a_section_below_an_unpublished_one_is_hidden() {
        let sections =
            vec![section(1, None, true), section(2, None, false), section(3, Some(2), true)];
        assert_eq!(public(sections), ["1"]);
    }

    #[test]
    fn a_section_below_a_missing_one_is_hidden() {
        assert_eq!(public(vec![section(1, None, true), section(3, Some(9), true)]), ["1"]);
    }

    #[test]
    fn a_cycle_is_hidden_and_harmless() {
        let sections = vec![section(1, Some(2), true), section(2, Some(1), true)];
        assert!(public(sections.clone()).is_empty());
        assert!(Navigation::new(sections, Vec::new()).tree(Audience::Editors).is_empty());
    }

    #[test]
    fn the_order_is_that_of_sort_order() {
        let mut first = section(9, None, true);
        first.sort_order = -1;
        assert_eq!(public(vec![section(1, None, true), first]), ["9", "1"]);
    }

    #[test]
    fn the_tree_has_children_in_order() {
        let sections = Navigation::new(
            vec![section(3, Some(1), true), section(2, Some(1), true), section(1, None, true)],
            Vec::new(),
        );
        let tree = sections.tree(Audience::Public);
        let children: Vec<_> = tree[0].children.iter().map(|node| &node.section.title).collect();
        assert_eq!(
            (tree.len(), children),
            (1, vec!["2", "3"].into_iter().map(str::to_owned).collect::<Vec<_>>().iter().collect())
        );
    }

    #[test]
    fn a_tree_deeper_than_a_stack_is_cut() {
        let number = |n: u32| {
            let mut bytes = [0; 12];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            ObjectId::from_bytes(bytes)
        };
        let chain = (0..5_000).map(|n| Section {
            id: number(n),
            parent_id: n.checked_sub(1).map(number),
            ..section(0, None, true)
        });
        let sections = Navigation::new(chain.collect(), Vec::new());
        assert_eq!(sections.visible_to(Audience::Public).count(), 5_000);
        assert_eq!(count(&sections.tree(Audience::Public)), MAX_TREE_DEPTH);
    }

    fn count(nodes: &[SectionNode]) -> usize {
        nodes.iter().map(|node| 1 + count(&node.children)).sum()
    }

    proptest! {
        #[test]
        fn any_set_of_sections_has_a_tree_of_what_is_visible(
            shape in proptest::collection::vec((proptest::option::of(0u8..12), any::<bool>()), 0..12)
        ) {
            let sections = shape.iter().zip(0u8..);
            let sections = sections.map(|((parent, published), n)| section(n, *parent, *published));
            let sections = Navigation::new(sections.collect(), Vec::new());
            let visible: Vec<_> = sections.visible_to(Audience::Public).collect();
            prop_assert!(visible.iter().all(|section| section.is_published));
            prop_assert_eq!(count(&sections.tree(Audience::Public)), visible.len());
        }
    }
}
