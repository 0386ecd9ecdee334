//! Sections for the tests.

use crate::{ContentType, DisplayType, NavVisibility, ObjectId, PageMeta, Section, SectionLink};

/// Returns an id made of a number.
pub(super) fn id(number: u8) -> ObjectId {
    ObjectId::from_bytes([number; 12])
}

/// Returns a section for stories.
pub(super) fn section(number: u8, slug: &str, parent: Option<u8>, is_published: bool) -> Section {
    Section {
        id: id(number),
        title: slug.to_uppercase(),
        slug: slug.to_owned(),
        parent_id: parent.map(id),
        display_type: DisplayType::Feed,
        content_type: ContentType::Story.into(),
        nav_visibility: NavVisibility::Main,
        sort_order: 0,
        sort_by: None,
        is_published,
        is_home: false,
        created_date: None,
        updated_date: None,
        path: None,
        link: SectionLink::default(),
        page: PageMeta::default(),
    }
}
