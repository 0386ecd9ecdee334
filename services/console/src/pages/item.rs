//! The pages of one item: its fields, its text, its preview.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY},
    },
    web,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use models::{ContentType, Section};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    content::{Item, address, kind_of, moment, page_of, section_choice, text as text_of, title_of},
    missing, sections, sections_of_form, unread,
};
use crate::{
    api::{Failure, Problem, Tagged},
    assets::STYLE,
    fields::{Errors, Field, line_ends, one_line, ticked},
    form::Form,
    guard::Visit,
    layout::{self, Notice},
    texts::{content as list_words, error as error_words, item as words, section as section_words},
    tree::Tree,
};

/// The permissions of the frame with the text of an item: pictures and videos of this site, and our style.
/// It runs no script, sends no form and leads nowhere.
const TEXT_POLICY: &str = "sandbox allow-same-origin; default-src 'none'; img-src 'self' data:; \
    media-src 'self'; style-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ItemQuery {
    id: String,
    /// `yes`, `new` or `no` after a form was saved.
    saved: String,
}

/// The way in which a form shows a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Line,
    /// Text of several lines.
    Text,
    /// HTML.
    Source,
    /// Texts, one in each line.
    List,
    Flag,
    Section,
    /// A moment, which the script shows in the zone of the reader.
    Moment,
}

/// The longest id of an item, in bytes: longer ones fit into no address.
const MAX_ID_BYTES: usize = 1_500;

/// The boxes: browsers do not send those that are not ticked.
const FLAGS: [&str; 3] = ["is_published", "is_featured", "noindex"];

/// A field of a form with its text, as a browser sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: &'static str,
    label: &'static str,
    shape: Shape,
    text: String,
}

/// Returns the shape of a field by its name and the value that is stored.
fn shape(name: &str, value: &Value) -> Shape {
    match (name, value) {
        ("section_id", _) => Shape::Section,
        ("publish_at" | "unpublish_at", _) => Shape::Moment,
        ("content", _) => Shape::Source,
        ("summary" | "description", _) => Shape::Text,
        (_, Value::Array(_)) => Shape::List,
        (_, Value::Bool(_)) => Shape::Flag,
        _ => Shape::Line,
    }
}

impl Shape {
    /// Returns a value as a form has it.
    fn show(self, value: &Value) -> String {
        match (self, value) {
            (Self::List, Value::Array(all)) => {
                let texts = all.iter().filter_map(Value::as_str);
                texts.map(one_line).collect::<Vec<_>>().join("\n")
            }
            (Self::Flag, value) => ticked(value == &Value::Bool(true)).to_owned(),
            (Self::Text | Self::Source, Value::String(text)) => line_ends(text),
            (_, Value::String(text)) => one_line(text),
            _ => String::new(),
        }
    }

    /// Returns the value of the API for a text of a form.
    fn read(self, text: &str, stored: &Value) -> Value {
        match self {
            Self::List => {
                let texts = text.lines().map(str::trim).filter(|line| !line.is_empty());
                texts.map(Value::from).collect()
            }
            Self::Flag => (!text.is_empty()).into(),
            Self::Source => {
                // With the ends of lines that the text has.
                let has_returns = stored.as_str().is_some_and(|stored| stored.contains("\r\n"));
                if has_returns { text.replace('\n', "\r\n").into() } else { text.into() }
            }
            Self::Moment if text.is_empty() => Value::Null,
            // An empty text stands for none, unless the item has an empty one.
            _ if text.is_empty() && stored != "" => Value::Null,
            _ => text.into(),
        }
    }
}

/// Returns the fields of an item, in the order of the form.
fn entries(item: &Item) -> Vec<Entry> {
    let entry = |(name, label): (&'static str, &'static str)| {
        let value = item.get(name)?;
        let shape = shape(name, value);
        Some(Entry { name, label, shape, text: shape.show(value) })
    };
    words::FIELDS.into_iter().filter_map(entry).collect()
}

/// Returns the fields with what was typed. A field that the form did not have, since it is of an earlier
/// version of the console, is as it was.
fn typed(entries: &[Entry], sent: &Form) -> Vec<Entry> {
    let text = |entry: &Entry| match entry.shape {
        Shape::Flag => ticked(sent.has(entry.name)).to_owned(),
        _ if !sent.has(entry.name) => entry.text.clone(),
        Shape::Text | Shape::Source | Shape::List => line_ends(sent.get(entry.name)),
        Shape::Line | Shape::Section | Shape::Moment => sent.get(entry.name).to_owned(),
    };
    entries.iter().map(|entry| Entry { text: text(entry), ..entry.clone() }).collect()
}

