//! The audience of an answer, and the content that is hidden from it.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use models::{
    ContentType, DisplayType, ObjectId, PathResolution, Section, SectionEntry,
    section_paths::{Below, Redirects, SectionPaths},
    site_path::{join, slug_spellings},
};

/// The audience of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Audience {
    /// Everybody. Sees published content unless its section hides it.
    Public(Hidden),
    /// Callers with a token. They see everything that is not deleted.
    Editors,
}

/// The content that its section hides from the public.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Hidden {
    /// The content of these sections.
    Of(Arc<HiddenSections>),
    /// All content that belongs to any section: the public sections are unknown.
    AllOfSections,
}

/// The sections that hide their content.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct HiddenSections {
    /// Their ids, sorted.
    pub(crate) ids: Vec<ObjectId>,
    /// Further values of `section_id` that contain one of these ids, such as ` 626e3e0035b0bc65bb5e154a`.
    pub(crate) spellings: Vec<String>,
}

impl Hidden {
    /// Returns the state in which no section hides its content.
    pub(crate) fn nothing() -> Self {
        Self::Of(Arc::default())
    }
}

/// The sections of the site, as sections-service returns them.
#[derive(Debug)]
pub(crate) struct Directory {
    entries: Vec<SectionEntry>,
    hidden: Arc<HiddenSections>,
    paths: SectionPaths,
    /// The same for editors.
    paths_of_drafts: SectionPaths,
    redirects: Redirects,
    paths_digest: u64,
}

impl Directory {
    pub(crate) fn new(entries: Vec<SectionEntry>) -> Self {
        let hidden = entries.iter().filter(|entry| !entry.is_public);
        let mut ids: Vec<_> = hidden.map(|entry| entry.section.id).collect();
        // The same sections are the same audience.
        ids.sort_unstable();
        let live = entries.iter().filter(|entry| !entry.is_deleted);
        let live: Vec<_> = live.map(|entry| entry.section.clone()).collect();
        let paths_of_drafts = SectionPaths::for_editors(live.clone());
        let paths = SectionPaths::new(live);
        let former_paths = entries.iter().flat_map(|entry| {
            entry.former_paths.iter().map(|path| (path.clone(), entry.section.id))
        });
        let redirects = former_paths.collect();
        let hidden = Arc::new(HiddenSections { ids, spellings: Vec::new() });
        let mut digest = DefaultHasher::new();
        for entry in &entries {
            let Section { id, path, display_type, content_type, .. } = &entry.section;
            (id, path, display_type, content_type, &entry.former_paths).hash(&mut digest);
        }
        let paths_digest = digest.finish();
        Self { entries, hidden, paths, paths_of_drafts, redirects, paths_digest }
    }

    /// Returns all sections.
    pub(crate) fn entries(&self) -> &[SectionEntry] {
        &self.entries
    }

    /// Returns the existing sections that the public does not see, including those that cannot be
    /// read, since they may have been drafts. Content of a section that does not exist stays visible.
    ///
    /// `odd_references` are the values of `section_id` that are not exactly an id.
    pub(crate) fn hidden(&self, odd_references: &[String]) -> Hidden {
        let is_hidden = |reference: &&String| self.hides(reference);
        let spellings: Vec<_> = odd_references.iter().filter(is_hidden).cloned().collect();
        if spellings.is_empty() {
            return Hidden::Of(self.hidden.clone());
        }
        Hidden::Of(Arc::new(HiddenSections { ids: self.hidden.ids.clone(), spellings }))
    }

    /// Returns `true` if content with this `section_id` is hidden: the text contains the id of a section
    /// that the public does not see.
    pub(crate) fn hides(&self, reference: &str) -> bool {
        let digits = reference.to_lowercase();
        self.hidden.ids.iter().any(|id| digits.contains(&id.to_string()))
    }

    /// Returns `true` if the public does not see all sections.
    pub(crate) fn hides_sections(&self) -> bool {
        !self.hidden.ids.is_empty()
    }

    /// Resolves a path of the site. Returns `None` if it leads to no section that the public sees
    /// or, with drafts, editors do.
    pub(crate) fn resolve(&self, path: &str, include_drafts: bool) -> Option<PathResolution> {
        self.paths(include_drafts).resolve(path, &self.redirects)
    }

    fn paths(&self, include_drafts: bool) -> &SectionPaths {
        if include_drafts { &self.paths_of_drafts } else { &self.paths }
    }

