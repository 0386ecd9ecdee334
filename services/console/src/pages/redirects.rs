//! Redirects: old paths, and what they lead to.

use actix_web::{HttpResponse, http::StatusCode, web};
use maud::{Markup, html};
use models::{ContentType, ObjectId, Section};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    content::{page_of, section_choice},
    navigation, sections,
};
use crate::{
    api::{Caller, Failure},
    fields::{Errors, Field, line_ends, shortened, ticked},
    form::Form,
    guard::Visit,
    layout::{self, Notice},
    texts::{content as list_words, redirects as words, section as section_words},
    tree::Tree,
};

/// The path of the list.
const PATH: &str = "/console/redirects";

/// The redirects of a page: the most that the API lists at once.
const PAGE_ITEMS: usize = 50;

/// The fields of the form of a redirect.
const NAMES: [&str; 5] = ["from", "to", "section", "status", "replace"];

/// The part of the list that is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RedirectsQuery {
    #[serde(skip_serializing_if = "String::is_empty")]
    prefix: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    cursor: String,
    /// Not empty after a redirect was saved.
    #[serde(skip_serializing)]
    saved: String,
}

/// The target that a new redirect begins with.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NewQuery {
    to: String,
}

/// A page of the list, as the API answers it.
#[derive(Debug, Default, Deserialize)]
struct Listed {
    items: Vec<Redirect>,
    total: u64,
    next_cursor: Option<String>,
    previous_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Redirect {
    from: String,
    to: Target,
    status: u16,
    leads_to: Option<String>,
    is_hidden: bool,
}

/// The target of a redirect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    Item { kind: String, id: String },
    Section { id: String },
    Address(String),
}

/// The outcome of a file, as the API answers it.
#[derive(Debug, Default, Deserialize)]
struct Imported {
    created: u64,
    changed: u64,
    unchanged: u64,
    refused: u64,
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    line: u64,
    from: String,
    outcome: String,
    #[serde(default)]
    errors: Vec<crate::api::FieldError>,
}

impl Target {
    /// Reads a target as files have it: `sections/{id}`, the same with a kind of content, or an address.
    fn of_text(text: &str) -> Self {
        let parts = text.split_once('/').filter(|(kind, id)| !kind.is_empty() && !id.is_empty());
        match parts {
            Some(("sections", id)) => Self::Section { id: id.to_owned() },
            Some((kind, id)) if ContentType::of_collection(kind).is_some() => {
                Self::Item { kind: kind.to_owned(), id: id.to_owned() }
            }
            _ => Self::Address(text.to_owned()),
        }
    }

    /// Returns the target as files have it.
    fn text(&self) -> String {
        match self {
            Self::Item { kind, id } => format!("{kind}/{id}"),
            Self::Section { id } => format!("sections/{id}"),
            Self::Address(address) => address.clone(),
        }
    }

    /// Returns the target as the API reads it.
    fn body(&self) -> Value {
        match self {
            Self::Item { kind, id } => json!({ "item": { "kind": kind, "id": id } }),
            Self::Section { id } => json!({ "section": { "id": id } }),
            Self::Address(address) => json!({ "address": address }),
        }
    }
}

impl RedirectsQuery {
    /// Returns the address of another page of the same list.
    fn at(&self, cursor: &str) -> String {
        let query = Self { cursor: cursor.to_owned(), ..self.clone() };
        let query = serde_urlencoded::to_string(query).unwrap_or_default();
        if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{query}") }
    }

    /// Returns the request for the page.
    fn request(&self) -> String {
        let query = serde_urlencoded::to_string(self).unwrap_or_default();
        let mark = if query.is_empty() { "" } else { "&" };
        format!("/redirects?limit={PAGE_ITEMS}{mark}{query}")
    }
}

/// Returns the address of the form of a redirect to an item.
pub(super) fn new_to_item(kind: ContentType, id: &str) -> String {
    let target = Target::Item { kind: kind.collection().to_owned(), id: id.to_owned() };
    let query = serde_urlencoded::to_string(NewQuery { to: target.text() }).unwrap_or_default();
    format!("{PATH}/new?{query}")
}

