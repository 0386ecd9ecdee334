//! The sitemap of the site (sitemaps.org): an index, and parts of at most 50,000 addresses.

use std::{collections::HashSet, sync::LazyLock};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    web::{Bytes, Data},
};
use chrono::SecondsFormat;
use data_service::{changes::Answer, database_error};
use futures_util::{Stream, StreamExt, stream::BoxStream};
use models::{
    ContentType, ErrorCode, FieldError, ObjectId, PageMeta, PathResolution, UrlOrPath,
    site_path::canonical,
};
use mongodb::error::Result as MongoResult;
use serde::Deserialize;
use service_kit::web::{conditional::text_response, error::ApiError, extract::Query};
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa::IntoParams;

use super::{
    error_sets::AddressesErrors,
    sections::{Sections, paths},
    xml::Xml,
};
use crate::{
    domain::{audience::Directory, item_paths::ItemPaths},
    kinds::Collections,
    store::{
        site::{SITE_KEY, SiteStore},
        sitemap::{Addressed, MAX_ADDRESSES, PartStart},
    },
};

/// The namespace of sitemaps.
const NAMESPACE: &str = "http://www.sitemaps.org/schemas/sitemap/0.9";

/// The type of sitemaps.
pub(super) const XML: &str = "application/xml; charset=utf-8";

/// The name of the part with the paths of sections.
const SECTIONS_PART: &str = "sections";

/// The size of a piece of an answer, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// The most parts that are sent at the same time: each reads up to 50,000 items. Crawlers read one after
/// the other.
const MAX_PARTS: usize = 8;

static PARTS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(MAX_PARTS));

/// The query of a sitemap.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SitemapQuery {
    /// The name of a part, as the index has it. Without it, the answer is the index.
    #[param(max_length = 1024)]
    part: Option<String>,
}

/// Returns the sitemap: the index, or a part.
///
/// It has the address of the site, the paths of its public sections, and those of its public items, with
/// the dates of their last changes. Pages with `noindex`, or with another `canonical` address than their
/// own, are not in it. Addresses are made of the setting `site.url`; without it, there is no
/// sitemap.
#[utoipa::path(
    get,
    operation_id = "sitemap",
    path = "/sitemap.xml",
    tag = "site",
    params(SitemapQuery),
    responses(
        (status = 200, description = "The index or the part.", body = String,
            content_type = "application/xml"),
        AddressesErrors
    )
)]
pub(super) async fn sitemap(
    request: HttpRequest,
    query: Query<SitemapQuery>,
    site: Data<SiteStore>,
    sections: Data<Sections>,
    collections: Data<Collections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    answer.add_keys([SITE_KEY.to_owned()]);
    let url = site_url(&site)?;
    let part = query.0.part.as_deref().map(Part::parse).transpose()?;
    let directory = sections.latest(&answer).await?;
    let ids = shown(&directory);
    match part {
        None => {
            let mut xml = Xml::new();
            xml.open("sitemapindex", &[("xmlns", NAMESPACE)]);
            let mut add = |part: &str| {
                xml.open("sitemap", &[]);
                xml.text("loc", &format!("{url}/sitemap.xml?part={part}"));
                xml.close("sitemap");
            };
            add(SECTIONS_PART);
            for collection in collections.iter() {
                let kind = collection.kind();
                answer.add_keys([kind.keys().list()]);
                for start in collection.address_parts(&ids).await.map_err(database_error)? {
                    add(&name(kind.content_type(), &start));
                }
            }
            xml.close("sitemapindex");
            Ok(text_response(&request, XML, xml.take()))
        }
        Some(Part::Sections) => {
            let unlisted = unlisted(url, &directory, &collections, &answer).await?;
            Ok(text_response(&request, XML, of_sections(url, &directory, &unlisted)))
        }
        Some(Part::Items(content_type, start)) => {
            let collection = collections.of(content_type);
            answer.add_keys([collection.kind().keys().list()]);
            let place = PARTS.try_acquire().map_err(|_| {
                let detail = "Too many parts of the sitemap are read at the same time.";
                ApiError::new(ErrorCode::Overloaded, detail).retry_after_seconds(1)
            })?;
            let mut response = HttpResponse::Ok();
            response.insert_header((CONTENT_TYPE, XML)).insert_header((CACHE_CONTROL, "no-cache"));
            if request.method() == Method::HEAD {
                return Ok(response.finish());
            }
            let items = collection.addressed(&ids, &start).await.map_err(database_error)?;
            let paths = paths(Some(directory), collection, &answer).await?;
            let items = ItemPart::new(url.to_owned(), paths, items, place);
            Ok(response.streaming(items.pieces()))
        }
    }
}

