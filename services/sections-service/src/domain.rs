//! The sections of a site as a whole, and who may see which.

use std::collections::{HashMap, HashSet};

use models::{ObjectId, Section, SectionNode};

/// All sections that are not deleted, in the order in which they are shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sections(Vec<Section>);

/// Who is looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Everybody: sees what is published, as long as everything above it is.
    Public,
    /// Somebody with a token: sees drafts too.
    Editors,
}

impl Sections {
    /// Puts the sections in order: by `sort_order`, and by id where that is the same.
    pub(crate) fn new(mut sections: Vec<Section>) -> Self {
        sections.sort_by_key(|section| (section.sort_order, section.id));
        Self(sections)
    }

    /// Every section that is not deleted.
    pub(crate) fn all(&self) -> &[Section] {
        &self.0
    }

    /// What this audience sees.
    ///
    /// For the public this walks down from the top, so that nothing below a section that is
    /// hidden, deleted or missing is reached, and a cycle is reached from nowhere.
    pub(crate) fn visible_to(&self, audience: Audience) -> Vec<&Section> {
        match audience {
            Audience::Editors => self.0.iter().collect(),
            Audience::Public => {
                let children = self.children(|section| section.is_published);
                let mut reached = HashSet::new();
                let mut to_visit = vec![None];
                while let Some(parent) = to_visit.pop() {
                    for section in children.get(&parent).into_iter().flatten() {
                        reached.insert(section.id);
                        to_visit.push(Some(section.id));
                    }
                }
                self.0.iter().filter(|section| reached.contains(&section.id)).collect()
            }
        }
    }

    /// What this audience sees, each with the sections below it. Editors find sections whose
    /// parent does not exist at the top.
    pub(crate) fn tree(&self, audience: Audience) -> Vec<SectionNode> {
        let visible = self.visible_to(audience);
        let ids: HashSet<_> = visible.iter().map(|section| section.id).collect();
        let mut children: HashMap<_, Vec<&Section>> = HashMap::new();
        for section in visible {
            let parent = section.parent_id.filter(|parent| ids.contains(parent));
            children.entry(parent).or_default().push(section);
        }
        nodes(None, LARGEST_DEPTH, &mut children)
    }

    fn children(
        &self,
        is_wanted: impl Fn(&Section) -> bool,
    ) -> HashMap<Option<ObjectId>, Vec<&Section>> {
        let mut children: HashMap<_, Vec<&Section>> = HashMap::new();
        for section in self.0.iter().filter(|section| is_wanted(section)) {
            children.entry(section.parent_id).or_default().push(section);
        }
        children
    }
}

/// How deep a tree is answered. No navigation is deeper, and both ends recurse into it.
const LARGEST_DEPTH: usize = 64;

/// Takes the children of `parent` out of the map, so that this ends whatever the map says.
fn nodes(
    parent: Option<ObjectId>,
    depth: usize,
    children: &mut HashMap<Option<ObjectId>, Vec<&Section>>,
) -> Vec<SectionNode> {
    let sections = children.remove(&parent).unwrap_or_default();
    if depth == 0 {
        if !sections.is_empty() {
            tracing::warn!(?parent, "the sections below are too deep for a tree");
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
    use models::{ContentType, DisplayType, NavVisibility};
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
            is_published,
            created_date: None,
            updated_date: None,
        }
    }

    fn public(sections: Vec<Section>) -> Vec<String> {
        let sections = Sections::new(sections);
        let visible = sections.visible_to(Audience::Public);
        visible.into_iter().map(|section| section.title.clone()).collect()
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
        assert!(Sections::new(sections).tree(Audience::Editors).is_empty());
    }

    #[test]
    fn the_order_is_that_of_sort_order() {
        let mut first = section(9, None, true);
        first.sort_order = -1;
        assert_eq!(public(vec![section(1, None, true), first]), ["9", "1"]);
    }

    #[test]
    fn the_tree_has_children_in_order() {
        let sections = Sections::new(vec![
            section(3, Some(1), true),
            section(2, Some(1), true),
            section(1, None, true),
        ]);
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
        let sections = Sections::new(chain.collect());
        assert_eq!(sections.visible_to(Audience::Public).len(), 5_000);
        assert_eq!(count(&sections.tree(Audience::Public)), LARGEST_DEPTH);
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
            let sections = Sections::new(sections.collect());
            let visible = sections.visible_to(Audience::Public);
            prop_assert!(visible.iter().all(|section| section.is_published));
            prop_assert_eq!(count(&sections.tree(Audience::Public)), visible.len());
        }
    }
}