/// Returns the members of a body that changes an item to what was typed. What was not changed is not sent,
/// so that it stays as it is stored, byte for byte.
fn changes(item: &Item, stored: &[Entry], typed: &[Entry]) -> Map<String, Value> {
    let pairs = stored.iter().zip(typed);
    pairs
        .filter(|(before, after)| before.text != after.text)
        .map(|(_, after)| {
            let stored = item.get(after.name).unwrap_or(&Value::Null);
            (after.name.to_owned(), after.shape.read(&after.text, stored))
        })
        .collect()
}

fn names() -> Vec<&'static str> {
    words::FIELDS.into_iter().map(|(name, _)| name).collect()
}

/// The state of an item as the API has it now.
struct Current {
    kind: ContentType,
    id: String,
    item: Item,
    tag: String,
    all: Vec<Section>,
}

async fn current(visit: &Visit, kind: ContentType, id: &str) -> Result<Current, Failure> {
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(super::no_section());
    }
    let api = visit.api();
    let Tagged { value: item, tag } = api.get(&address(kind, id)).await?;
    Ok(Current { kind, id: id.to_owned(), item, tag, all: sections(api).await? })
}

/// Shows the form of an item.
pub(crate) async fn show(
    visit: Visit,
    kind: web::Path<String>,
    query: web::Query<ItemQuery>,
) -> HttpResponse {
    let Some(kind) = kind_of(&kind) else { return missing(&visit) };
    let now = match current(&visit, kind, &query.id).await {
        Ok(now) => now,
        Err(failure) => return unread(&visit, &failure),
    };
    let done = match query.saved.as_str() {
        "new" => Some(words::CREATED),
        "no" => Some(section_words::UNCHANGED),
        "yes" => Some(section_words::SAVED),
        _ => None,
    };
    let errors = done.map_or_else(Errors::default, |text| Errors::message(Notice::done(text)));
    let fields = entries(&now.item);
    edit_page(&visit, &now, &fields, None, &errors, None)
}

/// Saves an item.
pub(crate) async fn save(visit: Visit, kind: web::Path<String>, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let Some(kind) = kind_of(&kind) else { return missing(&visit) };
    let id = sent.get("id");
    let now = match current(&visit, kind, id).await {
        Ok(now) => now,
        Err(failure) => return unsaved_page(&visit, kind, &sent, &failure),
    };
    let stored = entries(&now.item);
    let typed = typed(&stored, &sent);
    let conflict = |now: &Current, typed: &[Entry]| {
        let errors = Errors::message(Notice::error(412, words::CONFLICT));
        edit_page(&visit, now, typed, Some(&entries(&now.item)), &errors, None)
    };
    if sent.get("tag") != now.tag {
        return conflict(&now, &typed);
    }
    let back = page_of(kind, id);
    let changes = changes(&now.item, &stored, &typed);
    if changes.is_empty() {
        return layout::redirect(&format!("{back}&saved=no"));
    }
    let body = changes.into();
    let saved: Result<Tagged<Item>, _> =
        visit.api().write(Method::PATCH, &address(kind, id), &now.tag, &body).await;
    match saved {
        // The page says what the sanitiser removed.
        Ok(saved) if saved.value.contains_key("sanitized") => {
            let removed = removed(&saved.value);
            match current(&visit, kind, id).await {
                Ok(now) => {
                    let errors = Errors::message(Notice::done(section_words::SAVED));
                    edit_page(&visit, &now, &entries(&now.item), None, &errors, Some(&removed))
                }
                Err(failure) => unread(&visit, &failure),
            }
        }
        Ok(_) => layout::redirect(&format!("{back}&saved=yes")),
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(Failure::Refused(Problem { status: 412, .. })) => {
            match current(&visit, kind, id).await {
                Ok(now) => conflict(&now, &typed),
                Err(failure) => unsaved_page(&visit, kind, &sent, &failure),
            }
        }
        Err(failure) => {
            let errors = Errors::of(&failure, &names());
            edit_page(&visit, &now, &typed, None, &errors, None)
        }
    }
}

