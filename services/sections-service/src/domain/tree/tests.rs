//! The rules of the tree, one by one and under any sequence of changes.

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
        sort_by: None,
        is_published: true,
        is_home: false,
        description: Patch::Absent,
        social_image: Patch::Absent,
        canonical: Patch::Absent,
        noindex: None,
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
        assert_eq!(tree.change(id(1), &under(Some(parent)), now()), Err(TreeError::Cycle));
    }
    assert!(tree.change(id(3), &under(Some(1)), now()).is_ok());
}

#[test]
fn a_tree_has_8_levels_at_most() {
    let chain: Vec<_> = (1..=8).map(|n: u8| (n, n.checked_sub(1).filter(|n| *n > 0))).collect();
    let mut tree = tree(&chain);
    assert_eq!(tree.create(id(9), &new("x", Some(8)), now()), Err(TreeError::TooDeep));
    tree.create(id(9), &new("x", None), now()).unwrap();
    tree.create(id(10), &new("y", Some(9)), now()).unwrap();
    assert_eq!(tree.change(id(9), &under(Some(7)), now()), Err(TreeError::TooDeep));
    assert!(tree.change(id(9), &under(Some(6)), now()).is_ok());
}

#[test]
fn what_is_renamed_or_moved_leaves_its_path_and_what_is_below_it_does_not() {
    let mut tree = tree(&[(1, None), (2, Some(1)), (3, Some(2))]);
    let rename = SectionPatch { slug: Some("new".to_owned()), ..SectionPatch::default() };
    tree.change(id(2), &rename, now()).unwrap();
    tree.change(id(2), &under(None), now()).unwrap();
    assert_eq!(tree.former_paths(), [("/s1/s2".to_owned(), id(2)), ("/s1/new".to_owned(), id(2))]);
    assert_eq!(tree.path(id(3)).as_deref(), Some("/new/s3"));
}

#[test]
fn a_change_of_nothing_changes_nothing() {
    let mut tree = tree(&[(1, None)]);
    let before = tree.answered(id(1)).unwrap();
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
        Err(TreeError::HasChildren(1))
    );
    tree.delete(id(1), OnChildren::Cascade, id(91), now()).unwrap();
    let refused = tree.clone().restore(id(2), now());
    assert_eq!(refused, Err(TreeError::ParentDeleted("s1".to_owned())));
    tree.restore(id(1), now()).unwrap();
    assert!(tree.get(id(3)).is_some() && tree.get(id(4)).is_none());
}

#[test]
fn a_cycle_that_is_there_already_harms_nothing() {
    let stored = |number, parent| {
        let section = tree(&[(number, None)]).get(id(number)).cloned().unwrap();
        let section = Section { parent_id: Some(id(parent)), ..section };
        StoredSection::live(section)
    };
    let cycle = || Tree::new([stored(1, 2), stored(2, 1), stored(3, 9)], HashSet::new());
    for on_children in [OnChildren::Reparent, OnChildren::Cascade] {
        cycle().delete(id(1), on_children, id(90), now()).unwrap();
    }
    assert_eq!(cycle().path(id(1)), None);
    let unreachable = cycle().create(id(4), &new("x", Some(1)), now());
    assert_eq!(unreachable, Err(TreeError::ParentUnreachable));
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

fn attempt(tree: &mut Tree, operation: &Operation, step: u8) -> Result<(), TreeError> {
    match operation {
        Operation::Create(parent, title) => {
            tree.create(id(step), &new(&format!("t{title}"), *parent), now()).map(drop)
        }
        Operation::Rename(number, slug) => {
            let patch = SectionPatch { slug: Some(format!("t{slug}")), ..SectionPatch::default() };
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
                prop_assert!(way.unwrap_or_default().len() <= MAX_DEPTH, "{:?}", operation);
            }
            for (path, id) in tree.former_paths() {
                prop_assert!(tree.sections.contains_key(id), "{} leads nowhere", path);
            }
        }
    }
}
