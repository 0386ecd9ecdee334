//! Admits requests: sessions, forms of ours, sign-in codes and the limit of attempts to sign in.

use std::{
    collections::HashMap,
    future::{Ready, ready},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse,
    dev::Payload,
    http::{
        StatusCode, Uri,
        header::{HOST, ORIGIN, SET_COOKIE},
        uri::Authority,
    },
    web,
};
use chrono::{DateTime, TimeDelta, Utc};
use service_kit::{
    runtime::settings::{RateLimit as Limits, secret::Secret},
    web::{origin::RequestOrigin, rate_limit::RateLimit},
};

use crate::{
    api::{Caller, Failure, Problem},
    form::Form,
    layout::{self, Notice},
    session::{Session, no_cookie},
    startup::State,
    texts,
};

/// The time for which a sign-in code works: a person who starts a site opens it at once.
const CODE_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// The number of attempts to sign in that a client may make at once; after that, one in a second. A
/// token has at least 64 random bits.
const MAX_ATTEMPTS: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// The limit of attempts to sign in, for each address.
pub(crate) struct SignInLimit(pub(crate) RateLimit);

impl Default for SignInLimit {
    fn default() -> Self {
        Self(RateLimit::new(&Limits { requests_per_second: 1, burst: MAX_ATTEMPTS }))
    }
}

/// Codes that sign in once. They are for the process that issued them.
#[derive(Clone, Default)]
pub(crate) struct SignInCodes(Arc<Mutex<HashMap<String, Issued>>>);

/// The token of a code, and the end of the code.
type Issued = (Secret, DateTime<Utc>);

impl SignInCodes {
    /// Returns a new code for a token.
    pub(crate) fn issue(&self, token: &Secret, now: DateTime<Utc>) -> String {
        let code = format!("once-{}", Secret::generate().expose());
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, (_, until)| *until > now);
        codes.insert(code.clone(), (token.clone(), now + CODE_LIFETIME));
        code
    }

    /// Returns the token of a code, which is used up by that.
    pub(crate) fn redeem(&self, code: &str, now: DateTime<Utc>) -> Option<String> {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, until) = codes.remove(code)?;
        (until > now).then(|| token.expose().to_owned())
    }
}

/// A request of a person who is signed in.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) request: HttpRequest,
    pub(crate) state: web::Data<State>,
    pub(crate) session: Session,
}

impl FromRequest for Visit {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let visit = state(request).and_then(|state| {
            let session = state.keys.session(request.headers(), state.clock.now())?;
            Some(Self { request: request.clone(), state, session })
        });
        ready(visit.ok_or_else(|| {
            let response = to_sign_in(request);
            actix_web::error::InternalError::from_response("signed out", response).into()
        }))
    }
}

impl Visit {
    /// Returns the caller of the API.
    pub(crate) fn api(&self) -> Caller<'_> {
        self.state.api.with(&self.session.token)
    }

    /// Returns the mark for the forms of a page.
    pub(crate) fn mark(&self) -> String {
        self.state.keys.form_mark(&self.session)
    }

    /// Returns `Set-Cookie` if the session is to be renewed.
    pub(crate) fn renewed_cookie(&self) -> Option<String> {
        let headers = self.request.headers();
        // A page that reads itself again is not its reader.
        if headers.contains_key("hx-request") && !headers.contains_key("hx-boosted") {
            return None;
        }
        let renewed = self.session.renewed(self.state.clock.now())?;
        self.state.keys.cookie(&renewed, is_secure(&self.request))
    }

    /// Returns the refusal of a form that is not one of this session.
    pub(crate) fn check(&self, form: &Form) -> Result<(), Box<HttpResponse>> {
        let is_ours = is_of_this_site(&self.request)
            && self.state.keys.is_form_mark(&self.session, form.get("mark"));
        match is_ours {
            true => Ok(()),
            false => {
                let response = refused(&self.request, 403, texts::error::FORGED);
                Err(Box::new(response))
            }
        }
    }

    /// Returns the page for a failure that has no place on another one.
    pub(crate) fn failed(&self, failure: &Failure) -> HttpResponse {
        match failure {
            Failure::SignedOut => to_sign_in(&self.request),
            failure => {
                let notice = Notice::of(failure);
                let main = maud::html! {
                    h1 { (texts::error::TITLE) }
                    (layout::notice(&notice))
                    @if self.request.method().is_safe() {
                        p { a.button href="" { (texts::error::TRY_AGAIN) } }
                    }
                    p { a href="/console" { (texts::error::BACK) } }
                };
                layout::page(self, notice.status(), texts::error::TITLE, &main)
            }
        }
    }
}

