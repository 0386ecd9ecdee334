mod provider;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{FromRequest, http::header::AUTHORIZATION, test::TestRequest, web::Data};
use async_trait::async_trait;
use futures_util::future::join_all;
use models::{ErrorCode, Role, User};
use serde_json::{Value, json};

use self::provider::{Key, Provider, unsigned};
use super::{
    authenticator::{Authenticator, Users},
    caller::Caller,
    keys::Intervals,
};
use crate::{
    runtime::{
        clock::Clock,
        settings::{Settings, Sources, auth::Auth},
    },
    web::error::ApiError,
};

const OPEN: &str = "open-open-open-open";
const JANE: &str = "jane@site.example";
const JOHN: &str = "john@site.example";

impl Authenticator {
    /// Checks a token from nowhere in particular.
    async fn check(&self, token: &str) -> Result<Caller, ApiError> {
        self.caller(token, None).await
    }
}

/// Jane is an admin, John an author.
#[derive(Default)]
struct People {
    look_ups: AtomicUsize,
}

#[async_trait]
impl Users for People {
    async fn by_email(&self, email: &str) -> Result<Option<User>, ApiError> {
        self.look_ups.fetch_add(1, Ordering::Relaxed);
        let (id, role) = match email {
            JANE => ("1", Role::Admin),
            JOHN => ("2", Role::Author),
            _ => return Ok(None),
        };
        let email = email.to_owned();
        Ok(Some(User { id: id.to_owned(), email, name: None, role }))
    }
}

fn settings(variables: &[(&str, &str)]) -> Auth {
    let pairs = variables
        .iter()
        .map(|(name, value)| (format!("TURBULENCE__AUTH__{name}"), (*value).to_owned()));
    let environment: HashMap<_, _> = pairs.collect();
    Settings::load(1, &Sources { environment, ..Sources::default() }).unwrap().auth
}

fn with_users(settings: &Auth) -> Authenticator {
    Authenticator::new(settings).with_users(Arc::new(People::default()))
}

fn oidc(provider: &Provider, more: &[(&str, &str)]) -> Authenticator {
    let mut variables = vec![
        ("MODE", "oidc"),
        ("OIDC__ISSUER", provider.url.as_str()),
        ("OIDC__AUDIENCE", "site"),
        ("OIDC__ALGORITHMS", "RS256,ES256"),
    ];
    variables.extend(more);
    with_users(&settings(&variables))
}

const ALWAYS: Intervals = Intervals {
    refresh: Duration::from_secs(3600),
    retry: Duration::ZERO,
    first_retry: Duration::ZERO,
};

fn google(provider: &Provider) -> Authenticator {
    let (tokeninfo, keys) =
        (format!("{}/tokeninfo", provider.url), format!("{}/keys", provider.url));
    with_users(&settings(&[
        ("MODE", "google"),
        ("GOOGLE__AUDIENCE", "other-client, site"),
        ("GOOGLE__TOKENINFO_URL", &tokeninfo),
        ("GOOGLE__JWKS_URL", &keys),
    ]))
}

fn now() -> i64 {
    Clock::system().now().timestamp()
}

fn claims(provider: &Provider) -> Value {
    json!({
        "iss": provider.url, "aud": "site", "exp": now() + 600, "iat": now(), "sub": "1",
        "email": JANE, "email_verified": true,
    })
}

/// Returns the claims with one of them changed, or removed if the value is null.
fn but(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    if claims[name].is_null() {
        claims.as_object_mut().unwrap().remove(name);
    }
    claims
}

async fn code(authenticator: &Authenticator, token: &str) -> Option<ErrorCode> {
    authenticator.check(token).await.err().map(|error| error.code())
}

async fn refused(authenticator: &Authenticator, token: &str, what: &str) {
    assert_eq!(code(authenticator, token).await, Some(ErrorCode::Unauthorized), "{what}");
}

// Requests

async fn check(configured: Option<&str>, header: Option<&str>) -> Result<Caller, String> {
    let variables: Vec<_> = configured.map(|token| ("STATIC_TOKEN", token)).into_iter().collect();
    let authenticator = Data::new(Authenticator::new(&settings(&variables)));
    let mut request = TestRequest::default().app_data(authenticator);
    if let Some(header) = header {
        request = request.insert_header((AUTHORIZATION, header));
    }
    Caller::extract(&request.to_http_request()).await.map_err(|error| error.to_string())
}

