//! The database of a command: the configured one, or a MongoDB that the command starts.

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

use crate::{cli, collections::collections, error::Error, progress};

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
    mongod: Option<LocalMongod>,
}

impl Database {
    /// Opens the database that the options and settings describe.
    pub(crate) async fn open(
        options: &cli::Database,
        shutdown: &CancellationToken,
    ) -> Result<Self, Error> {
        Self::open_with(&options.data_dir, options.sources(), shutdown).await
    }

    /// Opens the database that the settings describe. If they contain no address, starts a MongoDB
    /// with its data in `data_dir`. `shutdown` cancels the attempt.
    pub(crate) async fn open_with(
        data_dir: &Path,
        sources: Sources,
        shutdown: &CancellationToken,
    ) -> Result<Self, Error> {
        tokio::select! {
            opened = Self::connect(data_dir, sources) => opened,
            () = shutdown.cancelled() => Err(Error::Interrupted),
        }
    }

    async fn connect(data_dir: &Path, mut sources: Sources) -> Result<Self, Error> {
        let mongod = if sources.set("mongodb.uri")? {
            None
        } else {
            // Errors in the other settings are reported before a server is started.
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
        wait_until_usable(&connection).await?;
        Ok(Self { connection, settings, mongod })
    }

    /// Checks that no collection of the service, or of all services, is a view, capped or a time
    /// series, whose documents cannot be changed.
    pub(crate) async fn check_collections(
        &self,
        service: Option<cli::Service>,
    ) -> Result<(), Error> {
        let names = collections(service);
        let found = unsuitable_collections(self.connection.database(), &names).await?;
        Ok(refuse_unsuitable(found)?)
    }

    /// Describes the location of the data for a person.
    pub(crate) fn describe(&self, data_dir: &Path) -> String {
        let (addresses, name) = (self.connection.addresses(), &self.settings.mongodb.database);
        match &self.mongod {
            Some(mongod) => {
                format!("{}, database {name}, data in {}", mongod.uri(), data_dir.display())
            }
            None => format!("{addresses}, database {name}"),
        }
    }

    /// Describes the ways to load an import although this database has content.
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

    /// Closes the connections, and stops the server if this command started it.
    pub(crate) async fn close(self) -> Result<(), Error> {
        self.connection.close().await;
        match self.mongod {
            Some(mongod) => Ok(mongod.stop().await?),
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
    let began = Instant::now();
    let mut spinner = None;
    loop {
        let error = match connection.check_deployment().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if !error.is_transient() || began.elapsed() > CONNECT_TIMEOUT {
            return Err(error);
        }
        spinner.get_or_insert_with(|| {
            let addresses = connection.addresses();
            progress::spinner(format!("Waiting for MongoDB at {addresses}"))
        });
        tokio::time::sleep(CONNECT_INTERVAL).await;
    }
}
