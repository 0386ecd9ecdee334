//! The text that a start prints: the address as soon as the site serves, and the results once its
//! migrations are complete or stuck.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use migrations::Status;
use models::ContentType;
use serde_json::Value;
use service_kit::web::http_client;

use super::{site::Services, token::Token};
use crate::{lines::Lines, render};

/// Time that the site has to answer the requests of the summary.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the address, the token and the location of the data.
pub(super) fn head(
    address: &str,
    is_serving: bool,
    console: &str,
    loaded: &Lines,
    token: &Token,
    data: &str,
) -> Lines {
    let title = if is_serving {
        "Turbulence is serving. The results of its migrations follow below."
    } else {
        "Turbulence cannot serve yet; the reason is below."
    };
    let mut text = Lines::default();
    text.blank();
    _ = writeln!(text, "{title}");
    text.blank();
    _ = writeln!(text, "  Address  {address}");
    _ = writeln!(text, "  Console  {console}");
    _ = writeln!(text, "  Token    {}", token.description);
    _ = writeln!(text, "  MongoDB  {data}");
    text.append_labelled("  Loaded   ", loaded);
    text
}

/// Returns the address of the console. At a terminal it signs in, once and for some minutes; elsewhere the
/// output is kept in a journal, which others may read.
pub(super) fn console(address: &str, sign_in_code: Option<&str>) -> String {
    match sign_in_code.filter(|_| io::stdout().is_terminal()) {
        Some(code) => format!("{address}/console/sign-in#code={code} (signs in once)"),
        None => format!("{address}/console"),
    }
}

/// Returns the content of the site, the results of the migrations, and the addresses to open next.
pub(super) async fn summary(address: &str, services: &Services, token: &Token) -> Lines {
    let all: Vec<_> =
        services.iter().map(|(name, statuses)| (*name, statuses.borrow().clone())).collect();
    let statuses = || all.iter().flat_map(|(_, statuses)| statuses);
    let mut text = Lines::default();
    text.blank();
    _ = writeln!(text, "{}", title(statuses()));
    text.blank();
    _ = writeln!(text, "The site, through the gateway");
    text.append(&content(address, token).await);
    text.blank();
    _ = writeln!(text, "Results of the migrations");
    for (name, statuses) in &all {
        text.append(&render::outcomes(name, statuses, false));
    }
    text.append_with_margin("  ", &render::total_applied(statuses()));
    let quarantined = render::quarantined(statuses().flat_map(|status| &status.quarantined));
    if !quarantined.is_empty() {
        text.blank();
        _ = writeln!(text, "Quarantined documents, which could not be changed");
        text.append(&quarantined);
        _ = writeln!(text, "  Correct them, then run `turbulence migrate retry ID`");
    }
    let skipped = render::skipped(statuses().flat_map(|status| &status.skipped));
    if !skipped.is_empty() {
        text.blank();
        _ = writeln!(text, "Skipped documents, with the reason");
        text.append(&skipped);
    }
    text.blank();
    _ = writeln!(text, "Open next");
    for path in ["/sections", "/stories?limit=5", "/projects", "/pages/type/about", "/health/ready"]
    {
        _ = writeln!(text, "  {address}{path}");
    }
    text.blank();
    _ = writeln!(text, "Ctrl-C stops everything.");
    text
}

/// Returns the state of the migrations that are not complete, or `None` if all are.
pub(super) fn reached(services: &Services) -> Option<String> {
    let states = services.iter().map(|(name, statuses)| render::reached(name, &statuses.borrow()));
    let unfinished: Vec<_> = states.flatten().collect();
    (!unfinished.is_empty()).then(|| unfinished.join(", "))
}

/// Returns the first line of the summary.
fn title<'a>(statuses: impl Iterator<Item = &'a Status>) -> &'static str {
    let mut unsettled = statuses.filter(|status| !status.is_settled).peekable();
    if unsettled.peek().is_none() {
        "Turbulence is ready."
    } else if unsettled.any(|status| status.id == content_service::SECTION_BACKFILL) {
        "Not every migration is applied, and content is not linked to its sections yet; the reason \
         is below."
    } else {
        "Not every migration is applied; the reason is below."
    }
}

/// Returns the numbers of sections and items, as the frontend sees them.
async fn content(address: &str, token: &Token) -> Lines {
    let mut text = Lines::default();
    let Ok(client) = http_client::own_gateway_client(REQUEST_TIMEOUT) else { return text };
    let get = async |path: &str| -> Option<Value> {
        let url = format!("{address}{path}");
        let request = match &token.secret {
            Some(secret) => client.get(url).bearer_auth(secret.expose()),
            None => client.get(url),
        };
        request.send().await.ok()?.json().await.ok()
    };
    if let Some(Value::Array(sections)) = get("/sections").await {
        let titles: Vec<_> = sections.iter().filter_map(|one| one["title"].as_str()).collect();
        let (count, noun) = (sections.len(), render::noun(sections.len(), "sections"));
        _ = writeln!(text, "  {count:>6} {noun:<9} {}", titles.join(", "));
    }
    for kind in ContentType::ALL.map(ContentType::collection) {
        let public = get(&format!("/{kind}?limit=1")).await;
        let all = get(&format!("/{kind}?limit=1&include_drafts=true")).await;
        let total = |answer: Option<Value>| answer.and_then(|answer| answer["total"].as_u64());
        if let Some(public) = total(public) {
            // Without a token the drafts are not counted.
            let drafts = total(all).map_or(0, |all| all.saturating_sub(public));
            let drafts = match drafts {
                0 => String::new(),
                drafts => format!("and {}", render::counted(drafts, "draft", "drafts")),
            };
            let noun = render::noun(public, kind);
            let line = format!("  {public:>6} {noun:<9} {drafts}");
            _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}
