//! Makes a mongod a member of its replica set, usually the only one. Transactions and change streams
//! need a replica set.

use std::{net::Ipv4Addr, time::Duration};

use mongodb::{
    Client, Database,
    bson::{Document, doc, oid::ObjectId},
    error::{Error, ErrorKind, Result},
    options::{ClientOptions, ServerAddress},
};
use tokio::net::TcpStream;

/// The name of the replica set.
pub(crate) const NAME: &str = "rs0";

const POLL: Duration = Duration::from_millis(50);

/// The timeout of a command. A response on the loopback takes milliseconds; a server that is recovering
/// gets the command again.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// The time after which a set of several replaces a primary that does not respond. The default of 10 s
/// is longer than needed on the loopback.
const ELECTION_TIMEOUT_MS: i32 = 2_000;

/// The time between heartbeats; several fit into the election timeout.
const HEARTBEAT_INTERVAL_MS: i32 = 500;

/// The time for which a new primary waits for the data of one that does not respond. The default is
/// 10 s.
const HEARTBEAT_TIMEOUT_SECS: i32 = 2;

/// The time for which a primary that has stepped down cannot be elected: enough for another one to be
/// elected.
const STEP_DOWN_SECS: i32 = 5;

/// The time for which it waits for a secondary with all its data.
const CATCH_UP_SECS: i32 = 3;

/// The timeout of `hello`. A stopped server never responds, and would delay finding the primary.
const HELLO_TIMEOUT: Duration = Duration::from_millis(500);

/// `NotYetInitialized` in MongoDB's list of error codes.
const NOT_YET_INITIALIZED: i32 = 94;

const FOREIGN: Progress = Progress::Waiting("another MongoDB server listens on its port");
const NOT_JOINED: Progress = Progress::Waiting("it is not a member of its replica set yet");

/// Returns the address for clients.
pub(crate) fn uri(members: &[u16]) -> String {
    format!("mongodb://{}/?replicaSet={NAME}", hosts(members).join(","))
}

fn hosts(members: &[u16]) -> Vec<String> {
    members.iter().map(|port| format!("127.0.0.1:{port}")).collect()
}

/// Waits until the server on this port is the primary of its set, or, among several members, a
/// secondary. There is no timeout; `obstacle` has the last obstacle.
///
/// # Errors
///
/// Only if no client can be created.
pub(crate) async fn join(
    port: u16,
    pid: u32,
    members: &[u16],
    obstacle: &mut Option<String>,
) -> Result<()> {
    let mut poll = tokio::time::interval(POLL);
    // The driver pauses for half a second after a refused connection, so that it is used later.
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        poll.tick().await;
    }
    let client = client(port)?;
    let admin = client.database("admin");
    loop {
        match advance(&admin, port, pid, members).await {
            Ok(Progress::Joined) => break,
            Ok(Progress::Waiting(reason)) => *obstacle = Some(reason.to_owned()),
            Err(error) => *obstacle = Some(error.to_string()),
        }
        poll.tick().await;
    }
    client.shutdown().await;
    Ok(())
}

/// Returns the id of the election that made the server on this port the primary, if it is one. Later
/// elections have greater ids.
pub(crate) async fn election(port: u16) -> Option<ObjectId> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    let admin = client(port).ok()?.database("admin");
    let hello = admin.run_command(doc! { "hello": 1 });
    // A cancelled command has its own client, which is dropped too.
    let hello = tokio::time::timeout(HELLO_TIMEOUT, hello.into_future()).await.ok()?.ok()?;
    hello.get_bool("isWritablePrimary").ok()?.then(|| hello.get_object_id("electionId").ok())?
}

/// Makes a primary step down, if necessary without a secondary that has all its data.
pub(crate) async fn step_down(primary: u16) -> Result<()> {
    let admin = client(primary)?.database("admin");
    let command = |force| {
        doc! {
            "replSetStepDown": STEP_DOWN_SECS,
            "secondaryCatchUpPeriodSecs": CATCH_UP_SECS,
            "force": force,
        }
    };
    if let Err(error) = admin.run_command(command(false)).await {
        tracing::debug!(primary, "stepping down by force after an error: {error}");
        admin.run_command(command(true)).await?;
    }
    Ok(())
}

