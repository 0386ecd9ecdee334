//! Signed tokens (RFC 7519), checked here with the provider's public keys.

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;

use super::{
    identity::{Identity, Loose, Refusal},
    keys::Keys,
    signatures,
};
use crate::settings;

/// How far the provider's clock may be ahead, in seconds, so that a new token is not refused as
/// not valid yet. Expiry has no such margin.
const LEEWAY_SECONDS: u64 = 30;

/// What a token has to be.
#[derive(Debug)]
pub(super) struct Rules {
    issuers: Vec<String>,
    audience: Vec<String>,
    algorithms: Vec<Algorithm>,
    require_verified_email: bool,
}

#[derive(Debug, Deserialize)]
struct Claims {
    exp: f64,
    email: Option<String>,
    #[serde(default)]
    email_verified: Option<Loose>,
}

impl Rules {
    pub(super) fn of_oidc(settings: &settings::Oidc) -> Self {
        signatures::install();
        Self {
            issuers: settings.issuer.iter().map(|issuer| issuer.as_str().to_owned()).collect(),
            audience: settings.audience.0.clone(),
            algorithms: settings.algorithms.clone(),
            require_verified_email: settings.require_verified_email,
        }
    }

    /// ID tokens of Google ("Verify the Google ID token on your server side").
    pub(super) fn of_google(settings: &settings::Google) -> Self {
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
        keys: &std::sync::Arc<Keys>,
        now: DateTime<Utc>,
    ) -> Result<Identity, Refusal> {
        let header = decode_header(token).map_err(|_| Refusal::Invalid("no signed token"))?;
        // Before a key is looked for: the token does not choose how it is checked.
        if !self.algorithms.contains(&header.alg) {
            return Err(Refusal::Invalid("an algorithm that is not allowed"));
        }
        if header.crit.is_some() {
            return Err(Refusal::Invalid("an extension that is not known"));
        }
        let key = keys.find(header.kid.as_deref(), header.alg).await?;
        let claims: Claims = decode(token, &key, &self.validation(header.alg))
            .map_err(|error| reason(&error))?
            .claims;
        let is_verified = claims.email_verified.as_ref().is_some_and(Loose::is_true);
        let is_denied = claims.email_verified.is_some() && !is_verified;
        match claims.email {
            Some(email) if is_verified || !(self.require_verified_email || is_denied) => {
                Identity::new(email, claims.exp, now)
            }
            Some(_) => Err(Refusal::Invalid("an address that is not verified")),
            None => Err(Refusal::Invalid("no e-mail address")),
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

fn reason(error: &jsonwebtoken::errors::Error) -> Refusal {
    Refusal::Invalid(match error.kind() {
        ErrorKind::InvalidSignature => "a signature that is not the provider's",
        ErrorKind::ExpiredSignature => "expired",
        ErrorKind::ImmatureSignature => "not valid yet",
        ErrorKind::InvalidIssuer => "another issuer",
        ErrorKind::InvalidAudience => "for somebody else",
        ErrorKind::MissingRequiredClaim(_) => "without `exp`, `iss` or `aud`",
        _ => "malformed",
    })
}
