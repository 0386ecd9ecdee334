//! Webhooks: addresses that are told of changes, and the messages that were sent to them.

use actix_web::{HttpResponse, http::StatusCode, web};
use maud::{Markup, html};
use models::{PublicEvent, PublicKind};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    content::{Item, moment, text as text_of},
    unread,
};
use crate::{
    api::{Caller, Failure, Problem},
    fields::{Errors, Field, one_line, shortened, ticked},
    form::Form,
    guard::Visit,
    layout::{self, Notice},
    texts::{content as list_words, section as section_words, webhooks as words},
};

/// The path of the list.
const PATH: &str = "/console/webhooks";

/// The fields of the form whose errors are beside them.
const NAMES: [&str; 3] = ["url", "description", "is_enabled"];

/// The messages of a page: each has a few lines.
const PAGE_ITEMS: usize = 20;

/// The fields of a webhook, as a browser sends them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Fields {
    url: String,
    description: String,
    /// None of them stands for all.
    kinds: Vec<String>,
    events: Vec<String>,
    is_enabled: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ListQuery {
    /// Not empty after a webhook was deleted.
    deleted: String,
}

/// The part of the messages that is shown.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WebhookQuery {
    #[serde(skip_serializing_if = "String::is_empty")]
    state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    cursor: String,
    /// The action that was done.
    #[serde(skip_serializing)]
    done: String,
}

#[derive(Debug, Default, Deserialize)]
struct Listed {
    items: Vec<Item>,
    next_cursor: Option<String>,
}

impl Fields {
    fn of(webhook: &Item) -> Self {
        let all = |name: &str| {
            let all = webhook.get(name).and_then(Value::as_array).into_iter().flatten();
            sorted(all.filter_map(Value::as_str))
        };
        Self {
            url: one_line(text_of(webhook, "url")),
            description: one_line(text_of(webhook, "description")),
            kinds: all("kinds"),
            events: all("events"),
            is_enabled: ticked(is_enabled(webhook)).to_owned(),
        }
    }

    fn of_form(sent: &Form) -> Self {
        let all = |name: &str| sorted(sent.all(name).into_iter());
        Self {
            url: sent.get("url").trim().to_owned(),
            description: sent.get("description").to_owned(),
            kinds: all("kinds"),
            events: all("events"),
            is_enabled: ticked(sent.has("is_enabled")).to_owned(),
        }
    }

    /// Returns the fields as the API has them.
    fn values(&self) -> [(&'static str, Value); 5] {
        let all = |all: &[String]| if all.is_empty() { Value::Null } else { json!(all) };
        let description = match self.description.as_str() {
            "" => Value::Null,
            text => text.into(),
        };
        [
            ("url", self.url.as_str().into()),
            ("description", description),
            ("kinds", all(&self.kinds)),
            ("events", all(&self.events)),
            ("is_enabled", (!self.is_enabled.is_empty()).into()),
        ]
    }

    /// Returns the members of a body that changes `stored` to these fields. What was not changed is not
    /// sent.
    fn changes(&self, stored: &Self) -> Map<String, Value> {
        let pairs = self.values().into_iter().zip(stored.values());
        pairs
            .filter(|((_, value), (_, before))| value != before)
            .map(|((name, value), _)| (name.to_owned(), value))
            .collect()
    }
}

/// Returns words in one order: that of the API is that of an earlier request.
fn sorted<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut words: Vec<_> = words.map(str::to_owned).collect();
    words.sort_unstable();
    words
}

fn is_enabled(webhook: &Item) -> bool {
    webhook.get("is_enabled") == Some(&Value::Bool(true))
}

/// Returns the path of a webhook in the API. An id that is none has no webhook.
fn route(id: &str) -> Result<String, Failure> {
    let id = super::id_of(id)?.ok_or_else(super::no_section)?;
    Ok(format!("/webhooks/{id}"))
}

async fn read(visit: &Visit, id: &str) -> Result<Item, Failure> {
    Ok(visit.api().get::<Item>(&route(id)?).await?.value)
}

