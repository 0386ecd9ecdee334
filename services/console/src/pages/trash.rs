//! The trash: what was deleted, and what brings it back or removes it for good.

use actix_web::{HttpResponse, http::StatusCode, web};
use maud::{Markup, html};
use models::ContentType;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::content::{Item, address, kind_of, moment, text, title_of};
use crate::{
    api::{Caller, Failure},
    form::Form,
    guard::Visit,
    layout::{self, Notice},
    texts::{trash as words, words as values},
};

/// The path of the page.
const PATH: &str = "/console/trash";

/// The number of items of a page: each has a few lines.
const PAGE_ITEMS: usize = 20;

/// The part of the trash that is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TrashQuery {
    /// The collection of a kind, or empty for all of them.
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    cursor: String,
}

/// A page of the trash, as the API answers it.
#[derive(Debug, Default, Deserialize)]
struct Listed {
    items: Vec<Item>,
    next_cursor: Option<String>,
}

impl TrashQuery {
    /// Returns the address of another page of the same kinds.
    fn at(&self, cursor: &str) -> String {
        let query = Self { cursor: cursor.to_owned(), ..self.clone() };
        let query = serde_urlencoded::to_string(query).unwrap_or_default();
        if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{query}") }
    }

    /// Returns the request for the page.
    fn request(&self) -> String {
        let limit = PAGE_ITEMS.to_string();
        let mut pairs = vec![("limit", limit.as_str())];
        if !self.cursor.is_empty() {
            pairs.push(("cursor", &self.cursor));
        }
        // The API refuses a kind that does not exist.
        let word = match kind_of(&self.kind) {
            Some(kind) => kind.as_str(),
            None => &self.kind,
        };
        if !word.is_empty() {
            pairs.push(("content_type", word));
        }
        format!("/trash?{}", serde_urlencoded::to_string(pairs).unwrap_or_default())
    }
}

/// Shows the trash.
pub(crate) async fn show(visit: Visit, query: web::Query<TrashQuery>) -> HttpResponse {
    page(&visit, &query, None).await
}

/// Restores an item, or deletes it for good.
pub(crate) async fn act(visit: Visit, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let back = sent.get("back");
    let query: TrashQuery = serde_urlencoded::from_str(back).unwrap_or_default();
    let notice = match apply(visit.api(), &sent).await {
        Ok(done) => Notice::done(done),
        Err(Failure::SignedOut) => return visit.failed(&Failure::SignedOut),
        Err(failure) => Notice::of(&failure),
    };
    page(&visit, &query, Some(notice)).await
}

async fn apply(api: Caller<'_>, sent: &Form) -> Result<&'static str, Failure> {
    let kind = kind_of(sent.get("kind")).ok_or_else(super::no_section)?;
    let path = address(kind, sent.get("id"));
    match sent.get("do") {
        "restore" => {
            api.act(Method::POST, &format!("{path}/restore")).await?;
            Ok(words::RESTORED)
        }
        "delete" => {
            let id = path.rsplit_once('/').map_or("", |(_, id)| id);
            let path = format!("/trash/{}/{id}", kind.as_str());
            api.delete(&path, sent.get("tag")).await?;
            Ok(words::DELETED_FOR_GOOD)
        }
        _ => Err(super::no_section()),
    }
}

async fn page(visit: &Visit, query: &TrashQuery, notice: Option<Notice>) -> HttpResponse {
    let (listed, failure) = match visit.api().get::<Listed>(&query.request()).await {
        Ok(listed) => (listed.value, None),
        Err(Failure::SignedOut) => return visit.failed(&Failure::SignedOut),
        Err(failure) => (Listed::default(), Some(Notice::of(&failure))),
    };
    let all = [("", words::ALL.to_owned())].into_iter();
    let kinds = ContentType::ALL.map(|kind| (kind.collection(), values::kinds(kind)));
    let mark = visit.mark();
    let main = html! {
        h1 { (words::TITLE) }
        p.intro { (words::INTRO) }
        nav.tabs aria-label=(words::KINDS) {
            @for (kind, name) in all.chain(kinds) {
                @let tab = TrashQuery { kind: kind.to_owned(), ..TrashQuery::default() };
                a href=(tab.at("")) aria-current=[(kind == query.kind).then_some("page")] { (name) }
            }
        }
        @if let Some(notice) = &notice { (layout::notice(notice)) }
        @if let Some(failure) = &failure { (layout::notice(failure)) }
        @if !listed.items.is_empty() {
            ul.items { @for item in &listed.items { (row(item, &mark, query)) } }
        } @else if failure.is_none() {
            p.empty {
                @if !query.cursor.is_empty() { (words::END) }
                @else if query.kind.is_empty() { (words::EMPTY) }
                @else { (words::EMPTY_KIND) }
            }
        }
        @if !query.cursor.is_empty() || listed.next_cursor.is_some() {
            nav.actions aria-label=(words::PAGES) {
                @if !query.cursor.is_empty() {
                    a.button.quiet href=(query.at("")) { (words::FIRST) }
                }
                @if let Some(cursor) = &listed.next_cursor {
                    a.button.quiet href=(query.at(cursor)) { (words::NEXT) }
                }
            }
        }
    };
    let status = notice.as_ref().or(failure.as_ref()).map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, words::TITLE, &main)
}