/// Returns the list of what the sanitiser removed.
fn removed(item: &Item) -> Markup {
    let all = item.get("sanitized").and_then(Value::as_array);
    let name = |one: &Value| {
        let element = one["element"].as_str().unwrap_or_default();
        let count = one["count"].as_u64().unwrap_or(1);
        match one["attribute"].as_str() {
            Some(attribute) => format!("<{element} {attribute}> × {count}"),
            None => format!("<{element}> × {count}"),
        }
    };
    html! {
        div.notice role="status" {
            p { (words::REMOVED) }
            ul { @for one in all.into_iter().flatten() { li { code { (name(one)) } } } }
        }
    }
}

/// Returns the form with what was typed when nothing else can be read.
fn unsaved_page(visit: &Visit, kind: ContentType, sent: &Form, failure: &Failure) -> HttpResponse {
    let errors = match failure {
        Failure::SignedOut => return visit.failed(failure),
        Failure::Refused(Problem { status: 400 | 404, .. }) => {
            Errors::message(Notice::error(404, error_words::GONE))
        }
        failure => Errors::of(failure, &names()),
    };
    let fields: Vec<_> = words::FIELDS
        .into_iter()
        .filter(|(name, _)| sent.has(name) || FLAGS.contains(name))
        .map(|(name, label)| {
            let shape = match name {
                name if FLAGS.contains(&name) => Shape::Flag,
                "tags" | "technologies" => Shape::List,
                "section_id" => Shape::Line,
                name => shape(name, &Value::Null),
            };
            Entry { name, label, shape, text: sent.get(name).to_owned() }
        })
        .collect();
    let fields = typed(&fields, sent);
    let title = sent.get("title");
    let tree = Tree::new(&[]);
    let head = html! {
        input type="hidden" name="id" value=(sent.get("id"));
        input type="hidden" name="tag" value=(sent.get("tag"));
    };
    let action = format!("/console/content/{}/item", kind.collection());
    let main = html! {
        h1 { bdi { (crate::fields::shortened(title)) } }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        (form(visit, &action, &head, &fields, None, &tree, &errors, words::SAVE))
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, list_words::TITLE, &main)
}

#[expect(clippy::too_many_arguments, reason = "the parts of one form")]
fn form(
    visit: &Visit,
    action: &str,
    head: &Markup,
    fields: &[Entry],
    stored: Option<&[Entry]>,
    tree: &Tree<'_>,
    errors: &Errors,
    submit: &str,
) -> Markup {
    // Without a section, the API chooses the usual one for a new item.
    let is_new = submit == words::CREATE;
    let none = if is_new { list_words::USUAL_SECTION } else { list_words::NO_SECTION };
    let sections = section_choice(tree, none);
    let theirs = |entry: &Entry| {
        let stored = stored?.iter().find(|one| one.name == entry.name)?;
        (stored.text != entry.text).then(|| match entry.shape {
            Shape::Flag if stored.text.is_empty() => "no".to_owned(),
            Shape::Section => {
                let name = sections.iter().find(|(id, _)| *id == stored.text);
                name.map_or_else(|| stored.text.clone(), |(_, name)| name.trim().to_owned())
            }
            _ => stored.text.clone(),
        })
    };
    html! {
        form.card.wide method="post" action=(action) data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            (head)
            @for entry in fields {
                @let field = Field::new(entry.name, entry.label, &entry.text).stored(theirs(entry));
                @match entry.shape {
                    Shape::Flag if entry.name == "is_published" =>
                        (field.help(words::PUBLISHED_HELP).tick(errors)),
                    Shape::Flag => (field.tick(errors)),
                    Shape::Source => (field.help(words::CONTENT_HELP).lines(errors, 18, true)),
                    Shape::Text => (field.lines(errors, 4, false)),
                    Shape::List => (field.help(words::LIST_HELP).lines(errors, 3, false)),
                    // One that is in no section here stays as it is.
                    Shape::Section if sections.iter().any(|(id, _)| *id == entry.text) =>
                        (field.choice(errors, &sections)),
                    Shape::Moment => (field.help(words::MOMENT_HELP).moment(errors)),
                    Shape::Line if entry.name == "slug" =>
                        (field.help(words::SLUG_HELP).text(errors, false)),
                    Shape::Line if matches!(entry.name, "date" | "createdDate") =>
                        (field.help(words::DATE_HELP).text(errors, false)),
                    Shape::Line | Shape::Section => (field.text(errors, entry.name == "title")),
                }
            }
            div.actions { button type="submit" { (submit) } }
        }
    }
}

