//! `turbulence up`: everything in one process.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::ExitCode,
    time::Duration,
};

use data_service::Migrate;
use gateway::Gateway;
use migrations::Status;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use service_kit::{
    Settings, http,
    server::{self, local_url},
    settings::{AuthMode, HttpUrl},
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    cli,
    database::{Database, collections},
    failure::Failure,
    import::{self, Loaded, Source},
    lines::Lines,
    report, settling,
};

/// How long the gateway may take to see that the services are ready. It asks every second.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is asked whether it has.
const GATEWAY_POLL: Duration = Duration::from_millis(50);

/// The migration of content that links it to sections.
const LINKS: &str = "0006_backfill_section_id";

/// Runs until `shutdown` is cancelled.
pub(crate) async fn run(
    arguments: &cli::Up,
    shutdown: CancellationToken,
) -> Result<ExitCode, Failure> {
    let data_dir = &arguments.database.data_dir;
    let sources = arguments.sources();
    // A port in use is told before anything is started.
    drop(server::bind(&Settings::load(gateway::DEFAULT_PORT, &sources)?.server)?);
    let result = async {
        let database = Database::open_with(data_dir, sources, &shutdown).await?;
        let result = with_database(arguments, &database, &shutdown).await;
        let closed = database.close().await;
        result.and(closed)
    };
    match result.await {
        // Whoever runs this runs it until it is told to stop, which may be early.
        Ok(()) | Err(Failure::Interrupted) => Ok(ExitCode::SUCCESS),
        Err(failure) => Err(failure),
    }
}

async fn with_database(
    arguments: &cli::Up,
    database: &Database,
    shutdown: &CancellationToken,
) -> Result<(), Failure> {
    database.check_collections(&collections(None)).await?;
    let data_dir = &arguments.database.data_dir;
    let source = match (&arguments.import, arguments.demo) {
        (Some(folder), _) => Some(Source::Folder(folder.clone())),
        (None, true) => Some(Source::Demo),
        (None, false) => None,
    };
    let loaded = tokio::select! {
        loaded = import::load_once(database, data_dir, source) => loaded?,
        () = shutdown.cancelled() => return Err(Failure::Interrupted),
    };
    let token = Token::find(&database.settings, &arguments.database.data_dir)?;
    let Site { services, gateway, mut tasks } = Site::start(database, &token, shutdown).await?;

    let ready = async {
        let data = database.describe(&arguments.database.data_dir);
        let is_answering = site_answers(&gateway, &services).await;
        head(&gateway, is_answering, &loaded, &token, &data).print();
        settling::follow(&services).await;
        summary(&gateway, &services, &token).await.print();
    };
    tokio::pin!(ready);
    let mut is_ready = false;
    let mut result = Ok(());
    loop {
        tokio::select! {
            () = &mut ready, if !is_ready => is_ready = true,
            ended = tasks.join_next() => {
                // The first part that ends takes the others with it.
                shutdown.cancel();
                let Some(ended) = ended else { return result };
                let ended = ended.unwrap_or_else(|_| Err(Failure::Panicked));
                result = result.and(ended);
            }
        }
    }
}

