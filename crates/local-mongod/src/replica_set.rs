//! Makes a fresh mongod the only member, and so the primary, of its replica set. Without one there
//! are no transactions and no change streams.

use std::{net::Ipv4Addr, time::Duration};

use mongodb::{
    Client, Database,
    bson::{Document, doc},
    error::{Error, ErrorKind, Result},
    options::{ClientOptions, ServerAddress},
};
use tokio::net::TcpStream;

pub(crate) const NAME: &str = "rs0";

const POLL: Duration = Duration::from_millis(50);

/// An answer on the loopback takes milliseconds. While the server is busy recovering, ask again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// `NotYetInitialized` in MongoDB's list of error codes.
const NOT_YET_INITIALIZED: i32 = 94;

const FOREIGN: Progress = Progress::Waiting("another MongoDB server answers on its port");
const NOT_ELECTED: Progress = Progress::Waiting("it has not become the primary yet");

/// Waits for the server, however long that takes, and keeps in `hindrance` what is in the way.
///
/// # Errors
///
/// Only if no client can be made.
pub(crate) async fn become_primary(
    port: u16,
    pid: u32,
    hindrance: &mut Option<String>,
) -> Result<()> {
    let mut poll = tokio::time::interval(POLL);
    // The driver pauses for half a second after a refused connection, so it comes after this.
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        poll.tick().await;
    }
    let host = format!("127.0.0.1:{port}");
    let client = client(port)?;
    let admin = client.database("admin");
    loop {
        match advance(&admin, &host, pid).await {
            Ok(Progress::Primary) => break,
            Ok(Progress::Waiting(reason)) => *hindrance = Some(reason.to_owned()),
            Err(error) => *hindrance = Some(error.to_string()),
        }
        poll.tick().await;
    }
    client.shutdown().await;
    Ok(())
}

fn client(port: u16) -> Result<Client> {
    let address = ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port: Some(port) };
    let options = ClientOptions::builder()
        .hosts(vec![address])
        .direct_connection(true)
        .connect_timeout(ANSWER_TIMEOUT)
        .server_selection_timeout(ANSWER_TIMEOUT)
        .build();
    Client::with_options(options)
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Primary,
    Waiting(&'static str),
}

/// One step towards the primary.
async fn advance(admin: &Database, host: &str, pid: u32) -> Result<Progress> {
    // Another server may have been quicker to take the port. Ours then ends.
    let status = admin.run_command(doc! { "serverStatus": 1 }).await?;
    if status.get_i64("pid").is_ok_and(|found| found != i64::from(pid)) {
        return Ok(FOREIGN);
    }
    let hello = admin.run_command(doc! { "hello": 1 }).await?;
    if hello.get_bool("isWritablePrimary").unwrap_or(false) {
        return Ok(Progress::Primary);
    }
    match stored_config(admin).await? {
        None => initiate(admin, host).await?,
        Some(config) if member(&config) == Some(host) => {}
        Some(config) => move_to(admin, host, config).await?,
    }
    Ok(NOT_ELECTED)
}

async fn stored_config(admin: &Database) -> Result<Option<Document>> {
    match admin.run_command(doc! { "replSetGetConfig": 1 }).await {
        Ok(answer) => Ok(answer.get_document("config").ok().cloned()),
        Err(error) if is_not_initialized(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_not_initialized(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(error) if error.code == NOT_YET_INITIALIZED)
}

fn member(config: &Document) -> Option<&str> {
    config.get_array("members").ok()?.first()?.as_document()?.get_str("host").ok()
}

/// Refused harmlessly while the server is still reading a config that it has.
async fn initiate(admin: &Database, host: &str) -> Result<()> {
    let config = doc! { "_id": NAME, "members": [{ "_id": 0, "host": host }] };
    admin.run_command(doc! { "replSetInitiate": config }).await?;
    Ok(())
}

/// The data was last served from another port, so the server does not find itself in its config.
/// Only a forced change is taken from a member that is no primary.
async fn move_to(admin: &Database, host: &str, mut config: Document) -> Result<()> {
    config.insert("version", config.get_i32("version").unwrap_or(0) + 1);
    config.insert("members", vec![doc! { "_id": 0, "host": host }]);
    admin.run_command(doc! { "replSetReconfig": config, "force": true }).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataDir, LocalMongod, Options};

    #[tokio::test]
    async fn a_server_of_another_process_on_the_port_is_not_taken_for_ours() {
        let options =
            Options { data: DataDir::Temporary, server_parameters: vec![], cache_mb: None };
        let mongod = LocalMongod::start(options).await.unwrap();
        let admin = client(mongod.port()).unwrap().database("admin");
        let host = format!("127.0.0.1:{}", mongod.port());

        let seen_as = async |pid| advance(&admin, &host, pid).await.unwrap();
        assert_eq!(seen_as(mongod.pid()).await, Progress::Primary);
        assert_eq!(seen_as(mongod.pid() + 1).await, FOREIGN);
    }
}
