//! Pictures and videos: the grid, their texts, and uploads.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use maud::{Markup, html};
use models::media::{MediaPlace, PlaceType, SitePart};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    content::{Item, moment, page_of, text as text_of},
    unread,
};
use crate::{
    api::{Failure, Problem, Tagged},
    fields::{Errors, Field, one_line, shortened},
    form::Form,
    guard::{Visit, refused},
    layout::{self, Notice},
    texts::{self, content as list_words, media as words, section as section_words},
    upload::FileForm,
};

/// The path of the list.
const PATH: &str = "/console/media";

/// The files of a page: some rows of a grid.
const PAGE_ITEMS: usize = 30;

/// The media types that the dialogue of a browser offers.
const ACCEPT: &str =
    "image/jpeg,image/png,image/gif,image/webp,image/avif,video/mp4,video/webm,video/quicktime";

/// The time limit of htmx for an upload, in place of that of other requests: that of the console.
const REQUEST: &str = r#"{"timeout":900000}"#;

/// The fields of the form of a file.
const NAMES: [&str; 2] = ["alt", "title"];

/// The part of the list that is shown.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct MediaQuery {
    #[serde(skip_serializing_if = "String::is_empty")]
    q: String,
    /// Not empty for the files that nothing shows.
    #[serde(skip_serializing_if = "String::is_empty")]
    unused: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    cursor: String,
    /// `uploaded` or `deleted` after that was done.
    #[serde(skip_serializing)]
    done: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FileQuery {
    /// `yes` or `no` after the form was saved.
    saved: String,
}

#[derive(Debug, Default, Deserialize)]
struct Listed {
    items: Vec<Item>,
    total: Option<u64>,
    next_cursor: Option<String>,
}

impl MediaQuery {
    /// Returns the address of another page of the same list.
    fn at(&self, cursor: &str) -> String {
        let query = Self { cursor: cursor.to_owned(), ..self.clone() };
        let query = serde_urlencoded::to_string(query).unwrap_or_default();
        if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{query}") }
    }

    fn is_filtered(&self) -> bool {
        !(self.q.is_empty() && self.unused.is_empty())
    }

    /// Returns the request for the page.
    fn request(&self) -> String {
        let limit = PAGE_ITEMS.to_string();
        let mut pairs = vec![("limit", limit.as_str())];
        let unused = if self.unused.is_empty() { "" } else { "true" };
        for (name, value) in [("q", &*self.q), ("unused", unused), ("cursor", &*self.cursor)] {
            if !value.is_empty() {
                pairs.push((name, value));
            }
        }
        format!("/media?{}", serde_urlencoded::to_string(pairs).unwrap_or_default())
    }
}

/// Shows the grid.
pub(crate) async fn list(visit: Visit, query: web::Query<MediaQuery>) -> HttpResponse {
    let done = match query.done.as_str() {
        "uploaded" => Some(words::UPLOADED),
        "deleted" => Some(words::DELETED),
        _ => None,
    };
    let errors = done.map_or_else(Errors::default, |text| Errors::message(Notice::done(text)));
    page(&visit, &query, &errors).await
}

/// Uploads files.
pub(crate) async fn upload(
    visit: Visit,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let Some(form) = FileForm::begin(&request, payload).await else {
        return refused(&request, 403, texts::error::FORGED);
    };
    if let Err(refusal) = visit.check(&form.fields) {
        return *refusal;
    }
    let (media_type, body) = form.into_body();
    match visit.api().upload(&media_type, body).await {
        Ok(()) => layout::redirect(&format!("{PATH}?done=uploaded")),
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(failure) => {
            let errors = match &failure {
                Failure::Refused(Problem { status, detail, errors, .. }) => {
                    let text = errors.first().map_or(detail, |error| &error.message);
                    Errors::field("files", *status, text)
                }
                failure => Errors::message(Notice::of(failure)),
            };
            page(&visit, &MediaQuery::default(), &errors).await
        }
    }
}

async fn page(visit: &Visit, query: &MediaQuery, errors: &Errors) -> HttpResponse {
    let (listed, of_list) = match visit.api().get::<Listed>(&query.request()).await {
        Ok(listed) => (Some(listed.value), Errors::default()),
        Err(Failure::SignedOut) => return visit.failed(&Failure::SignedOut),
        Err(failure) => (None, Errors::of(&failure, &["q"])),
    };
    let notice = errors.notice.as_ref().or(of_list.notice.as_ref());
    let main = html! {
        h1 { (words::TITLE) }
        @if let Some(notice) = notice { (layout::notice(notice)) }
        form.card.wide method="post" action=(PATH) enctype="multipart/form-data"
            data-hx-boost="true" data-hx-request=(REQUEST) {
            (layout::mark(&visit.mark()))
            (Field::new("files", words::FILES, "").help(words::FILES_HELP).files(errors, ACCEPT))
            p hidden data-progress { (words::PROGRESS) " " progress aria-label=(words::PROGRESS) {} }
            div.actions { button type="submit" { (words::UPLOAD) } }
        }
        form.filters method="get" action=(PATH) role="search" {
            (Field::new("q", words::SEARCH, &query.q).text(&of_list, false))
            (Field::new("unused", words::UNUSED, &query.unused).help(words::UNUSED_HELP).tick(&of_list))
            div.actions {
                button type="submit" { (list_words::FILTER) }
                @if query.is_filtered() { a.button.quiet href=(PATH) { (list_words::RESET) } }
            }
        }
        @if let Some(listed) = &listed {
            @if listed.items.is_empty() {
                p.empty { (empty(query, listed)) }
            } @else {
                @if let Some(total) = listed.total { p.facts { (words::total(total)) } }
                ul.grid aria-label=(words::LIST) { @for file in &listed.items { (tile(file)) } }
            }
            nav.actions aria-label=(list_words::PAGES) {
                @if !query.cursor.is_empty() {
                    a.button.quiet href=(query.at("")) { (list_words::FIRST) }
                }
                @if let Some(cursor) = &listed.next_cursor {
                    a.button.quiet href=(query.at(cursor)) { (list_words::NEXT) }
                }
            }
        }
    };
    let status = notice.map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, words::TITLE, &main)
}

