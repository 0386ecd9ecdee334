//! A real MongoDB with no set-up: finds a `mongod` or fetches one, runs it as a one-node replica
//! set on a free loopback port, and ends it again, however the process that started it ends. For
//! tests of lost primaries, also as a [`ReplicaSet`] of several nodes.
//!
//! - `binary` finds or fetches the server
//! - `home` is the folder it works in: data, log, locks
//! - `process` runs it under a supervisor, so that none is ever left behind
//! - `membership` makes it a primary, or one of several members
//! - `node` is the three together: [`LocalMongod`] is one, [`ReplicaSet`] has several

mod binary;
mod error;
mod home;
mod membership;
mod node;
mod process;
mod replica_set;

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

pub use binary::MINIMUM_VERSION;
pub use error::Error;
use node::Node;
pub use replica_set::ReplicaSet;

/// An unused data folder is ready in about two seconds; a large one may have a journal to recover.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A checkpoint of much data takes a while, and killing the server then costs a recovery.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A killed process is gone at once, unless its disk hangs.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Somebody else may take the free port before mongod does. Thrice in a row is no accident.
const PORT_ATTEMPTS: u32 = 3;

/// The least that mongod accepts (`--wiredTigerCacheSizeGB`, MongoDB manual), in megabytes.
const MINIMUM_CACHE_MB: u32 = 256;

/// How to run a mongod.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the data lives.
    pub data: DataDir,
    /// Names and values for `--setParameter`.
    pub server_parameters: Vec<(String, String)>,
    /// WiredTiger's cache in megabytes, at least 256. By default 256 for temporary data and
    /// mongod's own choice (half of the memory) for persistent data.
    pub cache_mb: Option<u32>,
}

/// Where the data lives, and for how long.
#[derive(Debug, Clone)]
pub enum DataDir {
    /// In this folder, made if missing: data in `db`, the log in `mongod.log`. One process at a
    /// time may use it.
    Persistent(PathBuf),
    /// In a folder of its own that is removed at the end.
    Temporary,
}

/// A running mongod. Dropping it ends the server; [`stop`](Self::stop) also waits for it.
#[derive(Debug)]
pub struct LocalMongod {
    uri: String,
    node: Node,
}

impl LocalMongod {
    /// Finds or fetches a mongod, starts it, and waits until it is a primary that takes writes.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] where no mongod can be had, [`Error::InUse`] if another process uses
    /// the data folder, and others with mongod's own words if it does not get to work.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let binary = binary().await?;
        Self::start_on(&options, &binary, free_port).await
    }

    async fn start_on(
        options: &Options,
        binary: &Path,
        mut port: impl FnMut() -> io::Result<u16>,
    ) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            let port = port().map_err(Error::io("find a free port on", "127.0.0.1"))?;
            match Self::start_once(options, binary, port).await {
                Err(error) if error.is_port_taken() && attempt < PORT_ATTEMPTS => {
                    tracing::debug!(port, "the port was taken meanwhile, trying another one");
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn start_once(options: &Options, binary: &Path, port: u16) -> Result<Self, Error> {
        let mut node = Node::spawn(binary, options, port).await?;
        node.join(&[port]).await?;
        Ok(Self { uri: membership::uri(&[port]), node })
    }

    /// The address for clients, with the name of the replica set.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.node.port
    }

    /// The process id of mongod itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.node.process.pid()
    }

    /// Shuts mongod down cleanly and waits for its end; kills it if that takes over 30 seconds.
    ///
    /// # Errors
    ///
    /// [`Error::NotStopped`] if it survives even that.
    pub async fn stop(mut self) -> Result<(), Error> {
        if self.node.process.end("TERM", STOP_TIMEOUT).await {
            return Ok(());
        }
        self.node.kill().await
    }
}

