//! `turbulence media import`: brings the files of a former site into the store, under their names.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::HumanBytes;
use media_service::{
    FileName, Files,
    import::{ImportError, Importer},
};
use reqwest::{Client, StatusCode};
use service_kit::{runtime::clock::Clock, web::http_client::download_client};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::MediaImport,
    database::{Database, NewSite},
    error::Error,
    export::files::{media_error, media_store},
    lines::Lines,
    progress, render,
};

/// The number of files that are stored at the same time: enough that a distant bucket is not waited for
/// after each.
const CONCURRENCY: usize = 8;

/// The size of the parts in which a file is read, in bytes.
const PART_BYTES: usize = 256 * 1024;

/// The time after which a bucket that sends nothing is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The number of further attempts after a request that failed without an answer.
const MAX_RETRIES: u32 = 2;

/// The place that files are brought from.
enum Source {
    /// A copy of the folder below `/uploads` of the former site.
    Folder(PathBuf),
    /// The address below which the former site has its files.
    Url { base: String, client: Client },
}

/// The result for a file.
enum Outcome {
    Stored(u64),
    Present,
    Missing,
    Refused(String),
}

/// The results for all files.
#[derive(Default)]
struct Report {
    stored: Vec<String>,
    bytes: u64,
    present: u64,
    missing: Vec<String>,
    /// The names with the reasons.
    refused: Vec<(String, String)>,
}

/// Runs `turbulence media import`.
pub(crate) async fn import(
    arguments: &MediaImport,
    shutdown: CancellationToken,
) -> Result<ExitCode, Error> {
    let source = Source::of(&arguments.source)?;
    let database = Database::open(&arguments.database, NewSite::Refuse, &shutdown).await?;
    let result = with_database(arguments, &source, &database, &shutdown).await;
    let closed = database.close().await;
    let report = result?;
    report.lines(arguments.dry_run).print();
    closed?;
    match report.missing.len() + report.refused.len() {
        0 => Ok(ExitCode::SUCCESS),
        count => Err(Error::MediaNotImported(count)),
    }
}

async fn with_database(
    arguments: &MediaImport,
    source: &Source,
    database: &Database,
    shutdown: &CancellationToken,
) -> Result<Report, Error> {
    let settings = &database.settings.media;
    let max_bytes = settings.max_picture_bytes.max(settings.max_video_bytes).get();
    let store = media_store(&database.settings, &arguments.database);
    let files = match arguments.dry_run {
        true => Files::open_existing(&store).map_err(media_error)?,
        false => Some(Files::open(&store).map_err(media_error)?),
    };
    let importer = files.map(|files| Importer::new(&database.connection, files, max_bytes));
    let referenced = content_service::referenced_files(database.connection.database()).await?;
    let wanted = match source {
        Source::Url { .. } => referenced.clone(),
        Source::Folder(folder) => {
            let folder = folder.clone();
            let found = spawn_blocking(move || names_in(&folder)).await;
            let found = found.unwrap_or_else(|_| Err(Error::Panicked))?;
            found.union(&referenced).cloned().collect()
        }
    };
    let mut report = Report::default();
    let mut names = Vec::new();
    for wanted in wanted {
        match wanted.parse::<FileName>() {
            Ok(name) => names.push(name),
            Err(error) => report.refused.push((wanted, format!("its name {error}"))),
        }
    }
    let bar = progress::documents("Importing media", names.len() as u64);
    let (store, is_dry_run) = (importer.as_ref(), arguments.dry_run);
    let outcomes = stream::iter(&names).map(|name| async move {
        let outcome = match store {
            Some(importer) => store_file(importer, source, name, is_dry_run).await,
            None => would_store(source, name),
        };
        (name, outcome)
    });
    let mut outcomes = outcomes.buffer_unordered(CONCURRENCY);
    loop {
        let next = tokio::select! {
            next = outcomes.next() => next,
            () = shutdown.cancelled() => return Err(Error::Interrupted),
        };
        let Some((name, outcome)) = next else { break };
        bar.inc(1);
        report.add(name.to_string(), outcome?);
    }
    drop(outcomes);
    if let Some(importer) = importer.filter(|_| !arguments.dry_run) {
        describe(&importer, &names, &mut report, shutdown).await?;
    }
    report.sort();
    Ok(report)
}

/// Adds the documents of the files, also of those that an interrupted import has stored.
async fn describe(
    importer: &Importer,
    names: &[FileName],
    report: &mut Report,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let now = Clock::system().now();
    for name in names {
        if shutdown.is_cancelled() {
            return Err(Error::Interrupted);
        }
        match importer.describe(name, now).await {
            Ok(_) => {}
            // It was put there by hand, and is served as it is.
            Err(ImportError::Format) => {}
            Err(error) => report.refused.push((name.to_string(), error.to_string())),
        }
    }
    Ok(())
}

async fn store_file(
    importer: &Importer,
    source: &Source,
    name: &FileName,
    is_dry_run: bool,
) -> Result<Outcome, Error> {
    if importer.has(name).await.map_err(media_error)? {
        return Ok(Outcome::Present);
    }
    if is_dry_run {
        return would_store(source, name);
    }
    let stored = match source {
        Source::Folder(folder) => {
            let path = folder.join(name.as_str());
            let Some(file) = open(&path)? else { return Ok(Outcome::Missing) };
            importer.add(name, parts(file)).await
        }
        Source::Url { base, client } => {
            let response = match get(client, &format!("{base}{name}")).await {
                Ok(response) => response,
                Err(error) => return Ok(Outcome::Refused(error)),
            };
            if matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE) {
                return Ok(Outcome::Missing);
            }
            if !response.status().is_success() {
                return Ok(Outcome::Refused(format!("the answer is {}", response.status())));
            }
            let body = response.bytes_stream();
            importer.add(name, body.map_err(|error| io::Error::other(error.without_url()))).await
        }
    };
    match stored {
        Ok(bytes) => Ok(Outcome::Stored(bytes)),
        Err(error @ ImportError::Store(_)) => Err(media_error(error).into()),
        Err(error) => Ok(Outcome::Refused(error.to_string())),
    }
}