fn edit_page(
    visit: &Visit,
    now: &Current,
    fields: &[Entry],
    stored: Option<&[Entry]>,
    errors: &Errors,
    more: Option<&Markup>,
) -> HttpResponse {
    let Current { kind, id, item, tag, all } = now;
    let (tree, title) = (Tree::new(all), title_of(item));
    let list = format!("/console/content/{}", kind.collection());
    let query = serde_urlencoded::to_string([("id", id)]).unwrap_or_default();
    let head = html! {
        input type="hidden" name="id" value=(id);
        input type="hidden" name="tag" value=(tag);
    };
    let main = html! {
        p.back { a href=(list) { "← " (crate::texts::words::kinds(*kind)) } }
        h1 { bdi { (title) } }
        p.facts {
            (words::ADDRESS) " "
            @match text_of(item, "path") { "" => (words::NO_ADDRESS), path => code { (path) } }
            " · " (section_words::CREATED) " " (moment(item, "createdDate"))
            " · " (section_words::CHANGED) " " (moment(item, "updatedDate"))
        }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        @if let Some(more) = more { (more) }
        (form(visit, &format!("{list}/item"), &head, fields, stored, &tree, errors, words::SAVE))
        p { a href=(super::redirects::new_to_item(*kind, id)) { (words::LEAD_HERE) } }
        h2 { (words::PREVIEW) }
        p.help { (words::PREVIEW_HELP) }
        iframe.preview src={ (list) "/text?" (query) } title=(words::PREVIEW)
            sandbox="allow-same-origin" {}
        form method="post" action={ (list) "/link" } data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            input type="hidden" name="id" value=(id);
            p { button.quiet type="submit" { (words::LINK) } }
            p.help { (words::LINK_HELP) }
        }
        form method="post" action={ (list) "/selected" } data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            input type="hidden" name="id" value=(id);
            p { button.danger name="do" value="trash" { (words::DELETE) } }
        }
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, &title, &main)
}

/// Makes a preview link of an item.
pub(crate) async fn link(visit: Visit, kind: web::Path<String>, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let Some(kind) = kind_of(&kind) else { return missing(&visit) };
    let now = match current(&visit, kind, sent.get("id")).await {
        Ok(now) => now,
        Err(failure) => return unread(&visit, &failure),
    };
    let body = json!({ "content_type": kind, "id": now.id });
    let made = visit.api().write::<Item>(Method::POST, "/preview", "", &body).await;
    let fields = entries(&now.item);
    let page =
        |errors, more: Option<&Markup>| edit_page(&visit, &now, &fields, None, &errors, more);
    match made {
        Ok(made) => {
            let more = html! {
                div.notice role="status" {
                    p { (words::LINK_READY) " " (moment(&made.value, "expires_at")) ":" }
                    p { code { (text_of(&made.value, "path")) } }
                }
            };
            page(Errors::default(), Some(&more))
        }
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(failure) => page(Errors::message(Notice::of(&failure)), None),
    }
}

/// Shows the text of an item, in a frame that runs nothing.
pub(crate) async fn text(
    visit: Visit,
    kind: web::Path<String>,
    query: web::Query<ItemQuery>,
) -> HttpResponse {
    let Some(kind) = kind_of(&kind) else { return missing(&visit) };
    if query.id.len() > MAX_ID_BYTES {
        return missing(&visit);
    }
    let item = match visit.api().get::<Item>(&address(kind, &query.id)).await {
        Ok(item) => item.value,
        Err(failure) => return unread(&visit, &failure),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="color-scheme" content="light dark";
                title { (title_of(&item)) }
                link rel="stylesheet" href=(STYLE.path);
            }
            body.text { (PreEscaped(text_of(&item, "content"))) }
        }
    };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, TEXT_POLICY))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((VARY, "cookie"))
        .body(page.into_string())
}