fn row(item: &Item, mark: &str, query: &TrashQuery) -> Markup {
    let word = text(item, "content_type");
    let kind = ContentType::ALL.into_iter().find(|kind| kind.as_str() == word);
    let collection = kind.map_or("", ContentType::collection);
    let title = title_of(item);
    let back = serde_urlencoded::to_string(query).unwrap_or_default();
    let obstacles = item.get("obstacles").and_then(Value::as_array).into_iter().flatten();
    let fields = html! {
        (layout::mark(mark))
        input type="hidden" name="back" value=(back);
        input type="hidden" name="kind" value=(collection);
        input type="hidden" name="id" value=(text(item, "id"));
    };
    html! {
        li.row {
            div.name {
                strong { bdi { (title) } } " " span.badge { (values::capitalised(word)) }
                @if item.get("is_published") == Some(&Value::Bool(false)) {
                    " " span.badge.off { (words::DRAFT) }
                }
                div.facts {
                    @if text(item, "deleted_at").is_empty() { (words::UNKNOWN_TIME) }
                    @else { (words::DELETED) " " (moment(item, "deleted_at")) (deleted_by(item)) }
                }
                @for obstacle in obstacles {
                    @let is_blocking = obstacle["is_blocking"] == true;
                    p.obstacle.blocking[is_blocking] {
                        strong {
                            (if is_blocking { words::BLOCKED } else { words::NOT_SHOWN })
                        } " "
                        bdi { (obstacle["detail"].as_str().unwrap_or_default()) }
                    }
                }
                div.actions {
                    form method="post" action=(PATH) data-hx-boost="true" {
                        (fields)
                        button.quiet name="do" value="restore"
                            aria-label={ (words::RESTORE) ": " (title) } { (words::RESTORE) }
                    }
                    details {
                        summary aria-label={ (words::DELETE) ": " (title) } { (words::DELETE) }
                        form method="post" action=(PATH) data-hx-boost="true" {
                            (fields)
                            input type="hidden" name="tag" value=(text(item, "etag"));
                            p { (words::CONFIRM) }
                            button.danger name="do" value="delete"
                                aria-label={ (words::DELETE_NOW) ": " (title) } { (words::DELETE_NOW) }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the user who deleted an item, if that is known.
fn deleted_by(item: &Item) -> Markup {
    let user = item.get("deleted_by").filter(|user| user.is_object());
    html! {
        @if let Some(user) = user {
            " " (words::BY) " " bdi { (user["name"].as_str().unwrap_or(words::UNNAMED)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_the_same_on_the_next_page() {
        let query = TrashQuery { kind: "pages".to_owned(), cursor: String::new() };
        assert_eq!(query.at("a&b"), "/console/trash?kind=pages&cursor=a%26b");
        assert_eq!(query.request(), "/trash?limit=20&content_type=page");
        assert_eq!(TrashQuery::default().at(""), "/console/trash");
        assert_eq!(TrashQuery::default().request(), "/trash?limit=20");
        let odd = TrashQuery { kind: "users".to_owned(), cursor: "x".to_owned() };
        assert_eq!(odd.request(), "/trash?limit=20&cursor=x&content_type=users");
    }
}
