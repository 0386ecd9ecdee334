//! Tokens of Google: access tokens, which Google has to be asked about, and ID tokens, which are
//! signed.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use moka::future::Cache;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::sync::Semaphore;
use url::Url;

use super::{
    identity::{Identity, Loose, Refusal},
    jwt::Rules,
    keys::Keys,
};
use crate::{http, settings};

/// The largest answer about a token that is read, in bytes; they have some 500.
const MAX_BYTES: usize = 64 * 1024;

/// How many access tokens are asked about at a time: tokens come from strangers.
const AT_A_TIME: usize = 8;

/// How long a request waits for its turn to ask.
const WAIT: Duration = Duration::from_secs(2);

/// How long a token that Google refused is refused without asking again.
const REMEMBER_REFUSED: Duration = Duration::from_secs(60);

/// How many refused tokens are remembered.
const REMEMBERED_REFUSED: u64 = 10_000;

/// The scopes with which a token tells its user's address.
const EMAIL_SCOPES: [&str; 2] = ["email", "https://www.googleapis.com/auth/userinfo.email"];

/// What Google says, or signed.
pub(super) struct Google {
    client: reqwest::Result<Client>,
    tokeninfo: Url,
    audience: Vec<String>,
    turns: Semaphore,
    refused: Cache<[u8; 32], ()>,
    rules: Rules,
    keys: Arc<Keys>,
}

/// What is known about an access token. Google writes numbers and flags as text.
#[derive(Debug, Deserialize)]
struct TokenInfo {
    aud: Option<String>,
    scope: Option<String>,
    exp: Option<Loose>,
    expires_in: Option<Loose>,
    email: Option<String>,
    email_verified: Option<Loose>,
}

impl Google {
    pub(super) fn new(settings: &settings::Google, client: reqwest::Result<Client>) -> Self {
        let keys = Keys::at(settings.jwks_url.url().clone(), http::provider_client());
        Self {
            client,
            tokeninfo: settings.tokeninfo_url.url().clone(),
            audience: settings.audience.0.clone(),
            turns: Semaphore::new(AT_A_TIME),
            refused: Cache::builder()
                .max_capacity(REMEMBERED_REFUSED)
                .time_to_live(REMEMBER_REFUSED)
                .build(),
            rules: Rules::of_google(settings),
            keys: Arc::new(keys),
        }
    }

    /// `key` is the digest of the token: no token is kept.
    pub(super) async fn identity(
        &self,
        token: &str,
        key: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Identity, Refusal> {
        // A JSON object in base64: the head of a signed token.
        if token.starts_with("eyJ") {
            return self.rules.identity(token, &self.keys, now).await;
        }
        if self.refused.contains_key(&key) {
            return Err(Refusal::Invalid("refused a moment ago"));
        }
        let result = self.ask(token).await.and_then(|info| self.accept(info, now));
        if matches!(result, Err(Refusal::Invalid(_))) {
            self.refused.insert(key, ()).await;
        }
        result
    }

    async fn ask(&self, token: &str) -> Result<TokenInfo, Refusal> {
        let client =
            self.client.as_ref().map_err(|error| Refusal::unavailable(error.to_string()))?;
        let turn = tokio::time::timeout(WAIT, self.turns.acquire()).await;
        let _turn = turn.map_err(Refusal::unavailable)?.map_err(Refusal::unavailable)?;
        let request = client.get(self.tokeninfo.clone()).query(&[("access_token", token)]);
        // The address has the token in it.
        let unavailable = |error: reqwest::Error| Refusal::unavailable(error.without_url());
        let response = request.send().await.map_err(unavailable)?;
        match response.status() {
            StatusCode::OK => {
                http::json_within(response, MAX_BYTES).await.map_err(Refusal::unavailable)
            }
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => {
                Err(Refusal::Invalid("not known to Google"))
            }
            status => Err(Refusal::unavailable(format!("Google answered {status}"))),
        }
    }

    fn accept(&self, info: TokenInfo, now: DateTime<Utc>) -> Result<Identity, Refusal> {
        let is_for_us = info.aud.is_some_and(|aud| self.audience.contains(&aud));
        if !is_for_us {
            return Err(Refusal::Invalid("for somebody else"));
        }
        let scope = info.scope.unwrap_or_default();
        if !scope.split_whitespace().any(|scope| EMAIL_SCOPES.contains(&scope)) {
            return Err(Refusal::Invalid("without the scope `email`"));
        }
        if !info.email_verified.as_ref().is_some_and(Loose::is_true) {
            return Err(Refusal::Invalid("an address that is not verified"));
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
        let now_seconds = now.timestamp() as f64;
        let at = info.exp.as_ref().and_then(Loose::number);
        let after = info.expires_in.as_ref().and_then(Loose::number).map(|left| now_seconds + left);
        let Some(expires_at) = at.into_iter().chain(after).reduce(f64::min) else {
            return Err(Refusal::Invalid("without a date of expiry"));
        };
        let email = info.email.ok_or(Refusal::Invalid("no e-mail address"))?;
        let identity = Identity::new(email, expires_at, now)?;
        if identity.has_expired(now) { Err(Refusal::Invalid("expired")) } else { Ok(identity) }
    }
}
