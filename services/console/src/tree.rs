//! The sections of a site as a tree, and the places to which they move.

use std::collections::{HashMap, HashSet};

use models::{ObjectId, Section};

/// The deepest level that is shown below another. The API allows 8; data of other programs may have
/// more, and their sections are shown apart.
const MAX_LEVELS: usize = 32;

/// A section with those below it, in order.
pub(crate) struct Node<'a> {
    pub(crate) section: &'a Section,
    pub(crate) children: Vec<Node<'a>>,
}

/// All sections of a site.
pub(crate) struct Tree<'a> {
    sections: HashMap<ObjectId, &'a Section>,
    /// The sections below each and at the top, in order.
    below: HashMap<Option<ObjectId>, Vec<&'a Section>>,
    /// The sections that are not reached from the top: in a cycle, or below a missing one.
    pub(crate) detached: Vec<&'a Section>,
}

/// The place of a section after a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The section above it, or `None` at the top.
    pub(crate) parent: Option<ObjectId>,
    /// All sections there, in the new order.
    pub(crate) order: Vec<ObjectId>,
}

/// A step by which a section moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Up,
    Down,
    /// Below the sibling before it.
    In,
    /// Beside the section above it, after that one.
    Out,
}

impl Step {
    pub(crate) fn of(word: &str) -> Option<Self> {
        Some(match word {
            "up" => Self::Up,
            "down" => Self::Down,
            "in" => Self::In,
            "out" => Self::Out,
            _ => return None,
        })
    }
}

impl<'a> Tree<'a> {
    pub(crate) fn new(all: &'a [Section]) -> Self {
        let sections: HashMap<_, _> = all.iter().map(|section| (section.id, section)).collect();
        let mut below: HashMap<_, Vec<&Section>> = HashMap::new();
        for section in all {
            below.entry(section.parent_id).or_default().push(section);
        }
        for siblings in below.values_mut() {
            siblings.sort_by_key(|one| (one.sort_order, one.id));
        }
        let mut tree = Self { sections, below, detached: Vec::new() };
        let reached: HashSet<_> = tree.rows().iter().map(|(_, one)| one.id).collect();
        tree.detached = all.iter().filter(|one| !reached.contains(&one.id)).collect();
        tree
    }