/// Returns the text of a page without files.
fn empty(query: &MediaQuery, listed: &Listed) -> &'static str {
    if listed.next_cursor.is_some() {
        words::MORE
    } else if query.is_filtered() {
        list_words::EMPTY_FILTERED
    } else {
        words::EMPTY
    }
}

/// Returns the name of a file: its title, or the name that it had.
fn name_of(file: &Item) -> String {
    let names = ["title", "original_name", "url"].map(|name| text_of(file, name));
    shortened(names.into_iter().find(|name| !name.is_empty()).unwrap_or_default())
}

fn is_video(file: &Item) -> bool {
    text_of(file, "media_type").starts_with("video/")
}

fn tile(file: &Item) -> Markup {
    html! {
        li {
            a href={ (PATH) "/" (text_of(file, "id")) } {
                @if is_video(file) {
                    span.video { (words::VIDEO) }
                } @else {
                    img src={ (text_of(file, "url")) "?size=500" } alt="" loading="lazy";
                }
                bdi { (name_of(file)) }
            }
            @if !is_video(file) && text_of(file, "alt").is_empty() {
                span.badge.off { (words::NO_ALT) }
            }
        }
    }
}

/// The texts of a file, in the order of [`NAMES`].
type Texts = [String; NAMES.len()];

fn stored(file: &Item) -> Texts {
    NAMES.map(|name| one_line(text_of(file, name)))
}

async fn read(visit: &Visit, id: &str) -> Result<Tagged<Item>, Failure> {
    visit.api().get(&route(id)?).await
}

/// Returns the path of a file in the API. An id that is none has no file.
fn route(id: &str) -> Result<String, Failure> {
    let id = super::id_of(id)?.ok_or_else(super::no_section)?;
    Ok(format!("/media/{id}"))
}

/// Shows a file.
pub(crate) async fn show(
    visit: Visit,
    id: web::Path<String>,
    query: web::Query<FileQuery>,
) -> HttpResponse {
    let now = match read(&visit, &id).await {
        Ok(now) => now,
        Err(failure) => return unread(&visit, &failure),
    };
    let done = match query.saved.as_str() {
        "yes" => Some(section_words::SAVED),
        "no" => Some(section_words::UNCHANGED),
        _ => None,
    };
    let errors = done.map_or_else(Errors::default, |text| Errors::message(Notice::done(text)));
    file_page(&visit, &now, &stored(&now.value), None, &errors)
}

/// Saves the texts of a file, or deletes it.
pub(crate) async fn act(visit: Visit, id: web::Path<String>, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let typed = NAMES.map(|name| sent.get(name).to_owned());
    let now = match read(&visit, &id).await {
        Ok(now) => now,
        Err(
            failure @ (Failure::SignedOut | Failure::Refused(Problem { status: 400 | 404, .. })),
        ) => return unread(&visit, &failure),
        Err(failure) => {
            // What was typed is shown, though nothing can be read.
            let value = [("id".to_owned(), Value::from(&**id))].into_iter().collect();
            let now = Tagged { value, tag: sent.get("tag").to_owned() };
            return file_page(&visit, &now, &typed, None, &Errors::of(&failure, &NAMES));
        }
    };
    let conflict = |now: &Tagged<Item>| {
        let errors = Errors::message(Notice::error(412, words::CONFLICT));
        file_page(&visit, now, &typed, Some(&stored(&now.value)), &errors)
    };
    let outcome = match sent.get("do") {
        "delete" => {
            let path = format!("/media/{}", text_of(&now.value, "id"));
            let deleted = visit.api().delete(&path, &now.tag).await;
            deleted.map(|()| layout::redirect(&format!("{PATH}?done=deleted")))
        }
        _ if sent.get("tag") != now.tag => return conflict(&now),
        _ => save(&visit, &now, &typed).await,
    };
    match outcome {
        Ok(response) => response,
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(Failure::Refused(Problem { status: 412, .. })) => match read(&visit, &id).await {
            Ok(now) => conflict(&now),
            Err(failure) => unread(&visit, &failure),
        },
        Err(failure) => {
            let errors = Errors::of(&failure, &NAMES);
            let texts = if sent.has("tag") { typed } else { stored(&now.value) };
            file_page(&visit, &now, &texts, None, &errors)
        }
    }
}

