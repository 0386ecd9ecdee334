//! The feeds of sections: RSS 2.0, Atom (RFC 4287) and JSON Feed 1.1.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, LOCATION},
    web::Data,
};
use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use data_service::{changes::Answer, database_error};
use models::{PathResolution, ResolvedPath};
use serde_json::{Value, json};
use service_kit::web::{conditional::text_response, error::ApiError, extract::NoQuery};

use super::{
    error_sets::AddressesErrors,
    errors::list_error,
    sections::{Sections, hidden, paths},
    sitemap::site_url,
    xml::Xml,
};
use crate::{
    domain::{audience::Audience, item_paths::ItemPaths, list::Limit, site::Site},
    kinds::{Collections, ContentCollection},
    store::site::{SITE_KEY, SiteStore},
};

/// The number of items of a feed: readers ask every hour or so.
const ITEMS: u64 = 20;

/// The most bytes of the texts of all items, so that the gateway keeps the feed. Items beyond that have
/// their summary alone.
const MAX_CONTENT_BYTES: usize = 512 * 1024;

/// A format of feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Rss,
    Atom,
    Json,
}

impl Format {
    const ALL: [Self; 3] = [Self::Rss, Self::Atom, Self::Json];

    /// Returns the end of addresses of feeds in this format.
    const fn extension(self) -> &'static str {
        match self {
            Self::Rss => ".rss",
            Self::Atom => ".atom",
            Self::Json => ".json",
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Rss => "application/rss+xml; charset=utf-8",
            Self::Atom => "application/atom+xml; charset=utf-8",
            Self::Json => "application/feed+json; charset=utf-8",
        }
    }
}

/// Returns the feed of a section.
///
/// `path` is that of the section with the format at its end: `/feeds/blog.rss`, `/feeds/blog.atom` or
/// `/feeds/notes/tides.json`. A feed has the newest 20 public items that have a path. The feed of a
/// section that was moved is redirected. Addresses are made of the setting `site.url`; without it, there
/// are no feeds.
#[utoipa::path(
    get,
    operation_id = "feed",
    path = "/feeds/{path}",
    tag = "site",
    params(
        ("path" = String, Path,
            description = "The path of the section, with `.rss`, `.atom` or `.json` at its end."),
        ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "The state that the caller has.")
    ),
    responses(
        (status = 200, description = "The feed.", content(
            (String = "application/rss+xml"),
            (String = "application/atom+xml"),
            (Object = "application/feed+json")
        )),
        (status = 301, description = "The section has another path: `Location` is its feed."),
        (status = 304, description = "The feed has not changed."),
        AddressesErrors
    ),
    // Several segments.
    extensions(("x-path-tail" = json!(true)))
)]
pub(super) async fn feed(
    request: HttpRequest,
    _: NoQuery,
    site: Data<SiteStore>,
    sections: Data<Sections>,
    collections: Data<Collections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    answer.add_keys([SITE_KEY.to_owned()]);
    let url = site_url(&site)?;
    // As the client sent it: the path of a section may have escapes.
    let path = request.uri().path();
    let path = path.strip_prefix("/feeds").unwrap_or(path);
    let format = Format::ALL.into_iter().find(|one| path.ends_with(one.extension()));
    let no_feed = || ApiError::not_found("Feed");
    let format = format.ok_or_else(no_feed)?;
    let path = path.strip_suffix(format.extension()).unwrap_or(path);
    let latest = sections.latest(&answer).await?;
    let (directory, resolution) =
        match latest.resolve(path, false).filter(|found| is_section(found, path)) {
            Some(resolution) => (latest, resolution),
            None => {
                // It may have been created, published or moved a moment ago.
                let newest = sections.newest(&answer).await?;
                let resolution = newest
                    .resolve(path, false)
                    .filter(|found| is_section(found, path))
                    .ok_or_else(no_feed)?;
                (newest, resolution)
            }
        };
    let found = match resolution {
        PathResolution::Found(found) => found,
        PathResolution::Moved { moved_to } => {
            let location = format!("{url}/feeds{moved_to}{}", format.extension());
            return Ok(HttpResponse::MovedPermanently()
                .insert_header((LOCATION, location))
                // The section may be renamed back.
                .insert_header((CACHE_CONTROL, "no-cache"))
                .finish());
        }
    };
    let collection = collections.of(found.section.content_type);
    let audience = Audience::Public(hidden(&directory, collection, &answer).await?);
    let facts = site.get().await.map_err(database_error)?;
    answer.limit(facts.revision);
    let paths = paths(Some(directory), collection, &answer).await?;
    let context = FeedContext { url, found: &found, site: &facts.value };
    let feed = context.feed(collection, &audience, &paths, &answer).await?;
    let body = match format {
        Format::Rss => feed.rss(),
        Format::Atom => feed.atom(),
        Format::Json => feed.json(),
    };
    Ok(text_response(&request, format.media_type(), body))
}

