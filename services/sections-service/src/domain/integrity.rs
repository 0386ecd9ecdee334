//! Violations of the rules of the tree in the stored sections and redirects.

use std::collections::{BTreeMap, HashMap, HashSet};

use models::{IntegrityKind, ObjectId, Section, section_paths::Redirects, site_path::canonical};

use super::tree::Tree;

/// Kinds of violations with the ids of the sections, or the paths of the redirects, that have them.
pub(crate) type Violations = Vec<(IntegrityKind, Vec<String>)>;

/// Finds all violations of the rules of the tree. The database enforces few of these rules.
pub(crate) fn find_violations(tree: &Tree, redirects: &Redirects) -> Violations {
    let known: HashMap<ObjectId, bool> =
        tree.all().map(|stored| (stored.section.id, stored.is_deleted)).collect();
    let mut violations: BTreeMap<u8, (IntegrityKind, Vec<String>)> = BTreeMap::new();
    let mut add = |kind: IntegrityKind, id: String| {
        violations.entry(kind as u8).or_insert_with(|| (kind, Vec::new())).1.push(id);
    };
    let mut slugs: BTreeMap<&str, Vec<ObjectId>> = BTreeMap::new();
    let mut live: Vec<&Section> = Vec::new();
    for stored in tree.all().filter(|stored| !stored.is_deleted) {
        live.push(&stored.section);
        slugs.entry(&stored.section.slug).or_default().push(stored.section.id);
    }
    live.sort_by_key(|section| section.id);
    for section in live {
        if let Some(kind) = obstacle(tree, &known, section) {
            add(kind, section.id.to_string());
        }
    }
    for id in slugs.into_values().filter(|ids| ids.len() > 1).flatten() {
        add(IntegrityKind::DuplicateSlug, id.to_string());
    }
    let mut redirects: Vec<_> = redirects.iter().collect();
    redirects.sort_unstable();
    for (path, id) in redirects {
        if !known.contains_key(&id) {
            add(IntegrityKind::DeadRedirect, path.to_owned());
        } else if tree.path(id).is_some_and(|current| current == canonical(path)) {
            // A redirect from a path to a section below it is harmless: a section at the path takes
            // precedence, and without one the redirect leads to the section.
            add(IntegrityKind::RedirectLoop, path.to_owned());
        }
    }
    violations.into_values().collect()
}

/// Returns the violation that keeps a section from being reached from the top, if there is one.
fn obstacle(
    tree: &Tree,
    known: &HashMap<ObjectId, bool>,
    section: &Section,
) -> Option<IntegrityKind> {
    let mut seen = HashSet::from([section.id]);
    let mut current = section;
    loop {
        let parent = current.parent_id?;
        let is_direct = current.id == section.id;
        let further_up = if is_direct { None } else { Some(IntegrityKind::Unreachable) };
        match known.get(&parent) {
            None => return further_up.or(Some(IntegrityKind::MissingParent)),
            Some(true) => return further_up.or(Some(IntegrityKind::DeletedParent)),
            Some(false) if parent == section.id => return Some(IntegrityKind::Cycle),
            Some(false) if !seen.insert(parent) => return Some(IntegrityKind::Unreachable),
            Some(false) => current = tree.get(parent)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use models::{ContentType, DisplayType, NavVisibility, PageMeta};

    use super::*;
    use crate::domain::stored_section::StoredSection;

    fn id(number: u8) -> ObjectId {
        ObjectId::from_bytes([number; 12])
    }

    fn stored(number: u8, parent: Option<u8>, is_deleted: bool) -> StoredSection {
        let section = Section {
            id: id(number),
            title: String::new(),
            slug: number.to_string(),
            parent_id: parent.map(id),
            display_type: DisplayType::Feed,
            content_type: ContentType::Story,
            nav_visibility: NavVisibility::Main,
            sort_order: 0,
            sort_by: None,
            is_published: true,
            is_home: false,
            created_date: None,
            updated_date: None,
            path: None,
            page: PageMeta::default(),
        };
        StoredSection { is_deleted, ..StoredSection::live(section) }
    }

    #[test]
    fn every_section_out_of_reach_is_found_with_its_reason() {
        let mut twin = stored(12, None, false);
        twin.section.slug = "1".to_owned();
        let sections = [
            stored(1, None, false),
            stored(2, Some(3), false),
            stored(3, Some(2), false),
            stored(4, Some(3), false),
            stored(5, Some(99), false),
            stored(6, Some(5), false),
            stored(7, None, true),
            stored(8, Some(7), false),
            stored(9, Some(7), true),
            stored(10, Some(10), false),
            twin,
        ];
        let tree = Tree::new(sections, HashSet::new());
        let redirects = [("/dead", 98), ("/1", 1), ("/was-1", 1), ("/to-deleted", 7)];
        let redirects = redirects.into_iter().map(|(path, number)| (path.to_owned(), id(number)));
        let mut found = find_violations(&tree, &redirects.collect());
        found.sort_by_key(|(kind, _)| *kind as u8);
        let ids = |numbers: &[u8]| numbers.iter().map(|n| id(*n).to_string()).collect::<Vec<_>>();
        let expected = [
            (IntegrityKind::Cycle, ids(&[2, 3, 10])),
            (IntegrityKind::MissingParent, ids(&[5])),
            (IntegrityKind::DeletedParent, ids(&[8])),
            (IntegrityKind::Unreachable, ids(&[4, 6])),
            (IntegrityKind::DuplicateSlug, ids(&[1, 12])),
            (IntegrityKind::RedirectLoop, vec!["/1".to_owned()]),
            (IntegrityKind::DeadRedirect, vec!["/dead".to_owned()]),
        ];
        let mut sorted = found.clone();
        for (_, ids) in &mut sorted {
            ids.sort();
        }
        assert_eq!(sorted, expected);
    }
}