/// Shows the list.
pub(crate) async fn list(visit: Visit, query: web::Query<ListQuery>) -> HttpResponse {
    let (listed, notice) = match visit.api().get::<Listed>("/webhooks").await {
        Ok(listed) => (Some(listed.value), None),
        Err(Failure::SignedOut) => return visit.failed(&Failure::SignedOut),
        Err(failure) => (None, Some(Notice::of(&failure))),
    };
    let done = (!query.deleted.is_empty()).then(|| Notice::done(words::DELETED));
    let main = html! {
        div.head {
            h1 { (words::TITLE) }
            a.button href={ (PATH) "/new" } { (words::NEW) }
        }
        p.intro { (words::INTRO) }
        @if let Some(notice) = notice.as_ref().or(done.as_ref()) { (layout::notice(notice)) }
        @if let Some(Listed { items, .. }) = &listed {
            @if items.is_empty() {
                p.empty { (words::EMPTY) }
            } @else {
                ul.items { @for webhook in items { (row(webhook)) } }
            }
        }
    };
    let status = notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(&visit, status, words::TITLE, &main)
}

fn row(webhook: &Item) -> Markup {
    let (id, url) = (text_of(webhook, "id"), shortened(text_of(webhook, "url")));
    html! {
        li.row {
            span.name {
                a href={ (PATH) "/" (id) } { bdi { (url) } } " " (status(webhook))
                @if !text_of(webhook, "description").is_empty() {
                    br; bdi { (shortened(text_of(webhook, "description"))) }
                }
                br; (facts(webhook))
            }
        }
    }
}

fn status(webhook: &Item) -> Markup {
    let status = text_of(webhook, "status");
    html! {
        @if !status.is_empty() {
            span.badge.off[status != "active"] { (words::status(status)) }
        }
    }
}

/// Returns the number of messages that wait, and the reason for a state.
fn facts(webhook: &Item) -> Markup {
    let waiting = webhook.get("waiting").and_then(Value::as_u64).unwrap_or_default();
    let reason = text_of(webhook, "status_reason");
    html! {
        span.facts {
            (words::waiting(waiting))
            @if !reason.is_empty() { " · " bdi { (shortened(reason)) } }
        }
    }
}

/// Shows the form of a new webhook.
pub(crate) async fn new(visit: Visit) -> HttpResponse {
    let fields = Fields { is_enabled: ticked(true).to_owned(), ..Fields::default() };
    new_page(&visit, &fields, &Errors::default())
}

/// Adds a webhook, and shows it with its secret.
pub(crate) async fn create(visit: Visit, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let fields = Fields::of_form(&sent);
    let body: Map<String, Value> =
        fields.values().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    match visit.api().write::<Item>(Method::POST, "/webhooks", "", &body.into()).await {
        Ok(added) => with_secret(&visit, &added.value, words::CREATED).await,
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(failure) => new_page(&visit, &fields, &Errors::of(&failure, &NAMES)),
    }
}

fn new_page(visit: &Visit, fields: &Fields, errors: &Errors) -> HttpResponse {
    let main = html! {
        p.back { a href=(PATH) { "← " (words::TITLE) } }
        h1 { (words::NEW) }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        form.card method="post" action={ (PATH) "/new" } data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            (controls(fields, None, errors))
            div.actions {
                button type="submit" { (words::ADD) }
                a.button.quiet href=(PATH) { (section_words::CANCEL) }
            }
        }
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, words::NEW, &main)
}

/// Returns the fields of a form, beside what someone else has stored in the meantime.
fn controls(fields: &Fields, stored: Option<&Fields>, errors: &Errors) -> Markup {
    let theirs = |text: fn(&Fields) -> &String| {
        stored.map(text).filter(|theirs| *theirs != text(fields)).cloned()
    };
    let enabled = stored.filter(|stored| stored.is_enabled != fields.is_enabled);
    let enabled = enabled.map(|stored| match stored.is_enabled.as_str() {
        "" => words::NO.to_owned(),
        _ => words::YES.to_owned(),
    });
    let kinds: Vec<_> = PublicKind::all().map(PublicKind::as_str).collect();
    let events = PublicEvent::ALL.map(PublicEvent::as_str);
    html! {
        (Field::new("url", words::URL, &fields.url).help(words::URL_HELP)
            .stored(theirs(|one| &one.url)).text(errors, true))
        (Field::new("description", words::DESCRIPTION, &fields.description)
            .stored(theirs(|one| &one.description)).text(errors, false))
        (boxes("kinds", words::KINDS, &kinds, &fields.kinds, stored.map(|one| &*one.kinds)))
        (boxes("events", words::EVENTS, &events, &fields.events, stored.map(|one| &*one.events)))
        (Field::new("is_enabled", words::ENABLED, &fields.is_enabled).help(words::ENABLED_HELP)
            .stored(enabled).tick(errors))
    }
}