/// Returns the outcome of a file that the store lacks, as far as it is known without reading the file.
fn would_store(source: &Source, name: &FileName) -> Result<Outcome, Error> {
    let Source::Folder(folder) = source else { return Ok(Outcome::Stored(0)) };
    let path = folder.join(name.as_str());
    match open(&path)? {
        Some(file) => {
            let facts = file.metadata().map_err(|error| cannot_read(&path, error))?;
            Ok(Outcome::Stored(facts.len()))
        }
        None => Ok(Outcome::Missing),
    }
}

/// Requests a file. Repeats requests that failed without an answer.
async fn get(client: &Client, url: &str) -> Result<reqwest::Response, String> {
    let mut attempt = 0;
    loop {
        match client.get(url).send().await {
            Ok(response) => return Ok(response),
            Err(error) if attempt == MAX_RETRIES || error.is_redirect() || error.is_builder() => {
                let error = service_kit::runtime::error_chain::error_chain(&error.without_url());
                return Err(format!("the request failed: {error}"));
            }
            Err(_) => attempt += 1,
        }
    }
}

impl Source {
    fn of(text: &str) -> Result<Self, Error> {
        if text.starts_with("http://") || text.starts_with("https://") {
            if reqwest::Url::parse(text).is_err() || text.contains(['?', '#']) {
                return Err(Error::Usage(format!(
                    "{text} is not the address of a folder: expected one such as \
                     https://storage.example.com/bucket/uploads"
                )));
            }
            let client = download_client(READ_TIMEOUT).map_err(media_error)?;
            let base = format!("{}/", text.trim_end_matches('/'));
            return Ok(Self::Url { base, client });
        }
        let folder = PathBuf::from(text);
        match fs::metadata(&folder) {
            Ok(facts) if facts.is_dir() => Ok(Self::Folder(folder)),
            Ok(_) => Err(Error::Usage(format!(
                "{text} is not a folder: expected a copy of the folder of uploads, or an address \
                 that begins with https://"
            ))),
            Err(error) => Err(cannot_read(&folder, error)),
        }
    }
}

/// Returns the names of all files in a folder and below. Links to folders are not followed.
fn names_in(folder: &Path) -> Result<BTreeSet<String>, Error> {
    let (mut names, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current).map_err(|error| cannot_read(&current, error))? {
            let entry = entry.map_err(|error| cannot_read(&current, error))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(|error| cannot_read(&path, error))?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() || path.is_file() {
                let name = path.strip_prefix(folder).unwrap_or(&path);
                // File managers leave files whose names begin with a dot.
                if !name
                    .components()
                    .any(|part| part.as_os_str().to_string_lossy().starts_with('.'))
                {
                    names.insert(name.to_string_lossy().into_owned());
                }
            }
        }
    }
    Ok(names)
}

fn open(path: &Path) -> Result<Option<fs::File>, Error> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match fs::metadata(path) {
        Ok(facts) if !facts.is_file() => Ok(None),
        Ok(_) => fs::File::open(path).map(Some).map_err(|error| cannot_read(path, error)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
        Err(error) => Err(cannot_read(path, error)),
    }
}

fn cannot_read(path: &Path, error: io::Error) -> Error {
    crate::archive::error::ArchiveError::read(path, error).into()
}

/// Reads a file in parts.
fn parts(file: fs::File) -> impl stream::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(file, |mut file| async move {
        let read = spawn_blocking(move || {
            let mut part = vec![0; PART_BYTES];
            let length = file.read(&mut part)?;
            part.truncate(length);
            Ok::<_, io::Error>((Bytes::from(part), file))
        });
        let (part, file) = read.await.map_err(io::Error::other)??;
        Ok((!part.is_empty()).then_some((part, file)))
    })
}

impl Report {
    fn add(&mut self, name: String, outcome: Outcome) {
        match outcome {
            Outcome::Stored(bytes) => {
                self.bytes += bytes;
                self.stored.push(name);
            }
            Outcome::Present => self.present += 1,
            Outcome::Missing => self.missing.push(name),
            Outcome::Refused(reason) => self.refused.push((name, reason)),
        }
    }

    fn sort(&mut self) {
        self.stored.sort();
        self.missing.sort();
        self.refused.sort();
    }

    fn lines(&self, is_dry_run: bool) -> Lines {
        let mut lines = Lines::default();
        let count = render::counted(self.stored.len() as u64, "file", "files");
        let bytes = HumanBytes(self.bytes);
        match is_dry_run {
            true => {
                _ = writeln!(lines, "An import would store {count}. Nothing was stored.");
                for name in &self.stored {
                    _ = writeln!(lines, "  {name}");
                }
            }
            false => _ = writeln!(lines, "Stored {count} ({bytes})."),
        }
        let present = render::counted(self.present, "file is", "files are");
        _ = writeln!(lines, "{present} in the store already.");
        if !self.missing.is_empty() {
            _ = writeln!(lines, "Missing, although content refers to them:");
            for name in &self.missing {
                _ = writeln!(lines, "  {name}");
            }
        }
        if !self.refused.is_empty() {
            _ = writeln!(lines, "Not stored:");
            for (name, reason) in &self.refused {
                _ = writeln!(lines, "  {name}: {reason}");
            }
        }
        lines
    }
}