/// Returns the body of a request for a redirect.
fn body(from: &str, to: &Target, status: &str) -> Value {
    let mut body = json!({ "from": from, "to": to.body() });
    if !status.is_empty() {
        // The API says what is wrong with a status that is no number.
        body["status"] = status.parse::<u16>().map_or_else(|_| json!(status), Value::from);
    }
    body
}

/// Shows the list.
pub(crate) async fn show(visit: Visit, query: web::Query<RedirectsQuery>) -> HttpResponse {
    let saved = !query.saved.is_empty();
    let notice = saved.then(|| layout::notice(&Notice::done(words::SAVED)));
    page(&visit, &query, notice).await
}

/// Deletes a redirect, or adds it again.
pub(crate) async fn act(visit: Visit, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let back: RedirectsQuery = serde_urlencoded::from_str(sent.get("back")).unwrap_or_default();
    let api = visit.api();
    let outcome = match sent.get("delete") {
        "" => {
            let to = Target::of_text(sent.get("to"));
            let body = body(sent.get("from"), &to, sent.get("status"));
            let added = api.write::<Value>(Method::POST, "/redirects", "", &body).await;
            added.map(|_| layout::notice(&Notice::done(words::RESTORED)))
        }
        from => delete(api, from).await.map(|deleted| undo(&visit, &back, deleted.as_ref())),
    };
    match outcome {
        Ok(notice) => page(&visit, &back, Some(notice)).await,
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(failure) => page(&visit, &back, Some(layout::notice(&Notice::of(&failure)))).await,
    }
}

/// Deletes the redirect of a path, and returns it.
async fn delete(api: Caller<'_>, from: &str) -> Result<Option<Redirect>, Failure> {
    let path = format!("/redirects?{}", query_of("from", from));
    let before = api.get::<Listed>(&path).await?.value.items.pop();
    api.act(Method::DELETE, &path).await?;
    Ok(before)
}

fn query_of(name: &str, value: &str) -> String {
    serde_urlencoded::to_string([(name, value)]).unwrap_or_default()
}

/// Returns the message about a redirect that was deleted, with the form that adds it again.
fn undo(visit: &Visit, back: &RedirectsQuery, deleted: Option<&Redirect>) -> Markup {
    let Some(deleted) = deleted else { return html! {} };
    html! {
        div.notice role="status" {
            p { (words::DELETED) " " code { (shortened(&deleted.from)) } }
            form method="post" action=(PATH) data-hx-boost="true" {
                (layout::mark(&visit.mark()))
                (back_field(back))
                input type="hidden" name="from" value=(deleted.from);
                input type="hidden" name="to" value=(deleted.to.text());
                input type="hidden" name="status" value=(deleted.status);
                button type="submit" { (words::UNDO) }
            }
        }
    }
}

fn back_field(back: &RedirectsQuery) -> Markup {
    let back = serde_urlencoded::to_string(back).unwrap_or_default();
    html! { input type="hidden" name="back" value=(back); }
}

async fn page(visit: &Visit, query: &RedirectsQuery, result: Option<Markup>) -> HttpResponse {
    let api = visit.api();
    let all = match sections(api).await {
        Ok(all) => all,
        Err(failure) => return visit.failed(&failure),
    };
    let (listed, errors) = match api.get::<Listed>(&query.request()).await {
        Ok(listed) => (listed.value, Errors::default()),
        Err(Failure::SignedOut) => return visit.failed(&Failure::SignedOut),
        Err(failure) => (Listed::default(), Errors::of(&failure, &["prefix"])),
    };
    let is_filtered = !query.prefix.is_empty();
    let main = html! {
        div.head {
            h1 { (words::TITLE) }
            div.actions {
                a.button.quiet href={ (PATH) "/file" } { (words::FILE) }
                a.button href={ (PATH) "/new" } { (words::NEW) }
            }
        }
        (navigation::tabs(visit))
        p.intro { (words::INTRO) }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        @if let Some(result) = &result { (result) }
        @if is_filtered || !listed.items.is_empty() || errors.notice.is_some() {
            form.filters method="get" action=(PATH) role="search" {
                (Field::new("prefix", words::PREFIX, &query.prefix).text(&errors, false))
                div.actions {
                    button type="submit" { (list_words::FILTER) }
                    @if is_filtered { a.button.quiet href=(PATH) { (list_words::RESET) } }
                }
            }
        }
        @if !listed.items.is_empty() {
            p.facts { (words::total(listed.total)) }
            form method="post" action=(PATH) data-hx-boost="true" {
                (layout::mark(&visit.mark()))
                (back_field(query))
                ul.items aria-label=(words::LIST) {
                    @for redirect in &listed.items { (row(redirect, &all)) }
                }
            }
            (pager(query, &listed))
        } @else if errors.notice.is_none() {
            p.empty { (if is_filtered { words::EMPTY_FILTERED } else { words::EMPTY }) }
        }
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, words::TITLE, &main)
}

