//! Who is calling, and what they may do.
//!
//! A token is checked by the scheme that the settings name: it is the configured one, or a provider
//! vouches for an e-mail address. Who that is here, the service says ([`Users`]). What was found
//! is remembered for a while, so that a check costs next to nothing after the first.
//!
//! A handler takes what only a [`Caller`] or an [`Admin`] may send as [`Signed`]; one that needs a
//! token only for some requests asks [`Caller::of`] itself.

mod google;
mod identity;
mod jwt;
mod keys;
mod signatures;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, dev::Payload, http::header::AUTHORIZATION, web::Data,
};
use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;
use models::{ErrorCode, Role, User};
use moka::{Expiry, future::Cache};
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use self::{
    google::Google,
    identity::{Identity, Refusal},
    jwt::Rules,
    keys::Keys,
};
use crate::{ApiError, clock::Clock, http, settings};

/// How long a provider's word is taken without asking again, at most. A token that was withdrawn
/// is refused after that time.
const REMEMBER_TOKEN: Duration = Duration::from_secs(300);

/// How many tokens are remembered. An editor has a few in a day.
const REMEMBERED_TOKENS: u64 = 10_000;

/// How long a user is taken to be what they were: a change of role holds after that time.
const REMEMBER_USER: Duration = Duration::from_secs(10);

/// The longest token that is looked at. Those of known providers are below 4 KiB.
const TOKEN_MAX_LENGTH: usize = 16 * 1024;

/// When to try again after a provider did not answer.
const RETRY_AFTER_SECONDS: u32 = 2;

/// Who knows the users.
#[async_trait]
pub trait Users: Send + Sync {
    /// The user with this address, in any case of its letters, if there is one.
    async fn by_email(&self, email: &str) -> Result<Option<User>, ApiError>;
}

/// Checks tokens. One is shared by all workers of a service, as `web::Data`.
pub struct Authenticator {
    scheme: Scheme,
    users: Option<Arc<dyn Users>>,
    operator: Option<String>,
    identities: Cache<[u8; 32], Identity>,
    people: Cache<String, User>,
    clock: Clock,
}

enum Scheme {
    Static(Option<SecretString>),
    Google(Box<Google>),
    Oidc { rules: Rules, keys: Arc<Keys> },
}

impl Authenticator {
    /// The authenticator that the settings describe. Nobody is asked anything yet.
    ///
    /// The modes with a provider also need to know the users: [`Self::with_users`].
    pub fn new(settings: &settings::Auth) -> Self {
        let scheme = match settings.mode {
            settings::AuthMode::Static => Scheme::Static(settings.static_token.clone()),
            settings::AuthMode::Google => {
                Scheme::Google(Box::new(Google::new(&settings.google, http::provider_client())))
            }
            settings::AuthMode::Oidc => Scheme::Oidc {
                rules: Rules::of_oidc(&settings.oidc),
                keys: Arc::new(Keys::of_oidc(&settings.oidc, http::provider_client())),
            },
        };
        Self {
            scheme,
            users: None,
            operator: None,
            identities: Cache::builder()
                .max_capacity(REMEMBERED_TOKENS)
                .expire_after(UntilItExpires)
                .build(),
            people: Cache::builder()
                .max_capacity(REMEMBERED_TOKENS)
                .time_to_live(REMEMBER_USER)
                .build(),
            clock: Clock::system(),
        }
    }

    /// Sets who knows the users.
    #[must_use]
    pub fn with_users(mut self, users: Arc<dyn Users>) -> Self {
        self.users = Some(users);
        self
    }

    /// Sets whose address the holder of the static token has (`admin.email`), so that what they
    /// write belongs to somebody.
    #[must_use]
    pub fn with_operator(mut self, email: Option<String>) -> Self {
        self.operator = email;
        self
    }

    /// Who has this token.
    pub async fn caller(&self, token: &str) -> Result<Caller, ApiError> {
        if token.len() > TOKEN_MAX_LENGTH {
            return Err(invalid_token());
        }
        if let Scheme::Static(expected) = &self.scheme {
            return match expected {
                Some(expected) if is_same(expected, token) => {
                    Ok(Caller::Operator { user_id: self.operator_id().await })
                }
                _ => Err(invalid_token()),
            };
        }
        let identity = self.identity(token).await.map_err(|refusal| match &*refusal {
            Refusal::Invalid(reason) => {
                tracing::debug!(reason, "a token is refused");
                invalid_token()
            }
            Refusal::Unavailable(_) => {
                let detail = "The token cannot be checked at the moment. Try again in a moment.";
                ApiError::new(ErrorCode::AuthUnavailable, detail)
                    .retry_after_seconds(RETRY_AFTER_SECONDS)
                    .because(refusal)
            }
        })?;
        match self.user(&identity.email).await? {
            Some(user) => Ok(Caller::User { id: user.id, role: user.role }),
            None => Err(ApiError::forbidden(
                "The token is valid, but nobody with its e-mail address is a user here.",
            )),
        }
    }

    /// Whose address the token stands for: what is remembered, or what the provider says.
    /// Requests that come together with the same token ask once.
    async fn identity(&self, token: &str) -> Result<Identity, Arc<Refusal>> {
        let now = self.clock.now();
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let ask = async {
            match &self.scheme {
                Scheme::Static(_) => Err(Refusal::Invalid("not the static token")),
                Scheme::Google(google) => google.identity(token, key, now).await,
                Scheme::Oidc { rules, keys } => rules.identity(token, keys, now).await,
            }
        };
        let identity = self.identities.try_get_with(key, ask).await?;
        if identity.has_expired(now) {
            return Err(Arc::new(Refusal::Invalid("expired")));
        }
        Ok(identity)
    }

