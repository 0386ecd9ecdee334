//! Tokens of Google: access tokens, which Google's tokeninfo endpoint describes, and ID tokens,
//! which are signed.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::HashMapStateStore,
};
use moka::future::Cache;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::sync::Semaphore;
use url::Url;

use super::{
    identity::{Identity, LenientValue, TokenError},
    jwt::JwtValidator,
    keys::KeyStore,
};
use crate::{
    runtime::settings::auth,
    web::{http_client, known_addresses::KnownAddresses, rate_limit::retry_after_seconds},
};

/// The largest response of the tokeninfo endpoint that is read, in bytes; they have some 500.
const TOKENINFO_MAX_BYTES: usize = 64 * 1024;

/// The number of concurrent requests to the tokeninfo endpoint for tokens of addresses from which a
/// good token has come, and for those of strangers: made-up tokens of many addresses must not keep
/// editors from signing in.
const MAX_CONCURRENT_REQUESTS: usize = 4;

/// The longest time that a check waits before its request to the tokeninfo endpoint.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);

/// The time for which a token that Google refused is refused without another request.
const REFUSED_TTL: Duration = Duration::from_secs(60);

/// The number of refused tokens that are cached.
const REFUSED_CAPACITY: u64 = 10_000;

/// The number of unknown tokens that one address may send in a second, in the long run, and at once.
/// A frontend that renders on its server sends the tokens of all its editors from one address, and each
/// is unknown again after five minutes: this is enough for 1,500 editors.
const UNKNOWN_TOKENS_PER_SECOND: NonZeroU32 = NonZeroU32::new(5).unwrap();
const UNKNOWN_TOKENS_BURST: NonZeroU32 = NonZeroU32::new(50).unwrap();

/// The number of addresses after which those without recent tokens are forgotten.
const MAX_IDLE_ADDRESSES: usize = 1_000;

/// The scopes with which a token reveals its owner's address.
const EMAIL_SCOPES: [&str; 2] = ["email", "https://www.googleapis.com/auth/userinfo.email"];

/// The checks of both kinds of tokens.
pub(super) struct Google {
    client: reqwest::Result<Client>,
    tokeninfo: Url,
    audience: Vec<String>,
    permits_of_known: Semaphore,
    permits_of_strangers: Semaphore,
    known_addresses: KnownAddresses,
    /// By address: made-up tokens of one address must not use up the requests for all others.
    budget: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
    /// By the digest of the token: no token is stored.
    refused: Cache<[u8; 32], ()>,
    validator: JwtValidator,
    keys: Arc<KeyStore>,
}

/// A description of an access token. Google writes numbers and flags as text.
#[derive(Debug, Deserialize)]
struct TokenInfo {
    aud: Option<String>,
    scope: Option<String>,
    exp: Option<LenientValue>,
    expires_in: Option<LenientValue>,
    email: Option<String>,
    email_verified: Option<LenientValue>,
}

impl Google {
    pub(super) fn new(settings: &auth::Google) -> Self {
        let keys = KeyStore::at(settings.jwks_url.url().clone(), http_client::provider_client());
        Self {
            client: http_client::provider_client(),
            tokeninfo: settings.tokeninfo_url.url().clone(),
            audience: settings.audience.0.clone(),
            permits_of_known: Semaphore::new(MAX_CONCURRENT_REQUESTS),
            permits_of_strangers: Semaphore::new(MAX_CONCURRENT_REQUESTS),
            known_addresses: KnownAddresses::default(),
            budget: RateLimiter::hashmap(
                Quota::per_second(UNKNOWN_TOKENS_PER_SECOND).allow_burst(UNKNOWN_TOKENS_BURST),
            ),
            refused: Cache::builder()
                .max_capacity(REFUSED_CAPACITY)
                .time_to_live(REFUSED_TTL)
                .build(),
            validator: JwtValidator::of_google(settings),
            keys: Arc::new(keys),
        }
    }