#[actix_web::test]
async fn only_the_configured_token_is_accepted() {
    let admin = Caller::Operator { user_id: None };
    for scheme in ["Bearer", "bearer"] {
        let header = format!("{scheme} {OPEN}");
        assert_eq!(check(Some(OPEN), Some(&header)).await, Ok(admin.clone()));
    }
    for (header, message) in [
        (None, "Authorization header is missing."),
        (Some(""), "Authorization header must be of the form `Bearer <token>`."),
        (
            Some("Basic open-open-open-open"),
            "Authorization header must be of the form `Bearer <token>`.",
        ),
        (Some("Bearer"), "The token is missing after `Bearer`."),
        (Some("Bearer close"), "The token is invalid or has expired."),
        (Some("Bearer open-open-open-openn"), "The token is invalid or has expired."),
    ] {
        let expected = Err(format!("unauthorized: {message}"));
        assert_eq!(check(Some(OPEN), header).await, expected, "{header:?}");
    }
}

#[actix_web::test]
async fn without_a_configured_token_none_is_accepted() {
    for header in ["Bearer ", "Bearer x", "Bearer null"] {
        assert!(check(None, Some(header)).await.is_err(), "{header:?}");
    }
}

#[actix_web::test]
async fn the_holder_of_the_static_token_is_the_configured_admin() {
    let authenticator = with_users(&settings(&[("STATIC_TOKEN", OPEN)]));
    let authenticator = authenticator.with_operator(Some(JANE.to_owned()));
    let caller = authenticator.check(OPEN).await.unwrap();
    assert_eq!(caller, Caller::Operator { user_id: Some("1".to_owned()) });
}

#[actix_web::test]
async fn an_author_may_change_their_own_content_only() {
    let author = Caller::User { id: "2".to_owned(), role: Role::Author };
    assert!(author.require_owner(Some("2")).is_ok());
    for owner in [Some("1"), None] {
        let error = author.require_owner(owner).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Forbidden);
    }
    assert_eq!(author.require_admin().unwrap_err().code(), ErrorCode::Forbidden);
    let admin = Caller::Operator { user_id: None };
    assert!(admin.require_admin().is_ok() && admin.require_owner(None).is_ok());
}

// OpenID Connect

#[actix_web::test]
async fn a_token_of_the_provider_identifies_its_user() {
    let (provider, p256, rsa) = (Provider::start(), Key::p256("p256"), Key::rsa("rsa"));
    provider.change(|state| state.keys = vec![p256.public(), rsa.public()]);
    let authenticator = oidc(&provider, &[]);
    for key in [&p256, &rsa] {
        let jane = authenticator.check(&key.token(&claims(&provider))).await.unwrap();
        assert_eq!(jane, Caller::User { id: "1".to_owned(), role: Role::Admin });
        let john = key.token(&but(&claims(&provider), "email", json!(JOHN)));
        assert_eq!(authenticator.check(&john).await.unwrap().role(), Role::Author);
        let many = key.token(&but(&claims(&provider), "aud", json!(["x", "site"])));
        assert!(authenticator.check(&many).await.is_ok());
    }
    assert_eq!(provider.change(|state| state.keys_requests), 1);
}

#[actix_web::test]
async fn a_valid_token_of_an_unknown_user_is_forbidden() {
    let (provider, key) = (Provider::start(), Key::p256("a"));
    provider.change(|state| state.keys = vec![key.public()]);
    let stranger = key.token(&but(&claims(&provider), "email", json!("x@elsewhere.example")));
    assert_eq!(code(&oidc(&provider, &[]), &stranger).await, Some(ErrorCode::Forbidden));
}

#[actix_web::test]
async fn a_token_with_wrong_or_missing_claims_is_refused() {
    let (provider, key) = (Provider::start(), Key::p256("a"));
    provider.change(|state| state.keys = vec![key.public()]);
    let authenticator = oidc(&provider, &[]);
    let claims = claims(&provider);
    for (name, value) in [
        ("aud", json!("another-site")),
        ("aud", json!(["x", "y"])),
        ("aud", json!("sit")),
        ("aud", json!(null)),
        ("iss", json!("https://evil.example")),
        ("iss", json!(format!("{}/", provider.url))),
        ("iss", json!(null)),
        ("iss", json!([provider.url])),
        ("iss", json!([provider.url, "https://evil.example"])),
        ("exp", json!(now() - 1)),
        ("exp", json!(0)),
        ("exp", json!("never")),
        ("exp", json!(null)),
        ("nbf", json!(now() + 600)),
        ("nbf", json!("soon")),
        ("email", json!(null)),
        ("email_verified", json!(false)),
        ("email_verified", json!("false")),
        ("email_verified", json!(null)),
    ] {
        let token = key.token(&but(&claims, name, value.clone()));
        refused(&authenticator, &token, &format!("{name}: {value}")).await;
    }
    assert!(authenticator.check(&key.token(&but(&claims, "nbf", json!(now() - 5)))).await.is_ok());
}

