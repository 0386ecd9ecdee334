//! Lists of items, and actions on several of them.

use actix_web::{HttpResponse, http::StatusCode, web};
use chrono::DateTime;
use maud::{Markup, html};
use models::{ContentType, Section, Sort};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{missing, sections};
use crate::{
    api::{Caller, Failure},
    fields::{Errors, Field, shortened},
    form::Form,
    guard::Visit,
    layout::{self, Notice},
    texts::{content as words, words as values},
    tree::Tree,
};

/// The number of items of a page: the most that the API answers at once.
const PAGE_ITEMS: usize = 50;

/// An item, as the API answers it.
pub(super) type Item = Map<String, Value>;

/// The filters and the order of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ContentQuery {
    #[serde(skip_serializing_if = "String::is_empty")]
    q: String,
    /// The id of a section.
    #[serde(skip_serializing_if = "String::is_empty")]
    section: String,
    /// `public`, or empty for drafts, too.
    #[serde(skip_serializing_if = "String::is_empty")]
    state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tag: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    after: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    before: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    sort: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    cursor: String,
}

/// A page of a list, or of what was found.
#[derive(Debug, Default, Deserialize)]
struct Listed {
    items: Vec<Item>,
    total: Option<u64>,
    #[serde(default)]
    next_cursor: Option<String>,
    #[serde(default)]
    previous_cursor: Option<String>,
}

impl ContentQuery {
    /// Returns the query with another cursor, for an address.
    fn at(&self, cursor: &str) -> String {
        let query = Self { cursor: cursor.to_owned(), ..self.clone() };
        serde_urlencoded::to_string(query).unwrap_or_default()
    }

    /// Returns `true` if it shows everything.
    fn is_plain(&self) -> bool {
        Self { cursor: String::new(), sort: String::new(), ..self.clone() } == Self::default()
    }

    /// Returns the request for the page.
    fn request(&self, kind: ContentType, tree: &Tree<'_>) -> String {
        let collection = kind.collection();
        let limit = PAGE_ITEMS.to_string();
        let mut pairs = vec![("limit", limit.as_str())];
        let mut add = |name, value| {
            if !str::is_empty(value) {
                pairs.push((name, value));
            }
        };
        add("cursor", &self.cursor);
        if self.state.is_empty() {
            add("include_drafts", "true");
        }
        let path = if self.q.is_empty() {
            add("view", "card");
            add("section_id", &self.section);
            add("tag", &self.tag);
            add("created_after", &self.after);
            add("created_before", &self.before);
            add("sort", &self.sort);
            collection
        } else {
            add("q", &self.q);
            add("kind", collection);
            // The search has sections by their slugs.
            let section = self.section.parse().ok().and_then(|id| tree.get(id));
            add("section", section.map_or("", |section| &section.slug));
            "search"
        };
        format!("/{path}?{}", serde_urlencoded::to_string(pairs).unwrap_or_default())
    }
}

/// Returns the kind that a path names.
pub(super) fn kind_of(name: &str) -> Option<ContentType> {
    ContentType::of_collection(name)
}

/// Returns a text of an item.
pub(super) fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the title of an item as a list shows it.
pub(super) fn title_of(item: &Item) -> String {
    match text(item, "title") {
        "" => words::UNTITLED.to_owned(),
        title => shortened(title),
    }
}

/// Returns the address of the page of an item. Its id may have slashes, which the gateway does not pass on
/// in a path of the console.
pub(super) fn page_of(kind: ContentType, id: &str) -> String {
    let query = serde_urlencoded::to_string([("id", id)]).unwrap_or_default();
    format!("/console/content/{}/item?{query}", kind.collection())
}

/// Returns the path of an item in the API.
pub(super) fn address(kind: ContentType, id: &str) -> String {
    // All but letters, digits and some marks are encoded.
    let encoded = serde_urlencoded::to_string([("", id)]).unwrap_or_default();
    let encoded = encoded.trim_start_matches('=').replace('+', "%20");
    format!("/{}/{encoded}", kind.collection())
}

/// Leads to the first kind.
pub(crate) async fn home(_: Visit) -> HttpResponse {
    layout::redirect(&format!("/console/content/{}", ContentType::ALL[0].collection()))
}

