//! The settings: defaults, then a file, then the environment, then the command line.
//!
//! There is one schema for all processes, so that one file serves a whole installation; each
//! process reads the parts that it needs.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use config::{
    Config, ConfigBuilder, ConfigError, Environment, File, FileFormat, builder::DefaultState,
};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};
use url::Url;

use crate::server::local_url;

mod auth;
mod html;

pub use auth::{Algorithm, Auth, AuthMode, Google, Oidc, ProviderUrl};
pub use html::{ClassPrefixes, EmbedHosts, Html};

/// The prefix of every environment variable; `__` stands between the levels.
pub const ENVIRONMENT_PREFIX: &str = "TURBULENCE";

/// The largest body of a request, in bytes: the longest text that may be written
/// ([`models::Content`]) fits, also with each of its characters as the six bytes of an escape such as
/// `\u00fc`, which is how some clients write all that is not ASCII.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The request headers that scripts in browsers may set unless configured otherwise: those that the
/// API reads, and those that clients for tracing and caching add by themselves (W3C Trace Context and
/// Baggage, Sentry).
const CORS_HEADERS: &str = "accept, authorization, baggage, cache-control, content-type, \
    idempotency-key, if-match, if-none-match, sentry-trace, traceparent, tracestate, x-request-id";

/// All settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// Where to listen.
    pub server: Server,
    /// Which database to use.
    pub mongodb: Mongodb,
    /// Where content-service finds sections-service.
    pub sections: Sections,
    /// Where sections-service finds content-service.
    pub content: Content,
    /// Where the gateway finds the services.
    pub upstreams: Upstreams,
    /// How the database is migrated.
    pub migrations: Migrations,
    /// Which browsers may call the gateway.
    pub cors: Cors,
    /// How many requests somebody may send.
    pub rate_limit: RateLimit,
    /// Who may see drafts and change things.
    pub auth: Auth,
    /// The HTML of content.
    pub html: Html,
    /// The first user, created by a migration.
    #[serde(default)]
    pub admin: Admin,
}

/// Where to listen.
#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    /// A host name or an IP address.
    pub host: String,
    /// A TCP port; 0 takes a free one.
    pub port: u16,
    /// For how long the process goes on accepting connections after SIGTERM while its readiness
    /// says 503, in seconds, so that load balancers notice before connections are refused.
    pub drain_seconds: u32,
    /// The largest body of a request, in bytes.
    pub max_body_bytes: std::num::NonZeroUsize,
    /// Whether a change needs `If-Match`, so that nobody overwrites what they have not seen.
    pub require_if_match: bool,
}

/// Which database to use.
#[derive(Debug, Clone, Deserialize)]
pub struct Mongodb {
    /// The connection string; it may hold a password.
    pub uri: SecretString,
    /// The database's name.
    pub database: String,
}

/// How the database is migrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Migrations {
    /// How long another process waits for the lease of one that was killed.
    pub lease_seconds: LeaseSeconds,
    /// Whether a backfill leaves room for requests.
    pub throttle: Throttle,
    /// The most documents that a backfill changes in a second; none for no limit.
    #[serde(default)]
    pub documents_per_second: Option<std::num::NonZeroU32>,
}

/// How long a lease holds, in seconds: from 2 to 600.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct LeaseSeconds(u32);

impl LeaseSeconds {
    /// The time.
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0.into())
    }
}

impl TryFrom<u32> for LeaseSeconds {
    type Error = String;

    fn try_from(seconds: u32) -> Result<Self, Self::Error> {
        if (2..=600).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(format!("{seconds} is not from 2 to 600"))
        }
    }
}

/// Whether a backfill leaves room for requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Throttle {
    /// Short batches with pauses between them.
    Gentle,
    /// As fast as the database can.
    Off,
}

/// Where content-service finds sections-service.
#[derive(Debug, Clone, Deserialize)]
pub struct Sections {
    /// The address of sections-service.
    pub url: HttpUrl,
}

/// Where sections-service finds content-service.
#[derive(Debug, Clone, Deserialize)]
pub struct Content {
    /// The address of content-service.
    pub url: HttpUrl,
}

/// Where the gateway finds the services.
#[derive(Debug, Clone, Deserialize)]
pub struct Upstreams {
    /// The replicas of sections-service.
    pub sections: Replicas,
    /// The replicas of content-service.
    pub content: Replicas,
}

/// Which browsers may call the gateway.
#[derive(Debug, Clone, Deserialize)]
pub struct Cors {
    /// Origins such as `https://example.com`; `*` allows every origin.
    pub allowed_origins: CommaSeparated,
    /// The request headers that scripts of these origins may set; `*` allows every header.
    pub allowed_headers: CommaSeparated,
}