/// Returns the address of the site, or the error that it is not known.
pub(super) fn site_url(site: &SiteStore) -> Result<&str, ApiError> {
    site.url().ok_or_else(|| {
        let detail = "The public address of the site is not known: the operator sets `site.url`.";
        ApiError::new(ErrorCode::NotFound, detail)
    })
}

/// Returns the sections that have a path.
fn shown(directory: &Directory) -> Vec<ObjectId> {
    let shown = directory.entries().iter().filter(|entry| entry.section.path.is_some());
    shown.map(|entry| entry.section.id).collect()
}

/// A part of the sitemap.
#[derive(Debug, PartialEq)]
enum Part {
    /// The site itself, and its sections.
    Sections,
    /// Items of a kind.
    Items(ContentType, PartStart),
}

impl Part {
    fn parse(name: &str) -> Result<Self, ApiError> {
        if name == SECTIONS_PART {
            return Ok(Self::Sections);
        }
        let (kind, start) = name.split_once('-').unwrap_or((name, ""));
        let content_type = ContentType::of_collection(kind);
        match content_type.zip(PartStart::from_text(start)) {
            Some((content_type, start)) => Ok(Self::Items(content_type, start)),
            None => {
                let message = "must be a part that `/sitemap.xml` names";
                Err(ApiError::invalid(FieldError::invalid("part", message)))
            }
        }
    }
}

/// Returns the name of a part of items.
fn name(content_type: ContentType, start: &PartStart) -> String {
    let (kind, start) = (content_type.collection(), start.to_text());
    if start.is_empty() { kind.to_owned() } else { format!("{kind}-{start}") }
}

/// Returns `true` if the page at a path belongs to the sitemap: search engines may list it, and at this
/// address.
fn is_listed(page: &PageMeta, url: &str, path: &str) -> bool {
    !page.noindex && page.canonical.as_deref().is_none_or(|address| is_own(address, url, path))
}

/// Returns `true` if an address is that of a path of the site. One that search engines cannot read is
/// ignored, as they do.
fn is_own(address: &str, url: &str, path: &str) -> bool {
    if UrlOrPath::try_from(address.to_owned()).is_err() {
        return true;
    }
    let own = match address.split_at_checked(url.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(url) => rest,
        _ if address.starts_with('/') => address,
        _ => return false,
    };
    // A fragment is a place on the same page.
    let own = own.split('#').next().unwrap_or_default();
    canonical(own.trim_end_matches('/')) == path.trim_end_matches('/')
}

/// Returns the sections whose item keeps their page out of the sitemap: the item that is the whole content
/// of the section.
async fn unlisted(
    url: &str,
    directory: &Directory,
    collections: &Collections,
    answer: &Answer,
) -> Result<HashSet<ObjectId>, ApiError> {
    let mut unlisted = HashSet::new();
    for collection in collections.iter() {
        let static_pages = directory.static_pages(collection.kind().content_type());
        if static_pages.is_empty() {
            continue;
        }
        answer.add_keys([collection.kind().keys().list()]);
        let shown = collection.shown_items(static_pages).await.map_err(database_error)?;
        answer.limit(shown.revision);
        let ids: Vec<_> = shown.value.values().map(String::as_str).collect();
        let pages = collection.page_metas(&ids).await.map_err(database_error)?;
        unlisted.extend(shown.value.iter().filter_map(|(section, id)| {
            let path = directory.by_id(*section)?.section.path.as_deref()?;
            (!is_listed(pages.get(id)?, url, path)).then_some(*section)
        }));
    }
    Ok(unlisted)
}

/// Returns the part with the address of the site and those of its sections.
fn of_sections(url: &str, directory: &Directory, unlisted: &HashSet<ObjectId>) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.open("urlset", &[("xmlns", NAMESPACE)]);
    let home = match directory.resolve("/", false) {
        Some(PathResolution::Found(found)) => Some(found.section),
        Some(PathResolution::Moved { .. }) | None => None,
    };
    let root = [("/", home.as_ref())].into_iter();
    let sections = directory.entries().iter().map(|entry| &entry.section);
    let sections = sections.filter_map(|section| Some((section.path.as_deref()?, Some(section))));
    let listed = root.chain(sections).filter(|(path, section)| {
        section.is_none_or(|section| {
            is_listed(&section.page, url, path) && !unlisted.contains(&section.id)
        })
    });
    for (path, _) in listed.take(MAX_ADDRESSES) {
        xml.open("url", &[]);
        xml.text("loc", &format!("{url}{path}"));
        xml.close("url");
    }
    xml.close("urlset");
    xml.take()
}

