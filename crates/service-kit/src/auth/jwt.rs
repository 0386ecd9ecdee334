//! Signed tokens (RFC 7519), checked here with the provider's public keys.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;

use super::{
    identity::{Identity, LenientValue, TokenError},
    keys::KeyStore,
    signatures,
};
use crate::runtime::settings::auth;

/// The number of seconds that the provider's clock may be ahead, so that a new token is not refused
/// as not valid yet. Expiry has no such margin.
const LEEWAY_SECONDS: u64 = 30;

/// The requirements that a token has to meet.
#[derive(Debug)]
pub(super) struct JwtValidator {
    issuers: Vec<String>,
    audience: Vec<String>,
    algorithms: Vec<Algorithm>,
    require_verified_email: bool,
}

#[derive(Debug, Deserialize)]
struct Claims {
    /// One text (RFC 7519 §4.1.1): in a list, the issuer could be one of several.
    iss: String,
    exp: f64,
    email: Option<String>,
    #[serde(default)]
    email_verified: Option<LenientValue>,
}

impl JwtValidator {
    pub(super) fn of_oidc(settings: &auth::Oidc) -> Self {
        signatures::install();
        Self {
            issuers: settings.issuer.iter().map(|issuer| issuer.as_str().to_owned()).collect(),
            audience: settings.audience.0.clone(),
            algorithms: settings.algorithms.clone(),
            require_verified_email: settings.require_verified_email,
        }
    }

    /// Returns the requirements of Google's ID tokens ("Verify the Google ID token on your server
    /// side").
    pub(super) fn of_google(settings: &auth::Google) -> Self {
        signatures::install();
        Self {
            issuers: ["https://accounts.google.com", "accounts.google.com"]
                .map(str::to_owned)
                .to_vec(),
            audience: settings.audience.0.clone(),
            algorithms: vec![Algorithm::RS256],
            require_verified_email: true,
        }
    }

    pub(super) async fn identity(
        &self,
        token: &str,
        keys: &Arc<KeyStore>,
        now: DateTime<Utc>,
    ) -> Result<Identity, TokenError> {
        let header =
            decode_header(token).map_err(|_| TokenError::Invalid("it is not a signed token"))?;
        // Before the key is looked up: the token does not choose how it is checked.
        if !self.algorithms.contains(&header.alg) {
            return Err(TokenError::Invalid("its algorithm is not allowed"));
        }
        if header.crit.is_some() {
            return Err(TokenError::Invalid("it needs an unknown extension"));
        }
        let key = keys.find(header.kid.as_deref(), header.alg).await?;
        let claims: Claims = decode(token, &key, &self.validation(header.alg))
            .map_err(|error| invalid(&error))?
            .claims;
        if !self.issuers.contains(&claims.iss) {
            return Err(TokenError::Invalid("it has another issuer"));
        }
        let is_verified = claims.email_verified.as_ref().is_some_and(LenientValue::is_true);
        let is_denied = claims.email_verified.is_some() && !is_verified;
        match claims.email {
            Some(email) if is_verified || !(self.require_verified_email || is_denied) => {
                Identity::new(email, claims.exp, now)
            }
            Some(_) => Err(TokenError::Invalid("its e-mail address is not verified")),
            None => Err(TokenError::Invalid("it has no e-mail address")),
        }
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_audience(&self.audience);
        validation.set_issuer(&self.issuers);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation
    }
}

fn invalid(error: &jsonwebtoken::errors::Error) -> TokenError {
    TokenError::Invalid(match error.kind() {
        ErrorKind::InvalidSignature => "the signature is not the provider's",
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidIssuer => "it has another issuer",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::MissingRequiredClaim(_) => "it has no `exp`, `iss` or `aud`",
        _ => "it is malformed",
    })
}