#[actix_web::test]
async fn an_address_without_a_verified_claim_is_accepted_only_if_configured() {
    let (provider, key) = (Provider::start(), Key::p256("a"));
    provider.change(|state| state.keys = vec![key.public()]);
    let authenticator = oidc(&provider, &[("OIDC__REQUIRE_VERIFIED_EMAIL", "false")]);
    let unsaid = key.token(&but(&claims(&provider), "email_verified", json!(null)));
    assert!(authenticator.check(&unsaid).await.is_ok());
    let denied = key.token(&but(&claims(&provider), "email_verified", json!(false)));
    refused(&authenticator, &denied, "not verified").await;
}

#[actix_web::test]
async fn a_token_with_another_kind_of_signature_is_refused() {
    let (provider, key, other) = (Provider::start(), Key::rsa("a"), Key::p256("a"));
    provider.change(|state| state.keys = vec![key.public()]);
    let authenticator = oidc(&provider, &[]).with_key_intervals(ALWAYS);
    let claims = claims(&provider);
    let good = key.token(&claims);
    let (message, _) = good.rsplit_once('.').unwrap();
    for (what, token) in [
        ("none", unsigned(&claims)),
        ("the public key as secret", key.token_by_public_key(&claims)),
        ("another key", other.token(&claims)),
        ("no signature", format!("{message}.")),
        ("an empty signature", message.to_owned()),
        ("another algorithm's name", {
            key.token_with_head(&json!({ "alg": "ES256", "kid": "a" }), &claims)
        }),
        ("an algorithm that is not configured", {
            key.token_with_head(&json!({ "alg": "RS512", "kid": "a" }), &claims)
        }),
        ("an unknown extension", {
            key.token_with_head(&json!({ "alg": "RS256", "kid": "a", "crit": ["x"] }), &claims)
        }),
        ("a key of its own", {
            let head = json!({ "alg": "ES256", "kid": "z", "jwk": other.public() });
            other.token_with_head(&head, &claims)
        }),
        ("other claims", {
            let other = key.token(&but(&claims, "email", json!(JOHN)));
            let signature = good.rsplit_once('.').unwrap().1;
            format!("{}.{signature}", other.rsplit_once('.').unwrap().0)
        }),
        ("no token", "x".repeat(100)),
        ("a long one", "x".repeat(100_000)),
        ("dots", "...".to_owned()),
    ] {
        refused(&authenticator, &token, what).await;
    }
    assert!(authenticator.check(&good).await.is_ok());
}

#[actix_web::test]
async fn concurrent_first_requests_fetch_the_keys_once() {
    let (provider, key) = (Provider::start(), Key::p256("a"));
    provider.change(|state| state.keys = vec![key.public()]);
    let authenticator = oidc(&provider, &[]);
    let tokens = (0..50).map(|n| key.token(&but(&claims(&provider), "sub", json!(n.to_string()))));
    let tokens: Vec<_> = tokens.collect();
    let callers = join_all(tokens.iter().map(|token| authenticator.check(token))).await;
    assert!(callers.iter().all(Result::is_ok));
    assert_eq!(provider.change(|state| state.keys_requests), 1);
}

#[actix_web::test]
async fn unknown_key_ids_do_not_cause_a_fetch_each() {
    let (provider, key, stranger) = (Provider::start(), Key::p256("a"), Key::p256("x"));
    provider.change(|state| state.keys = vec![key.public()]);
    let authenticator = oidc(&provider, &[]);
    assert!(authenticator.check(&key.token(&claims(&provider))).await.is_ok());
    for n in 0..100 {
        let head = json!({ "alg": "ES256", "kid": format!("unknown-{n}") });
        let token = stranger.token_with_head(&head, &claims(&provider));
        refused(&authenticator, &token, "an unknown key").await;
    }
    assert_eq!(provider.change(|state| state.keys_requests), 1);
}

