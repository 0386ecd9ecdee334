//! Which section a path of the site leads to.

use std::collections::HashMap;

use models::{Breadcrumb, ObjectId, PathResolution, ResolvedPath, Section, site_path::canonical};

use super::{
    Sections,
    tree::{has_path, path_of},
};

/// How many segments of a path may name sections. The tree is not half as deep; what follows may be
/// the slug of an item, which can have any number.
const LONGEST_PATH: usize = 32;

/// Which paths led to which section before it was renamed or moved.
///
/// A rule names the section, not its new path, so that however often it is moved, one step leads
/// there. It holds for everything below the path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redirects {
    /// The rules as they are stored.
    stored: HashMap<String, ObjectId>,
    /// The same by their paths as [`canonical`] writes them.
    by_path: HashMap<String, ObjectId>,
}

impl FromIterator<(String, ObjectId)> for Redirects {
    fn from_iter<T: IntoIterator<Item = (String, ObjectId)>>(rules: T) -> Self {
        let stored: HashMap<_, _> = rules.into_iter().collect();
        let mut by_path: HashMap<_, _> =
            stored.iter().map(|(path, id)| (canonical(path), *id)).collect();
        // Of two rules for the same path, the one that is written so counts.
        by_path.extend(stored.iter().map(|(path, id)| (path.clone(), *id)));
        Self { stored, by_path }
    }
}

impl Redirects {
    /// Every rule, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, ObjectId)> {
        self.stored.iter().map(|(path, id)| (path.as_str(), *id))
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

    /// Returns the section that the rule for this path leads to, with how many segments beyond
    /// `above` the path has. The longest path counts.
    fn find(&self, above: &str, rest: &[&str], most: usize) -> Option<(ObjectId, usize)> {
        if self.by_path.is_empty() {
            return None;
        }
        (1..=rest.len().min(most)).rev().find_map(|length| {
            let id = self.by_path.get(&below(above, &rest[..length]))?;
            Some((*id, length))
        })
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
        let segments: Vec<&str> = path.split('/').collect();
        let mut is_moved = false;
        let (mut way, mut rest) = self.walk(Vec::new(), &segments);
        while let Some((target, length)) = self.redirect(redirects, &way, rest) {
            is_moved = true;
            (way, rest) = self.walk(target, &rest[length..]);
        }
        if is_moved {
            let moved_to = below(&path_of(&way), rest);
            return Some(PathResolution::Moved { moved_to });
        }
        let section = (*way.last()?).clone();
        let breadcrumbs: Vec<_> =
            (1..=way.len()).map(|length| breadcrumb(&way[..length])).collect();
        let path = path_of(&way);
        let rest = rest.iter().map(|segment| (*segment).to_owned()).collect();
        let found = ResolvedPath { section, breadcrumbs, path, rest };
        Some(PathResolution::Found(Box::new(found)))
    }

    /// Goes on from a section along the segments as far as they name public sections, one below the
    /// other. Returns the way and the segments that are left.
    fn walk<'s, 'p>(
        &'s self,
        mut way: Vec<&'s Section>,
        mut rest: &'p [&'p str],
    ) -> (Vec<&'s Section>, &'p [&'p str]) {
        while !rest.is_empty() && way.len() < LONGEST_PATH {
            let parent = way.last().map(|section| section.id);
            let lengths = (1..=self.longest_slug.min(rest.len())).rev();
            let next = lengths.into_iter().find_map(|length| {
                let child = self.public_child(parent, &rest[..length].join("/"))?;
                Some((child, length))
            });
            let Some((child, length)) = next else { break };
            way.push(child);
            rest = &rest[length..];
        }
        (way, rest)
    }

    /// The way to the section that a rule leads to which holds for the longest part of a path, with
    /// how many segments of `rest` belong to that part.
    fn redirect(
        &self,
        redirects: &Redirects,
        way: &[&Section],
        rest: &[&str],
    ) -> Option<(Vec<&Section>, usize)> {
        let (mut most, above) = (LONGEST_PATH.saturating_sub(way.len()), path_of(way));
        // One that leads to what the public does not see gives way to a shorter one.
        while let Some((id, length)) = redirects.find(&above, rest, most) {
            if let Some(target) = self.way_to(id) {
                return Some((target, length));
            }
            most = length - 1;
        }
        None
    }

    /// The path of a section that the public sees.
    pub(super) fn public_path(&self, id: ObjectId) -> Option<String> {
        self.way_to(id).map(|way| path_of(&way))
    }

    /// Returns the way from the top to a public section, or `None` if it has no path.
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
        has_path(&way).then_some(way)
    }
}

