//! The public keys of a provider (RFC 7517), fetched when they are needed and cached.
//!
//! While the provider is unavailable, the last keys stay in use. An unknown key id may belong to a
//! new key, so the keys are fetched again, but not more often than an interval allows: key ids come
//! from strangers.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, PublicKeyUse},
};
use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::identity::TokenError;
use crate::{
    runtime::{
        error_chain::one_line,
        settings::{auth::Oidc, url::is_confidential},
    },
    web::http_client,
};

/// The largest response that is read, in bytes; the keys of known providers have some 2,000.
const RESPONSE_MAX_BYTES: usize = 256 * 1024;

/// The time after which the keys are fetched again. Providers publish a key hours before they use
/// it.
const REFRESH_INTERVAL: Duration = Duration::from_secs(3600);

/// The shortest time between two fetches for unknown key ids.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// The shortest time between two fetches while there are no keys at all.
const FIRST_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The keys of one provider.
pub(super) struct KeyStore {
    source: Source,
    client: reqwest::Result<Client>,
    intervals: Intervals,
    cached: RwLock<Option<Arc<KeySet>>>,
    /// The last fetch. Locked during a fetch, so that there is one at a time.
    last_attempt: Mutex<Option<Attempt>>,
}

/// The location of the keys.
enum Source {
    Jwks(Url),
    /// The address in the issuer's configuration (OpenID Connect Discovery 1.0 §4).
    Discovery {
        issuer: String,
    },
    Unconfigured,
}

/// The times between fetches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intervals {
    pub(super) refresh: Duration,
    pub(super) retry: Duration,
    pub(super) first_retry: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { refresh: REFRESH_INTERVAL, retry: RETRY_INTERVAL, first_retry: FIRST_RETRY_INTERVAL }
    }
}

struct Attempt {
    at: Instant,
    has_failed: bool,
}

struct KeySet {
    keys: Vec<Key>,
    fetched_at: Instant,
}

struct Key {
    id: Option<String>,
    algorithm: Option<KeyAlgorithm>,
    key: DecodingKey,
}

impl KeyStore {
    pub(super) fn of_oidc(settings: &Oidc, client: reqwest::Result<Client>) -> Self {
        let source = match (&settings.jwks_url, &settings.issuer) {
            (Some(url), _) => Source::Jwks(url.url().clone()),
            (None, Some(issuer)) => Source::Discovery { issuer: issuer.as_str().to_owned() },
            (None, None) => Source::Unconfigured,
        };
        Self::new(source, client)
    }

    pub(super) fn at(url: Url, client: reqwest::Result<Client>) -> Self {
        Self::new(Source::Jwks(url), client)
    }

    fn new(source: Source, client: reqwest::Result<Client>) -> Self {
        let (cached, last_attempt) = (RwLock::new(None), Mutex::new(None));
        Self { source, client, intervals: Intervals::default(), cached, last_attempt }
    }

    #[cfg(test)]
    pub(super) fn set_intervals(&mut self, intervals: Intervals) {
        self.intervals = intervals;
    }

    /// Returns the key with this id for this algorithm.
    pub(super) async fn find(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, TokenError> {
        let cached = self.cached();
        if let Some(keys) = &cached
            && let Some(key) = keys.find(id, algorithm)
        {
            if keys.fetched_at.elapsed() > self.intervals.refresh {
                self.refresh_in_background();
            }
            return Ok(key);
        }
        self.refresh(cached.as_ref()).await?;
        let key = self.cached().and_then(|keys| keys.find(id, algorithm));
        key.ok_or(TokenError::Invalid("the provider does not have its key"))
    }

    fn cached(&self) -> Option<Arc<KeySet>> {
        self.cached.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches the keys in the background; the old ones stay in use until then.
    fn refresh_in_background(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let cached = this.cached();
            if let Err(error) = this.refresh(cached.as_ref()).await {
                let cause = one_line(&error);
                tracing::warn!(cause, "cannot refresh the keys of the identity provider");
            }
        });
    }