#[actix_web::test]
async fn a_new_key_is_fetched_when_it_is_first_used() {
    let (provider, old, new) = (Provider::start(), Key::p256("old"), Key::p256("new"));
    provider.change(|state| state.keys = vec![old.public()]);
    let authenticator = oidc(&provider, &[]).with_key_intervals(ALWAYS);
    assert!(authenticator.check(&old.token(&claims(&provider))).await.is_ok());
    provider.change(|state| state.keys = vec![new.public()]);
    assert!(authenticator.check(&new.token(&claims(&provider))).await.is_ok());
    let late = old.token(&but(&claims(&provider), "sub", json!("late")));
    refused(&authenticator, &late, "a key that was withdrawn").await;
}

#[actix_web::test]
async fn the_last_good_keys_are_used_while_the_provider_is_down() {
    let (provider, key, new) = (Provider::start(), Key::p256("a"), Key::p256("new"));
    provider.change(|state| state.keys = vec![key.public()]);
    let stale = Intervals { refresh: Duration::ZERO, ..ALWAYS };
    let authenticator = oidc(&provider, &[]).with_key_intervals(stale);
    assert!(authenticator.check(&key.token(&claims(&provider))).await.is_ok());
    provider.change(|state| state.is_down = true);
    for n in 0..3 {
        let token = key.token(&but(&claims(&provider), "sub", json!(n)));
        assert!(authenticator.check(&token).await.is_ok());
    }
    let unknown = new.token(&claims(&provider));
    assert_eq!(code(&authenticator, &unknown).await, Some(ErrorCode::AuthUnavailable));
    provider.change(|state| {
        state.is_down = false;
        state.keys.push(new.public());
    });
    assert!(authenticator.check(&unknown).await.is_ok());
}

#[actix_web::test]
async fn without_any_keys_a_token_is_answered_with_503() {
    let (provider, key) = (Provider::start(), Key::p256("a"));
    provider.change(|state| state.is_down = true);
    let authenticator = oidc(&provider, &[]);
    let token = key.token(&claims(&provider));
    let error = authenticator.check(&token).await.unwrap_err();
    let response = actix_web::ResponseError::error_response(&error);
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    // No server listens on the port.
    let unreachable = oidc(&provider, &[("OIDC__JWKS_URL", "http://127.0.0.1:9/keys")]);
    assert_eq!(code(&unreachable, &token).await, Some(ErrorCode::AuthUnavailable));
}

#[actix_web::test]
async fn a_provider_with_another_issuer_is_not_trusted() {
    let (provider, key) = (Provider::start(), Key::p256("a"));
    provider.change(|state| {
        state.keys = vec![key.public()];
        state.issuer = Some(format!("{}/", provider.url));
    });
    let token = key.token(&claims(&provider));
    assert_eq!(code(&oidc(&provider, &[]), &token).await, Some(ErrorCode::AuthUnavailable));
    let keys = format!("{}/keys", provider.url);
    assert!(oidc(&provider, &[("OIDC__JWKS_URL", &keys)]).check(&token).await.is_ok());
}

#[actix_web::test]
async fn keys_are_not_fetched_over_a_network_without_https() {
    let (provider, key) = (Provider::start(), Key::p256("a"));
    provider.change(|state| {
        state.keys = vec![key.public()];
        state.jwks_uri = Some("http://192.0.2.1/keys".to_owned());
    });
    let token = key.token(&claims(&provider));
    let error = oidc(&provider, &[]).check(&token).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::AuthUnavailable);
    assert!(error.causes().unwrap().contains("without https"), "{:?}", error.causes());
}

#[actix_web::test]
async fn keys_of_unknown_types_are_skipped() {
    let (provider, key) = (Provider::start(), Key::p256("a"));
    let secret = json!({ "kty": "oct", "kid": "b", "k": "c2VjcmV0" });
    let odd = json!({ "kty": "ML-DSA", "kid": "c", "alg": "ML-DSA-65", "pub": "AA" });
    let encryption = but(&key.public(), "use", json!("enc"));
    provider.change(|state| state.keys = vec![json!(1), odd, secret, encryption, key.public()]);
    assert!(oidc(&provider, &[]).check(&key.token(&claims(&provider))).await.is_ok());
}

