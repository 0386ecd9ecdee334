//! The state of all parts of the site, of its migrations, and of its data.

use actix_web::{HttpResponse, http::StatusCode};
use maud::{Markup, html};
use models::ContentType;
use serde_json::{Map, Value};

use super::content::page_of;
use crate::{
    api::Failure,
    guard::Visit,
    layout::{self, Notice},
    texts::health as words,
};

/// The documents of a finding that are shown: the API names up to 50.
const MAX_SHOWN: usize = 20;

/// Shows the state of everything.
pub(crate) async fn show(visit: Visit) -> HttpResponse {
    let api = visit.api();
    let state = match api.health().await {
        Ok(state) => state,
        Err(failure) => return visit.failed(&failure),
    };
    let findings = match api.get::<Value>("/integrity").await {
        Ok(report) => findings(&report.value["findings"]),
        Err(Failure::SignedOut) => return visit.failed(&Failure::SignedOut),
        Err(failure) => layout::notice(&Notice::of(&failure)),
    };
    let empty = Map::new();
    let checks = state["checks"].as_object().unwrap_or(&empty);
    let main = html! {
        h1 { (words::TITLE) }
        // Read again by htmx while the page is open.
        div #parts data-hx-get="/console/health" data-hx-trigger="every 5s" data-hx-select="#parts"
            data-hx-target="this" data-hx-swap="outerHTML" {
            h2 { (words::PARTS) }
            ul.items { @for (name, check) in checks { (part(name, check)) } }
            h2 { (words::MIGRATIONS) }
            (migrations(checks))
        }
        h2 { (words::DATA) }
        p.help { (words::DATA_HELP) }
        (findings)
    };
    layout::page(&visit, StatusCode::OK, words::TITLE, &main)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns a part of the site with its replicas.
fn part(name: &str, check: &Value) -> Markup {
    let is_ok = check["status"] == "ok" && check["warning"].is_null();
    let reason = [&check["reason"], &check["warning"]].map(text).concat();
    html! {
        li.row {
            span.name {
                strong { (name) } " "
                span.badge.off[!is_ok] { (if is_ok { words::OK } else { words::NOT_OK }) }
                @if !reason.is_empty() { " " (reason) }
                @for replica in check["replicas"].as_array().into_iter().flatten() {
                    @let is_healthy = replica["status"] == "healthy";
                    br;
                    span.facts {
                        code { (text(&replica["address"])) } " "
                        (if is_healthy { words::HEALTHY } else { words::UNHEALTHY })
                        @if !text(&replica["reason"]).is_empty() { ": " (text(&replica["reason"])) }
                    }
                }
            }
        }
    }
}

/// Returns the migrations that are not applied, by service, with the commands that control them.
fn migrations(checks: &Map<String, Value>) -> Markup {
    let of_services: Vec<_> = checks
        .iter()
        .map(|(name, check)| (name, &check["migrations"]))
        .filter(|(_, migrations)| migrations.is_object())
        .collect();
    let open = of_services.iter().flat_map(|(_, one)| one["open"].as_array().into_iter().flatten());
    let has_open = open.count() > 0;
    html! {
        ul {
            @for (name, migrations) in &of_services {
                li {
                    (name) ": "
                    (words::applied(number(&migrations["applied"]), number(&migrations["total"])))
                    @for one in migrations["open"].as_array().into_iter().flatten() { (migration(one)) }
                }
            }
        }
        @if has_open { p.help { (words::COMMANDS) } }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn migration(one: &Value) -> Markup {
    let (done, total) = (number(&one["modified"]), number(&one["total"]));
    let id = text(&one["id"]);
    html! {
        div.migration {
            code { (id) } " " span.badge.off { (text(&one["state"]).replace('_', " ")) }
            @if total > 0 {
                " " progress max=(total) value=(done.min(total)) aria-label=(id) {}
                " " (words::documents(done, total))
            }
            @if !text(&one["error"]).is_empty() { p { (text(&one["error"])) } }
            @let facts = pace(one);
            @if !facts.is_empty() { p.facts { (facts.join(" · ")) } }
            @if let Some(help) = words::state_help(text(&one["state"])) { p.help { (help) } }
        }
    }
}

/// Returns the speed of a migration, the time that is left, what slows it down, and what it set aside.
fn pace(one: &Value) -> Vec<String> {
    let positive = |name: &str| one[name].as_f64().filter(|number| *number > 0.0);
    let parts = [
        positive("documents_per_second").map(words::rate),
        positive("eta_seconds").map(words::time_left),
        words::throttled(text(&one["throttled_by"])).map(str::to_owned),
        positive("set_aside").map(words::set_aside),
    ];
    parts.into_iter().flatten().collect()
}

/// Returns what is wrong with the data, with the way to each item.
fn findings(findings: &Value) -> Markup {
    let all = findings.as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if all.is_empty() { p.empty { (words::NO_FINDINGS) } }
        @for finding in all {
            @let (collection, ids) = (text(&finding["collection"]), finding["ids"].as_array());
            div.finding {
                h3 { (collection) ": " (text(&finding["kind"]).replace('_', " ")) }
                p { (text(&finding["message"])) }
                @if finding["repairable"] == true { p.help { (words::REPAIR) } }
                ul {
                    @for id in ids.into_iter().flatten().map(text).take(MAX_SHOWN) {
                        li {
                            @match ContentType::of_collection(collection) {
                                Some(kind) => a href=(page_of(kind, id)) { bdi { (id) } },
                                None if collection == "sections" =>
                                    a href={ "/console/sections/" (id) } { bdi { (id) } },
                                None => bdi { (id) },
                            }
                        }
                    }
                    @if number(&finding["count"]) > MAX_SHOWN as u64 {
                        li { (words::more(number(&finding["count"]) - MAX_SHOWN as u64)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_migration_is_shown_with_its_speed_and_what_it_waits_for() {
        let running = json!({
            "id": "0006_fill", "state": "running", "step": "fill", "modified": 300, "total": 1_000,
            "documents_per_second": 12.0, "eta_seconds": 150.0, "throttled_by": "duty_cycle",
            "set_aside": 2,
        });
        let shown = migration(&running).into_string();
        for text in [
            "300 of 1000 documents",
            "12 documents a second · about 3 minutes left · slowed down since the site is in use · 2 documents set aside",
        ] {
            assert!(shown.contains(text), "{shown}");
        }
        for (state, help) in [
            ("waiting_dependency", "continues by itself"),
            ("failed_retryable", "tried again by itself"),
            ("failed_fatal", "turbulence migrate retry"),
            ("paused", "turbulence migrate resume"),
        ] {
            let shown = migration(&json!({ "id": "x", "state": state })).into_string();
            assert!(shown.contains(help), "{shown}");
            assert!(!shown.contains("facts") && !shown.contains("progress"), "{shown}");
        }
        let odd = json!({ "id": "<x>", "state": "<y>", "eta_seconds": "soon", "throttled_by": 7 });
        assert!(!migration(&odd).into_string().contains("<x>"));
    }

    #[test]
    fn a_time_is_given_in_the_unit_that_a_person_uses() {
        for (seconds, text) in [
            (0.4, "about 1 second left"),
            (1.0, "about 1 second left"),
            (59.0, "about 59 seconds left"),
            (61.0, "about 2 minutes left"),
            (5_400.0, "about 90 minutes left"),
            (90_000.0, "about 25 hours left"),
        ] {
            assert_eq!(words::time_left(seconds), text);
        }
    }
}
