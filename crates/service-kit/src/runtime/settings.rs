//! The settings: defaults, then a file, then the environment, then the command line.
//!
//! There is one schema for all processes, so that one file serves a whole installation; each
//! process reads the parts that it needs. A new setting is one field with its default.

pub mod auth;
pub mod comma_separated;
pub mod html;
pub mod networks;
pub mod secret;
pub mod url;
mod variables;

use std::{
    collections::HashMap,
    fmt, fs,
    io::{self, Read as _},
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Config, ConfigBuilder, Environment, File, FileFormat, builder::DefaultState};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};
use smart_default::SmartDefault;

use self::{
    auth::Auth,
    comma_separated::CommaSeparated,
    html::Html,
    networks::Networks,
    secret::Secret,
    url::{HttpUrl, Replicas, WebUrl},
};

/// The prefix of every environment variable; `__` stands between the levels.
pub const ENVIRONMENT_PREFIX: &str = "TURBULENCE";

/// The end of the name of an environment variable that holds the path of a file with the value: the
/// convention of official container images, for secrets that Docker and Kubernetes mount.
const FILE_SUFFIX: &str = "_FILE";

/// The settings that are paths of files themselves.
const PATH_SETTINGS: [&str; 1] = ["TURBULENCE__AUTH__STATIC_TOKEN_FILE"];

/// The largest file with a value, in bytes: the longest connection strings have a few hundred.
const MAX_VALUE_FILE_BYTES: u64 = 64 * 1024;

/// The largest body of a request, in bytes: the longest text of an item of content (500,000
/// characters) fits even if each of its characters is sent as an escape of six bytes such as
/// `\u00fc`, as some clients do for everything outside ASCII.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The folder of uploaded files unless one is configured. `turbulence up` uses the one in its data folder.
pub const DEFAULT_MEDIA_FOLDER: &str = ".turbulence/media";

/// The database if neither `mongodb.database` nor the connection string names one.
pub const DEFAULT_DATABASE: &str = "turbulence";

/// The request headers that scripts in browsers may set by default: those that the API reads, and
/// those that clients for tracing and caching add by themselves (W3C Trace Context and Baggage,
/// Sentry).
const CORS_HEADERS: [&str; 12] = [
    "accept",
    "authorization",
    "baggage",
    "cache-control",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "x-request-id",
];

/// All settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The HTTP server of the process.
    pub server: Server,
    /// The database.
    pub mongodb: Mongodb,
    /// The replicas of sections-service, for content-service.
    pub sections: Sections,
    /// The replicas of content-service, for sections-service.
    pub content: Content,
    /// The replicas of the services, for the gateway.
    pub upstreams: Upstreams,
    /// The address of the gateway, for the console.
    pub gateway: Gateway,
    /// The answers that the gateway keeps.
    pub cache: Cache,
    /// The pace of migrations.
    pub migrations: Migrations,
    /// The browsers that may call the gateway.
    pub cors: Cors,
    /// The number of requests that a client may send.
    pub rate_limit: RateLimit,
    /// The tokens that callers need to see drafts and to write.
    pub auth: Auth,
    /// The requests between the processes.
    pub internal: Internal,
    /// The metrics for Prometheus.
    pub metrics: Metrics,
    /// The HTML of content.
    pub html: Html,
    /// The webhooks, for content-service.
    pub webhooks: Webhooks,
    /// The earlier states of content that can be restored.
    pub revisions: Revisions,
    /// The trash of content, for content-service.
    pub trash: Trash,
    /// Pictures and videos.
    pub media: Media,
    /// The site that visitors see.
    pub site: Site,
    /// The first user, created by a migration.
    pub admin: Admin,
}

