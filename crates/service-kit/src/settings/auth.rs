//! Who may see drafts and change things.

use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};
use url::Url;

use super::CommaSeparated;

/// The defaults of what is below `auth`.
pub(super) const DEFAULTS: [(&str, &str); 6] = [
    ("auth.mode", "static"),
    ("auth.google.audience", ""),
    ("auth.google.tokeninfo_url", "https://oauth2.googleapis.com/tokeninfo"),
    ("auth.google.jwks_url", "https://www.googleapis.com/oauth2/v3/certs"),
    ("auth.oidc.audience", ""),
    ("auth.oidc.algorithms", "RS256"),
];

/// Who may see drafts and change things.
#[derive(Debug, Clone, Deserialize)]
pub struct Auth {
    /// How tokens are checked.
    pub mode: AuthMode,
    /// The token of the mode `static`. Without one, no token is valid.
    pub static_token: Option<SecretString>,
    /// The mode `google`.
    pub google: Google,
    /// The mode `oidc`.
    pub oidc: Oidc,
}

/// How tokens are checked.
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
                "{other:?} is no mode; there are `static`, `google` and `oidc`"
            ))),
        }
    }
}

/// The mode `google`.
#[derive(Debug, Clone, Deserialize)]
pub struct Google {
    /// The client ids of the site at Google. A token for anybody else is refused.
    pub audience: CommaSeparated,
    /// What knows access tokens.
    pub tokeninfo_url: ProviderUrl,
    /// The keys that ID tokens are signed with.
    pub jwks_url: ProviderUrl,
}

/// The mode `oidc`.
#[derive(Debug, Clone, Deserialize)]
pub struct Oidc {
    /// The issuer, letter for letter as it stands in `iss`.
    pub issuer: Option<ProviderUrl>,
    /// Who the tokens are for. A token for anybody else is refused.
    pub audience: CommaSeparated,
    /// The keys that tokens are signed with; the issuer's configuration tells unless given
    /// (OpenID Connect Discovery 1.0).
    pub jwks_url: Option<ProviderUrl>,
    /// The algorithms that signatures may have.
    #[serde(deserialize_with = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Whether the provider has to say that the address is the user's own. Without it, whoever can
    /// choose an address at the provider becomes that user here.
    #[serde(default = "yes")]
    pub require_verified_email: bool,
}

const fn yes() -> bool {
    true
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
                "{name:?} is no algorithm with a public key; there are RS256, RS384, RS512, PS256, \
                 PS384, PS512, ES256, ES384 and EdDSA"
            )))
        }
        Ok(algorithm) => Ok(algorithm),
    };
    names.iter().map(parse).collect()
}

/// The `http://` or `https://` address of something at an identity provider. `http` is for one on
/// the same machine or network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderUrl {
    url: Url,
    text: String,
}

impl ProviderUrl {
    /// The address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The address as it was given: issuers are compared letter for letter.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::str::FromStr for ProviderUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Not repeated where it may hold a password.
        let shown = if text.contains('@') { "the address".to_owned() } else { format!("{text:?}") };
        let url = Url::parse(text).map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        if matches!(url.scheme(), "http" | "https") && url.fragment().is_none() && is_plain {
            Ok(Self { url, text: text.to_owned() })
        } else {
            Err(format!("{shown} is not of the form https://host/path"))
        }
    }
}

impl fmt::Display for ProviderUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ProviderUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Auth {
    /// Whether the mode has what it needs; if not, what is missing and where it comes from.
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
                "`auth.mode` is `oidc`, which needs to know who the tokens are for",
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
