//! Which section a path of the site leads to.

use std::collections::HashMap;

use models::{Breadcrumb, ObjectId, PathResolution, ResolvedPath, Section};

use super::{Sections, tree::path_of};

/// The longest path that is looked at, in segments. The tree is not half as deep.
const LONGEST_PATH: usize = 32;

/// Which paths led to which section before it was renamed or moved.
///
/// A rule names the section, not its new path, so that however often it is moved, one step leads
/// there. It holds for everything below the path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redirects(HashMap<String, ObjectId>);

impl FromIterator<(String, ObjectId)> for Redirects {
    fn from_iter<T: IntoIterator<Item = (String, ObjectId)>>(rules: T) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl Redirects {
    /// Every rule, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, ObjectId)> {
        self.0.iter().map(|(path, id)| (path.as_str(), *id))
    }

    /// The paths that lead to each section, in order.
    pub(super) fn by_section(&self) -> HashMap<ObjectId, Vec<String>> {
        let mut paths: HashMap<_, Vec<_>> = HashMap::new();
        for (path, id) in self.iter() {
            paths.entry(id).or_default().push(path.to_owned());
        }
        paths.values_mut().for_each(|paths| paths.sort_unstable());
        paths
    }

    fn get(&self, segments: &[&str]) -> Option<ObjectId> {
        if self.0.is_empty() { None } else { self.0.get(&joined(segments)).copied() }
    }
}

impl Sections {
    /// What the public finds at a path such as `/projects/rust/turbulence`.
    ///
    /// A section that stands there wins over a rule; a rule wins over what may be an item of a
    /// section further up. Redirects do not go in circles: a rule is applied only beyond the
    /// sections that the path leads to, and leads to a section, so that each leaves less of the
    /// path over than the one before.
    pub(crate) fn resolve(&self, path: &str, redirects: &Redirects) -> Option<PathResolution> {
        let path = path.strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut segments: Vec<&str> = path.split('/').collect();
        if segments.len() > LONGEST_PATH {
            return None;
        }
        let mut is_moved = false;
        let way = loop {
            let way = self.way_along(&segments);
            let rules = (way.len() + 1..=segments.len()).rev();
            let target = rules.into_iter().find_map(|length| {
                let id = redirects.get(&segments[..length])?;
                Some((self.way_to(id)?, length))
            });
            match target {
                None => break way,
                Some((target, length)) => {
                    is_moved = true;
                    let rest = segments.split_off(length);
                    segments = target.iter().map(|section| section.slug.as_str()).collect();
                    segments.extend(rest);
                }
            }
        };
        if is_moved {
            return Some(PathResolution::Moved { moved_to: joined(&segments) });
        }
        let section = (*way.last()?).clone();
        let breadcrumbs: Vec<_> =
            (1..=way.len()).map(|length| breadcrumb(&way[..length])).collect();
        let path = path_of(&way);
        let rest = segments[way.len()..].iter().map(|segment| (*segment).to_owned()).collect();
        let found = ResolvedPath { section, breadcrumbs, path, rest };
        Some(PathResolution::Found(Box::new(found)))
    }

    /// The public sections that the segments name, one below the other, as far as they do.
    fn way_along(&self, segments: &[&str]) -> Vec<&Section> {
        let mut way: Vec<&Section> = Vec::new();
        for segment in segments {
            let parent = way.last().map(|section| section.id);
            match self.public_child(parent, segment) {
                Some(section) => way.push(section),
                None => break,
            }
        }
        way
    }

    /// The path of a section that the public sees.
    pub(super) fn public_path(&self, id: ObjectId) -> Option<String> {
        self.way_to(id).map(|way| path_of(&way))
    }

    /// The way from the top to a public section.
    fn way_to(&self, id: ObjectId) -> Option<Vec<&Section>> {
        let mut next = Some(id);
        let mut way = Vec::new();
        // What is public is reached from the top: there is an end.
        while let Some(id) = next {
            let section = self.public_section(id)?;
            next = section.parent_id;
            way.push(section);
        }
        way.reverse();
        Some(way)
    }
}

fn joined(segments: &[&str]) -> String {
    segments.iter().fold(String::new(), |path, segment| path + "/" + segment)
}

fn breadcrumb(way: &[&Section]) -> Breadcrumb {
    let (id, title, slug) = match way {
        [.., last] => (last.id, last.title.clone(), last.slug.clone()),
        [] => (ObjectId::from_bytes([0; 12]), String::new(), String::new()),
    };
    Breadcrumb { id, title, slug, path: path_of(way) }
}