fn row(redirect: &Redirect, all: &[Section]) -> Markup {
    let Redirect { from, to, status, leads_to, is_hidden } = redirect;
    let shown = shortened(from);
    html! {
        li.row {
            span.name {
                strong { bdi { (shown) } }
                @if *status == 302 { " " span.badge { (words::FOR_A_TIME) } }
                @if *is_hidden { " " span.badge.off { (words::HIDDEN) } }
                @if leads_to.is_none() { " " span.badge.off { (words::LOST) } }
                br;
                span.facts {
                    (words::LEADS_TO) " " (target(to, leads_to.as_deref(), all))
                    @if *is_hidden { " · " (words::HIDDEN_HELP) }
                    @if leads_to.is_none() { " · " (words::LOST_HELP) }
                }
            }
            button.quiet name="delete" value=(from) aria-label=(words::delete(&shown)) {
                (words::DELETE)
            }
        }
    }
}

/// Returns the target, with the way to its page in the console.
fn target(to: &Target, leads_to: Option<&str>, all: &[Section]) -> Markup {
    let name = || shortened(leads_to.unwrap_or(&to.text()));
    match to {
        Target::Item { kind, id } => match ContentType::of_collection(kind) {
            Some(kind) => html! { a href=(page_of(kind, id)) { bdi { (name()) } } },
            None => html! { bdi { (name()) } },
        },
        Target::Section { id } => {
            let id = id.parse::<ObjectId>().ok();
            match all.iter().find(|one| Some(one.id) == id) {
                Some(section) => html! {
                    a href={ "/console/sections/" (section.id) } {
                        bdi { (shortened(&section.title)) }
                    }
                },
                None => html! { (words::A_SECTION) },
            }
        }
        Target::Address(address) => html! {
            code { (shortened(address)) }
            @if let Some(now) = leads_to.filter(|now| now != address) {
                ", " (words::NOW) " " code { (shortened(now)) }
            }
        },
    }
}

fn pager(query: &RedirectsQuery, listed: &Listed) -> Markup {
    let link = |cursor: &str, name| html! { a.button.quiet href=(query.at(cursor)) { (name) } };
    html! {
        nav.actions aria-label=(list_words::PAGES) {
            @if !query.cursor.is_empty() { (link("", list_words::FIRST)) }
            @if let Some(cursor) = &listed.previous_cursor { (link(cursor, list_words::PREVIOUS)) }
            @if let Some(cursor) = &listed.next_cursor { (link(cursor, list_words::NEXT)) }
        }
    }
}

/// The fields of a redirect, as a browser sends them.
#[derive(Debug, Default)]
struct Fields {
    from: String,
    to: String,
    section: String,
    status: String,
    replace: String,
}

impl Fields {
    fn of_form(sent: &Form) -> Self {
        let text = |name: &str| sent.get(name).trim().to_owned();
        Self {
            from: text("from"),
            to: text("to"),
            section: text("section"),
            status: text("status"),
            replace: ticked(sent.has("replace")).to_owned(),
        }
    }

    /// Returns the target, or the error of the field.
    fn target(&self) -> Result<Target, Errors> {
        let wrong = |text| Err(Errors::field("to", 422, text));
        match (self.to.is_empty(), self.section.is_empty()) {
            (true, true) => wrong(words::NO_TARGET),
            (false, false) => wrong(words::TWO_TARGETS),
            (false, true) => Ok(Target::of_text(&self.to)),
            (true, false) => Ok(Target::Section { id: self.section.clone() }),
        }
    }
}