#[actix_web::test]
async fn a_token_is_not_cached_beyond_its_expiry() {
    let (provider, key) = (Provider::start(), Key::p256("a"));
    provider.change(|state| state.keys = vec![key.public()]);
    let authenticator = oidc(&provider, &[]);
    let token = key.token(&but(&claims(&provider), "exp", json!(now() + 100)));
    assert!(authenticator.check(&token).await.is_ok());
    let later = Clock::fixed(Clock::system().now() + Duration::from_secs(101));
    let authenticator = authenticator.with_clock(later);
    refused(&authenticator, &token, "cached and expired").await;
}

#[actix_web::test]
async fn a_user_is_looked_up_once_for_many_requests() {
    let (provider, key) = (Provider::start(), Key::p256("a"));
    provider.change(|state| state.keys = vec![key.public()]);
    let people = Arc::new(People::default());
    let users: Arc<dyn Users> = people.clone();
    let authenticator = oidc(&provider, &[]).with_users(users);
    let token = key.token(&claims(&provider));
    for _ in 0..20 {
        assert!(authenticator.check(&token).await.is_ok());
    }
    assert_eq!(people.look_ups.load(Ordering::Relaxed), 1);
}

// Google

fn info() -> Value {
    json!({
        "azp": "site", "aud": "site", "sub": "1", "exp": (now() + 600).to_string(),
        "expires_in": "600", "access_type": "online", "email": JANE, "email_verified": "true",
        "scope": "openid https://www.googleapis.com/auth/userinfo.email",
    })
}

#[actix_web::test]
async fn an_access_token_is_checked_with_google_once() {
    let provider = Provider::start();
    provider.change(|state| state.tokens.insert("ya29.jane".to_owned(), info()));
    let authenticator = google(&provider);
    let requests = (0..20).map(|_| authenticator.check("ya29.jane"));
    let callers = join_all(requests).await;
    let jane = Caller::User { id: "1".to_owned(), role: Role::Admin };
    assert!(callers.into_iter().all(|caller| caller.unwrap() == jane));
    assert!(authenticator.check("ya29.jane").await.is_ok());
    assert_eq!(provider.change(|state| state.tokeninfo_requests), 1);
}

#[actix_web::test]
async fn an_access_token_with_wrong_or_missing_values_is_refused() {
    let provider = Provider::start();
    let authenticator = google(&provider);
    for (name, value) in [
        ("aud", json!("another-site")),
        ("aud", json!("site.evil")),
        ("aud", json!(null)),
        ("exp", json!((now() - 1).to_string())),
        ("expires_in", json!("0")),
        ("expires_in", json!(-5)),
        ("scope", json!("openid profile")),
        ("scope", json!("https://www.googleapis.com/auth/userinfo.emails")),
        ("scope", json!(null)),
        ("email", json!(null)),
        ("email_verified", json!("false")),
        ("email_verified", json!(null)),
    ] {
        let token = format!("ya29.{name}.{value}");
        let info = but(&info(), name, value);
        provider.change(|state| state.tokens.insert(token.clone(), info));
        refused(&authenticator, &token, &token).await;
    }
    let mut endless = info();
    endless.as_object_mut().unwrap().retain(|name, _| !name.starts_with("exp"));
    provider.change(|state| state.tokens.insert("ya29.endless".to_owned(), endless));
    refused(&authenticator, "ya29.endless", "without an expiry").await;
}

#[actix_web::test]
async fn a_token_that_google_refuses_is_checked_with_google_once() {
    let provider = Provider::start();
    let authenticator = google(&provider);
    for _ in 0..5 {
        refused(&authenticator, "ya29.unknown", "unknown").await;
    }
    assert_eq!(provider.change(|state| state.tokeninfo_requests), 1);
}

#[actix_web::test]
async fn a_cached_access_token_is_accepted_while_google_is_down() {
    let provider = Provider::start();
    provider.change(|state| {
        state.tokens.insert("ya29.jane".to_owned(), info());
        state.tokens.insert("ya29.late".to_owned(), info());
    });
    let authenticator = google(&provider);
    assert!(authenticator.check("ya29.jane").await.is_ok());
    provider.change(|state| state.is_down = true);
    assert!(authenticator.check("ya29.jane").await.is_ok());
    let error = authenticator.check("ya29.late").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::AuthUnavailable);
    let causes = format!("{error:?} {:?}", error.causes());
    assert!(!causes.contains("ya29"), "{causes}");
    // A token that could not be checked is not cached as refused.
    provider.change(|state| state.is_down = false);
    assert!(authenticator.check("ya29.late").await.is_ok());
}