/// Returns the fields of a new item.
fn new_entries() -> Vec<Entry> {
    let stored = [
        ("title", json!("")),
        ("section_id", Value::Null),
        ("is_published", json!(false)),
        ("publish_at", Value::Null),
        ("unpublish_at", Value::Null),
        ("content", json!("")),
    ];
    entries(&stored.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Shows the form of a new item.
pub(crate) async fn new(visit: Visit, kind: web::Path<String>) -> HttpResponse {
    let Some(kind) = kind_of(&kind) else { return missing(&visit) };
    let key = Uuid::new_v4().to_string();
    new_page(&visit, kind, &new_entries(), &key, &Errors::default()).await
}

/// Adds an item.
pub(crate) async fn create(visit: Visit, kind: web::Path<String>, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let Some(kind) = kind_of(&kind) else { return missing(&visit) };
    let (fields, key) = (typed(&new_entries(), &sent), sent.get("key"));
    let members = fields
        .iter()
        .filter(|entry| entry.shape != Shape::Section || !entry.text.is_empty())
        .map(|entry| (entry.name.to_owned(), entry.shape.read(&entry.text, &json!(""))));
    let body: Map<String, Value> = members.collect();
    let path = format!("/{}", kind.collection());
    match visit.api().create::<Item>(&path, key, &body.into()).await {
        Ok(added) => {
            layout::redirect(&format!("{}&saved=new", page_of(kind, text_of(&added.value, "id"))))
        }
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(failure) => {
            // Another attempt with other fields is another request.
            let key = match failure {
                Failure::Unreachable => key.to_owned(),
                _ => Uuid::new_v4().to_string(),
            };
            new_page(&visit, kind, &fields, &key, &Errors::of(&failure, &names())).await
        }
    }
}

async fn new_page(
    visit: &Visit,
    kind: ContentType,
    fields: &[Entry],
    key: &str,
    errors: &Errors,
) -> HttpResponse {
    let all = match sections_of_form(visit, errors).await {
        Ok(all) => all,
        Err(response) => return *response,
    };
    let title = list_words::new(kind.as_str());
    let head = html! { input type="hidden" name="key" value=(key); };
    let list = format!("/console/content/{}", kind.collection());
    let tree = Tree::new(&all);
    let main = html! {
        p.back { a href=(list) { "← " (crate::texts::words::kinds(kind)) } }
        h1 { (title) }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        (form(visit, &format!("{list}/new"), &head, fields, None, &tree, errors, words::CREATE))
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, &title, &main)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(value: Value) -> Item {
        match value {
            Value::Object(item) => item,
            value => panic!("no item: {value}"),
        }
    }

    /// Returns the entries as a browser sends them back: with the ends of lines of forms.
    fn sent_back(stored: &[Entry]) -> Vec<Entry> {
        let sent = |entry: &Entry| line_ends(&entry.text.replace('\n', "\r\n"));
        stored.iter().map(|entry| Entry { text: sent(entry), ..entry.clone() }).collect()
    }

    #[test]
    fn a_form_that_is_sent_back_as_it_was_changes_nothing() {
        for content in [
            "<p>x</p>",
            "",
            "\n\nx\n",
            "a\r\nb\r\n",
            "a\rb\n\rc",
            " \t x ",
            "<pre>\n\n</pre>",
            "a\0b",
        ] {
            let item = item(json!({
                "id": "x", "title": " two\r\nlines ", "content": content, "slug": null,
                "is_published": true, "is_featured": false, "tags": ["a", "b\nc"], "summary": "",
                "section_id": "not a section", "date": null, "createdDate": "2026-05-01T00:00:00.000Z",
                "unknown": { "kept": true },
            }));
            let stored = entries(&item);
            assert_eq!(changes(&item, &stored, &sent_back(&stored)), Map::new(), "{content:?}");
        }
    }

    #[test]
    fn only_what_was_changed_is_sent() {
        let item = item(json!({
            "title": "Old", "content": "a\r\nb", "slug": "old", "is_published": true,
            "tags": ["a"], "section_id": "1", "date": "2026-05-01T00:00:00.000Z", "summary": null,
        }));
        let stored = entries(&item);
        let with = |name: &str, text: &str| {
            let mut typed = stored.clone();
            typed.iter_mut().find(|one| one.name == name).unwrap().text = text.to_owned();
            Value::from(changes(&item, &stored, &typed))
        };
        assert_eq!(with("title", "New"), json!({ "title": "New" }));
        assert_eq!(with("content", "a\nc"), json!({ "content": "a\r\nc" }));
        assert_eq!(with("content", ""), json!({ "content": "" }));
        assert_eq!(with("is_published", ""), json!({ "is_published": false }));
        assert_eq!(with("tags", " a \n\nb"), json!({ "tags": ["a", "b"] }));
        assert_eq!(with("tags", ""), json!({ "tags": [] }));
        assert_eq!(with("section_id", ""), json!({ "section_id": null }));
        assert_eq!(with("date", ""), json!({ "date": null }));
        assert_eq!(with("summary", ""), json!({}));
    }
}