/// The path of what these segments name below another one.
fn below(above: &str, segments: &[&str]) -> String {
    let above = above.trim_end_matches('/');
    segments.iter().fold(above.to_owned(), |path, segment| path + "/" + &canonical(segment))
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

    /// Sections as an old site may have them.
    fn odd_sections() -> Sections {
        let sections = vec![
            section(1, "/Blog/", None, true),
            section(2, "Café & Co", Some(1), true),
            section(3, "a/b", None, true),
            section(4, "%d0%bf", None, true),
            section(5, "100%", Some(3), true),
            section(6, "blog", None, true),
            section(7, "/", None, true),
        ];
        Sections::new(sections, Vec::new())
    }

    #[test]
    fn a_section_with_an_odd_slug_is_found_however_its_path_is_written() {
        let sections = odd_sections();
        for (path, number, own_path, rest) in [
            ("/Blog", 1, "/Blog", ""),
            ("/Blog/x", 1, "/Blog", "x"),
            ("/blog/x", 6, "/blog", "x"),
            ("/Blog/Café & Co/x", 2, "/Blog/Caf%C3%A9%20&%20Co", "x"),
            ("/Blog/Cafe\u{301} & Co", 2, "/Blog/Caf%C3%A9%20&%20Co", ""),
            ("/Blog/Caf%C3%A9%20%26%20Co/a%2Fb", 2, "/Blog/Caf%C3%A9%20&%20Co", "a%2Fb"),
            ("/a/b", 3, "/a/b", ""),
            ("/a%2Fb", 3, "/a/b", ""),
            ("/a/b/100%/2015/02", 5, "/a/b/100%25", "2015/02"),
            ("/a/b/100%25", 5, "/a/b/100%25", ""),
            ("/п/x", 4, "/%25d0%25bf", "x"),
            ("/%d0%bf", 4, "/%25d0%25bf", ""),
            ("/%D0%BF", 4, "/%25d0%25bf", ""),
            ("/%25d0%25bf", 4, "/%25d0%25bf", ""),
            ("/", 7, "/", ""),
        ] {
            let found = sections.resolve(path, &rules(&[]));
            let Some(PathResolution::Found(found)) = found else { panic!("{path}: {found:?}") };
            assert_eq!((found.section.id, found.path.as_str()), (id(number), own_path), "{path}");
            assert_eq!(found.rest.join("/"), rest, "{path}");
            assert_eq!(found.breadcrumbs.last().unwrap().path, own_path);
        }
        for path in ["/BLOG", "/a", "/b", "/a/c", "/Blog/café & co"] {
            let found = sections.resolve(path, &rules(&[]));
            let is_there =
                matches!(&found, Some(PathResolution::Found(found)) if found.rest.is_empty());
            assert!(!is_there, "{path}: {found:?}");
        }
    }

    #[test]
    fn a_rule_holds_however_it_or_the_path_is_written() {
        let sections = odd_sections();
        for rule in ["/Alte Übersicht", "/Alte%20%C3%9Cbersicht"] {
            for path in ["/Alte Übersicht/2015/x y", "/Alte%20%c3%9cbersicht/2015/x%20y"] {
                let found = sections.resolve(path, &rules(&[(rule, 2)]));
                let moved_to = "/Blog/Caf%C3%A9%20&%20Co/2015/x%20y".to_owned();
                assert_eq!(found, Some(PathResolution::Moved { moved_to }), "{rule} {path}");
            }
        }
    }

    #[test]
    fn what_is_left_of_a_path_may_be_of_any_length() {
        let slug = "x/".repeat(500) + "x";
        let (_, rest) = found(&format!("/a/{slug}"), &rules(&[("/a/old", 2)])).unwrap();
        assert_eq!(rest.join("/"), slug);
        let moved = found(&format!("/a/old/{slug}"), &rules(&[("/a/old", 2)])).unwrap().0;
        assert_eq!(moved, format!("→ /a/b/{slug}"));
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