    /// Fetches the keys, unless they were fetched after `seen`, or the last attempt is too recent.
    async fn refresh(&self, seen: Option<&Arc<KeySet>>) -> Result<(), TokenError> {
        let mut last_attempt = self.last_attempt.lock().await;
        let cached = self.cached();
        let is_newer = match (&cached, seen) {
            (Some(cached), Some(seen)) => !Arc::ptr_eq(cached, seen),
            (cached, _) => cached.is_some(),
        };
        if is_newer {
            return Ok(());
        }
        let interval =
            if cached.is_some() { self.intervals.retry } else { self.intervals.first_retry };
        if let Some(attempt) = &*last_attempt
            && attempt.at.elapsed() < interval
        {
            return match attempt.has_failed {
                true => Err(TokenError::unavailable("the last attempt to fetch its keys failed")),
                false => Ok(()),
            };
        }
        let fetched = self.fetch().await;
        *last_attempt = Some(Attempt { at: Instant::now(), has_failed: fetched.is_err() });
        let keys = Arc::new(KeySet { keys: fetched?, fetched_at: Instant::now() });
        *self.cached.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
        Ok(())
    }

    async fn fetch(&self) -> Result<Vec<Key>, TokenError> {
        let client =
            self.client.as_ref().map_err(|error| TokenError::unavailable(error.to_string()))?;
        let url = match &self.source {
            Source::Jwks(url) => url.clone(),
            Source::Discovery { issuer } => discover(client, issuer).await?,
            Source::Unconfigured => return Err(TokenError::unavailable("no issuer is configured")),
        };
        let set: JwkSet = get(client, url).await?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::parse).collect();
        if keys.is_empty() {
            return Err(TokenError::unavailable("it publishes no usable keys"));
        }
        Ok(keys)
    }
}

#[derive(Deserialize)]
struct JwkSet {
    /// The keys, parsed one by one, so that a key of an unknown type does not hide the others.
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: Url,
}

async fn discover(client: &Client, issuer: &str) -> Result<Url, TokenError> {
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let url = Url::parse(&address).map_err(TokenError::unavailable)?;
    let configuration: Configuration = get(client, url).await?;
    if configuration.issuer != issuer {
        let cause = format!(
            "its configuration has the issuer {:?}; `auth.oidc.issuer` is {issuer:?}, and has to \
             be the same letter for letter",
            configuration.issuer
        );
        return Err(TokenError::unavailable(cause));
    }
    if !is_confidential(&configuration.jwks_uri) {
        let cause = "the keys in its configuration have an address without https";
        return Err(TokenError::unavailable(cause));
    }
    Ok(configuration.jwks_uri)
}

async fn get<T: serde::de::DeserializeOwned>(client: &Client, url: Url) -> Result<T, TokenError> {
    let response = client.get(url).send().await.map_err(TokenError::unavailable)?;
    let response = response.error_for_status().map_err(TokenError::unavailable)?;
    http_client::read_json(response, RESPONSE_MAX_BYTES).await.map_err(TokenError::unavailable)
}

impl KeySet {
    /// Returns the key with this id. If the token names no key, returns the only key that fits.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let is_for = |key: &&Key| {
            key.key.family() == algorithm.family()
                && key.algorithm.is_none_or(|only| only == KeyAlgorithm::from(algorithm))
        };
        let mut fitting = self.keys.iter().filter(is_for);
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
        .map(|key| key.key.clone())
    }
}

impl Key {
    /// Returns `None` if this is not a public key for signatures.
    fn parse(jwk: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        let is_secret = matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
        let signs = jwk
            .common
            .public_key_use
            .as_ref()
            .is_none_or(|is_for| *is_for == PublicKeyUse::Signature);
        if is_secret || !signs {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: jwk.common.key_id, algorithm: jwk.common.key_algorithm, key })
    }
}
