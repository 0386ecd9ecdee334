//! The paths of the public sections of a site, and the resolution of a path to a section.
//!
//! sections-service serves these paths, and content-service resolves paths with the sections that it
//! has fetched. Both use this module, so that a path leads to the same section at each.

mod below;
mod redirects;
mod resolve;
#[cfg(test)]
mod samples;

use std::collections::HashMap;

use crate::{
    NavVisibility, ObjectId, Section,
    site_path::{join, readings, slug_key},
};

pub use below::{Below, Obstacle};
pub use redirects::Redirects;
use resolve::MAX_SECTION_SEGMENTS;

/// The sections of a site in the order of navigation, indexed by the paths of the public ones.
///
/// A section is public if it and all sections above it are published. A link is public if its target is,
/// too; there are no sections below it, and no path of its own leads to it.
#[derive(Debug, Clone, Default)]
pub struct SectionPaths {
    /// The sections that are not deleted.
    sections: Vec<Section>,
    /// The positions of the public sections in `sections`.
    public: HashMap<ObjectId, usize>,
    /// The positions of the public sections by parent and slug, in each form in which a path names
    /// the slug.
    public_children: HashMap<(Option<ObjectId>, String), usize>,
    /// The number of path segments of the longest public slug. It is 1 unless slugs with slashes were
    /// taken over.
    longest_slug: usize,
}

impl SectionPaths {
    /// Sorts the sections by `sort_order`, and by id where that is equal, and sets their paths. Deleted
    /// sections must not be among them.
    pub fn new(sections: Vec<Section>) -> Self {
        let mut paths = Self::index(sections);
        let found: Vec<_> =
            paths.sections.iter().map(|section| paths.path_to(section.id)).collect();
        for (section, path) in paths.sections.iter_mut().zip(found) {
            section.path = path;
        }
        paths
    }

    /// Sorts the sections in the same way, without setting their paths.
    pub fn index(sections: Vec<Section>) -> Self {
        Self::reaching(sections, |section| section.is_published)
    }

    /// Returns the sections as editors see them: those that are not published count as public. Their
    /// paths are not set.
    pub fn for_editors(sections: Vec<Section>) -> Self {
        Self::reaching(sections, |_| true)
    }

    fn reaching(mut sections: Vec<Section>, is_shown: fn(&Section) -> bool) -> Self {
        sections.sort_by_key(|section| (section.sort_order, section.id));
        let public = reached(&sections, is_shown);
        let is_place = |position: &usize| !sections[*position].is_link();
        let mut positions: Vec<_> = public.values().copied().filter(is_place).collect();
        positions.sort_unstable();
        let mut public_children = HashMap::new();
        // The slug as it is stored takes precedence over the decoded slug of another section.
        let forms: [fn(&str) -> Vec<String>; 2] = [|slug| vec![slug.to_owned()], decoded_forms];
        for form in forms {
            for position in &positions {
                let section = &sections[*position];
                if section.slug.is_empty() {
                    continue;
                }
                for name in form(&section.slug) {
                    public_children.entry((section.parent_id, name)).or_insert(*position);
                }
            }
        }
        let segments = |position: &usize| slug_key(&sections[*position].slug).split('/').count();
        let longest_slug = positions.iter().map(segments).max().unwrap_or(1);
        let mut paths = Self { sections, public, public_children, longest_slug };
        let links = paths.sections.iter().filter(|section| section.is_link());
        let dead = links.filter(|link| !paths.has_target(link)).map(|link| link.id);
        for link in dead.collect::<Vec<_>>() {
            paths.public.remove(&link);
        }
        paths
    }

    /// Returns `true` if a link leads somewhere: to an address, or to a section that has a path.
    fn has_target(&self, link: &Section) -> bool {
        match link.link.section_id {
            Some(target) => self.own_path(target).is_some(),
            None => link.link.url.is_some(),
        }
    }

    /// Returns all sections, public or not.
    pub fn all(&self) -> &[Section] {
        &self.sections
    }

    /// Returns the section with this id.
    pub fn get(&self, id: ObjectId) -> Option<&Section> {
        let of_public = self.public.get(&id).map(|position| &self.sections[*position]);
        of_public.or_else(|| self.sections.iter().find(|section| section.id == id))
    }