/// Returns a choice of several words. Those that this program does not know stay chosen.
fn boxes(
    name: &str,
    label: &str,
    all: &[&str],
    chosen: &[String],
    theirs: Option<&[String]>,
) -> Markup {
    let has = |one: &str| chosen.iter().any(|word| word == one);
    let unknown = chosen.iter().filter(|word| !all.contains(&word.as_str()));
    html! {
        fieldset {
            legend { (label) }
            p.help { (words::NONE_IS_ALL) }
            @for word in all {
                label.choice {
                    input type="checkbox" name=(name) value=(word) checked[has(word)];
                    span { (word) }
                }
            }
            @for word in unknown {
                label.choice {
                    input type="checkbox" name=(name) value=(word) checked;
                    span { bdi { (shortened(word)) } }
                }
            }
            @if let Some(theirs) = theirs.filter(|theirs| *theirs != chosen) {
                p.stored {
                    (section_words::STORED) " "
                    bdi {
                        @if theirs.is_empty() { (words::ALL) } @else { (theirs.join(", ")) }
                    }
                }
            }
        }
    }
}

/// Shows a webhook with its messages.
pub(crate) async fn show(
    visit: Visit,
    id: web::Path<String>,
    query: web::Query<WebhookQuery>,
) -> HttpResponse {
    let webhook = match read(&visit, &id).await {
        Ok(webhook) => webhook,
        Err(failure) => return unread(&visit, &failure),
    };
    let done = words::done(&query.done).map(Notice::done);
    let errors = done.map_or_else(Errors::default, Errors::message);
    page(&visit, &webhook, &Fields::of(&webhook), None, &errors, &query, None).await
}

/// Shows a webhook whose secret is new. No other page has it.
async fn with_secret(visit: &Visit, webhook: &Item, done: &str) -> HttpResponse {
    let errors = Errors::message(Notice::done(done));
    let secret = html! {
        div.notice role="status" {
            p { (words::SECRET_HELP) }
            p { code { (text_of(webhook, "secret")) } }
        }
    };
    let query = WebhookQuery::default();
    page(visit, webhook, &Fields::of(webhook), None, &errors, &query, Some(&secret)).await
}

/// Changes a webhook, or sends a message to it.
pub(crate) async fn act(visit: Visit, id: web::Path<String>, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let action = sent.get("do");
    if action == "save" {
        return save(&visit, &id, &sent).await;
    }
    match apply(visit.api(), &id, action).await {
        Ok(changed) if action == "secret" => {
            with_secret(&visit, &changed, words::SECRET_REPLACED).await
        }
        Ok(_) => {
            let done = action.split(':').next().unwrap_or_default();
            layout::redirect(&format!("{PATH}/{id}?done={done}"))
        }
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(failure) => match read(&visit, &id).await {
            Ok(webhook) => {
                let errors = Errors::message(Notice::of(&failure));
                let (fields, query) = (Fields::of(&webhook), WebhookQuery::default());
                page(&visit, &webhook, &fields, None, &errors, &query, None).await
            }
            Err(failure) => unread(&visit, &failure),
        },
    }
}

/// Applies an action, and returns the answer of the API.
async fn apply(api: Caller<'_>, id: &str, action: &str) -> Result<Item, Failure> {
    let path = route(id)?;
    let (action, of) = action.split_once(':').unwrap_or((action, ""));
    let (method, path, body) = match action {
        "enable" => (Method::PATCH, path, json!({ "is_enabled": true })),
        "disable" => (Method::PATCH, path, json!({ "is_enabled": false })),
        // The API makes a new one.
        "secret" => (Method::PATCH, path, json!({ "secret": null })),
        "test" => (Method::POST, format!("{path}/test"), Value::Null),
        "redeliver" => {
            let of = super::id_of(of)?.ok_or_else(super::no_section)?;
            (Method::POST, format!("{path}/deliveries/{of}/redeliver"), Value::Null)
        }
        _ => return Err(super::no_section()),
    };
    if body.is_null() {
        return api.act(method, &path).await.map(|()| Item::new());
    }
    Ok(api.write::<Item>(method, &path, "", &body).await?.value)
}