/// How many requests somebody may send: each address, and each token.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct RateLimit {
    /// How many in a second, in the long run; 0 for no limit.
    pub requests_per_second: u32,
    /// How many at once, after a pause. A frontend that renders on its server sends the requests of
    /// all its visitors from one address, and thousands when it builds its pages.
    pub burst: std::num::NonZeroU32,
}

/// The first user, created by a migration.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Admin {
    /// Without an address, no user is created.
    pub email: Option<String>,
    /// The name to show; the address where it is missing.
    pub name: Option<String>,
}

/// An `http://` address without path, query or user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

impl HttpUrl {
    /// The address; it always has a host and ends in `/`.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl std::str::FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Not repeated where it may hold a password.
        let shown = if text.contains('@') { "the address".to_owned() } else { format!("{text:?}") };
        let url = Url::parse(text).map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if url.scheme() == "http" && is_bare && !text.contains('@') {
            Ok(Self(url))
        } else {
            Err(format!("{shown} is not of the form http://host:port"))
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl<'de> Deserialize<'de> for HttpUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The addresses of a service's replicas: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas(Vec<HttpUrl>);

impl Replicas {
    /// The addresses, in the order in which they were given.
    pub fn urls(&self) -> &[HttpUrl] {
        &self.0
    }
}

impl From<SocketAddr> for HttpUrl {
    /// The address at which clients on this machine reach a listener.
    fn from(address: SocketAddr) -> Self {
        #[expect(clippy::expect_used, reason = "an IP address and a port make an address")]
        local_url(address).parse().expect("the address of a listener is an address")
    }
}

impl From<HttpUrl> for Replicas {
    fn from(url: HttpUrl) -> Self {
        Self(vec![url])
    }
}

impl<'de> Deserialize<'de> for Replicas {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let CommaSeparated(texts) = CommaSeparated::deserialize(deserializer)?;
        if texts.is_empty() {
            return Err(de::Error::custom("at least one address is needed"));
        }
        let urls = texts.iter().map(|text| text.parse().map_err(de::Error::custom));
        urls.collect::<Result<_, _>>().map(Self)
    }
}

/// Several texts: a list in a file, separated by commas in an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommaSeparated(pub Vec<String>);

impl<'de> Deserialize<'de> for CommaSeparated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Shape {
            Text(String),
            List(Vec<String>),
        }
        let texts = match Shape::deserialize(deserializer)? {
            Shape::Text(text) => text.split(',').map(str::to_owned).collect(),
            Shape::List(list) => list,
        };
        let trimmed = texts.iter().map(|text| text.trim().to_owned());
        Ok(Self(trimmed.filter(|text| !text.is_empty()).collect()))
    }
}

/// A setting is wrong.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value cannot be used, or the file cannot be read.
    #[error("wrong setting: {0}")]
    Wrong(String),
    /// The file has a key that no part of the system knows.
    #[error(
        "unknown setting `{key}` in {}: correct or remove it, docs/reference/settings.md lists all",
        file.display()
    )]
    Unknown {
        /// The key, with dots between its levels.
        key: String,
        /// The file that has it.
        file: PathBuf,
    },
}