    /// Returns the sections that hide their content although no editor wants that: those that are
    /// deleted, and those of which a field that decides who sees them cannot be read.
    pub(crate) fn hidden_by_fault(&self) -> Vec<ObjectId> {
        let is_fault = |entry: &&SectionEntry| entry.is_deleted || entry.is_unreadable;
        self.entries.iter().filter(is_fault).map(|entry| entry.section.id).collect()
    }

    /// Returns the section with this slug, if the audience sees it.
    pub(crate) fn by_slug(&self, slug: &str, audience: &Audience) -> Option<&SectionEntry> {
        let visible = self.entries.iter().filter(|entry| match audience {
            Audience::Public(_) => entry.is_public,
            Audience::Editors => !entry.is_deleted,
        });
        let visible: Vec<_> = visible.collect();
        let with = |slug: &str| visible.iter().find(|entry| entry.section.slug == slug).copied();
        slug_spellings(slug).iter().find_map(|slug| with(slug))
    }

    /// Returns the section with this id, in the trash or not.
    pub(crate) fn by_id(&self, id: ObjectId) -> Option<&SectionEntry> {
        self.entries.iter().find(|entry| entry.section.id == id)
    }

    /// Returns the section that content with this `section_id` belongs to. In digits of both cases an
    /// id points nowhere: it can be written in too many ways for an index to find all of them.
    pub(crate) fn referenced(&self, id: &str) -> Option<&SectionEntry> {
        let is_mixed = id.bytes().any(|digit| digit.is_ascii_lowercase())
            && id.bytes().any(|digit| digit.is_ascii_uppercase());
        if is_mixed { None } else { self.by_id(id.parse().ok()?) }
    }

    /// Returns the path of an item of this type in a section, or `None` if no path leads to it.
    ///
    /// An item is at the path of its section followed by its slug. The one that a static page shows,
    /// if `is_shown`, is at the path of the section itself.
    pub(crate) fn item_path(
        &self,
        content_type: ContentType,
        section: &str,
        slug: &str,
        is_shown: bool,
    ) -> Option<String> {
        let section = &self.referenced(section)?.section;
        let path = section.path.as_deref().filter(|_| section.content_type == content_type)?;
        if is_shown && section.display_type == DisplayType::StaticPage {
            return Some(path.to_owned());
        }
        let path = (!slug.is_empty()).then(|| join(path, slug))?;
        self.paths.leads_below(section.id, &path, &self.redirects).then_some(path)
    }

    /// Returns the path at which editors find an item of a section with this slug, published or not and
    /// in a section that is published or not. Returns `None` if there is none.
    pub(crate) fn draft_path(&self, section: &str, slug: &str) -> Option<String> {
        let id = self.referenced(section)?.section.id;
        let section_path = self.paths_of_drafts.path_to(id)?;
        let path = (!slug.is_empty()).then(|| join(&section_path, slug))?;
        self.paths_of_drafts.leads_below(id, &path, &self.redirects).then_some(path)
    }

