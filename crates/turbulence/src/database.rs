//! The database of a command: the configured one, or a MongoDB that the command starts.

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use mongo_kit::{Connection, DeploymentError, refuse_unsuitable, unsuitable_collections};
use mongodb::bson::doc;
use serde_json::Value;
use service_kit::runtime::settings::{Settings, Sources};
use tokio_util::sync::CancellationToken;

use crate::{
    cli,
    collections::{all_names, databases_with_site, has_site},
    embedded::EmbeddedMongod,
    error::Error,
    lines::Lines,
    output::Output,
    progress, prompt,
};

/// Number of databases that a message names at most.
const MAX_NAMED: usize = 5;

/// The way in which a command treats a database without a site, on a server whose other databases
/// contain sites: its name may be misspelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewSite {
    /// Asks a person, for a command that creates a site.
    Ask,
    /// Refuses it.
    Refuse,
}

/// Time that a command waits for an unreachable database or for the election of a primary. An
/// election takes up to 12 seconds by default (MongoDB manual, "Replica Set Elections").
const CONNECT_TIMEOUT: Duration = Duration::from_secs(12);

/// Interval between two attempts to reach the database.
const CONNECT_INTERVAL: Duration = Duration::from_millis(250);

/// A usable database.
pub(crate) struct Database {
    pub(crate) connection: Connection,
    /// The settings, including the address of the database.
    pub(crate) settings: Settings,
    /// The server, if this command started it.
    mongod: Option<EmbeddedMongod>,
}

impl Database {
    /// Opens the database that the options and settings describe.
    pub(crate) async fn open(
        options: &cli::Database,
        new_site: NewSite,
        shutdown: &CancellationToken,
    ) -> Result<Self, Error> {
        Self::open_with(options, options.sources(), new_site, shutdown).await
    }

    /// Opens the database that the settings describe. If they contain no address, starts a MongoDB
    /// with its data in the data folder. `shutdown` cancels the attempt.
    pub(crate) async fn open_with(
        options: &cli::Database,
        sources: Sources,
        new_site: NewSite,
        shutdown: &CancellationToken,
    ) -> Result<Self, Error> {
        let database = tokio::select! {
            opened = Self::connect(&options.data_dir, sources, shutdown) => opened?,
            () = shutdown.cancelled() => return Err(Error::Interrupted),
        };
        if options.create {
            return Ok(database);
        }
        match database.refuse_misspelt(new_site, shutdown).await {
            Ok(()) => Ok(database),
            Err(error) => {
                database.close().await?;
                Err(error)
            }
        }
    }

    /// Returns an error if the database contains no site although others of the server do, unless a
    /// person confirms it.
    async fn refuse_misspelt(
        &self,
        new_site: NewSite,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let database = self.connection.database();
        if has_site(database).await? {
            return Ok(());
        }
        let others = databases_with_site(&self.connection).await;
        if others.is_empty() {
            return Ok(());
        }
        let mut named = others.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
        if others.len() > MAX_NAMED {
            named += ", …";
        }
        let name = database.name().to_owned();
        let text = Lines::from(format_args!(
            "`{name}` has no collection of a site; databases here: {named}"
        ));
        let question = "Begin a new site in it? [y/N] ";
        if new_site == NewSite::Ask && prompt::is_confirmed(&text, question, shutdown).await? {
            return Ok(());
        }
        Err(Error::NoSite { name, others: named })
    }

    async fn connect(
        data_dir: &Path,
        mut sources: Sources,
        shutdown: &CancellationToken,
    ) -> Result<Self, Error> {
        let mongod = if sources.set("mongodb.uri")? {
            None
        } else {
            // Errors in the other settings are reported before a server is started.
            Settings::load(gateway::DEFAULT_PORT, &sources)?;
            let mongod = EmbeddedMongod::start(data_dir, shutdown.clone()).await?;
            sources.command_line.push(("mongodb.uri", mongod.uri().to_owned()));
            Some(mongod)
        };
        let settings = Settings::load(gateway::DEFAULT_PORT, &sources)?;
        let connection = data_service::connect(&settings.mongodb, "turbulence").await?;
        wait_until_usable(&connection).await?;
        Ok(Self { connection, settings, mongod })
    }