#[actix_web::test]
async fn an_error_about_a_token_does_not_contain_it() {
    let provider = Provider::start();
    let mut settings = settings(&[("MODE", "google"), ("GOOGLE__AUDIENCE", "site")]);
    settings.google.tokeninfo_url = "http://127.0.0.1:9/tokeninfo".parse().unwrap();
    drop(provider);
    let error = with_users(&settings).check("ya29.secret").await.unwrap_err();
    let text = format!("{error} {error:?} {:?}", error.causes());
    assert!(error.code() == ErrorCode::AuthUnavailable && !text.contains("secret"), "{text}");
}

#[actix_web::test]
async fn an_id_token_is_checked_without_google() {
    let (provider, key) = (Provider::start(), Key::rsa("a"));
    provider.change(|state| state.keys = vec![key.public()]);
    let authenticator = google(&provider);
    let claims = but(&claims(&provider), "iss", json!("https://accounts.google.com"));
    assert!(authenticator.check(&key.token(&claims)).await.is_ok());
    let short = key.token(&but(&claims, "iss", json!("accounts.google.com")));
    assert!(authenticator.check(&short).await.is_ok());
    for (name, value) in [
        ("iss", json!(provider.url)),
        ("aud", json!("another-site")),
        ("exp", json!(now() - 100)),
        ("email_verified", json!(false)),
    ] {
        refused(&authenticator, &key.token(&but(&claims, name, value)), name).await;
    }
    refused(&authenticator, &unsigned(&claims), "unsigned").await;
    assert_eq!(provider.change(|state| (state.keys_requests, state.tokeninfo_requests)), (1, 0));
}

#[actix_web::test]
async fn made_up_tokens_of_one_address_do_not_keep_others_from_signing_in() {
    let provider = Provider::start();
    let authenticator = google(&provider);
    let attacker = Some([192, 0, 2, 1].into());
    let made_up: Vec<_> = (0..400).map(|n| format!("ya29.made-up-{n}")).collect();
    let answers = join_all(made_up.iter().map(|token| authenticator.caller(token, attacker))).await;
    let codes: Vec<_> = answers.into_iter().map(|answer| answer.unwrap_err().code()).collect();
    let count = |code| codes.iter().filter(|one| **one == code).count();
    let (checked, refused) = (count(ErrorCode::Unauthorized), count(ErrorCode::TooManyRequests));
    assert!(checked >= 50 && refused > 0 && checked + refused == 400, "{checked} {refused}");
    assert!(provider.change(|state| state.tokeninfo_requests) <= checked);

    for editor in 1..=12 {
        let token = format!("ya29.editor-{editor}");
        provider.change(|state| state.tokens.insert(token.clone(), info()));
        let address = Some([198, 51, 100, editor].into());
        assert!(authenticator.caller(&token, address).await.is_ok());
        // A token that is known needs no check, wherever it comes from.
        assert!(authenticator.caller(&token, attacker).await.is_ok());
    }
}

#[actix_web::test]
async fn made_up_tokens_of_many_addresses_do_not_keep_known_addresses_from_signing_in() {
    let provider = Provider::start();
    let authenticator = google(&provider);
    let editor = Some([198, 51, 100, 1].into());
    let tokens = ["ya29.today", "ya29.tomorrow"];
    for token in tokens {
        provider.change(|state| state.tokens.insert(token.to_owned(), info()));
    }
    assert!(authenticator.caller(tokens[0], editor).await.is_ok());

    // Checks that do not end, as many as wait in the time of one.
    provider.change(|state| state.is_silent_about_unknown_tokens = true);
    let before = provider.change(|state| state.tokeninfo_requests);
    let made_up = (0..100_u8).map(|n| {
        let authenticator = &authenticator;
        async move {
            let token = format!("ya29.made-up-{n}");
            authenticator.caller(&token, Some([192, 0, 2, n].into())).await
        }
    });
    let mut made_up = Box::pin(join_all(made_up));
    while provider.change(|state| state.tokeninfo_requests) == before {
        tokio::select! {
            biased;
            _ = &mut made_up => panic!("they do not wait"),
            () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {}
        }
    }
    tokio::select! {
        biased;
        _ = &mut made_up => panic!("they were answered first"),
        caller = authenticator.caller(tokens[1], editor) => assert!(caller.is_ok()),
    }
}