fn client(port: u16) -> Result<Client> {
    let address = ServerAddress::Tcp { host: Ipv4Addr::LOCALHOST.to_string(), port: Some(port) };
    let options = ClientOptions::builder()
        .hosts(vec![address])
        .direct_connection(true)
        .connect_timeout(COMMAND_TIMEOUT)
        .server_selection_timeout(COMMAND_TIMEOUT)
        .build();
    Client::with_options(options)
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Joined,
    Waiting(&'static str),
}

/// Takes one step towards membership.
async fn advance(admin: &Database, port: u16, pid: u32, members: &[u16]) -> Result<Progress> {
    // Another server may have bound the port first. Ours then ends.
    let status = admin.run_command(doc! { "serverStatus": 1 }).await?;
    if status.get_i64("pid").is_ok_and(|found| found != i64::from(pid)) {
        return Ok(FOREIGN);
    }
    let hello = admin.run_command(doc! { "hello": 1 }).await?;
    let is = |role| hello.get_bool(role).unwrap_or(false);
    // The only member is a secondary for a moment before its election.
    if is("isWritablePrimary") || (is("secondary") && members.len() > 1) {
        return Ok(Progress::Joined);
    }
    match stored_config(admin).await? {
        None if members.first() == Some(&port) => initiate(admin, members).await?,
        // The first member configures the others.
        None => {}
        Some(config) if stored_hosts(&config) == hosts(members) => {}
        Some(config) => move_to(admin, members, config).await?,
    }
    Ok(NOT_JOINED)
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

fn stored_hosts(config: &Document) -> Vec<&str> {
    let members = config.get_array("members").into_iter().flatten();
    members.filter_map(|member| member.as_document()?.get_str("host").ok()).collect()
}

fn member_documents(members: &[u16]) -> Vec<Document> {
    (0..).zip(hosts(members)).map(|(id, host): (i32, _)| doc! { "_id": id, "host": host }).collect()
}

/// Initiates the set. The server refuses this, without harm, while it is still loading a stored
/// config, and while another member does not respond yet.
async fn initiate(admin: &Database, members: &[u16]) -> Result<()> {
    let mut config = doc! { "_id": NAME, "members": member_documents(members) };
    if members.len() > 1 {
        let settings = doc! {
            "electionTimeoutMillis": ELECTION_TIMEOUT_MS,
            "heartbeatIntervalMillis": HEARTBEAT_INTERVAL_MS,
            "heartbeatTimeoutSecs": HEARTBEAT_TIMEOUT_SECS,
        };
        config.insert("settings", settings);
    }
    admin.run_command(doc! { "replSetInitiate": config }).await?;
    Ok(())
}

/// Changes the ports in the config. The data was last served from another port, so that the server is
/// not in its own config. A member that is not the primary accepts a forced change only.
async fn move_to(admin: &Database, members: &[u16], mut config: Document) -> Result<()> {
    config.insert("version", config.get_i32("version").unwrap_or(0) + 1);
    config.insert("members", member_documents(members));
    admin.run_command(doc! { "replSetReconfig": config, "force": true }).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataDir, LocalMongod, Options};

    #[tokio::test]
    async fn a_server_of_another_process_on_the_port_is_detected() {
        let options =
            Options { data: DataDir::Temporary, server_parameters: vec![], cache_mb: None };
        let mongod = LocalMongod::start(options).await.unwrap();
        let port = mongod.port();
        let admin = client(port).unwrap().database("admin");

        let seen_as = async |pid| advance(&admin, port, pid, &[port]).await.unwrap();
        assert_eq!(seen_as(mongod.pid()).await, Progress::Joined);
        assert_eq!(seen_as(mongod.pid() + 1).await, FOREIGN);
    }
}