/// Returns `true` if a path leads to a section and no further. The home has its feed at its own path
/// alone.
fn is_section(resolution: &PathResolution, path: &str) -> bool {
    match resolution {
        PathResolution::Found(found) => {
            found.rest.is_empty() && (path != "/" || found.path == path)
        }
        PathResolution::Moved { .. } => true,
    }
}

/// A section, and the site that it belongs to.
struct FeedContext<'a> {
    url: &'a str,
    found: &'a ResolvedPath,
    site: &'a Site,
}

/// A feed.
struct Feed {
    /// The public address of the site.
    site_url: String,
    title: String,
    description: String,
    language: Option<String>,
    author: String,
    /// The address of the section.
    url: String,
    /// The address of the feed without its format.
    own_url: String,
    updated: DateTime<Utc>,
    entries: Vec<Entry>,
}

/// An item of a feed.
struct Entry {
    /// A tag URI (RFC 4151), which stays the same wherever the item is moved.
    id: String,
    url: String,
    title: String,
    summary: Option<String>,
    content: Option<String>,
    image: Option<String>,
    published: Option<DateTime<Utc>>,
    updated: Option<DateTime<Utc>>,
}

impl FeedContext<'_> {
    async fn feed(
        &self,
        collection: &dyn ContentCollection,
        audience: &Audience,
        paths: &ItemPaths,
        answer: &Answer,
    ) -> Result<Feed, ApiError> {
        let Self { url, found, site, .. } = self;
        let section = &found.section;
        answer.add_keys([collection.kind().keys().list()]);
        let limit = Limit::try_from(ITEMS).unwrap_or_default();
        let newest = collection.newest(section.id, audience, limit, paths).await;
        let newest = newest.map_err(list_error)?;
        answer.limit(newest.revision);
        let mut rest = MAX_CONTENT_BYTES;
        let mut entries = Vec::with_capacity(newest.items.len());
        for item in &newest.items {
            let Some(path) = text(item, "path") else { continue };
            let id = text(item, "id").unwrap_or_default();
            let content = text(item, "content").filter(|content| content.len() <= rest);
            rest -= content.as_ref().map_or(0, String::len);
            let kind = collection.kind().content_type().collection();
            entries.push(Entry {
                id: self.tag(&format!("{kind}/{id}")),
                url: format!("{url}{path}"),
                title: text(item, "title").unwrap_or_default(),
                summary: text(item, "description").or_else(|| text(item, "summary")),
                content,
                image: text(item, "image_url")
                    .or_else(|| text(item, "social_image"))
                    .map(|image| self.absolute(&image)),
                published: date(item, "createdDate"),
                updated: date(item, "updatedDate").or_else(|| date(item, "createdDate")),
            });
        }
        let newest = entries.iter().filter_map(|entry| entry.updated).max();
        let title = match site.title.as_deref() {
            Some(site) => format!("{} – {site}", section.title),
            None => section.title.clone(),
        };
        let description = site.description.clone().unwrap_or_else(|| title.clone());
        Ok(Feed {
            site_url: (*url).to_owned(),
            author: site.title.clone().unwrap_or_else(|| self.host().to_owned()),
            title,
            description,
            language: site.language.clone(),
            url: format!("{url}{}", found.path),
            own_url: format!("{url}/feeds{}", found.path),
            updated: newest.or(section.updated_date).unwrap_or_default(),
            entries,
        })
    }

    /// Returns the host of the site.
    fn host(&self) -> &str {
        let address = self.url.split_once("://").map_or(self.url, |(_, rest)| rest);
        address.split(['/', ':']).next().unwrap_or_default()
    }

    fn tag(&self, specific: &str) -> String {
        // The year is any in which the owner of the site had its domain.
        let path = models::site_path::join("", specific);
        format!("tag:{},2024:{path}", self.host())
    }

    /// Returns the address of a picture, which may be a path of the site.
    fn absolute(&self, address: &str) -> String {
        match address.strip_prefix("//") {
            Some(rest) => {
                let scheme = self.url.split_once("://").map_or("https", |(scheme, _)| scheme);
                format!("{scheme}://{rest}")
            }
            None if address.starts_with('/') => format!("{}{address}", self.url),
            None => address.to_owned(),
        }
    }
}