impl Notice {
    /// Returns the notice of a failure.
    pub(crate) fn of(failure: &Failure) -> Self {
        match failure {
            Failure::SignedOut => Self::error(401, texts::error::SIGNED_OUT),
            Failure::Unreachable => Self::error(503, texts::error::UNREACHABLE),
            Failure::Refused(Problem { status, detail, .. }) => Self::error(*status, detail),
        }
    }
}

pub(crate) fn state(request: &HttpRequest) -> Option<web::Data<State>> {
    request.app_data::<web::Data<State>>().cloned()
}

/// Returns `true` if the client uses TLS.
pub(crate) fn is_secure(request: &HttpRequest) -> bool {
    let extensions = request.extensions();
    extensions.get::<RequestOrigin>().is_some_and(|origin| origin.scheme == "https")
}

/// Returns `true` unless a browser says that the request comes from another site. Old browsers and
/// programs say nothing.
pub(crate) fn is_of_this_site(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text("sec-fetch-site"), text(ORIGIN.as_str())) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let extensions = request.extensions();
            let forwarded = extensions.get::<RequestOrigin>().and_then(|one| one.host.clone());
            let host = forwarded.or_else(|| headers.get(HOST).cloned());
            let origin = origin.parse::<Uri>().ok();
            let authority = origin.as_ref().and_then(Uri::authority).map(Authority::as_str);
            match (authority, host.as_ref().and_then(|host| host.to_str().ok())) {
                (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
                _ => false,
            }
        }
        (None, None) => true,
    }
}

/// Returns `true` if a path is one of the console, to which a sign-in may lead.
pub(crate) fn is_own_path(path: &str) -> bool {
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    is_plain && (path == "/console" || path.starts_with("/console/"))
}

/// Returns the response to a request without a session: for a page, the way to sign in; for a form, a
/// message that lets its reader keep what is typed.
pub(crate) fn to_sign_in(request: &HttpRequest) -> HttpResponse {
    let mut response = if request.method().is_safe() {
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let query = match path {
            "/console" => String::new(),
            path => serde_urlencoded::to_string([("next", path)]).unwrap_or_default(),
        };
        let mark = if query.is_empty() { "" } else { "?" };
        layout::redirect(&format!("/console/sign-in{mark}{query}"))
    } else {
        layout::bare_page(
            request,
            StatusCode::UNAUTHORIZED,
            texts::error::TITLE,
            &layout::signed_out_notice(),
        )
    };
    layout::add_header(&mut response, SET_COOKIE, &no_cookie(is_secure(request)));
    response
}

/// Returns the page of an error without a session's frame.
pub(crate) fn refused(request: &HttpRequest, status: u16, text: &str) -> HttpResponse {
    let notice = Notice::error(status, text);
    layout::bare_page(request, notice.status(), texts::error::TITLE, &layout::notice(&notice))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_code_signs_in_once_and_not_for_long() {
        let (codes, now) = (SignInCodes::default(), DateTime::UNIX_EPOCH);
        let token: Secret = "0123456789abcdef".parse().unwrap();
        let code = codes.issue(&token, now);
        assert_eq!(codes.redeem(&code, now).as_deref(), Some("0123456789abcdef"));
        assert_eq!(codes.redeem(&code, now), None);
        let code = codes.issue(&token, now);
        assert_eq!(codes.redeem(&code, now + CODE_LIFETIME), None);
        for odd in ["", "once-", "0123456789abcdef"] {
            assert_eq!(codes.redeem(odd, now), None, "{odd}");
        }
    }

    #[test]
    fn requests_of_other_sites_are_recognised() {
        for (headers, is_ours) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://site.example")], false),
            (&[("origin", "http://site.example")], true),
            (&[("origin", "https://SITE.example")], true),
            (&[("origin", "http://site.example:8080")], false),
            (&[("origin", "http://evil.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
        ] {
            let mut request = TestRequest::post().insert_header(("host", "site.example"));
            for header in headers {
                request = request.append_header(*header);
            }
            assert_eq!(is_of_this_site(&request.to_http_request()), is_ours, "{headers:?}");
        }
    }

    #[test]
    fn a_sign_in_leads_to_pages_of_the_console_only() {
        for path in ["/console", "/console/navigation?saved=1", "/console/sections/x"] {
            assert!(is_own_path(path), "{path}");
        }
        for path in [
            "",
            "/",
            "/stories",
            "/consolex",
            "//evil.example",
            "https://evil.example/console/",
            "/console/\\evil",
            "/console/ x",
            "javascript:alert(1)",
            "/\t/console/",
        ] {
            assert!(!is_own_path(path), "{path}");
        }
    }
}