/// Shows a list.
pub(crate) async fn show(
    visit: Visit,
    kind: web::Path<String>,
    query: web::Query<ContentQuery>,
) -> HttpResponse {
    match kind_of(&kind) {
        Some(kind) => page(&visit, kind, &query, None).await,
        None => missing(&visit),
    }
}

/// Applies an action to the selected items.
pub(crate) async fn act(visit: Visit, kind: web::Path<String>, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let Some(kind) = kind_of(&kind) else { return missing(&visit) };
    let query: ContentQuery = serde_urlencoded::from_str(sent.get("back")).unwrap_or_default();
    let (action, ids) = (sent.get("do"), sent.all("id"));
    let refuse = |text| Some(layout::notice(&Notice::error(422, text)));
    let result = if ids.is_empty() {
        refuse(words::NOTHING_SELECTED)
    } else if ids.len() > PAGE_ITEMS {
        refuse(words::MANY)
    } else {
        match apply(visit.api(), kind, action, &ids, sent.get("to")).await {
            Ok(outcome) => Some(outcome.show(&visit, kind, action, sent.get("back"))),
            Err(Failure::SignedOut) => return visit.failed(&Failure::SignedOut),
            Err(failure) => Some(layout::notice(&Notice::of(&failure))),
        }
    };
    page(&visit, kind, &query, result).await
}

/// The result of an action on several items.
#[derive(Default)]
struct Outcome {
    done: Vec<String>,
    /// The titles or ids of the others, each with the reason.
    failed: Vec<(String, String)>,
}

/// Applies an action to items. Fails if nothing was done with any for one reason.
async fn apply(
    api: Caller<'_>,
    kind: ContentType,
    action: &str,
    ids: &[&str],
    to: &str,
) -> Result<Outcome, Failure> {
    if action == "move" {
        // All or none.
        let section = (!to.is_empty()).then_some(to);
        let body = json!({
            "content_type": kind, "content": { "ids": ids }, "section_id": section,
        });
        let moved = api.write::<Value>(Method::POST, "/content/move", "", &body).await?;
        let count = moved.value["moved"].as_u64().and_then(|count| usize::try_from(count).ok());
        let done = ids.iter().take(count.unwrap_or(ids.len())).map(|id| (*id).to_owned()).collect();
        return Ok(Outcome { done, ..Outcome::default() });
    }
    let mut outcome = Outcome::default();
    for id in ids {
        match apply_to(api, kind, action, id).await {
            Ok(()) => outcome.done.push((*id).to_owned()),
            Err(Failure::SignedOut) => return Err(Failure::SignedOut),
            Err(failure) => {
                let reason = Notice::of(&failure).text().to_owned();
                outcome.failed.push((title_or_id(api, kind, id).await, reason));
                // The others would only wait for the same.
                if matches!(failure, Failure::Unreachable) && outcome.done.is_empty() {
                    return Err(failure);
                }
            }
        }
    }
    Ok(outcome)
}

async fn apply_to(
    api: Caller<'_>,
    kind: ContentType,
    action: &str,
    id: &str,
) -> Result<(), Failure> {
    let path = address(kind, id);
    match action {
        "publish" | "unpublish" => {
            let now = api.get::<Value>(&path).await?;
            let body = json!({ "is_published": action == "publish" });
            api.write::<Value>(Method::PATCH, &path, &now.tag, &body).await.map(drop)
        }
        "restore" => api.act(Method::POST, &format!("{path}/restore")).await,
        "trash" => {
            let now = api.get::<Value>(&path).await?;
            api.delete(&path, &now.tag).await
        }
        _ => Err(super::no_section()),
    }
}

async fn title_or_id(api: Caller<'_>, kind: ContentType, id: &str) -> String {
    match api.get::<Item>(&address(kind, id)).await {
        Ok(item) => title_of(&item.value),
        Err(_) => shortened(id),
    }
}