/// Saves the fields of a webhook.
async fn save(visit: &Visit, id: &str, sent: &Form) -> HttpResponse {
    let fields = Fields::of_form(sent);
    let query = WebhookQuery::default();
    let now = match read(visit, id).await {
        Ok(now) => now,
        Err(
            failure @ (Failure::SignedOut | Failure::Refused(Problem { status: 400 | 404, .. })),
        ) => return unread(visit, &failure),
        Err(failure) => {
            // What was typed is shown, though nothing can be read.
            let now: Item = [("id", id), ("updatedDate", sent.get("changed"))]
                .map(|(name, text)| (name.to_owned(), Value::from(text)))
                .into_iter()
                .collect();
            let errors = Errors::of(&failure, &NAMES);
            return page(visit, &now, &fields, None, &errors, &query, None).await;
        }
    };
    let stored = Fields::of(&now);
    if sent.get("changed") != text_of(&now, "updatedDate") {
        let errors = Errors::message(Notice::error(412, words::CONFLICT));
        return page(visit, &now, &fields, Some(&stored), &errors, &query, None).await;
    }
    let changes = fields.changes(&stored);
    if changes.is_empty() {
        return layout::redirect(&format!("{PATH}/{id}?done=no"));
    }
    let saved = async {
        let route = route(id)?;
        visit.api().write::<Item>(Method::PATCH, &route, "", &changes.into()).await
    };
    match saved.await {
        Ok(_) => layout::redirect(&format!("{PATH}/{id}?done=save")),
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(failure) => {
            let errors = Errors::of(&failure, &NAMES);
            page(visit, &now, &fields, None, &errors, &query, None).await
        }
    }
}

async fn page(
    visit: &Visit,
    webhook: &Item,
    fields: &Fields,
    stored: Option<&Fields>,
    errors: &Errors,
    query: &WebhookQuery,
    more: Option<&Markup>,
) -> HttpResponse {
    let id = text_of(webhook, "id");
    let action = format!("{PATH}/{id}");
    let deliveries = deliveries(visit, id, query).await;
    if let Err(Failure::SignedOut) = deliveries {
        return visit.failed(&Failure::SignedOut);
    }
    let (word, name) = match (is_enabled(webhook), text_of(webhook, "status")) {
        (true, "failing") => ("enable", words::RESUME),
        (true, _) => ("disable", words::DISABLE),
        (false, _) => ("enable", words::ENABLE),
    };
    let main = html! {
        p.back { a href=(PATH) { "← " (words::TITLE) } }
        h1 { bdi { (shortened(&fields.url)) } }
        p { (status(webhook)) " " (facts(webhook)) }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        @if let Some(more) = more { (more) }
        form.card method="post" action=(action) data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            input type="hidden" name="changed" value=(text_of(webhook, "updatedDate"));
            (controls(fields, stored, errors))
            div.actions { button type="submit" name="do" value="save" { (section_words::SAVE) } }
        }
        h2 { (words::ACTIONS) }
        form method="post" action=(action) data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            div.actions {
                button.quiet name="do" value="test" { (words::TEST) }
                button.quiet name="do" value=(word) { (name) }
                button.quiet name="do" value="secret" { (words::SECRET) }
                a.button.quiet href={ (action) "/delete" } { (section_words::DELETE) }
            }
            p.help { (words::ACTIONS_HELP) }
        }
        h2 { (words::MESSAGES) }
        @match &deliveries {
            Ok(listed) => (messages(visit, &action, query, listed)),
            Err(failure) => (layout::notice(&Notice::of(failure))),
        }
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, words::TITLE, &main)
}

async fn deliveries(visit: &Visit, id: &str, query: &WebhookQuery) -> Result<Listed, Failure> {
    let part = serde_urlencoded::to_string(query).unwrap_or_default();
    let mark = if part.is_empty() { "" } else { "&" };
    let path = format!("{}/deliveries?limit={PAGE_ITEMS}{mark}{part}", route(id)?);
    Ok(visit.api().get::<Listed>(&path).await?.value)
}

impl WebhookQuery {
    /// Returns the address of a part of the messages of the webhook at `path`.
    fn at(path: &str, state: &str, cursor: &str) -> String {
        let (state, cursor) = (state.to_owned(), cursor.to_owned());
        let query = Self { state, cursor, ..Self::default() };
        let query = serde_urlencoded::to_string(query).unwrap_or_default();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }
}

