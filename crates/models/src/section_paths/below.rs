//! The paths below a section, and what is already at them.

use super::{Redirects, SectionPaths, path_of, resolve::MAX_SECTION_SEGMENTS};
use crate::{
    ObjectId, Section,
    site_path::{join, readings, slug_key},
};

/// The paths below a section, for the items that it gets.
///
/// Sections that are not published count as well: the path will lead to them.
#[derive(Debug)]
pub struct Below<'a> {
    paths: &'a SectionPaths,
    redirects: &'a Redirects,
    /// The sections directly below it, with the keys of their slugs.
    children: Vec<(&'a Section, Vec<String>)>,
    /// The path of the section, or `None` if it has none.
    base: Option<String>,
}

/// The reason why no path would lead to an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle<'a> {
    /// A section is at the path, or at a path above it.
    Section(&'a Section),
    /// A redirect leads from this path to a section.
    Redirect(String),
}

impl SectionPaths {
    /// Returns the paths below a section.
    pub fn below<'a>(&'a self, section: ObjectId, redirects: &'a Redirects) -> Below<'a> {
        let children = self.sections.iter().filter(|child| child.parent_id == Some(section));
        let children = children.filter(|child| !child.slug.is_empty() && !child.is_link());
        let children = children.map(|child| (child, keys(&child.slug))).collect();
        let base = self.ancestry(section).map(|ancestry| path_of(&ancestry));
        Below { paths: self, redirects, children, base }
    }

    /// Returns the ancestors of a section from the top, published or not, and the section itself as the
    /// last. Returns `None` if it cannot be reached from the top, or a section on the way has no slug.
    fn ancestry(&self, id: ObjectId) -> Option<Vec<&Section>> {
        let mut ancestry = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next {
            let section = self.get(id).filter(|one| !one.slug.is_empty() && !one.is_link())?;
            if ancestry.len() == MAX_SECTION_SEGMENTS {
                return None;
            }
            ancestry.push(section);
            next = section.parent_id;
        }
        ancestry.reverse();
        Some(ancestry)
    }
}

impl<'a> Below<'a> {
    /// Returns the reason why no path would lead to an item with this slug.
    pub fn obstacle(&self, slug: &str) -> Option<Obstacle<'a>> {
        if slug.trim_matches('/').is_empty() {
            return None;
        }
        let is_at = |(_, names): &&(&Section, Vec<String>)| {
            let slugs = keys(slug);
            slugs.iter().any(|slug| names.iter().any(|name| is_at_or_below(slug, name)))
        };
        if let Some((section, _)) = self.children.iter().find(is_at) {
            return Some(Obstacle::Section(section));
        }
        let base = self.base.as_deref()?;
        let path = join("", slug);
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let mut max = MAX_SECTION_SEGMENTS;
        while let Some((target, length)) = self.redirects.find(base, &segments, max) {
            if self.paths.get(target).is_some_and(|target| !target.is_link()) {
                let path = join(base, &segments[..length].join("/"));
                return Some(Obstacle::Redirect(path));
            }
            max = length - 1;
        }
        None
    }
}

/// Returns the forms in which a path may name a slug.
fn keys(slug: &str) -> Vec<String> {
    readings(slug).iter().map(|text| slug_key(text)).collect()
}

fn is_at_or_below(slug: &str, name: &str) -> bool {
    slug.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::section_paths::samples::{id, section};

    #[test]
    fn an_item_is_hidden_by_a_section_or_a_redirect_at_its_path_or_above() {
        let paths = SectionPaths::new(vec![
            section(1, "blog", None, true),
            section(2, "2015", Some(1), true),
            section(3, "draft", Some(1), false),
            section(4, "café", Some(1), true),
            section(5, "other", None, true),
            section(6, "below", Some(3), true),
        ]);
        let redirects =
            [("/blog/old", 5), ("/blog/gone", 9), ("/blog/to-draft", 3), ("/blog/a/b", 2)];
        let redirects: Redirects =
            redirects.into_iter().map(|(path, number)| (path.to_owned(), id(number))).collect();
        let below = paths.below(id(1), &redirects);
        let hides = |number: u8| paths.get(id(number)).map(Obstacle::Section);
        let moved = |path: &str| Some(Obstacle::Redirect(path.to_owned()));
        for (slug, expected) in [
            ("free", None),
            ("", None),
            ("2015", hides(2)),
            ("/2015/", hides(2)),
            ("2015/02/x", hides(2)),
            ("20155", None),
            ("draft", hides(3)),
            ("cafe\u{301}", hides(4)),
            ("caf%C3%A9/x", hides(4)),
            ("other", None),
            ("below", None),
            ("old", moved("/blog/old")),
            ("old/x", moved("/blog/old")),
            ("gone", None),
            ("to-draft", moved("/blog/to-draft")),
            ("a", None),
            ("a/b", moved("/blog/a/b")),
        ] {
            assert_eq!(below.obstacle(slug), expected, "{slug}");
        }
        assert_eq!(paths.below(id(9), &redirects).obstacle("old"), None);
        // An item that no section or redirect hides is found at its path.
        for slug in ["free", "20155", "other", "gone", "a"] {
            assert!(paths.leads_below(id(1), &format!("/blog/{slug}"), &redirects), "{slug}");
        }
    }
}
