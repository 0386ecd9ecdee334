//! What is said to a mongod so that it is a member of its replica set, mostly the only one. Without
//! a set there are no transactions and no change streams.

use std::{net::Ipv4Addr, time::Duration};

use mongodb::{
    Client, Database,
    bson::{Document, doc, oid::ObjectId},
    error::{Error, ErrorKind, Result},
    options::{ClientOptions, ServerAddress},
};
use tokio::net::TcpStream;

pub(crate) const NAME: &str = "rs0";

const POLL: Duration = Duration::from_millis(50);

/// An answer on the loopback takes milliseconds. While the server is busy recovering, ask again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// A set of several has to do without a member that is stopped, and does so after this time. By
/// default it is 10 s; on the loopback less will do.
const ELECTION_TIMEOUT_MS: i32 = 2_000;

/// Some of them fit into the time above.
const HEARTBEAT_INTERVAL_MS: i32 = 500;

/// A new primary waits for so long to hear from a stopped one what it may have missed. By default
/// it is 10 s.
const HEARTBEAT_TIMEOUT_SECS: i32 = 2;

/// A primary that has stepped down does not stand for election again for so long: enough for
/// another one to be elected.
const STEP_DOWN_SECS: i32 = 5;

/// How long it waits for a secondary that has all its data.
const CATCH_UP_SECS: i32 = 3;

/// A stopped server never answers, and holds up the question who is the primary.
const HELLO_TIMEOUT: Duration = Duration::from_millis(500);

/// `NotYetInitialized` in MongoDB's list of error codes.
const NOT_YET_INITIALIZED: i32 = 94;

const FOREIGN: Progress = Progress::Waiting("another MongoDB server answers on its port");
const NOT_JOINED: Progress = Progress::Waiting("it has no place in its replica set yet");

/// The address for clients.
pub(crate) fn uri(members: &[u16]) -> String {
    format!("mongodb://{}/?replicaSet={NAME}", hosts(members).join(","))
}

fn hosts(members: &[u16]) -> Vec<String> {
    members.iter().map(|port| format!("127.0.0.1:{port}")).collect()
}

/// Waits until the server on this port is the primary of its set, or, among several members, a
/// secondary. Waits however long that takes, and keeps in `hindrance` what is in the way.
///
/// # Errors
///
/// Only if no client can be made.
pub(crate) async fn join(
    port: u16,
    pid: u32,
    members: &[u16],
    hindrance: &mut Option<String>,
) -> Result<()> {
    let mut poll = tokio::time::interval(POLL);
    // The driver pauses for half a second after a refused connection, so it comes after this.
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        poll.tick().await;
    }
    let client = client(port)?;
    let admin = client.database("admin");
    loop {
        match advance(&admin, port, pid, members).await {
            Ok(Progress::Joined) => break,
            Ok(Progress::Waiting(reason)) => *hindrance = Some(reason.to_owned()),
            Err(error) => *hindrance = Some(error.to_string()),
        }
        poll.tick().await;
    }
    client.shutdown().await;
    Ok(())
}

/// The election that made the server on this port the primary, if it says that it is. Later
/// elections have greater ids.
pub(crate) async fn election(port: u16) -> Option<ObjectId> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    let admin = client(port).ok()?.database("admin");
    let hello = admin.run_command(doc! { "hello": 1 });
    // What is dropped half-way here has a client of its own that goes as well.
    let hello = tokio::time::timeout(HELLO_TIMEOUT, hello.into_future()).await.ok()?.ok()?;
    hello.get_bool("isWritablePrimary").ok()?.then(|| hello.get_object_id("electionId").ok())?
}

/// Has a primary step down, if need be without a secondary that has all its data.
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
        tracing::debug!(primary, "it steps down by force, as it did not otherwise: {error}");
        admin.run_command(command(true)).await?;
    }
    Ok(())
}

fn client(port: u16) -> Result<Client> {
    let address = ServerAddress::Tcp { host: Ipv4Addr::LOCALHOST.to_string(), port: Some(port) };
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
    Joined,
    Waiting(&'static str),
}

/// One step towards membership.
async fn advance(admin: &Database, port: u16, pid: u32, members: &[u16]) -> Result<Progress> {
    // Another server may have been quicker to take the port. Ours then ends.
    let status = admin.run_command(doc! { "serverStatus": 1 }).await?;
    if status.get_i64("pid").is_ok_and(|found| found != i64::from(pid)) {
        return Ok(FOREIGN);
    }
    let hello = admin.run_command(doc! { "hello": 1 }).await?;
    let is = |role| hello.get_bool(role).unwrap_or(false);
    // The only member is a secondary just for the moment before its election.
    if is("isWritablePrimary") || (is("secondary") && members.len() > 1) {
        return Ok(Progress::Joined);
    }
    match stored_config(admin).await? {
        None if members.first() == Some(&port) => initiate(admin, members).await?,
        // The first member tells the others.
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

/// Refused harmlessly while the server is still reading a config that it has, and while another
/// member does not answer yet.
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

/// The data was last served from another port, so the server does not find itself in its config.
/// Only a forced change is taken from a member that is no primary.
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
    async fn a_server_of_another_process_on_the_port_is_not_taken_for_ours() {
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
