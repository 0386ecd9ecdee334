//! Pages: the oldest of a section that shows one is its whole content; others have slugs.

use models::{ContentType, Moment, Patch, Slug, Title, patch::not_null};
use mongo_kit::lenient::FieldReader;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::bodies::{READ_ONLY, bodies};
use crate::{
    domain::{content::ContentMeta, html_content::HtmlContent},
    store::kind::{Address, Changes, Kind, OwnFields},
};

/// A page: the whole content of a section that shows one, or with a slug a page below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page {
    /// The common members.
    #[serde(flatten)]
    meta: ContentMeta,
    /// The text, as HTML.
    content: String,
    /// The place of the page on the site, such as `about`.
    #[schema(required = true)]
    page_type: Option<String>,
    /// The last part of the page's path below that of its section, or null if it has none.
    #[schema(required = true)]
    slug: Option<String>,
}

models::text! {
    /// The place of a page on the site, such as `about`: a part of the address of the page.
    pub(crate) PageType = segment, 100, "about"
}

bodies! {
    /// A new page.
    #[schema(examples(json!({"title": "About", "content": "<p>Who we are.</p>", "page_type": "about", "is_published": true})))]
    PageCreate,
    /// The new state of a page. Members that are left out stay as they are.
    #[schema(examples(json!({"title": "About", "content": "<p>Who we are.</p>"})))]
    PageReplace,
    /// Changes of a page.
    #[schema(examples(json!({"content": "<p>Who we are now.</p>"})))]
    PagePatch,
    read_only: READ_ONLY,
    nullable: {
        /// The place of the page on the site, such as `about`.
        page_type: PageType,
        /// The last part of the page's path below that of its section. A section that shows one page can
        /// have further ones with slugs.
        slug: Slug,
    },
    plain: {}
}

impl Kind for Page {
    const TYPE: ContentType = ContentType::Page;
    const NAME: &'static str = "Page";
    const ADDRESS: Address = Address::Field { name: "page_type", segment: "type" };
    const INDEX_MIGRATION: Option<&'static str> = None;

    type Card = Self;
    type Create = PageCreate;
    type Replace = PageReplace;
    type Patch = PagePatch;

    fn read(meta: ContentMeta, reader: &mut FieldReader<'_>) -> Self {
        Self {
            meta,
            content: reader.text("content").unwrap_or_default(),
            page_type: reader.text("page_type"),
            slug: reader.text("slug").filter(|slug| !slug.is_empty()),
        }
    }

    fn into_card(self) -> Self {
        self
    }

    fn take_content(&mut self) -> String {
        std::mem::take(&mut self.content)
    }

    fn meta(&self) -> &ContentMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ContentMeta {
        &mut self.meta
    }

    fn slug(&self) -> &str {
        self.slug.as_deref().unwrap_or_default()
    }

    fn changes(mut body: PagePatch) -> Changes {
        let common = body.take_common();
        Changes {
            default_section: default_section(body.page_type.as_ref().value()),
            slug: body.slug,
            own: OwnFields::default().set_text("page_type", body.page_type),
            ..common
        }
    }
}

/// Returns the slug of the section that shows the page of a type.
fn default_section(page_type: Option<&PageType>) -> Option<&'static str> {
    match page_type?.as_str() {
        "about" => Some("about"),
        "contact" => Some("contact"),
        _ => None,
    }
}
