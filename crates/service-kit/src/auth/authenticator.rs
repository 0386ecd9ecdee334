//! Checks tokens and finds the user that each belongs to.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use models::{ErrorCode, User};
use moka::{Expiry, future::Cache};
use ring::digest::{SHA256, digest};

use super::{
    caller::Caller,
    google::Google,
    identity::{Identity, TokenError},
    jwt::JwtValidator,
    keys::KeyStore,
    static_token::StaticTokens,
};
use crate::{
    runtime::{
        clock::Clock,
        settings::auth::{Auth, AuthMode},
    },
    web::{error::ApiError, http_client},
};

/// The longest time for which the result of a provider is cached. A token that was withdrawn is
/// refused after that time.
const IDENTITY_TTL: Duration = Duration::from_secs(300);

/// The longest time for which a user is cached: a change of role takes effect after that time.
const USER_TTL: Duration = Duration::from_secs(10);

/// The capacity of both caches. An editor has a few tokens in a day.
const CACHE_CAPACITY: u64 = 10_000;

/// The longest token that is checked, in bytes. Tokens of known providers are below 4 KiB.
const TOKEN_MAX_LENGTH: usize = 16 * 1024;

/// The value of `Retry-After` if a provider did not answer.
const RETRY_AFTER_SECONDS: u32 = 2;

/// The directory of users.
#[async_trait]
pub trait Users: Send + Sync {
    /// Returns the user with this address, if there is one. The case of ASCII letters is ignored;
    /// nothing else is: another spelling is another user.
    async fn by_email(&self, email: &str) -> Result<Option<User>, ApiError>;
}

/// Checks tokens. All workers of a service share one as `web::Data`.
pub struct Authenticator {
    scheme: Scheme,
    users: Option<Arc<dyn Users>>,
    operator_email: Option<String>,
    /// By the digest of the token: no token is stored.
    identities: Cache<[u8; 32], Identity>,
    /// By e-mail address.
    known_users: Cache<String, User>,
    clock: Clock,
}

enum Scheme {
    Static(StaticTokens),
    Google(Box<Google>),
    Oidc { validator: JwtValidator, keys: Arc<KeyStore> },
}

impl Authenticator {
    /// Returns the authenticator that the settings describe. No provider is contacted yet.
    ///
    /// The modes with a provider also need [`Self::with_users`].
    pub fn new(settings: &Auth) -> Self {
        let scheme = match settings.mode {
            AuthMode::Static => Scheme::Static(StaticTokens::new(settings)),
            AuthMode::Google => Scheme::Google(Box::new(Google::new(&settings.google))),
            AuthMode::Oidc => Scheme::Oidc {
                validator: JwtValidator::of_oidc(&settings.oidc),
                keys: Arc::new(KeyStore::of_oidc(&settings.oidc, http_client::provider_client())),
            },
        };
        Self {
            scheme,
            users: None,
            operator_email: None,
            identities: Cache::builder()
                .max_capacity(CACHE_CAPACITY)
                .expire_after(UntilExpiry)
                .build(),
            known_users: Cache::builder()
                .max_capacity(CACHE_CAPACITY)
                .time_to_live(USER_TTL)
                .build(),
            clock: Clock::system(),
        }
    }

    /// Sets the directory of users.
    #[must_use]
    pub fn with_users(mut self, users: Arc<dyn Users>) -> Self {
        self.users = Some(users);
        self
    }

    /// Sets the address of the holder of the static token (`admin.email`), so that the content they
    /// create belongs to a user.
    #[must_use]
    pub fn with_operator(mut self, email: Option<String>) -> Self {
        self.operator_email = email;
        self
    }

    /// Sets the clock.
    #[cfg(test)]
    pub(super) fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Sets the times between fetches of the provider's keys.
    #[cfg(test)]
    pub(super) fn with_key_intervals(mut self, intervals: super::keys::Intervals) -> Self {
        if let Scheme::Oidc { keys, .. } = &mut self.scheme
            && let Some(keys) = Arc::get_mut(keys)
        {
            keys.set_intervals(intervals);
        }
        self
    }

    /// Checks a token and returns its owner. `client` is the address from which the token comes.
    pub async fn caller(&self, token: &str, client: Option<IpAddr>) -> Result<Caller, ApiError> {
        if token.len() > TOKEN_MAX_LENGTH {
            return Err(invalid_token());
        }
        if let Scheme::Static(tokens) = &self.scheme {
            return match tokens.accepts(token) {
                true => Ok(Caller::Operator { user_id: self.operator_id().await }),
                false => Err(invalid_token()),
            };
        }
        let identity = self.identity(token, client).await.map_err(|error| match &*error {
            TokenError::Invalid(reason) => {
                tracing::debug!(reason, "token refused");
                invalid_token()
            }
            TokenError::TooMany { retry_after_seconds } => {
                let detail = "Too many unknown tokens come from this address. Try again later.";
                ApiError::new(ErrorCode::TooManyRequests, detail)
                    .retry_after_seconds(*retry_after_seconds)
            }
            TokenError::Unavailable(_) => {
                let detail = "The token cannot be checked at the moment. Try again in a moment.";
                ApiError::new(ErrorCode::AuthUnavailable, detail)
                    .retry_after_seconds(RETRY_AFTER_SECONDS)
                    .because(error)
            }
        })?;
        match self.user(&identity.email).await? {
            Some(user) => Ok(Caller::User { id: user.id, role: user.role }),
            None => Err(ApiError::forbidden(
                "The token is valid, but no user here has its e-mail address.",
            )),
        }
    }

    /// Returns the cached identity of a token, or the one that the provider confirms. Requests that
    /// arrive together with the same token cause one check.
    async fn identity(
        &self,
        token: &str,
        client: Option<IpAddr>,
    ) -> Result<Identity, Arc<TokenError>> {
        let now = self.clock.now();
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let check = async {
            match &self.scheme {
                Scheme::Static(_) => Err(TokenError::Invalid("not the static token")),
                Scheme::Google(google) => google.identity(token, key, client, now).await,
                Scheme::Oidc { validator, keys } => validator.identity(token, keys, now).await,
            }
        };
        let identity = self.identities.try_get_with(key, check).await?;
        if identity.has_expired(now) {
            return Err(Arc::new(TokenError::Invalid("expired")));
        }
        Ok(identity)
    }

    async fn user(&self, email: &str) -> Result<Option<User>, ApiError> {
        if let Some(user) = self.known_users.get(email).await {
            return Ok(Some(user));
        }
        let Some(users) = &self.users else {
            return Err(ApiError::internal("the authenticator has no directory of users"));
        };
        let user = users.by_email(email).await?;
        if let Some(user) = &user {
            self.known_users.insert(email.to_owned(), user.clone()).await;
        }
        Ok(user)
    }

    async fn operator_id(&self) -> Option<String> {
        self.users.as_ref()?;
        match self.user(self.operator_email.as_deref()?).await {
            Ok(user) => user.map(|user| user.id),
            Err(error) => {
                tracing::warn!(%error, "cannot look up the user with the address `admin.email`");
                None
            }
        }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator")
    }
}

/// Expires an identity when its token expires, or after [`IDENTITY_TTL`].
struct UntilExpiry;

impl Expiry<[u8; 32], Identity> for UntilExpiry {
    fn expire_after_create(
        &self,
        _: &[u8; 32],
        identity: &Identity,
        _: Instant,
    ) -> Option<Duration> {
        Some(identity.lifetime.min(IDENTITY_TTL))
    }
}

fn invalid_token() -> ApiError {
    ApiError::new(ErrorCode::Unauthorized, "The token is invalid or has expired.")
}