    /// Checks a token; `key` is its digest, `client` the address from which it comes.
    pub(super) async fn identity(
        &self,
        token: &str,
        key: [u8; 32],
        client: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> Result<Identity, TokenError> {
        // A JSON object in base64: the head of a signed token.
        if token.starts_with("eyJ") {
            return self.validator.identity(token, &self.keys, now).await;
        }
        if self.refused.contains_key(&key) {
            return Err(TokenError::Invalid("Google refused it less than a minute ago"));
        }
        self.check_budget(client)?;
        let is_known = client.is_some_and(|client| self.known_addresses.contains(&client));
        let permits = if is_known { &self.permits_of_known } else { &self.permits_of_strangers };
        let info = self.fetch(token, permits).await;
        let result = info.and_then(|info| self.validate(info, now));
        match (&result, client) {
            (Ok(_), Some(client)) => self.known_addresses.add(client),
            (Err(TokenError::Invalid(_)), _) => self.refused.insert(key, ()).await,
            _ => {}
        }
        result
    }

    fn check_budget(&self, client: Option<IpAddr>) -> Result<(), TokenError> {
        let Some(client) = client else { return Ok(()) };
        if self.budget.len() > MAX_IDLE_ADDRESSES {
            self.budget.retain_recent();
        }
        self.budget.check_key(&client).map_err(|refused| {
            let wait = refused.wait_time_from(DefaultClock::default().now());
            TokenError::TooMany { retry_after_seconds: retry_after_seconds(wait) }
        })
    }

    async fn fetch(&self, token: &str, permits: &Semaphore) -> Result<TokenInfo, TokenError> {
        let client =
            self.client.as_ref().map_err(|error| TokenError::unavailable(error.to_string()))?;
        let permit = tokio::time::timeout(QUEUE_TIMEOUT, permits.acquire()).await;
        let _permit = permit.map_err(TokenError::unavailable)?.map_err(TokenError::unavailable)?;
        let request = client.get(self.tokeninfo.clone()).query(&[("access_token", token)]);
        // The address contains the token.
        let unavailable = |error: reqwest::Error| TokenError::unavailable(error.without_url());
        let response = request.send().await.map_err(unavailable)?;
        match response.status() {
            StatusCode::OK => http_client::read_json(response, TOKENINFO_MAX_BYTES)
                .await
                .map_err(TokenError::unavailable),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => {
                Err(TokenError::Invalid("Google does not accept it"))
            }
            status => Err(TokenError::unavailable(format!("Google answered {status}"))),
        }
    }

    fn validate(&self, info: TokenInfo, now: DateTime<Utc>) -> Result<Identity, TokenError> {
        let is_for_us = info.aud.is_some_and(|aud| self.audience.contains(&aud));
        if !is_for_us {
            return Err(TokenError::Invalid("it is for another audience"));
        }
        let scope = info.scope.unwrap_or_default();
        if !scope.split_whitespace().any(|scope| EMAIL_SCOPES.contains(&scope)) {
            return Err(TokenError::Invalid("it lacks the scope `email`"));
        }
        if !info.email_verified.as_ref().is_some_and(LenientValue::is_true) {
            return Err(TokenError::Invalid("its e-mail address is not verified"));
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
        let now_seconds = now.timestamp() as f64;
        let at = info.exp.as_ref().and_then(LenientValue::number);
        let after =
            info.expires_in.as_ref().and_then(LenientValue::number).map(|left| now_seconds + left);
        let Some(expires_at) = at.into_iter().chain(after).reduce(f64::min) else {
            return Err(TokenError::Invalid("it has no date of expiry"));
        };
        let email = info.email.ok_or(TokenError::Invalid("it has no e-mail address"))?;
        let identity = Identity::new(email, expires_at, now)?;
        if identity.has_expired(now) {
            Err(TokenError::Invalid("it has expired"))
        } else {
            Ok(identity)
        }
    }
}