/// The HTTP server of the process.
#[derive(Debug, Clone, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Server {
    /// The host name or IP address to listen on.
    #[default = "127.0.0.1"]
    pub host: String,
    /// The TCP port to listen on; 0 takes a free one. The default is given to [`Settings::load`].
    pub port: u16,
    /// The proxies whose headers name the client of a request. If `None`: no proxy at the gateway,
    /// and the gateway on the same machine at the services.
    pub trusted_proxies: Option<Networks>,
    /// The time between SIGTERM and the end of accepting connections, in seconds. Readiness is 503
    /// during that time, so that load balancers stop sending requests before connections are
    /// refused. A service that is a process of its own has another default
    /// ([`super::process::serve`]).
    #[default = 0]
    pub drain_seconds: u32,
    /// The largest number of connections. At the limit, the one that has been idle for the longest
    /// time is closed. An idle connection takes some 25 KiB, so that these take 100 MiB.
    #[default(const { NonZeroUsize::new(4_096).unwrap() })]
    pub max_connections: NonZeroUsize,
    /// The largest body of a request, in bytes.
    #[default(const { NonZeroUsize::new(MAX_BODY_BYTES).unwrap() })]
    pub max_body_bytes: NonZeroUsize,
    /// `true` if a change needs `If-Match`, so that no client overwrites a state that it has not
    /// read.
    #[default = false]
    pub require_if_match: bool,
    /// The certificate of the gateway.
    pub tls: Tls,
}

/// TLS of the gateway. Without files, it speaks plain HTTP.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// The file with the certificate and those that lead to a known authority, in PEM.
    pub certificate: Option<PathBuf>,
    /// The file with the private key of the certificate, in PEM.
    pub key: Option<PathBuf>,
}

/// The database.
#[derive(Debug, Clone, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Mongodb {
    /// The connection string; it may hold a password.
    #[default("mongodb://127.0.0.1:27017/?replicaSet=rs0".into())]
    pub uri: SecretString,
    /// The name of the database. Without one, it is the one that the connection string names, or
    /// else [`DEFAULT_DATABASE`].
    pub database: Option<String>,
}

/// The replicas of sections-service, for content-service.
#[derive(Debug, Clone, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Sections {
    /// The addresses of sections-service.
    #[default(loopback(5002).into())]
    pub url: Replicas,
}

/// The replicas of content-service, for sections-service.
#[derive(Debug, Clone, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Content {
    /// The addresses of content-service.
    #[default(loopback(5003).into())]
    pub url: Replicas,
}

/// The replicas of the services, for the gateway.
#[derive(Debug, Clone, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Upstreams {
    /// The replicas of sections-service.
    #[default(loopback(5002).into())]
    pub sections: Replicas,
    /// The replicas of content-service.
    #[default(loopback(5003).into())]
    pub content: Replicas,
    /// The replicas of media-service.
    #[default(loopback(5004).into())]
    pub media: Replicas,
    /// The replicas of the console.
    #[default(loopback(5005).into())]
    pub console: Replicas,
    /// The number of times that a request may be sent again after a replica failed it. One, so that a
    /// request that ends its replica ends two at most.
    #[default = 1]
    pub max_retries: u32,
}

/// The address of the gateway, for the console.
#[derive(Debug, Clone, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Gateway {
    /// The address at which the console reaches the API.
    #[default(loopback(5001).into())]
    pub url: WebUrl,
}

/// The answers that the gateway keeps.
#[derive(Debug, Clone, Copy, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Cache {
    /// The largest memory of all answers, in bytes; 0 to keep none. By default, those of a site with
    /// several thousand pages.
    #[default(64 * 1024 * 1024)]
    pub max_bytes: u64,
    /// The time in seconds for which an answer is used after it was last true, while its service does
    /// not answer. Five minutes are a restart of a service and of its database.
    #[default = 300]
    pub stale_if_error_seconds: u32,
    /// `true` if answers name the content that they depend on, for a CDN that is told to forget it.
    #[default = false]
    pub surrogate_keys: bool,
}

/// The pace of migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Migrations {
    /// The time after which another process takes over from one that was killed.
    #[default(LeaseSeconds(30))]
    pub lease_seconds: LeaseSeconds,
    /// The load that a backfill may cause.
    #[default(Throttle::Gentle)]
    pub throttle: Throttle,
    /// The largest number of documents that a backfill changes in a second. Unlimited if `None`.
    pub documents_per_second: Option<NonZeroU32>,
}

/// The duration of a lease in seconds: from 2 to 600.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct LeaseSeconds(u32);

