//! The database that a command works on: the one that is configured, or a MongoDB of its own.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use local_mongod::{DataDir, LocalMongod, Options};
use mongo_kit::{Connection, DeploymentError, refuse_unsuitable, unsuitable_collections};
use secrecy::ExposeSecret;
use serde_json::Value;
use service_kit::runtime::settings::{Settings, Sources};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{self, Service},
    failure::Failure,
    progress,
};

/// How long a command waits for a database that is away, or for a primary to be elected.
const PATIENCE: Duration = Duration::from_secs(12);

/// A database that can be used, and the server behind it if that was started for it.
pub(crate) struct Database {
    pub(crate) connection: Connection,
    /// The settings, with the address of the database.
    pub(crate) settings: Settings,
    mongod: Option<LocalMongod>,
}

impl Database {
    /// The database that the options and settings describe.
    pub(crate) async fn open(
        options: &cli::Database,
        shutdown: &CancellationToken,
    ) -> Result<Self, Failure> {
        Self::open_with(&options.data_dir, options.sources(), shutdown).await
    }

    /// The database that the settings describe; without an address among them, that of a MongoDB
    /// which is started with its data in `data_dir`. Nobody has to wait for it: `shutdown` gives it
    /// up.
    pub(crate) async fn open_with(
        data_dir: &Path,
        sources: Sources,
        shutdown: &CancellationToken,
    ) -> Result<Self, Failure> {
        tokio::select! {
            opened = Self::connect(data_dir, sources) => opened,
            () = shutdown.cancelled() => Err(Failure::Interrupted),
        }
    }

    async fn connect(data_dir: &Path, mut sources: Sources) -> Result<Self, Failure> {
        let mongod = if sources.set("mongodb.uri")? {
            None
        } else {
            // What is wrong with the other settings should not wait for a server to start.
            Settings::load(gateway::DEFAULT_PORT, &sources)?;
            let spinner = progress::spinner("Starting MongoDB");
            let data = DataDir::Persistent(data_dir.to_owned());
            let options = Options { data, server_parameters: Vec::new(), cache_mb: None };
            let mongod = LocalMongod::start(options).await?;
            spinner.finish_and_clear();
            sources.command_line.push(("mongodb.uri", mongod.uri().to_owned()));
            Some(mongod)
        };
        let settings = Settings::load(gateway::DEFAULT_PORT, &sources)?;
        let uri = settings.mongodb.uri.expose_secret();
        let connection = Connection::new(uri, &settings.mongodb.database, "turbulence").await?;
        wait_for(&connection).await?;
        Ok(Self { connection, settings, mongod })
    }

    /// Refuses a database in which a collection of a site is a view, capped or a time series:
    /// documents in it cannot be changed, and each command would fail later and in other words.
    pub(crate) async fn check_collections(&self, names: &[&str]) -> Result<(), Failure> {
        let found = unsuitable_collections(self.connection.database(), names).await?;
        Ok(refuse_unsuitable(found)?)
    }

    /// What to tell a person about where the data is.
    pub(crate) fn describe(&self, data_dir: &Path) -> String {
        let (addresses, name) = (self.connection.addresses(), &self.settings.mongodb.database);
        match &self.mongod {
            Some(mongod) => {
                format!("{}, database {name}, data in {}", mongod.uri(), data_dir.display())
            }
            None => format!("{addresses}, database {name}"),
        }
    }

    /// Returns the ways to load an import although this database has content.
    pub(crate) fn start_over(&self, data_dir: &Path) -> String {
        let other = "into another database with `--database NAME`";
        match &self.mongod {
            Some(_) => {
                let folder = shell_word(&data_dir.display().to_string());
                format!(
                    "load {other}, or into another data folder with `--data-dir \
                     DIR`; or delete this one, with its data: `rm -r {folder}`"
                )
            }
            None => {
                let name = Value::from(self.settings.mongodb.database.as_str());
                let drop = shell_word(&format!("db.getSiblingDB({name}).dropDatabase()"));
                format!(
                    "load {other}, or delete this one, with its data: `mongosh \
                     \"$URI\" --eval {drop}`"
                )
            }
        }
    }

    /// Closes the connections and stops the server that was started.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        self.connection.close().await;
        match self.mongod {
            Some(mongod) => Ok(mongod.stop().await?),
            None => Ok(()),
        }
    }
}

/// A word for a shell, in quotation marks if it needs them.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns the collections of an existing site that a service writes to, or that both do.
pub(crate) fn collections(only: Option<Service>) -> Vec<&'static str> {
    let of_sections = sections_service::COLLECTIONS.iter();
    let of_content = content_service::COLLECTIONS.iter();
    match only {
        Some(Service::Sections) => of_sections.copied().collect(),
        Some(Service::Content) => of_content.copied().collect(),
        None => of_sections.chain(of_content).copied().collect(),
    }
}

/// Waits until the server can be used, if waiting can help.
async fn wait_for(connection: &Connection) -> Result<(), DeploymentError> {
    let began = Instant::now();
    let mut spinner = None;
    loop {
        let error = match connection.check_deployment().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if !error.is_transient() || began.elapsed() > PATIENCE {
            return Err(error);
        }
        spinner.get_or_insert_with(|| {
            let addresses = connection.addresses();
            progress::spinner(format!("Waiting for MongoDB at {addresses}"))
        });
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