#[cfg(test)]
mod tests {
    use models::{ContentType, DisplayType, NavVisibility};

    use super::*;

    fn id(number: u8) -> ObjectId {
        ObjectId::from_bytes([number; 12])
    }

    fn section(number: u8, slug: &str, parent: Option<u8>, is_published: bool) -> Section {
        Section {
            id: id(number),
            title: slug.to_uppercase(),
            slug: slug.to_owned(),
            parent_id: parent.map(id),
            display_type: DisplayType::Feed,
            content_type: ContentType::Story,
            nav_visibility: NavVisibility::Main,
            sort_order: 0,
            is_published,
            created_date: None,
            updated_date: None,
        }
    }

    /// `/a`, `/a/b`, `/a/b/c`, and `/hidden`, which the public does not see.
    fn sections() -> Sections {
        let sections = vec![
            section(1, "a", None, true),
            section(2, "b", Some(1), true),
            section(3, "c", Some(2), true),
            section(4, "hidden", None, false),
            section(5, "below", Some(4), true),
        ];
        Sections::new(sections, Vec::new())
    }

    fn rules(rules: &[(&str, u8)]) -> Redirects {
        rules.iter().map(|(path, number)| ((*path).to_owned(), id(*number))).collect()
    }

    fn found(path: &str, redirects: &Redirects) -> Option<(String, Vec<String>)> {
        match sections().resolve(path, redirects)? {
            PathResolution::Found(found) => Some((found.path, found.rest)),
            PathResolution::Moved { moved_to } => Some((format!("→ {moved_to}"), Vec::new())),
        }
    }

    #[test]
    fn the_longest_part_that_is_a_section_is_found() {
        for (path, section, rest) in [
            ("/a", "/a", vec![]),
            ("/a/", "/a", vec![]),
            ("/a/b/c", "/a/b/c", vec![]),
            ("/a/b/item", "/a/b", vec!["item"]),
            ("/a/x/c", "/a", vec!["x", "c"]),
        ] {
            let rest: Vec<_> = rest.into_iter().map(str::to_owned).collect();
            assert_eq!(found(path, &rules(&[])), Some((section.to_owned(), rest)), "{path}");
        }
    }

    #[test]
    fn what_is_not_public_or_not_where_the_path_says_is_not_found() {
        let long = "/x".repeat(40);
        for path in
            ["", "a", "/", "//", "//a", "/b", "/hidden", "/hidden/below", "/below", "/A", &long]
        {
            assert_eq!(found(path, &rules(&[])), None, "{path}");
        }
    }

    #[test]
    fn breadcrumbs_lead_from_the_top_to_the_section() {
        let Some(PathResolution::Found(found)) = sections().resolve("/a/b/x", &rules(&[])) else {
            panic!("nothing is found");
        };
        let paths: Vec<_> = found.breadcrumbs.iter().map(|crumb| crumb.path.as_str()).collect();
        assert_eq!((paths, found.section.id), (vec!["/a", "/a/b"], id(2)));
    }

    #[test]
    fn a_rule_holds_for_what_is_below_and_leads_to_public_sections_alone() {
        let rules = rules(&[("/old", 2), ("/old/x", 3), ("/gone", 9), ("/secret", 4)]);
        for (path, to) in [
            ("/old", Some("→ /a/b")),
            ("/old/item", Some("→ /a/b/item")),
            ("/old/x/item", Some("→ /a/b/c/item")),
            ("/gone/item", None),
            ("/secret", None),
        ] {
            assert_eq!(found(path, &rules).map(|(path, _)| path).as_deref(), to, "{path}");
        }
    }

    #[test]
    fn a_section_that_stands_there_wins_over_a_rule_and_a_rule_over_an_item() {
        let rules = rules(&[("/a", 3), ("/a/b", 1), ("/a/old", 2)]);
        assert_eq!(found("/a/b", &rules), Some(("/a/b".to_owned(), vec![])));
        assert_eq!(found("/a/old", &rules), Some(("→ /a/b".to_owned(), vec![])));
    }

    #[test]
    fn chains_collapse_and_end() {
        // Everything was moved about, and every path has had another meaning.
        let rules = rules(&[("/x", 1), ("/a/y", 2), ("/a/b/z", 3), ("/a/b/c/w", 1), ("/a/v", 1)]);
        for (path, to) in
            [("/x/y/z/item", "→ /a/b/c/item"), ("/x/v/v/v/v", "→ /a"), ("/a/b/c/w/y/z/w", "→ /a")]
        {
            assert_eq!(found(path, &rules).unwrap().0, to, "{path}");
        }
    }
}
