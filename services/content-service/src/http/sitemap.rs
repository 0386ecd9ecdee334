//! The sitemap of the site (sitemaps.org): an index, and parts of at most 50,000 addresses.

use std::sync::LazyLock;

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
use models::{ContentType, ErrorCode, FieldError, ObjectId};
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
/// the dates of their last changes. Addresses are made of the setting `site.url`; without it, there is no
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
        Some(Part::Sections) => Ok(text_response(&request, XML, of_sections(url, &directory))),
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

/// Returns the part with the address of the site and those of its sections.
fn of_sections(url: &str, directory: &Directory) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.open("urlset", &[("xmlns", NAMESPACE)]);
    let paths = directory.entries().iter().filter_map(|entry| entry.section.path.as_deref());
    for path in ["/"].into_iter().chain(paths).take(MAX_ADDRESSES) {
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
            let Addressed { id, slug, section, changed } = item;
            // The path of a section that shows one item is that of the section.
            let path = self.paths.path_below(&section, &id, &slug);
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
