//! The sections of a site as a whole: who may see which, and how they are changed.

mod integrity;
mod resolve;
mod tree;

use std::collections::{HashMap, HashSet};

use models::{
    ObjectId, Section, SectionEntry, SectionNode,
    site_path::{readings, slug_key},
};

pub(crate) use integrity::{Findings, inspect};
pub(crate) use resolve::Redirects;
pub(crate) use tree::{
    DECISIVE_FIELDS, LARGEST_DEPTH, OnChildren, Refusal, Stored, Tree, VISIBILITY_FIELDS,
};

/// All sections, in the order in which they are shown. What is asked of them over and over is
/// worked out once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sections {
    /// Those that are not deleted.
    sections: Vec<Section>,
    deleted: Vec<Section>,
    /// Those that are drafts only because a field cannot be read.
    withheld: HashSet<ObjectId>,
    /// Where those that the public sees are among them.
    public: HashMap<ObjectId, usize>,
    /// The same by what is above them and their slug, in each form in which a path names it.
    public_children: HashMap<(Option<ObjectId>, String), usize>,
    /// How many segments of a path the slug of a public section has at most: one, but where slugs
    /// with slashes were taken over.
    longest_slug: usize,
}

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
    pub(crate) fn new(mut sections: Vec<Section>, deleted: Vec<Section>) -> Self {
        sections.sort_by_key(|section| (section.sort_order, section.id));
        let public = public(&sections);
        let mut places: Vec<_> = public.values().copied().collect();
        places.sort_unstable();
        let mut public_children = HashMap::new();
        // The slug as it is wins over one that another section's slug may be read as.
        let forms: [fn(&str) -> Vec<String>; 2] = [|slug| vec![slug.to_owned()], names];
        for form in forms {
            for place in &places {
                let section = &sections[*place];
                if section.slug.is_empty() {
                    continue;
                }
                for name in form(&section.slug) {
                    public_children.entry((section.parent_id, name)).or_insert(*place);
                }
            }
        }
        let segments = |place: &usize| slug_key(&sections[*place].slug).split('/').count();
        let longest_slug = places.iter().map(segments).max().unwrap_or(1);
        let withheld = HashSet::new();
        Self { sections, deleted, withheld, public, public_children, longest_slug }
    }

    /// Returns the same with those of them that are drafts only because a field cannot be read.
    pub(crate) fn with_withheld(self, withheld: HashSet<ObjectId>) -> Self {
        Self { withheld, ..self }
    }

    /// Every section that is not deleted.
    pub(crate) fn all(&self) -> &[Section] {
        &self.sections
    }

    /// Whether the public sees the section.
    pub(crate) fn is_public(&self, id: ObjectId) -> bool {
        self.public.contains_key(&id)
    }

    fn public_section(&self, id: ObjectId) -> Option<&Section> {
        self.public.get(&id).map(|place| &self.sections[*place])
    }

    /// The public section below `parent` that a part of a path names.
    fn public_child(&self, parent: Option<ObjectId>, part: &str) -> Option<&Section> {
        let forms = readings(part).into_iter().flat_map(|text| {
            let key = slug_key(&text);
            [text, key]
        });
        let mut places = forms.filter_map(|text| self.public_children.get(&(parent, text)));
        places.next().map(|place| &self.sections[*place])
    }

    /// What this audience sees.
    pub(crate) fn visible_to(&self, audience: Audience) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(move |section| match audience {
            Audience::Editors => true,
            Audience::Public => self.is_public(section.id),
        })
    }

    /// Returns what the other services need to know of every section, deleted or not. One that is not
    /// named here hides nothing.
    pub(crate) fn entries(&self, redirects: &Redirects) -> Vec<SectionEntry> {
        let mut former_paths = redirects.by_section();
        let mut entry = |section: &Section, is_deleted| SectionEntry {
            id: section.id,
            slug: section.slug.clone(),
            content_type: section.content_type,
            display_type: section.display_type,
            is_deleted,
            is_unreadable: self.withheld.contains(&section.id),
            is_public: !is_deleted && self.is_public(section.id),
            path: if is_deleted { None } else { self.public_path(section.id) },
            former_paths: former_paths.remove(&section.id).unwrap_or_default(),
        };
        let live = self.sections.iter().map(|section| (section, false));
        let all = live.chain(self.deleted.iter().map(|section| (section, true)));
        all.map(|(section, is_deleted)| entry(section, is_deleted)).collect()
    }

    /// What this audience sees, each with the sections below it. Editors find sections whose
    /// parent does not exist at the top.
    pub(crate) fn tree(&self, audience: Audience) -> Vec<SectionNode> {
        let visible: Vec<_> = self.visible_to(audience).collect();
        let ids: HashSet<_> = visible.iter().map(|section| section.id).collect();
        let mut children: HashMap<_, Vec<&Section>> = HashMap::new();
        for section in visible {
            let parent = section.parent_id.filter(|parent| ids.contains(parent));
            children.entry(parent).or_default().push(section);
        }
        nodes(None, LARGEST_ANSWER, &mut children)
    }
}

/// The texts by which a path may name a section, besides its slug as it is: without the slashes
/// around it, and decoded where the slug was stored percent-encoded.
fn names(slug: &str) -> Vec<String> {
    readings(slug).iter().map(|text| slug_key(text)).collect()
}

/// The sections that the public sees: published, as everything above them is.
///
/// This walks down from the top, so that nothing below a section that is hidden, deleted or missing
/// is reached, and a cycle is reached from nowhere.
fn public(sections: &[Section]) -> HashMap<ObjectId, usize> {
    let mut children: HashMap<_, Vec<usize>> = HashMap::new();
    let published = sections.iter().enumerate().filter(|(_, section)| section.is_published);
    for (place, section) in published {
        children.entry(section.parent_id).or_default().push(place);
    }
    let mut reached = HashMap::new();
    let mut to_visit = vec![None];
    while let Some(parent) = to_visit.pop() {
        for place in children.remove(&parent).unwrap_or_default() {
            let id = sections[place].id;
            reached.insert(id, place);
            to_visit.push(Some(id));
        }
    }
    reached
}

/// How deep a tree is answered. Databases that were taken over may hold deeper ones than can be
/// written, and both ends recurse into it.
const LARGEST_ANSWER: usize = 64;

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
        let sections = Sections::new(sections, Vec::new());
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
        assert!(Sections::new(sections, Vec::new()).tree(Audience::Editors).is_empty());
    }

    #[test]
    fn the_order_is_that_of_sort_order() {
        let mut first = section(9, None, true);
        first.sort_order = -1;
        assert_eq!(public(vec![section(1, None, true), first]), ["9", "1"]);
    }

    #[test]
    fn the_tree_has_children_in_order() {
        let sections = Sections::new(
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
        let sections = Sections::new(chain.collect(), Vec::new());
        assert_eq!(sections.visible_to(Audience::Public).count(), 5_000);
        assert_eq!(count(&sections.tree(Audience::Public)), LARGEST_ANSWER);
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
            let sections = Sections::new(sections.collect(), Vec::new());
            let visible: Vec<_> = sections.visible_to(Audience::Public).collect();
            prop_assert!(visible.iter().all(|section| section.is_published));
            prop_assert_eq!(count(&sections.tree(Audience::Public)), visible.len());
        }
    }
}