impl Outcome {
    fn show(&self, visit: &Visit, kind: ContentType, action: &str, back: &str) -> Markup {
        let is_error = !self.failed.is_empty();
        html! {
            div.notice.error[is_error] role=(if is_error { "alert" } else { "status" }) {
                p { (words::done(action, self.done.len())) }
                @if action == "trash" && !self.done.is_empty() {
                    form method="post"
                        action={ "/console/content/" (kind.collection()) "/selected" }
                        data-hx-boost="true" {
                        (layout::mark(&visit.mark()))
                        input type="hidden" name="back" value=(back);
                        @for id in &self.done { input type="hidden" name="id" value=(id); }
                        button name="do" value="restore" { (words::UNDO) }
                    }
                }
                @if is_error {
                    p { (words::failed(self.failed.len())) }
                    ul { @for (title, reason) in &self.failed {
                        li { bdi { (title) } ": " (reason) }
                    } }
                }
            }
        }
    }
}

async fn page(
    visit: &Visit,
    kind: ContentType,
    query: &ContentQuery,
    result: Option<Markup>,
) -> HttpResponse {
    let api = visit.api();
    let all = match sections(api).await {
        Ok(all) => all,
        Err(failure) => return visit.failed(&failure),
    };
    let tree = Tree::new(&all);
    let (listed, errors) = match api.get::<Listed>(&query.request(kind, &tree)).await {
        Ok(listed) => (listed.value, Errors::default()),
        Err(Failure::SignedOut) => return visit.failed(&Failure::SignedOut),
        Err(failure) => (Listed::default(), Errors::of(&failure, &["q", "tag"])),
    };
    let collection = kind.collection();
    let path = format!("/console/content/{collection}");
    let name = values::kinds(kind);
    let main = html! {
        div.head {
            h1 { (name) }
            a.button href={ (path) "/new" } { (words::new(kind.as_str())) }
        }
        nav.tabs aria-label=(words::KINDS) {
            @for one in ContentType::ALL {
                a href={ "/console/content/" (one.collection()) }
                    aria-current=[(one == kind).then_some("page")] { (values::kinds(one)) }
            }
        }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        @if let Some(result) = &result { (result) }
        (filters(&path, query, &tree, &errors))
        @if listed.items.is_empty() {
            p.empty { (if query.is_plain() { words::EMPTY } else { words::EMPTY_FILTERED }) }
        } @else {
            @if let Some(total) = listed.total { p.facts { (words::total(total)) } }
            form #selection method="post" action={ (path) "/selected" } data-hx-boost="true" {
                (layout::mark(&visit.mark()))
                input type="hidden" name="back" value=(query.at(&query.cursor));
                (table(kind, &listed.items, &tree))
                (actions(&tree))
            }
            (pager(&path, query, &listed))
        }
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, &name, &main)
}

/// Returns the choice of a section, each with its level.
pub(super) fn section_choice(tree: &Tree<'_>, none: &str) -> Vec<(String, String)> {
    let rows = tree.rows().into_iter().map(|(level, one): (usize, &Section)| {
        (one.id.to_string(), format!("{}{}", "\u{2003}".repeat(level), shortened(&one.title)))
    });
    [(String::new(), none.to_owned())].into_iter().chain(rows).collect()
}

fn filters(path: &str, query: &ContentQuery, tree: &Tree<'_>, errors: &Errors) -> Markup {
    let states = [("", words::ALL), ("public", words::PUBLIC)]
        .map(|(value, name)| (value.to_owned(), name.to_owned()));
    let usual = (String::new(), words::ORDER_USUAL.to_owned());
    let orders: Vec<_> = [usual]
        .into_iter()
        .chain(Sort::ALL.map(|sort| (sort.as_str().to_owned(), values::sort(sort).to_owned())))
        .collect();
    html! {
        form.filters method="get" action=(path) role="search" {
            (Field::new("q", words::SEARCH, &query.q).help(words::SEARCH_HELP).text(errors, false))
            (Field::new("section", words::SECTION, &query.section)
                .choice(errors, &section_choice(tree, words::ANY_SECTION)))
            (Field::new("state", words::STATE, &query.state).choice(errors, &states))
            (Field::new("tag", words::TAG, &query.tag).text(errors, false))
            (Field::new("after", words::AFTER, &query.after).day(errors))
            (Field::new("before", words::BEFORE, &query.before).day(errors))
            (Field::new("sort", words::ORDER, &query.sort).choice(errors, &orders))
            div.actions {
                button type="submit" { (words::FILTER) }
                @if !query.is_plain() { a.button.quiet href=(path) { (words::RESET) } }
            }
        }
    }
}