fn messages(visit: &Visit, path: &str, query: &WebhookQuery, listed: &Listed) -> Markup {
    let here = WebhookQuery::at(path, &query.state, &query.cursor);
    // Read again by htmx while one of them waits.
    let waits = listed.items.iter().any(|one| text_of(one, "state") == "pending");
    html! {
        nav.tabs aria-label=(words::STATES) {
            @for (state, name) in words::MESSAGE_STATES {
                a href=(WebhookQuery::at(path, state, ""))
                    aria-current=[(state == query.state).then_some("page")] { (name) }
            }
        }
        div #messages {
            @if waits {
                span data-hx-get=(here) data-hx-trigger="every 3s" data-hx-select="#messages"
                    data-hx-target="#messages" data-hx-swap="outerHTML" {}
            }
            @if listed.items.is_empty() {
                p.empty { (if query.state.is_empty() { words::NO_MESSAGES } else { words::NONE_OF_STATE }) }
            } @else {
                form method="post" action=(path) data-hx-boost="true" {
                    (layout::mark(&visit.mark()))
                    ul.items { @for one in &listed.items { (message(one)) } }
                }
            }
        }
        nav.actions aria-label=(list_words::PAGES) {
            @if !query.cursor.is_empty() {
                a.button.quiet href=(WebhookQuery::at(path, &query.state, "")) { (list_words::FIRST) }
            }
            @if let Some(cursor) = &listed.next_cursor {
                a.button.quiet href=(WebhookQuery::at(path, &query.state, cursor)) { (list_words::NEXT) }
            }
        }
    }
}

fn message(one: &Item) -> Markup {
    let (state, id) = (text_of(one, "state"), text_of(one, "id"));
    let attempts = one.get("attempts").and_then(Value::as_array);
    let count = one.get("attempt_count").and_then(Value::as_u64).unwrap_or_default();
    let body = one.get("body").map(|body| format!("{body:#}")).unwrap_or_default();
    html! {
        li.row {
            div.name {
                strong { (text_of(one, "type")) } " "
                span.badge.off[state != "delivered"] { (words::message_state(state)) }
                br;
                span.facts {
                    (moment(one, "createdDate")) " · " (words::attempts(count))
                    @if !text_of(one, "next_attempt_at").is_empty() {
                        " · " (words::NEXT_ATTEMPT) " " (moment(one, "next_attempt_at"))
                    }
                }
                @for attempt in attempts.into_iter().flatten().filter_map(Value::as_object) {
                    br;
                    span.facts {
                        (moment(attempt, "at")) ": "
                        @if let Some(status) = attempt.get("status").and_then(Value::as_u64) {
                            (words::answered(status))
                        }
                        @if !text_of(attempt, "error").is_empty() {
                            " " bdi { (shortened(text_of(attempt, "error"))) }
                        }
                    }
                }
                details.message {
                    summary { (words::BODY) }
                    pre { (body) }
                }
            }
            button.quiet name="do" value={ "redeliver:" (id) }
                aria-label=(words::redeliver(text_of(one, "type"))) { (words::REDELIVER) }
        }
    }
}

/// Asks before a webhook is deleted.
pub(crate) async fn confirm(visit: Visit, id: web::Path<String>) -> HttpResponse {
    delete_page(&visit, &id, None).await
}

/// Deletes a webhook.
pub(crate) async fn delete(visit: Visit, id: web::Path<String>, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let deleted = async { visit.api().act(Method::DELETE, &route(&id)?).await };
    match deleted.await {
        Ok(()) => layout::redirect(&format!("{PATH}?deleted=yes")),
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(failure) => delete_page(&visit, &id, Some(&failure)).await,
    }
}

async fn delete_page(visit: &Visit, id: &str, failure: Option<&Failure>) -> HttpResponse {
    let webhook = match read(visit, id).await {
        Ok(webhook) => webhook,
        Err(failure) => return unread(visit, &failure),
    };
    let title = section_words::delete_title(&shortened(text_of(&webhook, "url")));
    let notice = failure.map(Notice::of);
    let path = format!("{PATH}/{}", text_of(&webhook, "id"));
    let main = html! {
        h1 { bdi { (title) } }
        @if let Some(notice) = &notice { (layout::notice(notice)) }
        p { (words::DELETE_HELP) }
        form.card method="post" action={ (path) "/delete" } data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            div.actions {
                button.danger type="submit" { (words::DELETE_CONFIRM) }
                a.button.quiet href=(path) { (section_words::CANCEL) }
            }
        }
    };
    let status = notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, &title, &main)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_changed_is_sent() {
        let webhook = json!({
            "url": "https://a.example/x", "description": null, "kinds": ["stories", "lamps"],
            "events": null, "is_enabled": true, "waiting": 3,
        });
        let stored = Fields::of(webhook.as_object().unwrap());
        assert_eq!(stored.changes(&stored), Map::new());
        let typed = Fields {
            description: "For the shop".to_owned(),
            kinds: Vec::new(),
            events: vec!["moved".to_owned()],
            is_enabled: String::new(),
            ..stored.clone()
        };
        let expected = json!({
            "description": "For the shop", "kinds": null, "events": ["moved"], "is_enabled": false,
        });
        assert_eq!(Value::from(typed.changes(&stored)), expected);
    }
}