/// An error of the parser in one line: it draws the place of the mistake in several.
fn wrong(error: impl fmt::Display) -> SettingsError {
    let text = error.to_string();
    SettingsError::Wrong(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Where settings come from besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A file in TOML.
    pub file: Option<PathBuf>,
    /// The environment variables; those without the prefix are ignored.
    pub environment: HashMap<String, String>,
    /// Keys with dots between the levels, and values, from the command line.
    pub command_line: Vec<(&'static str, String)>,
}

impl Sources {
    /// The environment of this process.
    pub fn from_environment() -> Self {
        Self { environment: std::env::vars().collect(), ..Self::default() }
    }

    /// Whether any of the sources sets the key.
    pub fn set(&self, key: &str) -> Result<bool, SettingsError> {
        let config = self.layers().and_then(ConfigBuilder::<DefaultState>::build);
        let config = config.map_err(wrong)?;
        Ok(config.get::<config::Value>(key).is_ok())
    }

    /// File, environment and command line, each beating the ones before.
    fn layers(&self) -> Result<ConfigBuilder<DefaultState>, ConfigError> {
        let mut builder = Config::builder();
        if let Some(path) = &self.file {
            builder = builder.add_source(File::from(path.as_path()).format(FileFormat::Toml));
        }
        let environment = Environment::with_prefix(ENVIRONMENT_PREFIX)
            .prefix_separator("__")
            .separator("__")
            .ignore_empty(true)
            .source(Some(self.environment.clone()));
        builder = builder.add_source(environment);
        for (key, value) in &self.command_line {
            builder = builder.set_override(key, value.as_str())?;
        }
        Ok(builder)
    }
}

impl Settings {
    /// The same for a service within this process: on a free port, for this machine alone.
    #[must_use]
    pub fn on_loopback(&self) -> Self {
        let mut settings = self.clone();
        "127.0.0.1".clone_into(&mut settings.server.host);
        settings.server.port = 0;
        settings
    }

    /// The settings that result, for a process that listens on `default_port` unless told
    /// otherwise.
    pub fn load(default_port: u16, sources: &Sources) -> Result<Self, SettingsError> {
        let file = sources.file.as_deref();
        if let Some(path) = file {
            refuse_unknown_keys(path)?;
        }
        let mut builder = sources.layers().map_err(wrong)?;
        for (key, value) in defaults(default_port) {
            builder = builder.set_default(key, value).map_err(wrong)?;
        }
        let config = builder.build().map_err(wrong)?;
        let settings: Self = serde_path_to_error::deserialize(config).map_err(|error| {
            let key = error.path().to_string();
            let variable =
                format!("{ENVIRONMENT_PREFIX}__{}", key.replace('.', "__")).to_uppercase();
            SettingsError::Wrong(format!(
                "`{key}`: {}; correct it in the file or in {variable}",
                error.into_inner()
            ))
        })?;
        settings.auth.check().map_err(SettingsError::Wrong)?;
        Ok(settings)
    }
}

fn defaults(port: u16) -> Vec<(&'static str, config::Value)> {
    let text = |text: &str| config::Value::from(text);
    let mut defaults = vec![
        ("server.host", text("127.0.0.1")),
        ("server.port", config::Value::from(i64::from(port))),
        ("server.drain_seconds", config::Value::from(0)),
        ("server.max_body_bytes", config::Value::from(MAX_BODY_BYTES.to_string())),
        ("server.require_if_match", config::Value::from(false)),
        ("mongodb.uri", text("mongodb://127.0.0.1:27017/?replicaSet=rs0")),
        ("mongodb.database", text("turbulence")),
        ("sections.url", text("http://127.0.0.1:5002")),
        ("content.url", text("http://127.0.0.1:5003")),
        ("upstreams.sections", text("http://127.0.0.1:5002")),
        ("upstreams.content", text("http://127.0.0.1:5003")),
        ("migrations.lease_seconds", config::Value::from(30)),
        ("migrations.throttle", text("gentle")),
        ("cors.allowed_origins", text("")),
        ("cors.allowed_headers", text(CORS_HEADERS)),
        ("rate_limit.requests_per_second", config::Value::from(1_000)),
        ("rate_limit.burst", config::Value::from(20_000)),
    ];
    defaults.extend(html::defaults());
    defaults.extend(auth::DEFAULTS.map(|(key, value)| (key, text(value))));
    defaults
}

/// The file alone, read for its keys. In the environment an unknown key may belong to a newer or
/// an older version that shares it; in a file of this system it is a mistake.
fn refuse_unknown_keys(path: &Path) -> Result<(), SettingsError> {
    let mut builder = Config::builder();
    for (key, value) in defaults(0) {
        builder = builder.set_default(key, value).map_err(wrong)?;
    }
    let config =
        builder.add_source(File::from(path).format(FileFormat::Toml)).build().map_err(wrong)?;
    let mut unknown = None;
    let read = serde_ignored::deserialize::<_, _, Settings>(config, |key| {
        unknown.get_or_insert_with(|| key.to_string());
    });
    match (unknown, read) {
        (Some(key), _) => Err(SettingsError::Unknown { key, file: path.to_owned() }),
        // A wrong value is reported by the second reading, which knows its key.
        (None, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use secrecy::ExposeSecret;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Sources {
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Sources { environment: pairs.collect(), ..Sources::default() }
    }

    fn file(text: &str) -> (tempfile::NamedTempFile, Sources) {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
        (file, sources)
    }

    #[test]
    fn without_any_source_the_defaults_hold() {
        let settings = Settings::load(5002, &Sources::default()).unwrap();
        assert_eq!((settings.server.host.as_str(), settings.server.port), ("127.0.0.1", 5002));
        assert_eq!(settings.mongodb.database, "turbulence");
        assert_eq!(settings.upstreams.content.urls()[0].to_string(), "http://127.0.0.1:5003");
        assert!(settings.auth.static_token.is_none());
        assert!(settings.cors.allowed_origins.0.is_empty());
        assert_eq!(settings.cors.allowed_headers.0.len(), 12);
    }

    #[test]
    fn the_command_line_beats_the_environment_which_beats_the_file() {
        let (_file, mut sources) =
            file("[server]\nport = 1\nhost = \"::1\"\n[mongodb]\ndatabase = \"file\"");
        sources.environment = environment(&[
            ("TURBULENCE__SERVER__PORT", "2"),
            ("TURBULENCE__MONGODB__DATABASE", "environment"),
        ])
        .environment;
        sources.command_line = vec![("server.port", "3".to_owned())];
        let settings = Settings::load(5001, &sources).unwrap();
        assert_eq!(settings.server.port, 3);
        assert_eq!(settings.mongodb.database, "environment");
        assert_eq!(settings.server.host, "::1");
    }

    #[test]
    fn replicas_are_separated_by_commas() {
        let name = "TURBULENCE__UPSTREAMS__CONTENT";
        let sources = environment(&[(name, "http://a:1, http://b:2")]);
        let settings = Settings::load(5001, &sources).unwrap();
        let urls: Vec<_> =
            settings.upstreams.content.urls().iter().map(ToString::to_string).collect();
        assert_eq!(urls, ["http://a:1", "http://b:2"]);
    }

    #[test]
    fn a_token_of_digits_stays_as_it_is() {
        let sources = environment(&[("TURBULENCE__AUTH__STATIC_TOKEN", "007")]);
        let settings = Settings::load(5001, &sources).unwrap();
        assert_eq!(settings.auth.static_token.unwrap().expose_secret(), "007");
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        let sources = environment(&[("TURBULENCE__AUTH__STATIC_TOKEN", "")]);
        assert!(Settings::load(5001, &sources).unwrap().auth.static_token.is_none());
    }

    #[test]
    fn a_wrong_value_is_named_with_its_key_and_variable() {
        for (variable, value, key) in [
            ("TURBULENCE__SERVER__PORT", "http", "server.port"),
            ("TURBULENCE__SERVER__PORT", "70000", "server.port"),
            ("TURBULENCE__AUTH__MODE", "google-ish", "auth.mode"),
            ("TURBULENCE__SECTIONS__URL", "localhost:5002", "sections.url"),
            ("TURBULENCE__SECTIONS__URL", "https://h/path", "sections.url"),
            ("TURBULENCE__SECTIONS__URL", "http://user:hunter2@h", "sections.url"),
            ("TURBULENCE__SECTIONS__URL", "http://:hunter2@h", "sections.url"),
            ("TURBULENCE__UPSTREAMS__SECTIONS", ",", "upstreams.sections"),
            ("TURBULENCE__HTML__CLASSES", "hljs, a b", "html.classes"),
            ("TURBULENCE__HTML__EMBED_HOSTS", "https://a.example", "html.embed_hosts"),
            ("TURBULENCE__HTML__EMBED_HOSTS", "A.example", "html.embed_hosts"),
            ("TURBULENCE__HTML__EMBED_HOSTS", "a.example:443", "html.embed_hosts"),
            ("TURBULENCE__HTML__EMBED_HOSTS", "u@a.example", "html.embed_hosts"),
            ("TURBULENCE__HTML__EMBED_HOSTS", "a.example/b/../c", "html.embed_hosts"),
            ("TURBULENCE__HTML__EMBED_HOSTS", "127.0.0.1", "html.embed_hosts"),
            ("TURBULENCE__HTML__MAX_DATA_IMAGE_BYTES", "300000", "html.max_data_image_bytes"),
            ("TURBULENCE__HTML__MAX_DATA_IMAGE_BYTES", "-1", "html.max_data_image_bytes"),
        ] {
            let error = Settings::load(5001, &environment(&[(variable, value)])).unwrap_err();
            let line = error.to_string();
            assert!(line.contains(&format!("`{key}`")) && line.contains(variable), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(!line.contains("hunter2"), "{line}");
        }
    }

    #[test]
    fn an_unknown_key_in_a_file_is_named_with_the_file() {
        let (file, sources) = file("[server]\nprot = 1");
        let line = Settings::load(5001, &sources).unwrap_err().to_string();
        assert!(line.contains("`server.prot`"), "{line}");
        assert!(line.contains(&file.path().display().to_string()), "{line}");
    }

    #[test]
    fn a_file_that_is_missing_or_broken_is_named() {
        let missing = Sources { file: Some("/nowhere/at-all.toml".into()), ..Sources::default() };
        let line = Settings::load(5001, &missing).unwrap_err().to_string();
        assert!(line.contains("/nowhere/at-all.toml"), "{line}");
        let (file, sources) = file("[server\nport = 1");
        let line = Settings::load(5001, &sources).unwrap_err().to_string();
        let name = file.path().file_name().unwrap().to_str().unwrap();
        assert!(line.contains(name), "{line}");
    }

    #[test]
    fn secrets_do_not_show() {
        let sources = environment(&[
            ("TURBULENCE__AUTH__STATIC_TOKEN", "hunter2"),
            ("TURBULENCE__MONGODB__URI", "mongodb://u:hunter2@h/"),
        ]);
        let settings = Settings::load(5001, &sources).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
