//! The frame of all pages, and the responses that carry them.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
            HeaderValue, LOCATION, REFERRER_POLICY, SET_COOKIE, VARY,
        },
    },
};
use chrono::{DateTime, SecondsFormat, Utc};
use maud::{DOCTYPE, Markup, html};
use serde_json::json;
use service_kit::web::coding::{Coding, MIN_BYTES};

use crate::{
    assets::{self, HTMX, ICON, SCRIPTS, STYLE},
    guard::Visit,
    texts::{content, error, frame, health, media, navigation, trash, webhooks},
};

/// The permissions of pages: files and requests of this site only, no script or style in the page itself,
/// and no other page around it. Pictures of other hosts are not shown: those would learn who reads what.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    media-src 'self'; font-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";

/// The settings of htmx: it evaluates nothing, adds no style, keeps no page in the storage of the
/// browser, and shows the pages of errors; `console.js` decides about the rest.
const HTMX_CONFIG: &str = r#"{"allowEval":false,"allowScriptTags":false,"includeIndicatorStyles":false,"selfRequestsOnly":true,"historyCacheSize":0,"refreshOnHistoryMiss":true,"scrollIntoViewOnBoost":false,"timeout":30000,"responseHandling":[{"code":"204","swap":false},{"code":"401","swap":false,"error":true},{"code":"...","swap":true}]}"#;

/// The texts of the script, as JSON.
static SCRIPT_TEXTS: LazyLock<String> = LazyLock::new(|| {
    let texts = json!({
        "unreachable": error::UNREACHABLE,
        "signedOut": error::SIGNED_OUT,
        "signIn": error::SIGN_IN_ELSEWHERE,
        "moved": navigation::MOVED_TO,
        "top": navigation::AT_THE_TOP,
        "noStep": navigation::NO_STEP,
    });
    texts.to_string()
});

/// A message above a page.
pub(crate) struct Notice {
    status: StatusCode,
    text: String,
}

impl Notice {
    /// Returns the message of an error with this status.
    pub(crate) fn error(status: u16, text: &str) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        Self { status, text: text.to_owned() }
    }

    /// Returns the message of a success.
    pub(crate) fn done(text: &str) -> Self {
        Self { status: StatusCode::OK, text: text.to_owned() }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// Returns the markup of a message.
pub(crate) fn notice(notice: &Notice) -> Markup {
    let is_error = !notice.status.is_success();
    html! {
        div.notice.error[is_error] role=(if is_error { "alert" } else { "status" }) {
            p { (notice.text) }
        }
    }
}

/// Returns the message for a form that was sent without a session.
pub(crate) fn signed_out_notice() -> Markup {
    html! {
        div.notice.error role="alert" {
            p { (error::SIGNED_OUT) }
            p { (error::KEPT) }
            p { a href="/console/sign-in" target="_blank" rel="opener" { (error::SIGN_IN_ELSEWHERE) } }
        }
    }
}

/// A page of the console with its place in the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MenuEntry {
    path: &'static str,
    /// The beginnings of paths of its pages.
    below: &'static [&'static str],
    name: &'static str,
}

/// The menu.
const MENU: [MenuEntry; 6] = [
    MenuEntry {
        path: "/console/navigation",
        below: &["/console/navigation", "/console/sections", "/console/redirects", "/console/site"],
        name: frame::NAVIGATION,
    },
    MenuEntry { path: "/console/content", below: &["/console/content"], name: content::TITLE },
    MenuEntry { path: "/console/media", below: &["/console/media"], name: media::TITLE },
    MenuEntry { path: "/console/trash", below: &["/console/trash"], name: trash::TITLE },
    MenuEntry { path: "/console/webhooks", below: &["/console/webhooks"], name: webhooks::TITLE },
    MenuEntry { path: "/console/health", below: &["/console/health"], name: health::TITLE },
];

/// Returns a page for a person who is signed in.
pub(crate) fn page(visit: &Visit, status: StatusCode, title: &str, main: &Markup) -> HttpResponse {
    let path = visit.request.path();
    let header = html! {
        nav aria-label=(frame::PAGES) {
            @for entry in MENU {
                @let is_current = entry.below.iter().any(|below| path.starts_with(below));
                a href=(entry.path) aria-current=[is_current.then_some("page")] { (entry.name) }
            }
        }
        form method="post" action="/console/sign-out" {
            (mark(&visit.mark()))
            button.quiet type="submit" { (frame::SIGN_OUT) }
        }
    };
    let mut response = document(&visit.request, status, title, &header, main);
    if let Some(cookie) = visit.renewed_cookie() {
        add_header(&mut response, SET_COOKIE, &cookie);
    }
    response
}

/// Returns a page for anyone.
pub(crate) fn bare_page(
    request: &HttpRequest,
    status: StatusCode,
    title: &str,
    main: &Markup,
) -> HttpResponse {
    document(request, status, title, &html! {}, main)
}

/// Returns the hidden field that shows that a form is one of the session.
pub(crate) fn mark(mark: &str) -> Markup {
    html! { input type="hidden" name="mark" value=(mark); }
}

/// Returns a moment: in UTC, which a script writes in the zone of the reader.
pub(crate) fn time(moment: Option<DateTime<Utc>>) -> Markup {
    html! {
        @match moment {
            Some(moment) => {
                time datetime=(moment.to_rfc3339_opts(SecondsFormat::Secs, true)) {
                    (moment.format("%Y-%m-%d %H:%M UTC"))
                }
            }
            None => (frame::NEVER),
        }
    }
}

fn document(
    request: &HttpRequest,
    status: StatusCode,
    title: &str,
    header: &Markup,
    main: &Markup,
) -> HttpResponse {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                meta name="htmx-config" content=(HTMX_CONFIG);
                title { (title) " · " (frame::NAME) }
                link rel="icon" type="image/svg+xml" href=(ICON.path);
                link rel="stylesheet" href=(STYLE.path);
                script src=(HTMX.path) defer {}
                script src=(SCRIPTS.path) defer {}
            }
            body {
                a.skip href="#main" { (frame::SKIP) }
                header.frame {
                    a.brand href="/console" { (frame::NAME) }
                    (header)
                }
                main #main tabindex="-1" { (main) }
                div #announcement.toast role="status" aria-live="polite" data-texts=(*SCRIPT_TEXTS) {}
            }
        }
    };
    respond(request, status, page.into_string())
}

/// Returns a page as a response, compressed if the client accepts that.
fn respond(request: &HttpRequest, status: StatusCode, body: String) -> HttpResponse {
    let coding = assets::accepted(request);
    let encoded = (body.len() >= MIN_BYTES && coding != Coding::Identity)
        .then(|| coding.encode(body.as_bytes()))
        .flatten();
    let mut response = HttpResponse::build(status);
    response
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        // Browsers send no `Origin` with forms of pages that send no referrer.
        .insert_header((REFERRER_POLICY, "same-origin"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((VARY, "cookie, accept-encoding"));
    match encoded {
        Some(encoded) => {
            response.insert_header((CONTENT_ENCODING, coding.name()));
            response.body(encoded)
        }
        None => response.body(body),
    }
}

/// Returns the response that leads to a page after a form was sent.
pub(crate) fn redirect(path: &str) -> HttpResponse {
    let mut response = HttpResponse::SeeOther();
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((VARY, "cookie"));
    response.insert_header((LOCATION, path)).finish()
}

/// Adds a header whose value is made of parts that are checked elsewhere.
pub(crate) fn add_header(response: &mut HttpResponse, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().append(name, value);
    }
}