    async fn user(&self, email: &str) -> Result<Option<User>, ApiError> {
        if let Some(user) = self.people.get(email).await {
            return Ok(Some(user));
        }
        let Some(users) = &self.users else {
            return Err(ApiError::internal("the authenticator does not know the users"));
        };
        let user = users.by_email(email).await?;
        if let Some(user) = &user {
            self.people.insert(email.to_owned(), user.clone()).await;
        }
        Ok(user)
    }

    async fn operator_id(&self) -> Option<String> {
        self.users.as_ref()?;
        match self.user(self.operator.as_deref()?).await {
            Ok(user) => user.map(|user| user.id),
            Err(error) => {
                tracing::warn!(%error, "who the operator is cannot be looked up");
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

/// In constant time, so that the time of the answer tells nothing about the token.
fn is_same(expected: &SecretString, token: &str) -> bool {
    expected.expose_secret().as_bytes().ct_eq(token.as_bytes()).into()
}

/// Forgets a token when it expires, or earlier.
struct UntilItExpires;

impl Expiry<[u8; 32], Identity> for UntilItExpires {
    fn expire_after_create(
        &self,
        _: &[u8; 32],
        identity: &Identity,
        _: Instant,
    ) -> Option<Duration> {
        Some(identity.lives_for.min(REMEMBER_TOKEN))
    }
}

/// Somebody who may see drafts and change things. As an extractor it answers 401 to everybody
/// without a valid token, and 403 to those whose token stands for nobody here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The holder of the static token, an admin.
    Operator {
        /// The user whose address is `admin.email`, as far as that is configured and can be looked
        /// up now: the same operator may have it in one request and not in the next.
        user_id: Option<String>,
    },
    /// A user that a provider vouches for.
    User {
        /// Their id.
        id: String,
        /// What they may do.
        role: Role,
    },
}

impl Caller {
    /// Checks the token of a request. Asked again for the same request, it answers the same.
    pub async fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        if let Some(caller) = request.extensions().get::<Self>() {
            return Ok(caller.clone());
        }
        let authenticator = authenticator(request)?;
        let caller = authenticator.caller(bearer(request)?).await?;
        request.extensions_mut().insert(caller.clone());
        Ok(caller)
    }

    /// Checks the token of a request that has one; a wrong one is refused all the same.
    pub async fn if_any(request: &HttpRequest) -> Result<Option<Self>, ApiError> {
        if request.headers().contains_key(AUTHORIZATION) {
            Self::of(request).await.map(Some)
        } else {
            Ok(None)
        }
    }

    /// What the caller may do.
    pub fn role(&self) -> Role {
        match self {
            Self::Operator { .. } => Role::Admin,
            Self::User { role, .. } => *role,
        }
    }

    /// The user that the caller is, if any.
    pub fn user_id(&self) -> Option<&str> {
        match self {
            Self::Operator { user_id } => user_id.as_deref(),
            Self::User { id, .. } => Some(id),
        }
    }

    /// Refuses everybody but admins with 403.
    pub fn require_admin(&self) -> Result<(), ApiError> {
        match self.role() {
            Role::Admin => Ok(()),
            Role::Author => Err(ApiError::forbidden("This needs the role `admin`.")),
        }
    }

    /// Refuses authors, with 403, what belongs to somebody else or to nobody.
    pub fn require_owner(&self, owner: Option<&str>) -> Result<(), ApiError> {
        let is_theirs = owner.is_some() && owner == self.user_id();
        if self.role() == Role::Admin || is_theirs {
            return Ok(());
        }
        Err(ApiError::forbidden("An author can change only what is theirs."))
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::of(&request).await })
    }
}

/// A caller with the role `admin`. As an extractor it answers 403 to every other one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin(pub Caller);

impl FromRequest for Admin {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let caller = Caller::of(&request).await?;
            caller.require_admin()?;
            Ok(Self(caller))
        })
    }
}

/// Who sends a request, a [`Caller`] or an [`Admin`], and what they send: an extractor or several, as
/// a tuple. They begin when it is known that the sender may. The arguments of a handler are
/// extracted side by side, and what is wrong with a request is nothing to tell a stranger; nor is
/// its body read.
#[derive(Debug)]
pub struct Signed<C, T>(pub C, pub T);

impl<C: FromRequest + 'static, T: FromRequest + 'static> FromRequest for Signed<C, T> {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let mut payload = payload.take();
        Box::pin(async move {
            let caller = C::from_request(&request, &mut Payload::None).await.map_err(Into::into)?;
            let sent = T::from_request(&request, &mut payload).await.map_err(Into::into)?;
            Ok(Self(caller, sent))
        })
    }
}

fn authenticator(request: &HttpRequest) -> Result<&Data<Authenticator>, ApiError> {
    let authenticator = request.app_data::<Data<Authenticator>>();
    authenticator.ok_or_else(|| ApiError::internal("no authenticator is registered"))
}

/// The token of a request (RFC 6750 §2.1).
fn bearer(request: &HttpRequest) -> Result<&str, ApiError> {
    let refuse = |detail: &str| Err(ApiError::new(ErrorCode::Unauthorized, detail));
    let Some(header) = request.headers().get(AUTHORIZATION) else {
        return refuse("Authorization header is missing.");
    };
    let header = header.to_str().unwrap_or_default();
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return refuse("Authorization header must be of the form `Bearer <token>`.");
    }
    match token.trim() {
        "" => refuse("The token is missing after `Bearer`."),
        token => Ok(token),
    }
}

fn invalid_token() -> ApiError {
    ApiError::new(ErrorCode::Unauthorized, "The token is invalid or has expired.")
}