/// Returns a member of an item that is a text and not empty.
fn text(item: &Value, member: &str) -> Option<String> {
    item[member].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn date(item: &Value, member: &str) -> Option<DateTime<Utc>> {
    let date = DateTime::parse_from_rfc3339(item[member].as_str()?);
    date.ok().map(|date| date.with_timezone(&Utc))
}

/// Returns a date as RSS has it, whose years have four digits.
fn rfc2822(date: DateTime<Utc>) -> String {
    let has_four_digits = (0..=9_999).contains(&date.year());
    (if has_four_digits { date } else { DateTime::UNIX_EPOCH }).to_rfc2822()
}

/// Returns a date as Atom and JSON Feed have it.
fn rfc3339(date: DateTime<Utc>) -> String {
    date.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Feed {
    fn rss(&self) -> Vec<u8> {
        let mut xml = Xml::new();
        let namespaces = [
            ("version", "2.0"),
            ("xmlns:atom", "http://www.w3.org/2005/Atom"),
            ("xmlns:content", "http://purl.org/rss/1.0/modules/content/"),
        ];
        xml.open("rss", &namespaces);
        xml.open("channel", &[]);
        xml.text("title", &self.title);
        xml.text("link", &self.url);
        xml.text("description", &self.description);
        if let Some(language) = &self.language {
            xml.text("language", language);
        }
        xml.text("lastBuildDate", &rfc2822(self.updated));
        let own = format!("{}{}", self.own_url, Format::Rss.extension());
        let link = [("href", &*own), ("rel", "self"), ("type", "application/rss+xml")];
        xml.empty("atom:link", &link);
        for entry in &self.entries {
            xml.open("item", &[]);
            xml.text("title", &entry.title);
            xml.text("link", &entry.url);
            xml.text_with("guid", &[("isPermaLink", "false")], &entry.id);
            if let Some(published) = entry.published {
                xml.text("pubDate", &rfc2822(published));
            }
            if let Some(summary) = &entry.summary {
                xml.text("description", summary);
            }
            if let Some(content) = &entry.content {
                xml.text("content:encoded", content);
            }
            xml.close("item");
        }
        xml.close("channel");
        xml.close("rss");
        xml.take()
    }

    fn atom(&self) -> Vec<u8> {
        let mut xml = Xml::new();
        let mut attributes = vec![("xmlns", "http://www.w3.org/2005/Atom")];
        let base = format!("{}/", self.site_url);
        attributes.push(("xml:base", &base));
        attributes.extend(self.language.as_deref().map(|language| ("xml:lang", language)));
        xml.open("feed", &attributes);
        xml.text("id", &self.url);
        xml.text("title", &self.title);
        xml.text("subtitle", &self.description);
        xml.text("updated", &rfc3339(self.updated));
        xml.open("author", &[]);
        xml.text("name", &self.author);
        xml.close("author");
        let own = format!("{}{}", self.own_url, Format::Atom.extension());
        xml.empty("link", &[("rel", "self"), ("href", &own), ("type", "application/atom+xml")]);
        xml.empty("link", &[("rel", "alternate"), ("href", &self.url), ("type", "text/html")]);
        for entry in &self.entries {
            xml.open("entry", &[]);
            xml.text("id", &entry.id);
            xml.text("title", &entry.title);
            xml.empty("link", &[("rel", "alternate"), ("href", &entry.url)]);
            xml.text("updated", &rfc3339(entry.updated.unwrap_or(self.updated)));
            if let Some(published) = entry.published {
                xml.text("published", &rfc3339(published));
            }
            if let Some(summary) = &entry.summary {
                xml.text("summary", summary);
            }
            if let Some(content) = &entry.content {
                xml.text_with("content", &[("type", "html"), ("xml:base", &entry.url)], content);
            }
            xml.close("entry");
        }
        xml.close("feed");
        xml.take()
    }

    fn json(&self) -> Vec<u8> {
        let items = self.entries.iter().map(|entry| {
            let mut item = json!({
                "id": entry.id,
                "url": entry.url,
                "title": entry.title,
                "date_published": entry.published.map(rfc3339),
                "date_modified": entry.updated.map(rfc3339),
                "summary": entry.summary,
                "image": entry.image,
                "content_html": entry.content,
            });
            if entry.content.is_none() {
                // One of the two is required.
                item["content_text"] = entry.summary.clone().unwrap_or_default().into();
            }
            without_null(item)
        });
        let feed = without_null(json!({
            "version": "https://jsonfeed.org/version/1.1",
            "title": self.title,
            "description": self.description,
            "home_page_url": self.url,
            "feed_url": format!("{}{}", self.own_url, Format::Json.extension()),
            "language": self.language,
            "authors": [{ "name": self.author }],
            "items": items.collect::<Vec<_>>(),
        }));
        feed.to_string().into_bytes()
    }
}

/// Removes the members that are null: a feed leaves out what it does not have.
fn without_null(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    value
}
