//! Signing in and out.

use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{RETRY_AFTER, SET_COOKIE},
    },
    middleware::Next,
    web,
};
use maud::html;
use serde::Deserialize;
use serde_json::Value;
use service_kit::runtime::settings::auth::AuthMode;

use crate::{
    api::{Failure, Problem},
    fields::{Errors, Field},
    form::Form,
    guard::{SignInLimit, Visit, is_of_this_site, is_own_path, is_secure, refused},
    layout::{self, Notice},
    session::{MAX_TOKEN_BYTES, Session, no_cookie},
    startup::State,
    texts::sign_in as texts,
};

/// A small request that needs a token.
const CHECK: &str = "/stories?limit=1&fields=id&include_drafts=true";

/// The name of the field with the token, or with a code that signs in once.
const TOKEN: &str = "token";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SignInQuery {
    /// The page to show afterwards.
    next: String,
    /// Not empty after a sign-out.
    #[serde(rename = "signed-out")]
    signed_out: String,
}

/// Shows the form.
pub(crate) async fn show(
    request: HttpRequest,
    query: web::Query<SignInQuery>,
    state: web::Data<State>,
) -> HttpResponse {
    let errors = match query.signed_out.as_str() {
        "" => Errors::default(),
        _ => Errors::message(Notice::done(texts::SIGNED_OUT)),
    };
    form(&request, &state, &query.next, &errors)
}

/// Checks the token, and sets the cookie of the session.
pub(crate) async fn send(
    request: HttpRequest,
    state: web::Data<State>,
    sent: Form,
) -> HttpResponse {
    let next = sent.get("next");
    let fail = |errors: Errors| form(&request, &state, next, &errors);
    let fail_token = |status, text| fail(Errors::field(TOKEN, status, text));
    if !is_of_this_site(&request) {
        return fail(Errors::message(Notice::error(403, texts::FORGED)));
    }
    let typed = sent.get(TOKEN).trim();
    let is_code = typed.starts_with("once-");
    let now = state.clock.now();
    let token = match state.codes.redeem(typed, now) {
        Some(token) => token,
        None if is_code => return fail_token(401, texts::CODE_USED),
        None if typed.is_empty() => return fail_token(422, texts::EMPTY),
        None if typed.len() > MAX_TOKEN_BYTES => return fail_token(422, texts::TOO_LONG),
        None if !typed.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
            return fail_token(422, texts::UNPRINTABLE);
        }
        None => typed.to_owned(),
    };
    match state.api.with(&token).get::<Value>(CHECK).await {
        Ok(_) => {}
        Err(Failure::SignedOut) => return fail_token(401, texts::REFUSED),
        Err(Failure::Unreachable) => {
            return fail(Errors::message(Notice::error(503, texts::UNREACHABLE)));
        }
        Err(Failure::Refused(Problem { status, detail, .. })) => {
            return fail_token(status, &detail);
        }
    }
    let session = Session::new(token, now);
    let Some(cookie) = state.keys.cookie(&session, is_secure(&request)) else {
        return fail_token(422, texts::TOO_LONG);
    };
    let next = if is_own_path(next) { next } else { "/console" };
    let mut response = layout::redirect(next);
    layout::add_header(&mut response, SET_COOKIE, &cookie);
    response
}

/// Removes the cookie.
pub(crate) async fn sign_out(visit: Visit, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let mut response = layout::redirect("/console/sign-in?signed-out=1");
    layout::add_header(&mut response, SET_COOKIE, &no_cookie(is_secure(&visit.request)));
    response
}

/// Limits the attempts to sign in, for each address.
pub(crate) async fn limit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let limits = request.app_data::<web::Data<SignInLimit>>();
    match limits.map_or(Ok(()), |limits| limits.0.check(&request)) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(error) => {
            let mut response = refused(request.request(), 429, &error.to_string());
            layout::add_header(&mut response, RETRY_AFTER, "1");
            Ok(request.into_response(response).map_into_right_body())
        }
    }
}

fn form(request: &HttpRequest, state: &State, next: &str, errors: &Errors) -> HttpResponse {
    let help = match state.mode {
        AuthMode::Static => texts::HELP_STATIC,
        AuthMode::Google | AuthMode::Oidc => texts::HELP_PROVIDER,
    };
    let main = html! {
        h1 { (texts::TITLE) }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        form.card #sign-in method="post" action="/console/sign-in" {
            @if is_own_path(next) { input type="hidden" name="next" value=(next); }
            (Field::new(TOKEN, texts::TOKEN, "").help(help).secret(errors))
            div.actions { button type="submit" { (texts::SUBMIT) } }
        }
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::bare_page(request, status, texts::TITLE, &main)
}
