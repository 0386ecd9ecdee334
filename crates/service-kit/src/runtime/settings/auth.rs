//! The settings of authentication.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};
use smart_default::SmartDefault;

use super::{comma_separated::CommaSeparated, secret::Secret, url::ProviderUrl};

/// The tokens that callers need to see drafts and to write.
#[derive(Debug, Clone, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Auth {
    /// The way in which tokens are checked.
    #[default(AuthMode::Static)]
    pub mode: AuthMode,
    /// The token of the mode `static`. Without one, no token is valid.
    pub static_token: Option<Secret>,
    /// A file with tokens of the mode `static`, one a line. A change takes effect without a restart.
    pub static_token_file: Option<PathBuf>,
    /// The mode `google`.
    pub google: Google,
    /// The mode `oidc`.
    pub oidc: Oidc,
}

/// The way in which tokens are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// One token from the configuration.
    Static,
    /// Access tokens and ID tokens of Google.
    Google,
    /// JSON Web Tokens of an OpenID Connect provider.
    Oidc,
}

impl<'de> Deserialize<'de> for AuthMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "static" => Ok(Self::Static),
            "google" => Ok(Self::Google),
            "oidc" => Ok(Self::Oidc),
            other => Err(de::Error::custom(format!(
                "{other:?} is not a mode; the modes are `static`, `google` and `oidc`"
            ))),
        }
    }
}

/// The mode `google`.
#[derive(Debug, Clone, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Google {
    /// The client ids of the site at Google. A token for another client is refused.
    pub audience: CommaSeparated,
    /// The endpoint that describes access tokens.
    #[default(ProviderUrl::constant("https://oauth2.googleapis.com/tokeninfo"))]
    pub tokeninfo_url: ProviderUrl,
    /// The keys that ID tokens are signed with.
    #[default(ProviderUrl::constant("https://www.googleapis.com/oauth2/v3/certs"))]
    pub jwks_url: ProviderUrl,
}

/// The mode `oidc`.
#[derive(Debug, Clone, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Oidc {
    /// The issuer, letter for letter as in the claim `iss`.
    pub issuer: Option<ProviderUrl>,
    /// The audience of the tokens. A token for another audience is refused.
    pub audience: CommaSeparated,
    /// The keys that tokens are signed with; by default those of the issuer's configuration
    /// (OpenID Connect Discovery 1.0).
    pub jwks_url: Option<ProviderUrl>,
    /// The algorithms that signatures may have.
    #[default(vec![Algorithm::RS256])]
    #[serde(deserialize_with = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// `true` if the provider has to confirm that the address belongs to the user. Otherwise,
    /// everybody who can choose an address at the provider becomes that user here.
    #[default = true]
    pub require_verified_email: bool,
}

/// An algorithm with a public key (RFC 7518 §3.1, RFC 8037). Those with a shared secret and `none`
/// are not among them.
pub type Algorithm = jsonwebtoken::Algorithm;

fn algorithms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Algorithm>, D::Error> {
    let CommaSeparated(names) = CommaSeparated::deserialize(deserializer)?;
    if names.is_empty() {
        return Err(de::Error::custom("at least one algorithm is needed, such as RS256"));
    }
    let parse = |name: &String| match name.parse() {
        Ok(Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) | Err(_) => {
            Err(de::Error::custom(format!(
                "{name:?} is not an algorithm with a public key; choose from RS256, RS384, RS512, \
                 PS256, PS384, PS512, ES256, ES384 and EdDSA"
            )))
        }
        Ok(algorithm) => Ok(algorithm),
    };
    names.iter().map(parse).collect()
}

impl Auth {
    /// Returns an error with the missing key if the mode lacks a setting that it needs.
    pub(super) fn check(&self) -> Result<(), String> {
        let missing = |key: &str, what: &str| {
            let variable = format!("TURBULENCE__{}", key.replace('.', "__").to_uppercase());
            Err(format!("`{key}` is missing: {what}; set it in the file or in {variable}"))
        };
        match self.mode {
            AuthMode::Google if self.google.audience.0.is_empty() => missing(
                "auth.google.audience",
                "`auth.mode` is `google`, which needs the client id of the site",
            ),
            AuthMode::Oidc if self.oidc.issuer.is_none() => missing(
                "auth.oidc.issuer",
                "`auth.mode` is `oidc`, which needs the address of the provider",
            ),
            AuthMode::Oidc if self.oidc.audience.0.is_empty() => missing(
                "auth.oidc.audience",
                "`auth.mode` is `oidc`, which needs the audience of the tokens",
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, Sources};

    fn load(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let pairs = variables
            .iter()
            .map(|(name, value)| (format!("TURBULENCE__AUTH__{name}"), (*value).to_owned()));
        let sources = Sources { environment: pairs.collect(), ..Sources::default() };
        Settings::load(5002, &sources).map_err(|error| error.to_string())
    }

    #[test]
    fn a_mode_without_what_it_needs_is_named_with_the_remedy() {
        for (variables, key, variable) in [
            (
                &[("MODE", "google")][..],
                "auth.google.audience",
                "TURBULENCE__AUTH__GOOGLE__AUDIENCE",
            ),
            (&[("MODE", "oidc")][..], "auth.oidc.issuer", "TURBULENCE__AUTH__OIDC__ISSUER"),
            (
                &[("MODE", "oidc"), ("OIDC__ISSUER", "https://id.example")][..],
                "auth.oidc.audience",
                "TURBULENCE__AUTH__OIDC__AUDIENCE",
            ),
        ] {
            let line = load(variables).unwrap_err();
            assert!(line.contains(&format!("`{key}`")) && line.contains(variable), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }

    #[test]
    fn a_mode_with_what_it_needs_is_accepted() {
        load(&[("MODE", "google"), ("GOOGLE__AUDIENCE", "a, b")]).unwrap();
        let settings = load(&[
            ("MODE", "oidc"),
            ("OIDC__ISSUER", "https://id.example/realms/site"),
            ("OIDC__AUDIENCE", "site"),
            ("OIDC__ALGORITHMS", "ES256, EdDSA"),
        ])
        .unwrap();
        assert_eq!(settings.auth.oidc.algorithms.len(), 2);
        assert!(settings.auth.oidc.require_verified_email);
    }

    #[test]
    fn an_algorithm_without_a_public_key_is_refused() {
        for name in ["none", "HS256", "RS256,HS512", "", "rs256"] {
            let loaded = load(&[("OIDC__ALGORITHMS", name)]);
            // An empty variable is as good as none.
            assert_eq!(loaded.is_err(), !name.is_empty(), "{name}");
        }
    }

    #[test]
    fn an_address_of_a_provider_has_no_password() {
        for address in
            ["id.example", "ftp://id.example", "https://u:hunter2@id.example", "https://"]
        {
            let line = load(&[("OIDC__ISSUER", address)]).unwrap_err();
            assert!(line.contains("auth.oidc.issuer") && !line.contains("hunter2"), "{line}");
        }
    }
}
