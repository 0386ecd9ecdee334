//! Extractors that authenticate the caller of a request.

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, dev::Payload, http::header::AUTHORIZATION, web::Data,
};
use futures_util::future::LocalBoxFuture;
use models::ErrorCode;

use super::{authenticator::Authenticator, caller::Caller};
use crate::web::{error::ApiError, origin::RequestOrigin, overload::TokenVerified};

impl Caller {
    /// Checks the token of a request. Further calls for the same request return the same result.
    pub async fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        if let Some(caller) = request.extensions().get::<Self>() {
            return Ok(caller.clone());
        }
        let authenticator = authenticator(request)?;
        let client = request.extensions().get::<RequestOrigin>().and_then(RequestOrigin::network);
        let caller = authenticator.caller(bearer_token(request)?, client).await?;
        request.extensions_mut().insert(caller.clone());
        request.extensions_mut().insert(TokenVerified);
        Ok(caller)
    }

    /// Checks the token of a request. Returns `None` if the request has no token; an invalid token
    /// is refused.
    pub async fn if_any(request: &HttpRequest) -> Result<Option<Self>, ApiError> {
        if request.headers().contains_key(AUTHORIZATION) {
            Self::of(request).await.map(Some)
        } else {
            Ok(None)
        }
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

/// A caller with the role `admin`. As an extractor it answers 403 to every other caller.
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

/// An authenticated request: the caller, a [`Caller`] or an [`Admin`], and an extractor for the rest,
/// or several as a tuple.
///
/// The second part is extracted after the caller is known to be allowed. The arguments of a handler
/// are extracted at the same time, so that a stranger would otherwise learn what is wrong with the
/// request, and its body would be read.
#[derive(Debug)]
pub struct Authenticated<C, T>(pub C, pub T);

impl<C: FromRequest + 'static, T: FromRequest + 'static> FromRequest for Authenticated<C, T> {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let mut payload = payload.take();
        Box::pin(async move {
            let caller = C::from_request(&request, &mut Payload::None).await.map_err(Into::into)?;
            let rest = T::from_request(&request, &mut payload).await.map_err(Into::into)?;
            Ok(Self(caller, rest))
        })
    }
}

fn authenticator(request: &HttpRequest) -> Result<&Data<Authenticator>, ApiError> {
    let authenticator = request.app_data::<Data<Authenticator>>();
    authenticator.ok_or_else(|| ApiError::internal("no authenticator is registered"))
}

/// Returns the token of a request (RFC 6750 §2.1).
fn bearer_token(request: &HttpRequest) -> Result<&str, ApiError> {
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