/// The parts of the system, running.
struct Site {
    services: [(&'static str, watch::Receiver<Vec<Status>>); 2],
    /// The address of the gateway.
    gateway: String,
    tasks: JoinSet<Result<(), Failure>>,
}

impl Site {
    async fn start(
        database: &Database,
        token: &Token,
        shutdown: &CancellationToken,
    ) -> Result<Self, Failure> {
        let mut settings = database.settings.clone();
        settings.auth.static_token = token.secret.clone();
        // The services are for the gateway alone.
        let mut inner = settings.on_loopback();
        // Each of the two asks the other: the first one hears later where the second one is.
        let (tell, content_url) = watch::channel(inner.content.url.clone());
        let sections = sections_service::bind_beside(&inner, content_url).await?;
        inner.sections.url = sections.address().into();
        let content = content_service::bind(&inner).await?;
        tell.send_replace(content.address().into());
        settings.upstreams.sections = HttpUrl::from(sections.address()).into();
        settings.upstreams.content = HttpUrl::from(content.address()).into();
        let gateway = Gateway::bind(&settings).await?;

        let services = [("sections", sections.statuses()), ("content", content.statuses())];
        let address = local_url(gateway.address());
        let mut tasks = JoinSet::new();
        let [one, two, three] = [(); 3].map(|()| shutdown.clone());
        tasks.spawn(async { Ok(sections.run(Migrate::AtStart, one).await?) });
        tasks.spawn(async { Ok(content.run(Migrate::AtStart, two).await?) });
        tasks.spawn(async { Ok(gateway.run(three).await?) });
        Ok(Self { services, gateway: address, tasks })
    }
}

/// Waits until the site answers, which it does while most migrations run. Returns `false` if it does
/// not: what it waits for does not get on.
async fn site_answers(
    gateway: &str,
    services: &[(&'static str, watch::Receiver<Vec<Status>>)],
) -> bool {
    let Ok(client) = http::client(GATEWAY_PATIENCE) else { return false };
    let url = format!("{gateway}/health/ready");
    let answers = async {
        while !client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            tokio::time::sleep(GATEWAY_POLL).await;
        }
    };
    let does_not_get_on = async {
        settling::follow(services).await;
        let is_blocked = |status: &Status| status.blocking && !status.is_settled;
        if !services.iter().any(|(_, statuses)| statuses.borrow().iter().any(is_blocked)) {
            // The gateway asks from time to time.
            tokio::time::sleep(GATEWAY_PATIENCE).await;
            tracing::warn!("the gateway does not get ready");
        }
    };
    tokio::select! {
        () = answers => true,
        () = does_not_get_on => false,
    }
}

/// Returns the lines that a person needs as soon as the site answers.
fn head(gateway: &str, is_answering: bool, loaded: &Loaded, token: &Token, data: &str) -> Lines {
    let title = if is_answering {
        "Turbulence answers. What its migrations do follows below."
    } else {
        "Turbulence does not answer yet; the reason is below."
    };
    let mut text = Lines::default();
    text.blank();
    _ = writeln!(text, "{title}");
    text.blank();
    _ = writeln!(text, "  Address  {gateway}");
    _ = writeln!(text, "  Token    {}", token.shown);
    _ = writeln!(text, "  MongoDB  {data}");
    for (place, line) in loaded.describe().into_iter().enumerate() {
        let label = if place == 0 { "Loaded" } else { "" };
        _ = writeln!(text, "  {label:<9}{line}");
    }
    text
}

/// Returns the lines that a person wants to read when the migrations are through, or do not get on.
async fn summary(
    gateway: &str,
    services: &[(&'static str, watch::Receiver<Vec<Status>>)],
    token: &Token,
) -> Lines {
    let all: Vec<_> =
        services.iter().map(|(name, statuses)| (*name, statuses.borrow().clone())).collect();
    let mut text = Lines::default();
    text.blank();
    _ = writeln!(text, "{}", title(all.iter().flat_map(|(_, all)| all)));
    text.blank();
    _ = writeln!(text, "The site, through the gateway");
    text.append(&site(gateway, token).await);
    text.blank();
    _ = writeln!(text, "What the migrations did");
    for (name, statuses) in &all {
        text.append(&report::done(name, statuses, false));
    }
    let set_aside = all.iter().flat_map(|(_, all)| all).flat_map(|status| &status.quarantined);
    let set_aside = report::set_aside(set_aside);
    if !set_aside.is_empty() {
        text.blank();
        _ = writeln!(text, "What could not be changed, and why");
        text.append(&set_aside);
        _ = writeln!(text, "  Correct it, then `turbulence migrate retry ID`");
    }
    let left_out = all.iter().flat_map(|(_, all)| all).flat_map(|status| &status.skipped);
    let left_out = report::left_out(left_out);
    if !left_out.is_empty() {
        text.blank();
        _ = writeln!(text, "What was left as it is, and why");
        text.append(&left_out);
    }
    text.blank();
    _ = writeln!(text, "Open next");
    for path in ["/sections", "/stories?limit=5", "/projects", "/pages/type/about", "/health/ready"]
    {
        _ = writeln!(text, "  {gateway}{path}");
    }
    text.blank();
    _ = writeln!(text, "Ctrl-C stops everything.");
    text
}

/// The first line of the summary.
fn title<'a>(statuses: impl Iterator<Item = &'a Status>) -> &'static str {
    let mut unsettled = statuses.filter(|status| !status.is_settled).peekable();
    if unsettled.peek().is_none() {
        "Turbulence is ready."
    } else if unsettled.any(|status| status.id == LINKS) {
        "Not every migration is applied, and content is not linked to its sections yet; the reason \
         is below."
    } else {
        "Not every migration is applied; the reason is below."
    }
}

/// How much of what there is, as the frontend sees it.
async fn site(gateway: &str, token: &Token) -> Lines {
    let mut text = Lines::default();
    let Ok(client) = http::client(Duration::from_secs(10)) else { return text };
    let get = async |path: &str| -> Option<Value> {
        let url = format!("{gateway}{path}");
        let request = match &token.secret {
            Some(secret) => client.get(url).bearer_auth(secret.expose_secret()),
            None => client.get(url),
        };
        request.send().await.ok()?.json().await.ok()
    };
    if let Some(Value::Array(sections)) = get("/sections").await {
        let titles: Vec<_> = sections.iter().filter_map(|one| one["title"].as_str()).collect();
        _ = writeln!(text, "  {:>6} sections  {}", sections.len(), titles.join(", "));
    }
    for kind in ["stories", "projects", "pages"] {
        let public = get(&format!("/{kind}?limit=1")).await;
        let all = get(&format!("/{kind}?limit=1&include_drafts=true")).await;
        let total = |answer: Option<Value>| answer.and_then(|answer| answer["total"].as_u64());
        if let Some(public) = total(public) {
            // Nobody tells the drafts without a token.
            let drafts = total(all).map_or(0, |all| all.saturating_sub(public));
            let drafts = if drafts > 0 { format!("and {drafts} drafts") } else { String::new() };
            let line = format!("  {public:>6} {kind:<9} {drafts}");
            _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

/// The token of the site's editors.
struct Token {
    /// None where a provider vouches for editors.
    secret: Option<SecretString>,
    /// What a person is told about it.
    shown: String,
}

impl Token {
    /// The token that is configured; without one, the one that is kept in the data folder, made
    /// at the first start.
    fn find(settings: &Settings, data_dir: &Path) -> Result<Self, Failure> {
        let provider = match settings.auth.mode {
            AuthMode::Static => None,
            AuthMode::Google => Some("Google"),
            AuthMode::Oidc => Some("the provider"),
        };
        if let Some(provider) = provider {
            let shown = format!("one that {provider} gave to a user of the site");
            return Ok(Self { secret: None, shown });
        }
        if let Some(secret) = settings.auth.static_token.clone() {
            return Ok(Self {
                secret: Some(secret),
                shown: "the one that is configured".to_owned(),
            });
        }
        let file = data_dir.join("token");
        let token = kept_token(&file)
            .map_err(|source| Failure::Token { file: file.display().to_string(), source })?;
        Ok(Self { shown: token.clone(), secret: Some(token.into()) })
    }
}

fn kept_token(file: &Path) -> io::Result<String> {
    match fs::read_to_string(file) {
        Ok(token) if !token.trim().is_empty() => return Ok(token.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    // 122 random bits (RFC 9562, version 4), from the operating system.
    let token = Uuid::new_v4().simple().to_string();
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    writeln!(file, "{token}")?;
    Ok(token)
}
