//! The public keys of a provider (RFC 7517), fetched when they are needed and kept.
//!
//! Keys that once were good stay in use while the provider is away. A key id that is not known may
//! be a new key, so the keys are fetched again, but not more often than an interval allows: key
//! ids come from strangers.

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

use super::identity::Refusal;
use crate::{http, settings};

/// The largest set of keys that is read, in bytes; those of known providers have some 2,000.
const MAX_BYTES: usize = 256 * 1024;

/// How long keys are used without looking for new ones. Providers publish a key hours before they
/// use it.
const FRESH: Duration = Duration::from_secs(3600);

/// How long after a fetch an unknown key id leads to another one.
const BETWEEN_FETCHES: Duration = Duration::from_secs(10);

/// The same while there are no keys at all.
const BETWEEN_FIRST_FETCHES: Duration = Duration::from_secs(1);

/// The keys of one provider.
pub(super) struct Keys {
    source: Source,
    client: reqwest::Result<Client>,
    intervals: Intervals,
    known: RwLock<Option<Arc<KeySet>>>,
    /// Held while the keys are fetched, so that this happens once at a time.
    last: Mutex<Option<Attempt>>,
}

/// Where the keys are.
enum Source {
    Jwks(Url),
    /// The configuration of the issuer says it (OpenID Connect Discovery 1.0 §4).
    Discovery {
        issuer: String,
    },
    Nowhere,
}

/// When keys are fetched again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intervals {
    pub(super) fresh: Duration,
    pub(super) between: Duration,
    pub(super) between_first: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { fresh: FRESH, between: BETWEEN_FETCHES, between_first: BETWEEN_FIRST_FETCHES }
    }
}

struct Attempt {
    at: Instant,
    has_failed: bool,
}

struct KeySet {
    keys: Vec<Key>,
    fetched: Instant,
}

struct Key {
    id: Option<String>,
    algorithm: Option<KeyAlgorithm>,
    key: DecodingKey,
}

impl Keys {
    pub(super) fn of_oidc(settings: &settings::Oidc, client: reqwest::Result<Client>) -> Self {
        let source = match (&settings.jwks_url, &settings.issuer) {
            (Some(url), _) => Source::Jwks(url.url().clone()),
            (None, Some(issuer)) => Source::Discovery { issuer: issuer.as_str().to_owned() },
            (None, None) => Source::Nowhere,
        };
        Self::new(source, client)
    }

    pub(super) fn at(url: Url, client: reqwest::Result<Client>) -> Self {
        Self::new(Source::Jwks(url), client)
    }

    fn new(source: Source, client: reqwest::Result<Client>) -> Self {
        let (known, last) = (RwLock::new(None), Mutex::new(None));
        Self { source, client, intervals: Intervals::default(), known, last }
    }

    #[cfg(test)]
    pub(super) fn set_intervals(&mut self, intervals: Intervals) {
        self.intervals = intervals;
    }

    /// The key with this id for this algorithm.
    pub(super) async fn find(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, Refusal> {
        let known = self.known();
        if let Some(keys) = &known
            && let Some(key) = keys.find(id, algorithm)
        {
            if keys.fetched.elapsed() > self.intervals.fresh {
                self.refresh_aside();
            }
            return Ok(key);
        }
        self.refresh(known.as_ref()).await?;
        let key = self.known().and_then(|keys| keys.find(id, algorithm));
        key.ok_or(Refusal::Invalid("a key that the provider does not have"))
    }

    fn known(&self) -> Option<Arc<KeySet>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for new keys while the old ones go on being used.
    fn refresh_aside(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let known = this.known();
            if let Err(error) = this.refresh(known.as_ref()).await {
                let cause = crate::process::one_line(&error);
                tracing::warn!(cause, "the keys of the identity provider stay as they are");
            }
        });
    }

    /// Fetches the keys, unless somebody did since `seen`, or tried a moment ago.
    async fn refresh(&self, seen: Option<&Arc<KeySet>>) -> Result<(), Refusal> {
        let mut last = self.last.lock().await;
        let known = self.known();
        let is_newer = match (&known, seen) {
            (Some(known), Some(seen)) => !Arc::ptr_eq(known, seen),
            (known, _) => known.is_some(),
        };
        if is_newer {
            return Ok(());
        }
        let pause =
            if known.is_some() { self.intervals.between } else { self.intervals.between_first };
        if let Some(attempt) = &*last
            && attempt.at.elapsed() < pause
        {
            return match attempt.has_failed {
                true => Err(Refusal::unavailable("it did not answer a moment ago")),
                false => Ok(()),
            };
        }
        let fetched = self.fetch().await;
        *last = Some(Attempt { at: Instant::now(), has_failed: fetched.is_err() });
        let keys = Arc::new(KeySet { keys: fetched?, fetched: Instant::now() });
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
        Ok(())
    }

    async fn fetch(&self) -> Result<Vec<Key>, Refusal> {
        let client =
            self.client.as_ref().map_err(|error| Refusal::unavailable(error.to_string()))?;
        let url = match &self.source {
            Source::Jwks(url) => url.clone(),
            Source::Discovery { issuer } => discover(client, issuer).await?,
            Source::Nowhere => return Err(Refusal::unavailable("no issuer is configured")),
        };
        let set: JwkSet = get(client, url).await?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err(Refusal::unavailable("it publishes no keys that can be used"));
        }
        Ok(keys)
    }
}

#[derive(Deserialize)]
struct JwkSet {
    /// Read one by one: a key of a new kind does not hide the others.
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: Url,
}

async fn discover(client: &Client, issuer: &str) -> Result<Url, Refusal> {
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let url = Url::parse(&address).map_err(Refusal::unavailable)?;
    let configuration: Configuration = get(client, url).await?;
    if configuration.issuer != issuer {
        let cause = format!(
            "it calls itself {:?}; `auth.oidc.issuer` is {issuer:?}, and has to be the same letter \
             for letter",
            configuration.issuer
        );
        return Err(Refusal::unavailable(cause));
    }
    Ok(configuration.jwks_uri)
}

async fn get<T: serde::de::DeserializeOwned>(client: &Client, url: Url) -> Result<T, Refusal> {
    let response = client.get(url).send().await.map_err(Refusal::unavailable)?;
    let response = response.error_for_status().map_err(Refusal::unavailable)?;
    http::json_within(response, MAX_BYTES).await.map_err(Refusal::unavailable)
}

impl KeySet {
    /// A token without the id of a key is taken to be signed with the only key that fits.
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
    /// None for what is no public key for signatures.
    fn read(jwk: Value) -> Option<Self> {
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
