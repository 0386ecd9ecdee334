//! The audience of an answer, and the content that is hidden from it.

use std::sync::Arc;

use models::{ContentType, ObjectId, SectionEntry, site_path::slug_spellings};

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
    Of(Arc<[ObjectId]>),
    /// All content that belongs to any section: the public sections are unknown.
    AllOfSections,
}

/// The sections of the site, as sections-service returns them.
#[derive(Debug)]
pub(crate) struct Directory {
    sections: Vec<SectionEntry>,
    hidden: Arc<[ObjectId]>,
}

impl Directory {
    pub(crate) fn new(sections: Vec<SectionEntry>) -> Self {
        let hidden = sections.iter().filter(|section| !section.is_public);
        let mut hidden: Vec<_> = hidden.map(|section| section.id).collect();
        // The same sections are the same audience.
        hidden.sort_unstable();
        Self { sections, hidden: hidden.into() }
    }

    /// Returns the existing sections that the public does not see, including those that cannot be
    /// read, since they may have been drafts. Content of a section that does not exist stays visible.
    pub(crate) fn hidden(&self) -> Hidden {
        Hidden::Of(self.hidden.clone())
    }

    /// Returns the sections that hide their content although no editor wants that: those that are
    /// deleted, and those of which a field that decides who sees them cannot be read.
    pub(crate) fn hidden_by_fault(&self) -> Vec<ObjectId> {
        let is_fault = |section: &&SectionEntry| section.is_deleted || section.is_unreadable;
        self.sections.iter().filter(is_fault).map(|section| section.id).collect()
    }

    /// The section with this slug, as far as the audience sees it.
    pub(crate) fn by_slug(&self, slug: &str, audience: &Audience) -> Option<&SectionEntry> {
        let visible = self.sections.iter().filter(|section| match audience {
            Audience::Public(_) => section.is_public,
            Audience::Editors => !section.is_deleted,
        });
        let visible: Vec<_> = visible.collect();
        let with = |slug: &str| visible.iter().find(|section| section.slug == slug).copied();
        slug_spellings(slug).iter().find_map(|slug| with(slug))
    }

    /// The section with this id, in the trash or not.
    pub(crate) fn by_id(&self, id: ObjectId) -> Option<&SectionEntry> {
        self.sections.iter().find(|section| section.id == id)
    }

    /// The section that content with this `section_id` belongs to. In digits of both cases an id
    /// points nowhere: it can be written in too many ways for an index to find all of them.
    pub(crate) fn referenced(&self, id: &str) -> Option<&SectionEntry> {
        let is_mixed = id.bytes().any(|digit| digit.is_ascii_lowercase())
            && id.bytes().any(|digit| digit.is_ascii_uppercase());
        if is_mixed { None } else { self.by_id(id.parse().ok()?) }
    }

    /// The path of the section that content belongs to, where the public sees that.
    pub(crate) fn path(&self, id: &str) -> Option<&str> {
        self.referenced(id)?.path.as_deref()
    }

    /// The section that content without one gets: the one with this slug or, since that can be
    /// renamed, the one that was at the top with it.
    pub(crate) fn default(&self, slug: &str, content_type: ContentType) -> Option<&SectionEntry> {
        let path = format!("/{slug}");
        let renamed = self.sections.iter().filter(|section| section.former_paths.contains(&path));
        let mut candidates = self.by_slug(slug, &Audience::Editors).into_iter().chain(renamed);
        let fits = |section: &&SectionEntry| section.content_type == content_type;
        let is_open = |section: &&SectionEntry| !section.is_deleted && !section.is_unreadable;
        candidates.find(|section| fits(section) && is_open(section))
    }
}

#[cfg(test)]
mod tests {
    use models::DisplayType;

    use super::*;

    fn section(number: u8, slug: &str, is_deleted: bool, is_public: bool) -> SectionEntry {
        SectionEntry {
            id: ObjectId::from_bytes([number; 12]),
            slug: slug.to_owned(),
            content_type: ContentType::Story,
            display_type: DisplayType::Feed,
            is_deleted,
            is_unreadable: false,
            is_public,
            path: is_public.then(|| format!("/{slug}")),
            former_paths: Vec::new(),
        }
    }

    #[test]
    fn what_is_deleted_or_not_public_is_hidden_in_one_order() {
        let (hidden, trash) = (section(2, "b", false, false), section(1, "a", true, false));
        let shown = section(3, "c", false, true);
        let one = Directory::new(vec![hidden.clone(), trash.clone(), shown.clone()]);
        let other = Directory::new(vec![shown, trash.clone(), hidden.clone()]);
        assert_eq!(one.hidden(), Hidden::Of([trash.id, hidden.id].into()));
        assert_eq!(one.hidden(), other.hidden());
    }

    #[test]
    fn a_slug_is_found_by_who_may_see_the_section() {
        let hidden = section(2, "b", false, false);
        let directory = Directory::new(vec![section(1, "b", true, false), hidden.clone()]);
        assert_eq!(directory.by_slug("b", &Audience::Public(directory.hidden())), None);
        assert_eq!(directory.by_slug("b", &Audience::Editors), Some(&hidden));
        assert_eq!(directory.default("b", ContentType::Story), Some(&hidden));
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
        assert_eq!(of(&[others.to_vec(), vec![renamed.clone()]].concat()), Some(renamed.id));
        let new = section(4, "blog", false, true);
        assert_eq!(of(&[renamed.clone(), new.clone()]), Some(new.id));
        let of_pages = SectionEntry { content_type: ContentType::Page, ..new };
        assert_eq!(of(&[of_pages, renamed.clone()]), Some(renamed.id));
    }
}