impl LeaseSeconds {
    /// Returns the duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
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

/// The load that a backfill may cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Throttle {
    /// Short batches with pauses between them, so that requests stay fast.
    Gentle,
    /// As much as the database can take.
    Off,
}

/// The browsers that may call the gateway.
#[derive(Debug, Clone, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Cors {
    /// Origins such as `https://example.com`; `*` allows every origin.
    #[default(CommaSeparated(Vec::new()))]
    pub allowed_origins: CommaSeparated,
    /// The request headers that scripts of these origins may set; `*` allows every header.
    #[default(CommaSeparated(CORS_HEADERS.map(str::to_owned).to_vec()))]
    pub allowed_headers: CommaSeparated,
}

/// The number of requests that a client may send, counted for each address and for each token.
#[derive(Debug, Clone, Copy, SmartDefault, Deserialize)]
#[serde(default)]
pub struct RateLimit {
    /// The number of requests in a second, in the long run; 0 for no limit.
    #[default = 1_000]
    pub requests_per_second: u32,
    /// The number of requests at once, after a pause. A frontend that renders on its server sends
    /// the requests of all its visitors from one address, and thousands when it builds its pages.
    #[default(const { NonZeroU32::new(20_000).unwrap() })]
    pub burst: NonZeroU32,
}

/// The requests between the processes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Internal {
    /// The secret that all processes of an installation share. Without one, the internal routes
    /// answer to this machine only.
    pub secret: Option<Secret>,
}

/// The metrics for Prometheus, on a port of their own.
#[derive(Debug, Clone, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// The host name or IP address to listen on. Metrics are not for clients of the API.
    #[default = "127.0.0.1"]
    pub host: String,
    /// The TCP port to listen on; 0 takes a free one. Without one, metrics are not served. Exporters
    /// of OpenTelemetry use 9464 (Prometheus, "Default port allocations").
    pub port: Option<u16>,
}

/// The webhooks, for content-service.
#[derive(Debug, Clone, Copy, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Webhooks {
    /// `true` if the targets may be in private networks and on this machine, and may have addresses
    /// that begin with `http://`. Otherwise everyone who may add a webhook could send requests to
    /// servers that only this network reaches.
    #[default = false]
    pub allow_private_networks: bool,
    /// The time in seconds for which a delivery is repeated. Two days are a weekend without anyone to
    /// repair the target.
    #[default(RetrySeconds(2 * 24 * 60 * 60))]
    pub retry_for_seconds: RetrySeconds,
}

/// The time for which a delivery is repeated, in seconds: from 1 to 604,800, a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct RetrySeconds(u32);

impl RetrySeconds {
    /// Returns the duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl TryFrom<u32> for RetrySeconds {
    type Error = String;

    fn try_from(seconds: u32) -> Result<Self, Self::Error> {
        if (1..=604_800).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(format!("{seconds} is not from 1 to 604800"))
        }
    }
}

/// The earlier states of content that can be restored. The newest one of an item is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Revisions {
    /// The number of revisions of an item that are kept however old they are: the work of a month on an
    /// item that is changed twice a day.
    #[default(const { NonZeroU32::new(50).unwrap() })]
    pub min_count: NonZeroU32,
    /// The time in seconds for which further ones are kept. A day, so that what went wrong yesterday can
    /// be found out today.
    #[default(24 * 60 * 60)]
    pub min_age_seconds: u32,
    /// The largest number of revisions of an item: an editor that saves by itself every five minutes of a
    /// long day makes fewer.
    #[default(const { NonZeroU32::new(200).unwrap() })]
    pub max_count: NonZeroU32,
    /// The largest size of the revisions of an item in bytes: 200 of the longest usual texts (100 KB).
    #[default(20 * 1024 * 1024)]
    pub max_bytes: u64,
}

/// The trash of content, for content-service.
#[derive(Debug, Clone, Copy, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Trash {
    /// The number of days after which deleted items are removed for good; 0 for never. By default nothing
    /// is removed without a decision: a text takes some kilobytes.
    #[default = 0]
    pub empty_after_days: u32,
}