    /// Checks that no collection of the service, or of all services, is a view, capped or a time
    /// series, whose documents cannot be changed.
    pub(crate) async fn check_collections(
        &self,
        service: Option<cli::Service>,
    ) -> Result<(), Error> {
        let names = all_names(service);
        let found = unsuitable_collections(self.connection.database(), &names).await?;
        Ok(refuse_unsuitable(found)?)
    }

    /// Lets a server that this command started remember its history for as long as the command may run:
    /// a day. Other servers have their own setting.
    pub(crate) async fn keep_history(&self) -> Result<(), Error> {
        if self.mongod.is_some() {
            let admin = self.connection.client().database("admin");
            let day = doc! { "setParameter": 1, "minSnapshotHistoryWindowInSeconds": 24 * 60 * 60 };
            admin.run_command(day).await?;
        }
        Ok(())
    }

    /// Describes the location of the data for a person.
    pub(crate) fn describe(&self, data_dir: &Path) -> String {
        let (addresses, name) = (self.connection.addresses(), self.connection.database().name());
        match &self.mongod {
            Some(mongod) => {
                format!("{}, database {name}, data in {}", mongod.uri(), data_dir.display())
            }
            None => format!("{addresses}, database {name}"),
        }
    }

    /// Returns the heading of the results of a command, which names the database.
    pub(crate) fn heading(&self, title: Option<&str>) -> Lines {
        let name = self.connection.database().name();
        let addresses = self.connection.addresses();
        let mut text = Lines::from(format_args!("Database {name} at {addresses}"));
        text.blank();
        if let Some(title) = title {
            _ = writeln!(text, "{title}");
        }
        text
    }

    /// Runs a command and prints its results, also those that precede an error. Closes the database.
    pub(crate) async fn run(
        self,
        title: Option<&str>,
        is_json: bool,
        command: impl AsyncFnOnce(&Self, &mut Output) -> Result<(), Error>,
    ) -> Result<ExitCode, Error> {
        let mut output = Output::new(self.heading(title));
        let result = command(&self, &mut output).await;
        output.print(is_json);
        let closed = self.close().await;
        result?;
        closed?;
        Ok(ExitCode::SUCCESS)
    }

    /// Describes the ways to load an import although this database has content.
    pub(crate) fn start_over(&self, data_dir: &Path) -> String {
        let other = "into another database with `--database NAME --create`";
        match &self.mongod {
            Some(_) => {
                let folder = shell_word(&data_dir.display().to_string());
                format!(
                    "load {other}, or into another data folder with `--data-dir \
                     DIR`; or delete this one, with its data: `rm -r {folder}`"
                )
            }
            None => {
                let name = Value::from(self.connection.database().name());
                let drop = shell_word(&format!("db.getSiblingDB({name}).dropDatabase()"));
                format!(
                    "load {other}, or delete this one, with its data: `mongosh \
                     \"$URI\" --eval {drop}`"
                )
            }
        }
    }

    /// Closes the connections, and stops the server if this command started it.
    pub(crate) async fn close(self) -> Result<(), Error> {
        self.connection.close().await;
        match self.mongod {
            Some(mongod) => mongod.stop().await,
            None => Ok(()),
        }
    }
}

/// Quotes a word for a shell if it has to be quoted.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Waits until the server is usable. Returns an error at once if waiting cannot resolve it.
async fn wait_until_usable(connection: &Connection) -> Result<(), DeploymentError> {
    let (addresses, database) = (connection.addresses(), connection.database().name());
    tracing::info!(addresses, database, "connecting to MongoDB");
    let _spinner = progress::spinner(format!("Connecting to MongoDB at {addresses}"));
    let began = Instant::now();
    loop {
        let error = match connection.check_deployment().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if !error.is_transient() || began.elapsed() > CONNECT_TIMEOUT {
            return Err(error);
        }
        tokio::time::sleep(CONNECT_INTERVAL).await;
    }
}