/// A part with items, which is written while they are read.
struct ItemPart {
    url: String,
    paths: ItemPaths,
    /// `None` after the last one.
    items: Option<BoxStream<'static, MongoResult<Addressed>>>,
    xml: Xml,
    _place: SemaphorePermit<'static>,
}

impl ItemPart {
    fn new(
        url: String,
        paths: ItemPaths,
        items: BoxStream<'static, MongoResult<Addressed>>,
        place: SemaphorePermit<'static>,
    ) -> Self {
        let mut xml = Xml::new();
        xml.open("urlset", &[("xmlns", NAMESPACE)]);
        Self { url, paths, items: Some(items), xml, _place: place }
    }

    /// Returns the pieces of the document. An error of the database ends them, so that the client knows
    /// that the answer is not whole.
    fn pieces(self) -> impl Stream<Item = MongoResult<Bytes>> {
        futures_util::stream::unfold(self, |mut this| async move {
            let piece = this.piece().await.transpose()?;
            Some((piece, this))
        })
    }

    async fn piece(&mut self) -> MongoResult<Option<Bytes>> {
        let Some(items) = &mut self.items else { return Ok(None) };
        while let Some(item) = items.next().await.transpose()? {
            let Addressed { id, slug, section, changed, page } = item;
            // The path of a section that shows one item is that of the section.
            let path = self.paths.path_below(&section, &id, &slug);
            let path = path.filter(|path| is_listed(&page, &self.url, path));
            let Some(path) = path else { continue };
            self.xml.open("url", &[]);
            self.xml.text("loc", &format!("{}{path}", self.url));
            if let Some(changed) = changed {
                let date = changed.to_rfc3339_opts(SecondsFormat::Secs, true);
                self.xml.text("lastmod", &date);
            }
            self.xml.close("url");
            if self.xml.len() >= PIECE_BYTES {
                return Ok(Some(self.xml.take().into()));
            }
        }
        self.items = None;
        self.xml.close("urlset");
        Ok(Some(self.xml.take().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_listed_at_its_canonical_address_alone() {
        let url = "https://example.com/site";
        let page = |canonical: &str| PageMeta {
            canonical: Some(canonical.to_owned()),
            ..PageMeta::default()
        };
        for own in [
            "/notes/caf%C3%A9",
            "/notes/caf%c3%a9/",
            "/notes/café#top",
            "https://example.com/site/notes/café",
            "HTTPS://Example.com/site/notes/caf%C3%A9/#x",
            // No addresses: crawlers ignore them.
            "see the other page",
            "javascript:alert(1)",
            "//example.org/x",
        ] {
            assert!(is_listed(&page(own), url, "/notes/caf%C3%A9"), "{own}");
        }
        for other in [
            "/",
            "/notes",
            "/notes/cafe",
            "/notes/café?page=2",
            "https://example.com/notes/café",
            "https://example.com/site2/notes/café",
            "https://example.org/site/notes/café",
            "http://example.com/site/notes/café",
        ] {
            assert!(!is_listed(&page(other), url, "/notes/caf%C3%A9"), "{other}");
        }
        for root in ["/", "https://example.com/site", "https://example.com/site/"] {
            assert!(is_listed(&page(root), url, "/"), "{root}");
        }
        let hidden = PageMeta { noindex: true, ..page("/notes") };
        assert!(!is_listed(&hidden, url, "/notes"));
    }

    #[test]
    fn parts_are_known_by_their_names() {
        assert!(matches!(Part::parse("sections"), Ok(Part::Sections)));
        for content_type in ContentType::ALL {
            let part = Part::parse(&name(content_type, &PartStart::FIRST)).unwrap();
            assert_eq!(part, Part::Items(content_type, PartStart::FIRST));
        }
        for wrong in ["", "users", "stories-1", "stories-*", "Stories", "sections-1", "stories/1"] {
            assert!(Part::parse(wrong).is_err(), "{wrong}");
        }
    }
}