fn table(kind: ContentType, items: &[Item], tree: &Tree<'_>) -> Markup {
    html! {
        label.choice.select-all hidden {
            input type="checkbox" data-selects="id"; span { (words::SELECT_ALL) }
        }
        ul.items {
            @for item in items {
                @let (id, title) = (text(item, "id"), title_of(item));
                li.row {
                    input type="checkbox" name="id" value=(id) aria-label=(words::select(&title));
                    span.name {
                        a href=(page_of(kind, id)) { bdi { (title) } }
                        @if item.get("is_published") == Some(&Value::Bool(false)) {
                            " " span.badge.off { (words::DRAFT) }
                        }
                        @if item.get("is_featured") == Some(&Value::Bool(true)) {
                            " " span.badge { (words::FEATURED) }
                        }
                        br;
                        span.facts {
                            @match section_of(item, tree) {
                                Some(section) => bdi { (shortened(&section.title)) },
                                None => (words::NO_SECTION),
                            }
                            @if !text(item, "page_type").is_empty() {
                                " · " bdi { (text(item, "page_type")) }
                            }
                            " · " (words::CREATED) " " (moment(item, "createdDate"))
                            " · " (words::CHANGED) " " (moment(item, "updatedDate"))
                            @for tag in tags(item) { " " span.badge { bdi { (tag) } } }
                        }
                    }
                }
            }
        }
    }
}

fn section_of<'a>(item: &Item, tree: &Tree<'a>) -> Option<&'a Section> {
    tree.get(text(item, "section_id").parse().ok()?)
}

fn tags(item: &Item) -> impl Iterator<Item = &str> {
    item.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Returns a date of an item.
pub(super) fn moment(item: &Item, name: &str) -> Markup {
    let moment = DateTime::parse_from_rfc3339(text(item, name)).ok();
    layout::time(moment.map(|moment| moment.to_utc()))
}

fn actions(tree: &Tree<'_>) -> Markup {
    let none = Errors::default();
    html! {
        div.bulk {
            p { (words::SELECTED) }
            div.actions {
                button.quiet name="do" value="publish" { (words::PUBLISH) }
                button.quiet name="do" value="unpublish" { (words::UNPUBLISH) }
                button.quiet name="do" value="trash" { (words::TRASH) }
            }
            div.actions {
                (Field::new("to", words::MOVE_TO, "")
                    .choice(&none, &section_choice(tree, words::NO_SECTION)))
                button.quiet name="do" value="move" { (words::MOVE) }
            }
        }
    }
}

fn pager(path: &str, query: &ContentQuery, listed: &Listed) -> Markup {
    let link = |cursor: &str, name| {
        html! {
            a.button.quiet href={ (path) "?" (query.at(cursor)) } { (name) }
        }
    };
    html! {
        nav.actions aria-label=(words::PAGES) {
            @if !query.cursor.is_empty() { (link("", words::FIRST)) }
            @if let Some(cursor) = &listed.previous_cursor { (link(cursor, words::PREVIOUS)) }
            @if let Some(cursor) = &listed.next_cursor { (link(cursor, words::NEXT)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_any_text_is_one_segment() {
        for (id, path) in [
            ("62aee9147ed8fda1d67f92e3", "/stories/62aee9147ed8fda1d67f92e3"),
            ("2015/02/a b", "/stories/2015%2F02%2Fa%20b"),
            ("a?b#c&d=e+f", "/stories/a%3Fb%23c%26d%3De%2Bf"),
        ] {
            assert_eq!(address(ContentType::Story, id), path);
        }
    }

    #[test]
    fn a_query_is_the_same_on_the_next_page() {
        let query = ContentQuery { tag: "a b&c".to_owned(), ..ContentQuery::default() };
        assert_eq!(query.at("x"), "tag=a+b%26c&cursor=x");
        assert!(!query.is_plain() && ContentQuery::default().is_plain());
        let tree = Tree::new(&[]);
        assert_eq!(
            query.request(ContentType::Page, &tree),
            "/pages?limit=50&include_drafts=true&view=card&tag=a+b%26c"
        );
        let found = ContentQuery { q: "x y".to_owned(), state: "public".to_owned(), ..query };
        assert_eq!(found.request(ContentType::Page, &tree), "/search?limit=50&q=x+y&kind=pages");
    }
}