/// Returns the path that adds redirects.
fn path_to_add(replace: &str) -> &'static str {
    if replace.is_empty() { "/redirects" } else { "/redirects?replace=true" }
}

/// Shows the form of a new redirect.
pub(crate) async fn new(visit: Visit, query: web::Query<NewQuery>) -> HttpResponse {
    let fields = Fields { to: query.into_inner().to, ..Fields::default() };
    new_page(&visit, &fields, &Errors::default()).await
}

/// Adds a redirect.
pub(crate) async fn create(visit: Visit, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let fields = Fields::of_form(&sent);
    let target = match fields.target() {
        Ok(target) => target,
        Err(errors) => return new_page(&visit, &fields, &errors).await,
    };
    let body = body(&fields.from, &target, &fields.status);
    let path = path_to_add(&fields.replace);
    match visit.api().write::<Redirect>(Method::POST, path, "", &body).await {
        Ok(added) => {
            // The list begins with it.
            let prefix = query_of("prefix", &added.value.from);
            layout::redirect(&format!("{PATH}?{prefix}&saved=yes"))
        }
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(failure) => new_page(&visit, &fields, &Errors::of(&failure, &NAMES)).await,
    }
}

async fn new_page(visit: &Visit, fields: &Fields, errors: &Errors) -> HttpResponse {
    // The form is shown without the sections, too: what was typed is in it.
    let all = match sections(visit.api()).await {
        Ok(all) => all,
        Err(Failure::SignedOut) => return visit.failed(&Failure::SignedOut),
        Err(failure) if errors.notice.is_none() => return visit.failed(&failure),
        Err(_) => Vec::new(),
    };
    let mut choice = section_choice(&Tree::new(&all), words::NO_SECTION);
    if !choice.iter().any(|(id, _)| *id == fields.section) {
        choice.push((fields.section.clone(), fields.section.clone()));
    }
    let kinds = [("301", words::FOR_GOOD), ("302", words::TEMPORARY)]
        .map(|(value, name)| (value.to_owned(), name.to_owned()));
    let main = html! {
        p.back { a href=(PATH) { "← " (words::TITLE) } }
        h1 { (words::NEW) }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        form.card method="post" action={ (PATH) "/new" } data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            (Field::new("from", words::FROM, &fields.from).help(words::FROM_HELP).text(errors, true))
            (Field::new("to", words::TO, &fields.to).help(words::TO_HELP).text(errors, false))
            (Field::new("section", words::SECTION, &fields.section).help(words::SECTION_HELP)
                .choice(errors, &choice))
            (Field::new("status", words::STATUS, &fields.status).choice(errors, &kinds))
            (Field::new("replace", words::REPLACE, &fields.replace).help(words::REPLACE_HELP)
                .tick(errors))
            div.actions {
                button type="submit" { (words::ADD) }
                a.button.quiet href=(PATH) { (section_words::CANCEL) }
            }
        }
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, words::NEW, &main)
}

/// Shows the form of a CSV file.
pub(crate) async fn file(visit: Visit) -> HttpResponse {
    file_page(&visit, "", "", &Errors::default(), None)
}

/// Adds the redirects of a CSV file.
pub(crate) async fn upload(visit: Visit, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    // Spreadsheets write a byte order mark.
    let file = line_ends(sent.get("file").trim_start_matches('\u{feff}'));
    let lines = line_ends(sent.get("body"));
    let replace = ticked(sent.has("replace"));
    let wrong = |field, text| {
        let errors = Errors::field(field, 422, text);
        file_page(&visit, &lines, replace, &errors, None)
    };
    let text: &str = match (file.trim().is_empty(), lines.trim().is_empty()) {
        (true, true) => return wrong("body", words::NO_LINES),
        (false, false) => return wrong("file", words::TWO_FILES),
        (false, true) if file.contains(char::REPLACEMENT_CHARACTER) => {
            return wrong("file", words::NOT_UTF8);
        }
        (false, true) => &file,
        (true, false) => &lines,
    };
    let path = path_to_add(replace);
    match visit.api().send_text::<Imported>(path, "text/csv", text.to_owned()).await {
        Ok(imported) => {
            let imported = imported.value;
            let rest = if imported.refused > 0 { text } else { "" };
            file_page(&visit, rest, replace, &Errors::default(), Some(&imported))
        }
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(failure) => file_page(&visit, text, replace, &Errors::of(&failure, &["body"]), None),
    }
}