/// Saves the texts that were changed.
async fn save(visit: &Visit, now: &Tagged<Item>, typed: &Texts) -> Result<HttpResponse, Failure> {
    let id = text_of(&now.value, "id");
    let pairs = NAMES.into_iter().zip(stored(&now.value).into_iter().zip(typed));
    let changes: Map<String, Value> = pairs
        .filter(|(_, (before, after))| before != *after)
        .map(|(name, (_, after))| {
            let value = if after.is_empty() { Value::Null } else { after.as_str().into() };
            (name.to_owned(), value)
        })
        .collect();
    if changes.is_empty() {
        return Ok(layout::redirect(&format!("{PATH}/{id}?saved=no")));
    }
    let path = format!("/media/{id}");
    visit.api().write::<Item>(Method::PATCH, &path, &now.tag, &changes.into()).await?;
    Ok(layout::redirect(&format!("{PATH}/{id}?saved=yes")))
}

fn file_page(
    visit: &Visit,
    now: &Tagged<Item>,
    texts: &Texts,
    theirs: Option<&Texts>,
    errors: &Errors,
) -> HttpResponse {
    let file = &now.value;
    let action = format!("{PATH}/{}", text_of(file, "id"));
    let (name, url) = (name_of(file), text_of(file, "url"));
    let theirs = |index: usize| {
        theirs.map(|theirs| &theirs[index]).filter(|text| **text != texts[index]).cloned()
    };
    let main = html! {
        p.back { a href=(PATH) { "← " (words::TITLE) } }
        h1 { bdi { (name) } }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        @if !url.is_empty() { (shown(file, url)) }
        form.card method="post" action=(action) data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            input type="hidden" name="tag" value=(now.tag);
            (Field::new("alt", words::ALT, &texts[0]).help(words::ALT_HELP).stored(theirs(0))
                .text(errors, false))
            (Field::new("title", words::NAME, &texts[1]).help(words::NAME_HELP).stored(theirs(1))
                .text(errors, false))
            div.actions { button type="submit" name="do" value="save" { (section_words::SAVE) } }
        }
        @if !url.is_empty() {
            h2 { (words::PLACES) }
            (places(file))
            form method="post" action=(action) data-hx-boost="true" {
                (layout::mark(&visit.mark()))
                details.confirm {
                    summary { (section_words::DELETE) }
                    p { (words::DELETE_HELP) }
                    button.danger name="do" value="delete" { (words::DELETE) }
                }
            }
        }
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, words::TITLE, &main)
}

/// Returns the file with its facts.
fn shown(file: &Item, url: &str) -> Markup {
    let number = |name: &str| file.get(name).and_then(Value::as_u64);
    html! {
        @if is_video(file) {
            video.shown src=(url) controls preload="metadata" aria-label=(name_of(file)) {}
        } @else {
            img.shown src={ (url) "?size=750" } alt=(text_of(file, "alt"));
        }
        p.facts {
            code { (url) } " · " (text_of(file, "media_type"))
            @if let (Some(width), Some(height)) = (number("width"), number("height")) {
                " · " (width) " × " (height)
            }
            @if let Some(bytes) = number("bytes") { " · " (words::size(bytes)) }
            " · " (words::UPLOADED_AT) " " (moment(file, "createdDate"))
        }
    }
}

/// Returns the items that show a file.
fn places(file: &Item) -> Markup {
    let places = file.get("used_in").and_then(Value::as_array).into_iter().flatten();
    let places: Vec<_> = places.filter_map(|place| MediaPlace::deserialize(place).ok()).collect();
    html! {
        @if places.is_empty() { p { (words::NO_PLACE) } }
        ul {
            @for MediaPlace { content_type, id, title, deleted } in &places {
                li {
                    @let name = if title.is_empty() { list_words::UNTITLED } else { title };
                    @if *deleted {
                        bdi { (shortened(name)) } " " span.badge.off { (words::IN_TRASH) }
                    } @else {
                        a href=(place_page(*content_type, id)) { bdi { (shortened(name)) } }
                    }
                    " " span.kind { (place_type(*content_type)) }
                }
            }
        }
    }
}

/// Returns the page on which a place is changed.
fn place_page(content_type: PlaceType, id: &str) -> String {
    match content_type {
        PlaceType::Item(kind) => page_of(kind, id),
        PlaceType::Part(SitePart::Section) => format!("/console/sections/{id}"),
        PlaceType::Part(SitePart::Site) => "/console/site".to_owned(),
    }
}

fn place_type(content_type: PlaceType) -> String {
    match content_type {
        PlaceType::Item(kind) => texts::words::kinds(kind),
        PlaceType::Part(SitePart::Section) => words::A_SECTION.to_owned(),
        PlaceType::Part(SitePart::Site) => texts::site::TITLE.to_owned(),
    }
}