/// The path of the mongod that [`LocalMongod::start`] runs: `TURBULENCE_MONGOD`, else `mongod` on
/// `PATH` if it is new enough, else the one in the user's cache, which is fetched if missing
/// (x86-64 Linux, 42 MB).
///
/// # Errors
///
/// [`Error::Unavailable`] with what failed and the ways out.
pub async fn binary() -> Result<PathBuf, Error> {
    let found = tokio::task::spawn_blocking(binary::find).await;
    found
        .unwrap_or_else(|panicked| Err(panicked.to_string()))
        .map_err(|reason| Error::Unavailable { reason })
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn arguments(options: &Options, port: u16) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--bind_ip=127.0.0.1",
        "--nounixsocket",
        "--quiet",
        // A signalled primary keeps its clients waiting for a successor, 15 s by default. There
        // is none here, or no client.
        "--setParameter=shutdownTimeoutMillisForSignaledShutdown=100",
    ]
    .map(str::to_owned)
    .into();
    arguments.push(format!("--replSet={}", membership::NAME));
    arguments.push(format!("--port={port}"));

    let mut cache_mb = options.cache_mb;
    if matches!(options.data, DataDir::Temporary) {
        cache_mb = cache_mb.or(Some(MINIMUM_CACHE_MB));
        arguments.push("--oplogSize=512".to_owned());
        arguments.push("--setParameter=diagnosticDataCollectionEnabled=false".to_owned());
    }
    if let Some(mb) = cache_mb {
        let gb = f64::from(mb.max(MINIMUM_CACHE_MB)) / 1024.0;
        arguments.push(format!("--wiredTigerCacheSizeGB={gb}"));
    }
    let parameters = options.server_parameters.iter();
    arguments.extend(parameters.map(|(name, value)| format!("--setParameter={name}={value}")));
    arguments
}

#[cfg(test)]
mod tests {
    use mongodb::{
        Client, Collection,
        bson::{Document, doc},
    };

    use super::*;

    async fn stories(mongod: &LocalMongod) -> Collection<Document> {
        let client = Client::with_uri_str(mongod.uri()).await.unwrap();
        client.database("test").collection("stories")
    }

    #[tokio::test]
    async fn persistent_data_survives_a_restart_on_another_port() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::Persistent(dir.path().to_owned());
        let options = Options { data, server_parameters: vec![], cache_mb: None };
        let binary = binary().await.unwrap();

        let mongod = LocalMongod::start_on(&options, &binary, free_port).await.unwrap();
        let another_port = free_port().unwrap();
        assert_ne!(mongod.port(), another_port);
        let story = doc! { "_id": 1, "title": "Tides" };
        // The default write concern of a replica set is the majority.
        stories(&mongod).await.insert_one(&story).await.unwrap();
        mongod.stop().await.unwrap();

        let mongod = LocalMongod::start_on(&options, &binary, || Ok(another_port)).await.unwrap();
        assert_eq!(stories(&mongod).await.find_one(doc! {}).await.unwrap(), Some(story));
    }

    #[tokio::test]
    async fn a_port_that_was_taken_meanwhile_is_replaced() {
        let other_server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = other_server.local_addr().unwrap().port();
        let free = free_port().unwrap();
        let mut ports = [taken, free].into_iter();

        let options =
            Options { data: DataDir::Temporary, server_parameters: vec![], cache_mb: None };
        let binary = binary().await.unwrap();
        let mongod =
            LocalMongod::start_on(&options, &binary, || Ok(ports.next().unwrap())).await.unwrap();

        assert_eq!(mongod.port(), free);
    }

    #[test]
    fn a_cache_below_the_minimum_is_raised_to_it() {
        let cache = |cache_mb| {
            let options = Options { data: DataDir::Temporary, server_parameters: vec![], cache_mb };
            arguments(&options, 1)
                .into_iter()
                .find(|argument| argument.starts_with("--wiredTigerCacheSizeGB="))
                .unwrap()
        };

        assert_eq!(cache(Some(1)), "--wiredTigerCacheSizeGB=0.25");
        assert_eq!(cache(Some(1536)), "--wiredTigerCacheSizeGB=1.5");
    }
}