fn file_page(
    visit: &Visit,
    lines: &str,
    replace: &str,
    errors: &Errors,
    imported: Option<&Imported>,
) -> HttpResponse {
    let main = html! {
        p.back { a href=(PATH) { "← " (words::TITLE) } }
        h1 { (words::FILE_TITLE) }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        @if let Some(imported) = imported { (outcomes(imported)) }
        p.intro { (words::FILE_INTRO) }
        form.card.wide method="post" action={ (PATH) "/file" } enctype="multipart/form-data"
            data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            (Field::new("file", words::CHOOSE, "").file(errors, ".csv,text/csv"))
            (Field::new("body", words::LINES, lines).help(words::TARGETS_HELP).lines(errors, 8, true))
            (Field::new("replace", words::REPLACE, replace).help(words::REPLACE_HELP).tick(errors))
            div.actions {
                button type="submit" { (words::ADD_ALL) }
                a.button.quiet href=(PATH) { (section_words::CANCEL) }
            }
        }
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, words::FILE_TITLE, &main)
}

/// Returns the outcome of each line.
fn outcomes(imported: &Imported) -> Markup {
    let Imported { created, changed, unchanged, refused, lines } = imported;
    let is_error = *refused > 0;
    html! {
        div.notice.error[is_error] role=(if is_error { "alert" } else { "status" }) {
            p { (words::imported(*created, *changed, *unchanged, *refused)) }
            @if is_error { p { (words::CORRECT) } }
        }
        ul.items aria-label=(words::OUTCOMES) {
            @for line in lines {
                @let is_refused = line.outcome == "refused";
                li.row {
                    span.name {
                        (words::line(line.line)) ": " bdi { (shortened(&line.from)) } " "
                        span.badge.off[is_refused] { (words::outcome(&line.outcome)) }
                        @for error in &line.errors {
                            br; span.wrong-text { (error.field) ": " (error.message) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_files_have_it() {
        for (text, body) in [
            ("/about", json!({ "address": "/about" })),
            ("https://shop.example/a", json!({ "address": "https://shop.example/a" })),
            (
                "sections/62aee9147ed8fda1d67f92e3",
                json!({ "section": { "id": "62aee9147ed8fda1d67f92e3" } }),
            ),
            ("stories/2015/02/a b", json!({ "item": { "kind": "stories", "id": "2015/02/a b" } })),
            ("pages/x", json!({ "item": { "kind": "pages", "id": "x" } })),
            ("about", json!({ "address": "about" })),
            ("stories/", json!({ "address": "stories/" })),
            ("users/x", json!({ "address": "users/x" })),
        ] {
            let target = Target::of_text(text);
            assert_eq!(target.body(), body);
            assert_eq!(target.text(), text);
            assert_eq!(serde_json::from_value::<Target>(body).unwrap(), target);
        }
    }

    #[test]
    fn a_query_is_the_same_on_the_next_page() {
        let query = RedirectsQuery {
            prefix: "/a b&c".to_owned(),
            saved: "yes".to_owned(),
            ..Default::default()
        };
        assert_eq!(query.at("x"), "/console/redirects?prefix=%2Fa+b%26c&cursor=x");
        assert_eq!(query.request(), "/redirects?limit=50&prefix=%2Fa+b%26c");
        assert_eq!(RedirectsQuery::default().at(""), PATH);
        assert_eq!(RedirectsQuery::default().request(), "/redirects?limit=50");
    }

    #[test]
    fn a_status_that_is_no_number_is_left_to_the_api() {
        let to = Target::Address("/b".to_owned());
        assert_eq!(body("/a", &to, "302")["status"], 302);
        assert_eq!(body("/a", &to, "x")["status"], "x");
        assert_eq!(body("/a", &to, "").get("status"), None);
    }
}