    /// Returns the section at the path `/`: the home or, if the public sees none, the first one of the
    /// main navigation.
    fn home(&self) -> Option<&Section> {
        let is_main = |section: &&Section| {
            section.parent_id.is_none() && section.nav_visibility == NavVisibility::Main
        };
        let leads_to = |section: &&Section| self.own_path(section.id).is_some();
        let home = self.sections.iter().filter(|section| section.is_home).find(leads_to);
        home.or_else(|| self.sections.iter().filter(is_main).find(leads_to))
    }

    /// Returns `true` if the section is public.
    pub fn is_public(&self, id: ObjectId) -> bool {
        self.public.contains_key(&id)
    }

    /// Returns the path that leads to a section, percent-encoded, or to the target of a link to a section.
    /// Returns `None` if the section is not public, has no path, or another section is at its path.
    pub fn path_to(&self, id: ObjectId) -> Option<String> {
        let section = &self.sections[*self.public.get(&id)?];
        self.own_path(section.link.section_id.unwrap_or(id))
    }

    /// Returns the same for a section that is no link.
    fn own_path(&self, id: ObjectId) -> Option<String> {
        let path = path_of(&self.public_ancestry(id)?);
        let segments: Vec<_> = path.strip_prefix('/')?.split('/').collect();
        let (sections, rest) = self.walk(Vec::new(), &segments);
        let leads_to = |section: &&Section| rest.is_empty() && section.id == id;
        sections.last().is_some_and(leads_to).then_some(path)
    }

    /// Returns the public section below `parent` that this part of a path names.
    fn public_child(&self, parent: Option<ObjectId>, part: &str) -> Option<&Section> {
        let forms = readings(part).into_iter().flat_map(|text| {
            let key = slug_key(&text);
            [text, key]
        });
        let mut positions = forms.filter_map(|text| self.public_children.get(&(parent, text)));
        positions.next().map(|position| &self.sections[*position])
    }

    /// Returns the ancestors of a public section from the top, and the section itself as the last.
    /// Returns `None` if the section has no path.
    fn public_ancestry(&self, id: ObjectId) -> Option<Vec<&Section>> {
        let mut next = Some(id);
        let mut ancestry = Vec::new();
        // The ancestors of a public section end at the top.
        while let Some(id) = next {
            let section = &self.sections[*self.public.get(&id)?];
            next = section.parent_id;
            ancestry.push(section);
            if ancestry.len() > MAX_SECTION_SEGMENTS {
                return None;
            }
        }
        ancestry.reverse();
        has_path(&ancestry).then_some(ancestry)
    }
}

/// Returns `true` if the last of these sections, each the parent of the next, has a path: all of
/// them have a slug, and none is a link.
pub fn has_path(ancestry: &[&Section]) -> bool {
    ancestry.iter().all(|section| !section.slug.is_empty() && !section.is_link())
}

/// Returns the path of the last of these sections, each the parent of the next, percent-encoded.
pub fn path_of(ancestry: &[&Section]) -> String {
    ancestry.iter().fold(String::new(), |path, section| join(&path, &section.slug))
}

/// Returns the other forms in which a path may name a slug: without the slashes around it, and decoded
/// if it is stored percent-encoded.
fn decoded_forms(slug: &str) -> Vec<String> {
    readings(slug).iter().map(|text| slug_key(text)).collect()
}

/// Returns the positions of the sections that are shown, as are all above them.
///
/// Walks down from the top, so that it reaches neither a section below a hidden, deleted or missing
/// one nor a cycle, nor one below a link.
fn reached(sections: &[Section], is_shown: fn(&Section) -> bool) -> HashMap<ObjectId, usize> {
    let mut children: HashMap<_, Vec<usize>> = HashMap::new();
    let shown = sections.iter().enumerate().filter(|(_, section)| is_shown(section));
    for (position, section) in shown {
        children.entry(section.parent_id).or_default().push(position);
    }
    let mut reached = HashMap::new();
    let mut to_visit = vec![None];
    while let Some(parent) = to_visit.pop() {
        for position in children.remove(&parent).unwrap_or_default() {
            let id = sections[position].id;
            reached.insert(id, position);
            if !sections[position].is_link() {
                to_visit.push(Some(id));
            }
        }
    }
    reached
}