    /// Returns the paths below a section.
    pub(crate) fn below(&self, section: ObjectId) -> Below<'_> {
        self.paths.below(section, &self.redirects)
    }

    /// Returns the sections that show one item of this type as their whole content, sorted.
    pub(crate) fn static_pages(&self, content_type: ContentType) -> Vec<ObjectId> {
        let is_one = |entry: &&SectionEntry| {
            let Section { display_type, content_type: other, .. } = &entry.section;
            *display_type == DisplayType::StaticPage && *other == content_type && entry.is_public
        };
        let mut ids: Vec<_> =
            self.entries.iter().filter(is_one).map(|entry| entry.section.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Returns a number that is equal for the same paths and displays of sections.
    pub(crate) fn paths_digest(&self) -> u64 {
        self.paths_digest
    }

    /// Returns the section that content without one gets: the one with this slug or, since that can be
    /// renamed, the one that was at the top with it.
    pub(crate) fn default(&self, slug: &str, content_type: ContentType) -> Option<&Section> {
        let path = format!("/{slug}");
        let renamed = self.entries.iter().filter(|entry| entry.former_paths.contains(&path));
        let mut candidates = self.by_slug(slug, &Audience::Editors).into_iter().chain(renamed);
        let fits = |entry: &&SectionEntry| entry.section.content_type == content_type;
        let is_open = |entry: &&SectionEntry| !entry.is_deleted && !entry.is_unreadable;
        let default = candidates.find(|entry| fits(entry) && is_open(entry))?;
        Some(&default.section)
    }
}

#[cfg(test)]
mod tests {
    use models::{DisplayType, NavVisibility, PageMeta};

    use super::*;

    fn section(number: u8, slug: &str, is_deleted: bool, is_public: bool) -> SectionEntry {
        SectionEntry {
            section: Section {
                id: ObjectId::from_bytes([number; 12]),
                title: slug.to_owned(),
                slug: slug.to_owned(),
                parent_id: None,
                display_type: DisplayType::Feed,
                content_type: ContentType::Story,
                nav_visibility: NavVisibility::Main,
                sort_order: 0,
                sort_by: None,
                is_published: is_public,
                is_home: false,
                created_date: None,
                updated_date: None,
                path: is_public.then(|| format!("/{slug}")),
                page: PageMeta::default(),
            },
            is_deleted,
            is_unreadable: false,
            is_public,
            former_paths: Vec::new(),
        }
    }

    #[test]
    fn what_is_deleted_or_not_public_is_hidden_in_one_order() {
        let (hidden, trash) = (section(2, "b", false, false), section(1, "a", true, false));
        let shown = section(3, "c", false, true);
        let one = Directory::new(vec![hidden.clone(), trash.clone(), shown.clone()]);
        let other = Directory::new(vec![shown, trash.clone(), hidden.clone()]);
        let ids = vec![trash.section.id, hidden.section.id];
        let expected = HiddenSections { ids, spellings: Vec::new() };
        assert_eq!(one.hidden(&[]), Hidden::Of(expected.into()));
        assert_eq!(one.hidden(&[]), other.hidden(&[]));
    }

    #[test]
    fn a_reference_that_contains_the_id_of_a_hidden_section_is_hidden() {
        let hidden = section(0xab, "b", false, false);
        let directory = Directory::new(vec![hidden.clone(), section(3, "c", false, true)]);
        let id = hidden.section.id.to_string();
        let of_hidden = [
            format!(" {id}"),
            format!("{id}\n"),
            format!("ObjectId(\"{}\")", id.replace('b', "B")),
        ];
        let others = [format!(" {}", "03".repeat(12)), "abab".to_owned(), String::new()];
        let references = [of_hidden.to_vec(), others.to_vec()].concat();
        let Hidden::Of(found) = directory.hidden(&references) else { panic!("all are hidden") };
        assert_eq!((&found.ids, &found.spellings), (&vec![hidden.section.id], &of_hidden.to_vec()));
    }

    #[test]
    fn a_slug_is_found_by_who_may_see_the_section() {
        let hidden = section(2, "b", false, false);
        let directory = Directory::new(vec![section(1, "b", true, false), hidden.clone()]);
        assert_eq!(directory.by_slug("b", &Audience::Public(directory.hidden(&[]))), None);
        assert_eq!(directory.by_slug("b", &Audience::Editors), Some(&hidden));
        assert_eq!(directory.default("b", ContentType::Story), Some(&hidden.section));
        assert_eq!(directory.default("b", ContentType::Page), None);
    }

    #[test]
    fn the_default_is_what_has_the_slug_and_fits_or_what_had_it_at_the_top() {
        let once = |number, slug: &str, path: &str, is_deleted| SectionEntry {
            former_paths: vec![path.to_owned()],
            ..section(number, slug, is_deleted, false)
        };
        let renamed = once(1, "journal", "/blog", false);
        let others = [once(2, "x", "/blog", true), once(3, "y", "/notes/blog", false)];
        let of = |sections: &[SectionEntry]| {
            let directory = Directory::new(sections.to_vec());
            directory.default("blog", ContentType::Story).map(|section| section.id)
        };
        assert_eq!(of(&others), None);
        assert_eq!(
            of(&[others.to_vec(), vec![renamed.clone()]].concat()),
            Some(renamed.section.id)
        );
        let new = section(4, "blog", false, true);
        assert_eq!(of(&[renamed.clone(), new.clone()]), Some(new.section.id));
        let mut of_pages = new;
        of_pages.section.content_type = ContentType::Page;
        assert_eq!(of(&[of_pages, renamed.clone()]), Some(renamed.section.id));
    }
}
