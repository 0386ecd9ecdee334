//! One mongod as a one-node replica set.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use crate::{
    binary::binary, error::Error, membership, node::Node, options::Options, timeouts::STOP_TIMEOUT,
};

/// The number of ports to try. Another process may bind a free port before mongod does, but not three
/// times in a row by accident.
const PORT_ATTEMPTS: u32 = 3;

/// A running mongod. Dropping it ends the server; [`stop`](Self::stop) also waits for it.
#[derive(Debug)]
pub struct LocalMongod {
    uri: String,
    node: Node,
}

impl LocalMongod {
    /// Finds or downloads a mongod, starts it, and waits until it is a primary that accepts writes.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if no mongod can be found or downloaded, [`Error::InUse`] if another process
    /// uses the data folder, and others with mongod's own message if it does not start.
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
                    tracing::debug!(
                        port,
                        "another process has bound the port, trying another port"
                    );
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

    /// Returns the address for clients, with the name of the replica set.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Returns the port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.node.port
    }

    /// Returns the process id of mongod itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.node.process.pid()
    }

    /// Returns the path of the log.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.node.log_path()
    }

    /// Waits until mongod ends by itself. Returns its last words: the last error of its log, or else
    /// its exit status. Meanwhile, its log is rotated.
    pub async fn ended(&mut self) -> String {
        self.node.ended().await
    }

    /// Starts mongod again on the same data and port, after killing it if it still runs, and waits
    /// until it is a primary that accepts writes.
    ///
    /// # Errors
    ///
    /// Those of [`LocalMongod::start`].
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.node.kill().await?;
        self.node.respawn()?;
        self.node.join(&[self.node.port]).await
    }

    /// Shuts mongod down cleanly and waits for its end. Kills it if that takes more than 30 seconds.
    ///
    /// # Errors
    ///
    /// [`Error::NotStopped`] if it does not end even then.
    pub async fn stop(mut self) -> Result<(), Error> {
        if self.node.process.end("TERM", STOP_TIMEOUT).await {
            return Ok(());
        }
        self.node.kill().await
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use mongodb::{
        Client, Collection,
        bson::{Document, doc},
    };

    use super::*;
    use crate::options::DataDir;

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
    async fn a_mongod_that_was_killed_is_started_again_with_its_data_and_a_large_log_is_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let (log, old) = (dir.path().join("mongod.log"), dir.path().join("mongod.log.1"));
        std::fs::write(&log, vec![b'x'; 17 * 1024 * 1024]).unwrap();
        let data = DataDir::Persistent(dir.path().to_owned());
        let options = Options { data, server_parameters: vec![], cache_mb: None };
        let mut mongod = LocalMongod::start(options).await.unwrap();
        assert_eq!(mongod.log_path(), log);
        let size = |path| std::fs::metadata(path).unwrap().len();
        assert_eq!(size(&old), 17 * 1024 * 1024);
        assert!((1..17 * 1024 * 1024).contains(&size(&log)), "{}", size(&log));

        let (uri, story) = (mongod.uri().to_owned(), doc! { "_id": 1, "title": "Tides" });
        stories(&mongod).await.insert_one(&story).await.unwrap();
        let pid = mongod.pid();
        let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(killed.unwrap().success());
        let words = mongod.ended().await;
        // The shell names the signal. mongod had no time for words.
        assert!(words.starts_with("Killed"), "{words}");
        mongod.restart().await.unwrap();
        assert_eq!(mongod.uri(), uri);
        assert_ne!(mongod.pid(), pid);
        assert_eq!(stories(&mongod).await.find_one(doc! {}).await.unwrap(), Some(story));
        mongod.stop().await.unwrap();
    }

    #[tokio::test]
    async fn damaged_data_is_reported_with_the_words_of_mongod_and_its_log() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("db")).unwrap();
        std::fs::write(dir.path().join("db/storage.bson"), "damaged").unwrap();
        let data = DataDir::Persistent(dir.path().to_owned());
        let options = Options { data, server_parameters: vec![], cache_mb: None };
        let error = LocalMongod::start(options).await.unwrap_err().to_string();
        assert!(error.starts_with("mongod ended while it was starting: "), "{error}");
        assert!(error.contains("storage engine metadata file: Incorrect BSON length"), "{error}");
        let log = dir.path().join("mongod.log").display().to_string();
        assert!(error.ends_with(&format!("(see {log})")), "{error}");
    }

    #[tokio::test]
    async fn a_port_that_another_process_has_bound_is_replaced() {
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
}
