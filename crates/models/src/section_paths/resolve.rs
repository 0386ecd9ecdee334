//! Resolution of a path of the site to a section.

use super::{Redirects, SectionPaths, path_of, redirects::append};
use crate::{Breadcrumb, ObjectId, PathResolution, ResolvedPath, Section};

/// Maximum number of segments of a path that may name sections. The tree has less than half as many
/// levels. The rest may be the slug of an item, which can have any number of segments.
pub(super) const MAX_SECTION_SEGMENTS: usize = 32;

impl SectionPaths {
    /// Resolves a path such as `/projects/rust/turbulence` for the public.
    ///
    /// The path `/` leads to the home. A section at the path takes precedence over a redirect, and a redirect over a possible item of
    /// a section further up. There are no circles: a redirect applies only beyond the sections that
    /// the path leads to, and leads to a section, so that each step leaves a shorter rest of the path.
    pub fn resolve(&self, path: &str, redirects: &Redirects) -> Option<PathResolution> {
        let is_root = path == "/";
        let path = path.strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        let mut is_moved = false;
        let (mut sections, mut rest) = self.walk(Vec::new(), &segments);
        while let Some((target, length)) = self.follow_redirect(redirects, &sections, rest) {
            is_moved = true;
            (sections, rest) = self.walk(target, &rest[length..]);
        }
        if is_moved {
            let moved_to = append(&path_of(&sections), rest);
            return Some(PathResolution::Moved { moved_to });
        }
        if sections.is_empty() && is_root {
            (sections, rest) = (self.public_ancestry(self.home()?.id)?, &[]);
        }
        let section = (*sections.last()?).clone();
        let breadcrumbs = breadcrumbs(&sections);
        let path = path_of(&sections);
        let rest = rest.iter().map(|segment| (*segment).to_owned()).collect();
        let found = ResolvedPath { section, breadcrumbs, path, rest };
        Some(PathResolution::Found(Box::new(found)))
    }

    /// Returns `true` if this path leads below a section, to one of its items, and neither to another
    /// section nor to a redirect.
    pub fn leads_below(&self, id: ObjectId, path: &str, redirects: &Redirects) -> bool {
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let (sections, rest) = self.walk(Vec::new(), &segments);
        !rest.is_empty()
            && sections.last().is_some_and(|section| section.id == id)
            && self.follow_redirect(redirects, &sections, rest).is_none()
    }

    /// Extends a list of sections, each the parent of the next, as far as the segments name public
    /// sections. Returns the list and the remaining segments.
    pub(super) fn walk<'s, 'p>(
        &'s self,
        mut sections: Vec<&'s Section>,
        mut rest: &'p [&'p str],
    ) -> (Vec<&'s Section>, &'p [&'p str]) {
        while !rest.is_empty() && sections.len() < MAX_SECTION_SEGMENTS {
            let parent = sections.last().map(|section| section.id);
            let lengths = (1..=self.longest_slug.min(rest.len())).rev();
            let next = lengths.into_iter().find_map(|length| {
                let child = self.public_child(parent, &rest[..length].join("/"))?;
                Some((child, length))
            });
            let Some((child, length)) = next else { break };
            sections.push(child);
            rest = &rest[length..];
        }
        (sections, rest)
    }

    /// Follows the redirect for the longest part of a path. Returns the ancestry of its section and
    /// the number of segments of `rest` that belong to that part.
    fn follow_redirect(
        &self,
        redirects: &Redirects,
        sections: &[&Section],
        rest: &[&str],
    ) -> Option<(Vec<&Section>, usize)> {
        let base = path_of(sections);
        let mut max = MAX_SECTION_SEGMENTS.saturating_sub(sections.len());
        // A redirect to a section that is not public gives way to one for a shorter part.
        while let Some((id, length)) = redirects.find(&base, rest, max) {
            if let Some(target) = self.public_ancestry(id) {
                return Some((target, length));
            }
            max = length - 1;
        }
        None
    }
}

