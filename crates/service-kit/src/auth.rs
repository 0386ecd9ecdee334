//! Who is calling.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::AUTHORIZATION, web::Data};
use models::ErrorCode;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::{ApiError, settings};

/// Checks tokens. One is shared by all workers of a service, as `web::Data`.
#[derive(Debug)]
pub struct Authenticator {
    static_token: Option<SecretString>,
}

impl Authenticator {
    /// The authenticator that the settings describe.
    pub fn new(settings: &settings::Auth) -> Self {
        Self { static_token: settings.static_token.clone() }
    }

    /// Whether the token is valid. Without a configured token none is.
    fn accepts(&self, token: &str) -> bool {
        self.static_token.as_ref().is_some_and(|expected| {
            // In constant time, so that the time of the answer tells nothing about the token.
            expected.expose_secret().as_bytes().ct_eq(token.as_bytes()).into()
        })
    }
}

/// A caller with a valid token. As an extractor it answers 401 to everybody else.
#[derive(Debug)]
pub struct Authenticated(());

impl Authenticated {
    /// Checks the token of a request.
    pub fn check(request: &HttpRequest) -> Result<Self, ApiError> {
        let refuse = |detail: &str| Err(ApiError::new(ErrorCode::Unauthorized, detail));
        let Some(authenticator) = request.app_data::<Data<Authenticator>>() else {
            return Err(ApiError::internal("no authenticator is registered"));
        };
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
            token if authenticator.accepts(token) => Ok(Self(())),
            _ => refuse("The token is invalid or has expired."),
        }
    }
}

impl FromRequest for Authenticated {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::check(request))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn check(configured: Option<&str>, header: Option<&str>) -> Result<(), String> {
        let static_token = configured.map(Into::into);
        let mut request =
            TestRequest::default().app_data(Data::new(Authenticator { static_token }));
        if let Some(header) = header {
            request = request.insert_header((AUTHORIZATION, header));
        }
        Authenticated::check(&request.to_http_request()).map(drop).map_err(|e| e.to_string())
    }

    #[test]
    fn only_the_configured_token_is_accepted() {
        assert_eq!(check(Some("open"), Some("Bearer open")), Ok(()));
        assert_eq!(check(Some("open"), Some("bearer open")), Ok(()));
        for header in [None, Some(""), Some("Basic open"), Some("Bearer"), Some("Bearer close")] {
            assert!(check(Some("open"), header).is_err(), "{header:?}");
        }
    }

    #[test]
    fn without_a_configured_token_none_is_accepted() {
        for header in ["Bearer ", "Bearer x", "Bearer null"] {
            assert!(check(None, Some(header)).is_err(), "{header:?}");
        }
    }
}