impl Trash {
    /// Returns the time after which deleted items are removed for good, or `None` if they are kept.
    pub fn empty_after(self) -> Option<Duration> {
        const DAY_SECONDS: u64 = 24 * 60 * 60;
        let days = u64::from(self.empty_after_days);
        (days > 0).then(|| Duration::from_secs(days * DAY_SECONDS))
    }
}

/// Pictures and videos.
#[derive(Debug, Clone, SmartDefault, Deserialize)]
#[serde(default)]
pub struct Media {
    /// The folder of the files. The default is [`DEFAULT_MEDIA_FOLDER`].
    pub store: Option<String>,
    /// The largest picture that can be uploaded, in bytes: photographs of telephones have 2–4 MiB.
    #[default(const { NonZeroU64::new(5 * 1024 * 1024).unwrap() })]
    pub max_picture_bytes: NonZeroU64,
    /// The largest video that can be uploaded, in bytes: some minutes in the quality of a page.
    #[default(const { NonZeroU64::new(100 * 1024 * 1024).unwrap() })]
    pub max_video_bytes: NonZeroU64,
    /// The largest number of pixels of a picture that is decoded. Cameras have up to 24 million, which
    /// take 96 of the 256 MiB of a process.
    #[default(const { NonZeroU64::new(24_000_000).unwrap() })]
    pub max_pixels: NonZeroU64,
    /// The address below which files are looked for that are not in the store, such as the bucket of
    /// the former site.
    pub fallback_url: Option<WebUrl>,
}

/// The site that visitors see.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Site {
    /// The public address of the site: the frontend, not the gateway. Sitemaps and feeds are made of it.
    pub url: Option<WebUrl>,
}

/// The first user, created by a migration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Admin {
    /// The e-mail address. Without one, no user is created.
    #[serde(deserialize_with = "email_address")]
    pub email: Option<String>,
    /// The name to show. Without one, the e-mail address is shown.
    pub name: Option<String>,
}

/// Reads an e-mail address: a name and a domain. Only a message to it can prove that it exists.
fn email_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let is_odd = |c: char| c.is_whitespace() || c.is_control();
    match text.rsplit_once('@') {
        Some((name, domain)) if ![name, domain].contains(&"") && !text.contains(is_odd) => {
            Ok(Some(text))
        }
        _ => Err(de::Error::custom(format!("{text:?} is not an e-mail address"))),
    }
}

/// Returns the address of a service on this machine.
fn loopback(port: u16) -> HttpUrl {
    SocketAddr::from(([127, 0, 0, 1], port)).into()
}

/// A setting is wrong.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value cannot be used, or the file cannot be read.
    #[error("wrong setting: {0}")]
    Wrong(String),
    /// The file has a key that no part of the system reads.
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