/// Returns the breadcrumbs of these sections, each the parent of the next.
fn breadcrumbs(sections: &[&Section]) -> Vec<Breadcrumb> {
    let breadcrumb = |(index, section): (usize, &&Section)| Breadcrumb {
        id: section.id,
        title: section.title.clone(),
        slug: section.slug.clone(),
        path: path_of(&sections[..=index]),
    };
    sections.iter().enumerate().map(breadcrumb).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        NavVisibility, SectionLink, SectionType,
        section_paths::samples::{id, section},
    };

    /// `/a`, `/a/b`, `/a/b/c`, and `/hidden`, which the public does not see.
    fn sections() -> SectionPaths {
        let sections = vec![
            section(1, "a", None, true),
            section(2, "b", Some(1), true),
            section(3, "c", Some(2), true),
            section(4, "hidden", None, false),
            section(5, "below", Some(4), true),
        ];
        SectionPaths::new(sections)
    }

    fn redirects(redirects: &[(&str, u8)]) -> Redirects {
        redirects.iter().map(|(path, number)| ((*path).to_owned(), id(*number))).collect()
    }

    fn found(path: &str, redirects: &Redirects) -> Option<(String, Vec<String>)> {
        match sections().resolve(path, redirects)? {
            PathResolution::Found(found) => Some((found.path, found.rest)),
            PathResolution::Moved { moved_to } => Some((format!("→ {moved_to}"), Vec::new())),
        }
    }

    #[test]
    fn the_section_at_the_longest_part_of_the_path_is_found() {
        for (path, section, rest) in [
            ("/a", "/a", vec![]),
            ("/a/", "/a", vec![]),
            ("/a/b/c", "/a/b/c", vec![]),
            ("/a/b/item", "/a/b", vec!["item"]),
            ("/a/x/c", "/a", vec!["x", "c"]),
        ] {
            let rest: Vec<_> = rest.into_iter().map(str::to_owned).collect();
            assert_eq!(found(path, &redirects(&[])), Some((section.to_owned(), rest)), "{path}");
        }
    }

    #[test]
    fn the_path_to_the_site_itself_leads_to_the_home_or_the_first_of_the_main_navigation() {
        let home = |sections: Vec<Section>| match SectionPaths::new(sections)
            .resolve("/", &redirects(&[("/old", 1)]))
        {
            Some(PathResolution::Found(found)) => Some((found.path, found.rest)),
            other => other.map(|other| panic!("{other:?}")),
        };
        let at = |path: &str| Some((path.to_owned(), Vec::new()));
        let footer =
            Section { nav_visibility: NavVisibility::Footer, ..section(1, "a", None, true) };
        let main = Section { sort_order: 2, ..section(2, "b", None, true) };
        let later = Section { sort_order: 3, ..section(3, "c", None, true) };
        let below = section(4, "d", Some(3), true);
        let mut all = vec![footer, later, main, below];
        assert_eq!(home(all.clone()), at("/b"));
        all[3].is_home = true;
        assert_eq!(home(all.clone()), at("/c/d"));
        // The public does not see the home.
        all[3].is_published = false;
        assert_eq!(home(all.clone()), at("/b"));
        all[2].is_published = false;
        all[1].is_published = false;
        assert_eq!(home(all), None);
        assert_eq!(home(Vec::new()), None);
    }

    #[test]
    fn the_path_of_a_section_is_the_one_that_leads_to_it() {
        let path = |sections: &SectionPaths, number| {
            sections.all().iter().find(|one| one.id == id(number)).unwrap().path.clone()
        };
        let paths = [Some("/a"), Some("/a/b"), Some("/a/b/c"), None, None];
        for (number, expected) in (1..).zip(paths) {
            assert_eq!(path(&sections(), number).as_deref(), expected, "{number}");
        }
        // Of those with the same path, it leads to one; a section in between has none.
        let same = vec![
            section(1, "a", None, true),
            section(2, "a", None, true),
            section(3, "b", Some(2), true),
            section(4, "", Some(1), true),
            section(5, "c", Some(4), true),
        ];
        let same = SectionPaths::new(same);
        let paths = (1..=5).map(|number| path(&same, number)).collect::<Vec<_>>();
        assert_eq!(paths, [Some("/a".to_owned()), None, None, None, None]);
        for section in odd_sections().all() {
            if let Some(path) = &section.path {
                let found = odd_sections().resolve(path, &redirects(&[]));
                let Some(PathResolution::Found(found)) = found else { panic!("{path}: {found:?}") };
                assert_eq!((found.section.id, found.rest.len()), (section.id, 0), "{path}");
            }
        }
    }

    #[test]
    fn a_link_is_public_with_its_target_and_has_the_path_of_it() {
        let link =
            |number: u8, parent: Option<u8>, target: Option<u8>, url: Option<&str>| Section {
                content_type: SectionType::Link,
                link: SectionLink {
                    section_id: target.map(id),
                    url: url.map(str::to_owned),
                    opens_new_tab: false,
                },
                ..section(number, &format!("link-{number}"), parent, true)
            };
        let paths = SectionPaths::new(vec![
            link(20, None, None, Some("https://example.com")),
            section(1, "a", None, true),
            section(2, "b", Some(1), true),
            section(4, "hidden", None, false),
            section(5, "below", Some(4), true),
            link(21, Some(1), Some(2), None),
            link(22, None, Some(4), None),
            link(23, None, Some(5), None),
            link(24, None, Some(9), None),
            link(25, None, Some(21), None),
            link(26, None, Some(26), None),
            link(27, None, None, None),
            link(28, Some(4), Some(1), None),
            // Made by another program.
            section(30, "below-link", Some(20), true),
        ]);
        let shown = |number| paths.is_public(id(number));
        assert!([20, 21, 1, 2].into_iter().all(shown));
        for hidden in [4, 5, 22, 23, 24, 25, 26, 27, 28, 30] {
            assert!(!shown(hidden), "{hidden}");
        }
        let path = |number| paths.get(id(number)).unwrap().path.clone();
        assert_eq!((path(20), path(21).as_deref()), (None, Some("/a/b")));
        assert_eq!((path(22), path(25), path(30)), (None, None, None));
        // No path leads to a link, and an item can have its slug.
        let none = Redirects::default();
        assert_eq!(paths.resolve("/link-20", &none), None);
        assert_eq!(paths.resolve("/link-20/below-link", &none), None);
        let found = paths.resolve("/a/link-21", &none);
        assert!(matches!(found, Some(PathResolution::Found(found)) if found.section.id == id(1)));
        assert_eq!(paths.below(id(1), &none).obstacle("link-21"), None);
        let home = paths.resolve("/", &none);
        assert!(matches!(home, Some(PathResolution::Found(found)) if found.section.id == id(1)));
        // Editors see those of drafts.
        let editors = SectionPaths::for_editors(paths.all().to_vec());
        assert_eq!(editors.path_to(id(22)).as_deref(), Some("/hidden"));
    }

    #[test]
    fn the_path_of_an_item_leads_below_its_section_and_to_nothing_else() {
        let redirects = redirects(&[("/a/old", 2)]);
        for (number, path, expected) in [
            (1, "/a/x", true),
            (1, "/a/x/y", true),
            (2, "/a/b/x", true),
            (1, "/a/b", false),
            (1, "/a/b/x", false),
            (1, "/a/old", false),
            (1, "/a/old/x", false),
            (1, "/a", false),
            (4, "/hidden/x", false),
        ] {
            assert_eq!(sections().leads_below(id(number), path, &redirects), expected, "{path}");
        }
    }

    #[test]
    fn a_section_that_is_not_public_or_at_another_path_is_not_found() {
        let long = "/x".repeat(40);
        for path in ["", "a", "//", "//a", "/b", "/hidden", "/hidden/below", "/below", "/A", &long]
        {
            assert_eq!(found(path, &redirects(&[])), None, "{path}");
        }
    }

    /// Sections as an old site may have them.
    fn odd_sections() -> SectionPaths {
        let sections = vec![
            section(1, "/Blog/", None, true),
            section(2, "Café & Co", Some(1), true),
            section(3, "a/b", None, true),
            section(4, "%d0%bf", None, true),
            section(5, "100%", Some(3), true),
            section(6, "blog", None, true),
            section(7, "/", None, true),
        ];
        SectionPaths::new(sections)
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
            let found = sections.resolve(path, &redirects(&[]));
            let Some(PathResolution::Found(found)) = found else { panic!("{path}: {found:?}") };
            assert_eq!((found.section.id, found.path.as_str()), (id(number), own_path), "{path}");
            assert_eq!(found.rest.join("/"), rest, "{path}");
            assert_eq!(found.breadcrumbs.last().unwrap().path, own_path);
        }
        for path in ["/BLOG", "/a", "/b", "/a/c", "/Blog/café & co"] {
            let found = sections.resolve(path, &redirects(&[]));
            let is_there =
                matches!(&found, Some(PathResolution::Found(found)) if found.rest.is_empty());
            assert!(!is_there, "{path}: {found:?}");
        }
    }

    #[test]
    fn a_redirect_holds_however_it_or_the_path_is_written() {
        let sections = odd_sections();
        for redirect in ["/Alte Übersicht", "/Alte%20%C3%9Cbersicht"] {
            for path in ["/Alte Übersicht/2015/x y", "/Alte%20%c3%9cbersicht/2015/x%20y"] {
                let found = sections.resolve(path, &redirects(&[(redirect, 2)]));
                let moved_to = "/Blog/Caf%C3%A9%20&%20Co/2015/x%20y".to_owned();
                assert_eq!(found, Some(PathResolution::Moved { moved_to }), "{redirect} {path}");
            }
        }
    }

    #[test]
    fn the_rest_of_a_path_may_have_any_length() {
        let slug = "x/".repeat(500) + "x";
        let (_, rest) = found(&format!("/a/{slug}"), &redirects(&[("/a/old", 2)])).unwrap();
        assert_eq!(rest.join("/"), slug);
        let moved = found(&format!("/a/old/{slug}"), &redirects(&[("/a/old", 2)])).unwrap().0;
        assert_eq!(moved, format!("→ /a/b/{slug}"));
    }

    #[test]
    fn breadcrumbs_lead_from_the_top_to_the_section() {
        let Some(PathResolution::Found(found)) = sections().resolve("/a/b/x", &redirects(&[]))
        else {
            panic!("nothing is found");
        };
        let paths: Vec<_> = found.breadcrumbs.iter().map(|crumb| crumb.path.as_str()).collect();
        assert_eq!((paths, found.section.id), (vec!["/a", "/a/b"], id(2)));
    }

    #[test]
    fn a_redirect_holds_for_the_paths_below_and_leads_only_to_public_sections() {
        let redirects = redirects(&[("/old", 2), ("/old/x", 3), ("/gone", 9), ("/secret", 4)]);
        for (path, to) in [
            ("/old", Some("→ /a/b")),
            ("/old/item", Some("→ /a/b/item")),
            ("/old/x/item", Some("→ /a/b/c/item")),
            ("/gone/item", None),
            ("/secret", None),
        ] {
            assert_eq!(found(path, &redirects).map(|(path, _)| path).as_deref(), to, "{path}");
        }
    }

    #[test]
    fn a_section_takes_precedence_over_a_redirect_and_a_redirect_over_an_item() {
        let redirects = redirects(&[("/a", 3), ("/a/b", 1), ("/a/old", 2)]);
        assert_eq!(found("/a/b", &redirects), Some(("/a/b".to_owned(), vec![])));
        assert_eq!(found("/a/old", &redirects), Some(("→ /a/b".to_owned(), vec![])));
    }

    #[test]
    fn chains_of_redirects_are_followed_to_their_end() {
        // Every section was moved, and every path led elsewhere before.
        let redirects =
            redirects(&[("/x", 1), ("/a/y", 2), ("/a/b/z", 3), ("/a/b/c/w", 1), ("/a/v", 1)]);
        for (path, to) in
            [("/x/y/z/item", "→ /a/b/c/item"), ("/x/v/v/v/v", "→ /a"), ("/a/b/c/w/y/z/w", "→ /a")]
        {
            assert_eq!(found(path, &redirects).unwrap().0, to, "{path}");
        }
    }
}