    /// Returns a section by its id.
    pub(crate) fn get(&self, id: ObjectId) -> Option<&'a Section> {
        self.sections.get(&id).copied()
    }

    /// Returns the sections directly below one, or at the top, in order.
    pub(crate) fn below(&self, parent: Option<ObjectId>) -> &[&'a Section] {
        self.below.get(&parent).map_or(&[], Vec::as_slice)
    }

    /// Returns the sections at the top with all below them.
    pub(crate) fn nodes(&self) -> Vec<Node<'a>> {
        self.nodes_below(None, 0)
    }

    fn nodes_below(&self, parent: Option<ObjectId>, level: usize) -> Vec<Node<'a>> {
        if level >= MAX_LEVELS {
            return Vec::new();
        }
        let node = |section: &&'a Section| Node {
            section,
            children: self.nodes_below(Some(section.id), level + 1),
        };
        self.below(parent).iter().map(node).collect()
    }

    /// Returns all sections that are reached from the top, each with its level, as they are shown.
    pub(crate) fn rows(&self) -> Vec<(usize, &'a Section)> {
        fn add<'a>(nodes: &[Node<'a>], level: usize, rows: &mut Vec<(usize, &'a Section)>) {
            for node in nodes {
                rows.push((level, node.section));
                add(&node.children, level + 1, rows);
            }
        }
        let mut rows = Vec::new();
        add(&self.nodes(), 0, &mut rows);
        rows
    }

    /// Returns `true` if a section is another one, or below it, or in a cycle.
    pub(crate) fn is_within(&self, id: ObjectId, other: ObjectId) -> bool {
        let mut id = Some(id);
        for _ in 0..=self.sections.len() {
            match id {
                Some(one) if one == other => return true,
                Some(one) => id = self.get(one).and_then(|section| section.parent_id),
                None => return false,
            }
        }
        true
    }

    /// Returns the path of a section as it is once all sections above it are published.
    pub(crate) fn path(&self, parent: Option<ObjectId>, slug: &str) -> String {
        let mut slugs = vec![slug];
        let mut above = parent.and_then(|id| self.get(id));
        while let Some(section) = above.filter(|_| slugs.len() <= MAX_LEVELS) {
            slugs.push(&section.slug);
            above = section.parent_id.and_then(|id| self.get(id));
        }
        slugs.iter().rev().fold(String::new(), |path, slug| path + "/" + slug)
    }

    /// Returns the place below a parent, before a section there, or last.
    pub(crate) fn place(
        &self,
        id: ObjectId,
        parent: Option<ObjectId>,
        before: Option<ObjectId>,
    ) -> Place {
        let siblings = self.below(parent).iter().map(|one| one.id);
        let mut order: Vec<_> = siblings.filter(|one| *one != id).collect();
        let index = order.iter().position(|one| Some(*one) == before).unwrap_or(order.len());
        order.insert(index, id);
        Place { parent, order }
    }

    /// Returns the place after a step, or `None` if there is no such step from where it is.
    pub(crate) fn step(&self, id: ObjectId, step: Step) -> Option<Place> {
        let parent = self.get(id)?.parent_id;
        let siblings = self.below(parent);
        let index = siblings.iter().position(|one| one.id == id)?;
        let id_at = |index: usize| siblings.get(index).map(|one| one.id);
        match step {
            Step::Up => Some(self.place(id, parent, id_at(index.checked_sub(1)?))),
            Step::Down => {
                id_at(index + 1)?;
                Some(self.place(id, parent, id_at(index + 2)))
            }
            Step::In => Some(self.place(id, id_at(index.checked_sub(1)?), None)),
            Step::Out => {
                let above = self.get(parent?)?.parent_id;
                let beside = self.below(above);
                let index = beside.iter().position(|one| Some(one.id) == parent)?;
                Some(self.place(id, above, beside.get(index + 1).map(|one| one.id)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn id(number: u32) -> ObjectId {
        format!("{number:024x}").parse().unwrap()
    }

    fn section(number: u32, parent: Option<u32>, order: i64) -> Section {
        from_value(json!({
            "id": id(number), "title": number.to_string(), "slug": number.to_string(),
            "parent_id": parent.map(id), "display_type": "feed", "content_type": "story",
            "nav_visibility": "main", "sort_order": order, "is_published": true,
            "createdDate": null, "updatedDate": null,
        }))
        .unwrap()
    }

    /// 1 (2, 3 (4)), 5; in the order of `sort_order`, then of the id.
    fn site() -> Vec<Section> {
        vec![
            section(5, None, 1),
            section(3, Some(1), 1),
            section(1, None, 0),
            section(2, Some(1), 1),
            section(4, Some(3), 0),
        ]
    }

    #[test]
    fn the_rows_are_in_the_order_of_the_site() {
        let all = site();
        let tree = Tree::new(&all);
        let rows = tree.rows().into_iter().map(|(level, one)| (level, one.title.as_str()));
        assert_eq!(rows.collect::<Vec<_>>(), [(0, "1"), (1, "2"), (1, "3"), (2, "4"), (0, "5")]);
        assert!(tree.detached.is_empty());
        assert!(tree.is_within(id(4), id(1)) && tree.is_within(id(1), id(1)));
        assert_eq!(tree.path(Some(id(3)), "x"), "/1/3/x");
        assert_eq!(tree.path(None, "x"), "/x");
        assert!(!tree.is_within(id(1), id(4)) && !tree.is_within(id(5), id(1)));
    }

    #[test]
    fn a_step_moves_a_section_by_one_place() {
        let all = site();
        let tree = Tree::new(&all);
        let place = |parent: Option<u32>, order: &[u32]| {
            let order = order.iter().copied().map(id).collect();
            Some(Place { parent: parent.map(id), order })
        };
        for (number, step, expected) in [
            (1, Step::Up, None),
            (1, Step::Down, place(None, &[5, 1])),
            (1, Step::In, None),
            (1, Step::Out, None),
            (5, Step::Up, place(None, &[5, 1])),
            (5, Step::Down, None),
            (5, Step::In, place(Some(1), &[2, 3, 5])),
            (3, Step::In, place(Some(2), &[3])),
            (3, Step::Out, place(None, &[1, 3, 5])),
            (4, Step::Out, place(Some(1), &[2, 3, 4])),
            (2, Step::Down, place(Some(1), &[3, 2])),
        ] {
            assert_eq!(tree.step(id(number), step), expected, "{number} {step:?}");
        }
        assert_eq!(tree.step(id(99), Step::Up), None);
        assert_eq!(tree.place(id(4), None, Some(id(5))).order, [1, 4, 5].map(id));
        assert_eq!(tree.place(id(4), None, Some(id(99))).order, [1, 5, 4].map(id));
    }

    #[test]
    fn cycles_and_missing_parents_are_shown_apart() {
        let mut all = site();
        all.extend([section(6, Some(7), 0), section(7, Some(6), 0), section(8, Some(99), 0)]);
        let tree = Tree::new(&all);
        assert_eq!(tree.rows().len(), 5);
        let detached: Vec<_> = tree.detached.iter().map(|one| one.title.as_str()).collect();
        assert_eq!(detached, ["6", "7", "8"]);
        assert!(tree.is_within(id(6), id(7)) && tree.is_within(id(6), id(5)));
    }

    #[test]
    fn a_chain_of_any_length_is_shown() {
        let all: Vec<_> = (0..3_000).map(|n| section(n, n.checked_sub(1), 0)).collect();
        let tree = Tree::new(&all);
        assert_eq!((tree.rows().len(), tree.detached.len()), (MAX_LEVELS, 3_000 - MAX_LEVELS));
    }
}