/// Returns the error of a parser in one line: its own text draws the place of the mistake in several.
fn wrong(error: impl fmt::Display) -> SettingsError {
    let text = error.to_string();
    SettingsError::Wrong(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The sources of settings besides the defaults.
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
    /// Returns the environment of this process.
    pub fn from_environment() -> Self {
        let variables = std::env::vars_os();
        // A variable of this system is text.
        let variables = variables.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self { environment: variables.collect(), ..Self::default() }
    }

    /// Returns a warning for each environment variable that looks like a setting and is none.
    pub fn unknown_variables(&self) -> Vec<String> {
        variables::unknown(&self.environment)
    }

    /// Returns `true` if one of the sources sets the key.
    pub fn set(&self, key: &str) -> Result<bool, SettingsError> {
        let config = self.layers()?.build().map_err(wrong)?;
        Ok(config.get::<config::Value>(key).is_ok())
    }

    /// Returns file, environment and command line; each overrides those before it.
    fn layers(&self) -> Result<ConfigBuilder<DefaultState>, SettingsError> {
        let mut builder = Config::builder();
        if let Some(path) = &self.file {
            builder = builder.add_source(toml(path));
        }
        let environment = Environment::with_prefix(ENVIRONMENT_PREFIX)
            .prefix_separator("__")
            .separator("__")
            .ignore_empty(true)
            .source(Some(self.environment_with_files()?));
        builder = builder.add_source(environment);
        for (key, value) in &self.command_line {
            builder = builder.set_override(key, value.as_str()).map_err(wrong)?;
        }
        Ok(builder)
    }

    /// Returns the environment with the values of the variables that name a file with the value.
    fn environment_with_files(&self) -> Result<HashMap<String, String>, SettingsError> {
        let mut environment = self.environment.clone();
        for (variable, path) in &self.environment {
            let is_ours = variable.starts_with(ENVIRONMENT_PREFIX) && !path.is_empty();
            let Some(name) = variable.strip_suffix(FILE_SUFFIX).filter(|_| is_ours) else {
                continue;
            };
            if PATH_SETTINGS.contains(&variable.as_str()) {
                continue;
            }
            if environment.get(name).is_some_and(|value| !value.is_empty()) {
                return Err(SettingsError::Wrong(format!(
                    "{name} and {variable} are both set: remove one of them"
                )));
            }
            let value = read_value(Path::new(path)).map_err(|error| {
                SettingsError::Wrong(format!("{variable}: {path} cannot be read: {error}"))
            })?;
            environment.insert(name.to_owned(), value);
        }
        Ok(environment)
    }
}

/// Reads a file with a value. The white space that editors leave at its end is removed.
fn read_value(path: &Path) -> io::Result<String> {
    let mut value = String::new();
    fs::File::open(path)?.take(MAX_VALUE_FILE_BYTES + 1).read_to_string(&mut value)?;
    if value.len() as u64 > MAX_VALUE_FILE_BYTES {
        return Err(io::Error::other(format!("it is longer than {MAX_VALUE_FILE_BYTES} bytes")));
    }
    Ok(value.trim_end().to_owned())
}

fn toml(path: &Path) -> File<config::FileSourceFile, FileFormat> {
    File::from(path).format(FileFormat::Toml)
}

impl Settings {
    /// Returns these settings for a service within this process: on a free port of the loopback
    /// address.
    #[must_use]
    pub fn on_loopback(&self) -> Self {
        let mut settings = self.clone();
        "127.0.0.1".clone_into(&mut settings.server.host);
        settings.server.port = 0;
        settings
    }

    /// Loads the settings of a process that listens on `default_port` unless a source sets another
    /// port.
    pub fn load(default_port: u16, sources: &Sources) -> Result<Self, SettingsError> {
        if let Some(path) = &sources.file {
            refuse_unknown_keys(path)?;
        }
        let builder = sources.layers()?;
        let builder = builder.set_default("server.port", default_port).map_err(wrong)?;
        let config = builder.build().map_err(wrong)?;
        let settings: Self = serde_path_to_error::deserialize(config).map_err(|error| {
            let key = error.path().to_string();
            let variable = variables::name(&key);
            SettingsError::Wrong(format!(
                "`{key}`: {}; correct it in the file or in {variable}",
                error.into_inner()
            ))
        })?;
        settings.auth.check().map_err(SettingsError::Wrong)?;
        Ok(settings)
    }
}

/// Refuses a file with a key that is unknown. In the environment such a key may belong to a newer or
/// an older version that shares it; in a file of this system it is a mistake.
fn refuse_unknown_keys(path: &Path) -> Result<(), SettingsError> {
    let config = Config::builder().add_source(toml(path)).build().map_err(wrong)?;
    let mut unknown = None;
    let read = serde_ignored::deserialize::<_, _, Settings>(config, |key| {
        unknown.get_or_insert_with(|| key.to_string());
    });
    match (unknown, read) {
        (Some(key), _) => Err(SettingsError::Unknown { key, file: path.to_owned() }),
        // A wrong value is reported by the second reading, which has the key of the value.
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
        assert_eq!(settings.mongodb.database, None);
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
        assert_eq!(settings.mongodb.database.as_deref(), Some("environment"));
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
        let token = "0070070070070070";
        let sources = environment(&[("TURBULENCE__AUTH__STATIC_TOKEN", token)]);
        let settings = Settings::load(5001, &sources).unwrap();
        assert_eq!(settings.auth.static_token.unwrap().expose(), token);
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
            ("TURBULENCE__ADMIN__EMAIL", "boss", "admin.email"),
            ("TURBULENCE__ADMIN__EMAIL", "@example.com", "admin.email"),
            ("TURBULENCE__ADMIN__EMAIL", "kate@", "admin.email"),
            ("TURBULENCE__ADMIN__EMAIL", "kate jones@example.com", "admin.email"),
            ("TURBULENCE__SERVER__TRUSTED_PROXIES", "10.0.0.0/40", "server.trusted_proxies"),
            ("TURBULENCE__AUTH__STATIC_TOKEN", "hunter2", "auth.static_token"),
            ("TURBULENCE__INTERNAL__SECRET", "hunter2", "internal.secret"),
            ("TURBULENCE__HTML__CLASSES", "hljs, a b", "html.classes"),
            ("TURBULENCE__HTML__EMBED_HOSTS", "https://a.example", "html.embed_hosts"),
            ("TURBULENCE__HTML__EMBED_HOSTS", "A.example", "html.embed_hosts"),
            ("TURBULENCE__HTML__EMBED_HOSTS", "a.example:443", "html.embed_hosts"),
            ("TURBULENCE__HTML__EMBED_HOSTS", "u@a.example", "html.embed_hosts"),
            ("TURBULENCE__HTML__EMBED_HOSTS", "a.example/b/../c", "html.embed_hosts"),
            ("TURBULENCE__HTML__EMBED_HOSTS", "127.0.0.1", "html.embed_hosts"),
            ("TURBULENCE__HTML__MAX_DATA_IMAGE_BYTES", "300000", "html.max_data_image_bytes"),
            ("TURBULENCE__HTML__MAX_DATA_IMAGE_BYTES", "-1", "html.max_data_image_bytes"),
            ("TURBULENCE__TRASH__EMPTY_AFTER_DAYS", "-1", "trash.empty_after_days"),
            ("TURBULENCE__TRASH__EMPTY_AFTER_DAYS", "a month", "trash.empty_after_days"),
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
    fn a_variable_can_name_a_file_with_the_value() {
        let (mut secret, mut uri) =
            (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        writeln!(secret, "a secret of the tests").unwrap();
        writeln!(uri, "mongodb://db1,db2/?replicaSet=rs0\n").unwrap();
        let (secret, uri) = (secret.path().to_str().unwrap(), uri.path().to_str().unwrap());
        let variables = [
            ("TURBULENCE__INTERNAL__SECRET_FILE", secret),
            ("TURBULENCE__MONGODB__URI_FILE", uri),
            ("TURBULENCE__AUTH__STATIC_TOKEN_FILE", "/nowhere/at-all"),
            ("TURBULENCE__ADMIN__EMAIL_FILE", ""),
            ("OTHER_FILE", "/nowhere/at-all"),
        ];
        let settings = Settings::load(5001, &environment(&variables)).unwrap();
        assert!(settings.internal.secret.unwrap().is("a secret of the tests"));
        assert_eq!(settings.mongodb.uri.expose_secret(), "mongodb://db1,db2/?replicaSet=rs0");
        assert_eq!(settings.auth.static_token_file, Some("/nowhere/at-all".into()));
        assert!(environment(&variables).set("mongodb.uri").unwrap());
        for (variables, named) in [
            (
                [("TURBULENCE__MONGODB__URI_FILE", "/nowhere/at-all"), ("A", "")],
                "/nowhere/at-all cannot be read",
            ),
            (
                [("TURBULENCE__MONGODB__URI_FILE", uri), ("TURBULENCE__MONGODB__URI", "x")],
                "are both set",
            ),
        ] {
            let line = Settings::load(5001, &environment(&variables)).unwrap_err().to_string();
            assert!(line.contains("TURBULENCE__MONGODB__URI_FILE"), "{line}");
            assert!(line.contains(named) && line.lines().count() == 1, "{line}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let sources = environment(&[
            ("TURBULENCE__AUTH__STATIC_TOKEN", "hunter2hunter2hunter2"),
            ("TURBULENCE__INTERNAL__SECRET", "hunter2hunter2hunter2"),
            ("TURBULENCE__MONGODB__URI", "mongodb://u:hunter2@h/"),
        ]);
        let settings = Settings::load(5001, &sources).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
