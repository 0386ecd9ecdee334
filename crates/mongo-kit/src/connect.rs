//! Connections to MongoDB, with errors that name the cause and the remedy.

use std::{
    io,
    time::{Duration, Instant},
};

use mongodb::{
    Client, Database,
    bson::{Document, doc},
    error::{Error, ErrorKind},
    event::{EventHandler, command::CommandEvent},
    options::{ClientOptions, ConnectionString, ReadPreference, SelectionCriteria, ServerAddress},
    otel::OpentelemetryOptions,
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::{DatabaseError, ServerClock, Writers};

/// The oldest server that is supported, as the wire version that its `hello` answers (6.0).
const MINIMUM_WIRE_VERSION: i32 = 17;

/// The time limit for finding a primary. An election takes up to 12 s with the default settings of a
/// replica set, but a request does not wait for one: it is answered with 503.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(3);

/// The time limit for opening one connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The most connections, unless the URI says so: as many as the drivers' specification has
/// ("Connection Monitoring and Pooling"), while this driver has ten. A change stream holds one as
/// long as it waits.
const MAX_POOL_SIZE: u32 = 100;

/// The databases that MongoDB keeps for itself (MongoDB manual, "Databases and Collections").
const SYSTEM_DATABASES: [&str; 3] = ["admin", "config", "local"];

/// The time limit for closing the connections, in which the driver ends its sessions.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A database and the client that reaches it.
#[derive(Clone)]
pub struct Connection {
    client: Client,
    database: Database,
    /// The options of the client, to connect to its servers one by one.
    options: ClientOptions,
    clock: ServerClock,
    writers: Writers,
}

/// An invalid connection string or database name.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a MongoDB connection string. The text may contain a password, so it is not repeated.
    #[error("`mongodb.uri` is not a MongoDB connection string: {0}")]
    Uri(String),
    /// A read preference other than the primary.
    #[error(
        "`mongodb.uri` must not have `readPreference`: migrations and totals need the latest data, \
         which only the primary has"
    )]
    ReadPreference,
    /// A database name with characters that MongoDB refuses.
    #[error(
        "`mongodb.database` must be a database name without spaces, slashes, backslashes, dots, \
         quotation marks and dollar signs, not \"{0}\""
    )]
    Database(String),
    /// A database that MongoDB keeps for itself.
    #[error(
        "`mongodb.database` must not be \"{0}\", which MongoDB keeps for itself: name the database \
         of the site"
    )]
    SystemDatabase(String),
}

/// A server that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// A standalone server, which has neither transactions nor change streams.
    #[error(
        "the MongoDB server at {0} is standalone, a replica set is needed (one node is enough): \
         start mongod with --replSet rs0 and run rs.initiate() once in mongosh"
    )]
    Standalone(String),
    /// A server of a replica set that is not initiated.
    #[error(
        "the MongoDB server at {0} is started for a replica set that is not initiated: run \
         rs.initiate() once in mongosh"
    )]
    NotInitiated(String),
    /// A replica set with another name than the one in the connection string.
    #[error(
        "the MongoDB server at {address} belongs to the replica set \"{actual}\": put \
         replicaSet={actual} into `mongodb.uri`"
    )]
    OtherReplicaSet {
        /// Host and port.
        address: String,
        /// The name of the replica set.
        actual: String,
    },
    /// A server older than MongoDB 6.0.
    #[error("MongoDB {0} is too old: 6.0 or newer is needed")]
    TooOld(String),
    /// A wrong user name or password.
    #[error("MongoDB refused the user name or password in `mongodb.uri`")]
    Authentication,
    /// A user without rights, or no user in the connection string.
    #[error(
        "MongoDB does not let the user of `mongodb.uri` into the database \"{0}\": give a user \
         with the role readWrite there"
    )]
    Unauthorized(String),
    /// No server answers, or no primary is elected.
    #[error(
        "MongoDB at {addresses} cannot be reached: check `mongodb.uri` and that mongod runs ({reason})"
    )]
    Unreachable {
        /// The hosts and ports that were tried.
        addresses: String,
        /// The reason in plain words, for each host that has one of its own.
        reason: String,
    },
    /// An error of the server.
    #[error("MongoDB refused the first command")]
    Refused(#[source] DatabaseError),
}

impl DeploymentError {
    /// Returns `true` if the error can disappear without intervention.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NotInitiated(_))
            || matches!(self, Self::Refused(error) if crate::is_transient(&error.0))
    }
}

impl Connection {
    /// Returns a client for the database. Connections are opened when they are first needed.
    pub async fn new(uri: &str, database: &str, app_name: &str) -> Result<Self, ConnectError> {
        check_database_name(database)?;
        let mut options = ClientOptions::parse(uri).await.map_err(|error| uri_error(&error))?;
        if let Some(SelectionCriteria::ReadPreference(preference)) = &options.selection_criteria
            && !matches!(preference, ReadPreference::Primary)
        {
            return Err(ConnectError::ReadPreference);
        }
        options.app_name.get_or_insert_with(|| app_name.to_owned());
        options.max_pool_size.get_or_insert(MAX_POOL_SIZE);
        options.server_selection_timeout.get_or_insert(SERVER_SELECTION_TIMEOUT);
        options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
        options.tracing = Some(OpentelemetryOptions::builder().enabled(true).build());
        let client = Client::with_options(options.clone()).map_err(|error| uri_error(&error))?;
        let database = client.database(database);
        let clock = ServerClock::default();
        let writers = Writers::new(&client, &database, clock.clone());
        Ok(Self { client, database, options, clock, writers })
    }

    /// Returns a connection to the same database with a client of its own, whose commands are
    /// reported to `handler`.
    pub fn monitored(&self, handler: EventHandler<CommandEvent>) -> mongodb::error::Result<Self> {
        let mut options = self.options.clone();
        options.command_event_handler = Some(handler);
        let client = Client::with_options(options.clone())?;
        let database = client.database(self.database.name());
        let (clock, writers) = (self.clock.clone(), self.writers.clone());
        Ok(Self { client, database, options, clock, writers })
    }

    /// Returns the client, for sessions.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Returns the writers of this process: all transactions of requests begin with them.
    pub fn writers(&self) -> &Writers {
        &self.writers
    }

    /// Returns the clock of the server. It is set by every answer to [`ping`](Self::ping), and before
    /// every transaction of [`writers`](Self::writers).
    pub fn clock(&self) -> &ServerClock {
        &self.clock
    }

    /// Checks that the server answers, and sets the clock by its answer.
    pub async fn ping(&self) -> mongodb::error::Result<()> {
        let sent = Instant::now();
        let answer = self.database.run_command(doc! { "hello": 1 }).await?;
        if let Ok(now) = answer.get_datetime("localTime") {
            self.clock.set(*now, sent);
        }
        Ok(())
    }

    /// Checks that the server is reachable, new enough, and belongs to a replica set.
    pub async fn check_deployment(&self) -> Result<(), DeploymentError> {
        match hello(&self.client).await {
            Ok(hello) => check_hello(&hello, &self.addresses(), None)?,
            Err(error) => return Err(self.explain(error).await),
        }
        // `hello` needs no rights; this command does.
        match self.database.list_collection_names().await {
            Ok(_) => Ok(()),
            Err(error) if is_unauthorized(&error) => {
                Err(DeploymentError::Unauthorized(self.database.name().to_owned()))
            }
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Closes all connections at the end of the process. Operations that still use them fail. Does
    /// not wait long for a server that does not answer.
    pub async fn close(&self) {
        let (client, writers) = (self.client.clone(), self.writers.clone());
        // On a task of its own, because calls of the driver must not be dropped half-way.
        let closed = tokio::spawn(async move {
            writers.unregister().await;
            client.shutdown().immediate(true).await;
        });
        if timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::debug!(
                "the server does not answer: the connections are left to the end of the process"
            );
        }
    }

    /// Returns the hosts and ports of the connection string, without user or password.
    pub fn addresses(&self) -> String {
        self.options.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Determines why no server could be selected. The driver ignores servers that do not belong to
    /// the replica set of the connection string, so each of them is queried directly.
    async fn explain(&self, error: Error) -> DeploymentError {
        match &*error.kind {
            ErrorKind::Authentication { .. } => return DeploymentError::Authentication,
            ErrorKind::ServerSelection { .. } => {}
            _ if crate::is_transient(&error) => {}
            _ => return DeploymentError::Refused(error.into()),
        }
        let mut reasons = Vec::new();
        for host in &self.options.hosts {
            if let Err(reason) = try_connect(host).await {
                reasons.push(format!("{host}: {reason}"));
                continue;
            }
            let mut options = self.options.clone();
            let expected = options.repl_set_name.take();
            options.hosts = vec![host.clone()];
            options.direct_connection = Some(true);
            let Ok(client) = Client::with_options(options) else { continue };
            let answer = hello(&client).await;
            client.shutdown().immediate(true).await;
            match answer {
                Ok(hello) => {
                    let address = host.to_string();
                    if let Err(found) = check_hello(&hello, &address, expected.as_deref()) {
                        return found;
                    }
                }
                Err(error) if matches!(*error.kind, ErrorKind::Authentication { .. }) => {
                    return DeploymentError::Authentication;
                }
                Err(_) => {}
            }
        }
        tracing::debug!(error = %DatabaseError::from(error), "no server was found");
        let reason = match reasons.is_empty() {
            true => "no server is the primary of the replica set".to_owned(),
            false => reasons.join("; "),
        };
        DeploymentError::Unreachable { addresses: self.addresses(), reason }
    }
}

/// Checks that a database of a site can have this name.
pub fn check_database_name(name: &str) -> Result<(), ConnectError> {
    let is_illegal = |c: char| c.is_whitespace() || c.is_control() || "/\\.\"$".contains(c);
    if name.is_empty() || name.len() > 63 || name.contains(is_illegal) {
        return Err(ConnectError::Database(name.to_owned()));
    }
    if SYSTEM_DATABASES.contains(&name) {
        return Err(ConnectError::SystemDatabase(name.to_owned()));
    }
    Ok(())
}

/// Returns the database that a connection string names, or `None` if it names none. `admin` and the
/// other databases of MongoDB itself do not count: they are named for the user's sake, who is stored
/// there.
pub fn database_of(uri: &str) -> Option<String> {
    let database = ConnectionString::parse(uri).ok()?.default_database?;
    (!SYSTEM_DATABASES.contains(&database.as_str())).then_some(database)
}

/// Opens a connection to a server and closes it again. Returns the reason in plain words if there is
/// none.
async fn try_connect(host: &ServerAddress) -> Result<(), String> {
    let ServerAddress::Tcp { host, port } = host else { return Ok(()) };
    let address = (host.as_str(), port.unwrap_or(27017));
    match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(match error.kind() {
            io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
            _ if lookup_host(address).await.is_err() => "there is no host of this name".to_owned(),
            _ => error.to_string(),
        }),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

/// Returns `true` if the user has no right to do that (MongoDB manual, "Error codes":
/// `Unauthorized`).
fn is_unauthorized(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == 13)
}

/// Returns the server's answer to `hello`, with its version added.
async fn hello(client: &Client) -> mongodb::error::Result<Document> {
    let admin = client.database("admin");
    let mut hello = admin.run_command(doc! { "hello": 1 }).await?;
    let build = admin.run_command(doc! { "buildInfo": 1 }).await?;
    hello.insert("version", build.get_str("version").unwrap_or("of unknown version"));
    Ok(hello)
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("database", &self.database.name())
            .finish_non_exhaustive()
    }
}

fn check_hello(
    hello: &Document,
    address: &str,
    expected: Option<&str>,
) -> Result<(), DeploymentError> {
    let wire_version = hello.get_i32("maxWireVersion").unwrap_or_default();
    if wire_version < MINIMUM_WIRE_VERSION {
        return Err(DeploymentError::TooOld(
            hello.get_str("version").unwrap_or_default().to_owned(),
        ));
    }
    let is_router = hello.get_str("msg").is_ok_and(|message| message == "isdbgrid");
    match (hello.get_str("setName"), expected) {
        (Ok(actual), Some(expected)) if actual != expected => {
            Err(DeploymentError::OtherReplicaSet {
                address: address.to_owned(),
                actual: actual.to_owned(),
            })
        }
        (Ok(_), _) => Ok(()),
        (Err(_), _) if is_router => Ok(()),
        (Err(_), _) if hello.get_bool("isreplicaset").unwrap_or_default() => {
            Err(DeploymentError::NotInitiated(address.to_owned()))
        }
        (Err(_), _) => Err(DeploymentError::Standalone(address.to_owned())),
    }
}

/// Returns the error with the driver's message, which does not contain the password.
fn uri_error(error: &Error) -> ConnectError {
    match &*error.kind {
        ErrorKind::InvalidArgument { message, .. } => ConnectError::Uri(message.clone()),
        _ => ConnectError::Uri(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_before_6_0_is_too_old() {
        let hello = doc! { "maxWireVersion": 13, "setName": "rs0", "version": "5.0.1" };
        let error = check_hello(&hello, "localhost:27017", None).unwrap_err();
        assert_eq!(error.to_string(), "MongoDB 5.0.1 is too old: 6.0 or newer is needed");
    }

    #[test]
    fn a_router_of_a_sharded_cluster_will_do() {
        let hello = doc! { "maxWireVersion": 17, "msg": "isdbgrid" };
        assert!(check_hello(&hello, "localhost:27017", None).is_ok());
    }

    #[tokio::test]
    async fn a_wrong_connection_string_is_refused_without_repeating_its_password() {
        for uri in ["", "localhost", "mongodb://", "mongodb://u:hunter2@h:port/", "http://h"] {
            let error = Connection::new(uri, "site", "test").await.unwrap_err().to_string();
            assert!(
                error.starts_with("`mongodb.uri` is not a MongoDB connection string"),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn secondaries_are_not_read() {
        let with = async |preference: &str| {
            let uri = format!("mongodb://localhost/?replicaSet=rs0&readPreference={preference}");
            Connection::new(&uri, "site", "test").await
        };
        assert!(with("primary").await.is_ok());
        for preference in ["secondary", "secondaryPreferred", "primaryPreferred", "nearest"] {
            let error = with(preference).await.unwrap_err();
            assert!(matches!(error, ConnectError::ReadPreference), "{error}");
        }
    }

    #[tokio::test]
    async fn a_wrong_database_name_is_refused() {
        for name in ["", "a b", "a.b", "$a", "a/b"] {
            let error = Connection::new("mongodb://localhost", name, "test").await.unwrap_err();
            assert!(matches!(error, ConnectError::Database(_)), "{error}");
        }
        for name in SYSTEM_DATABASES {
            let error = Connection::new("mongodb://localhost", name, "test").await.unwrap_err();
            assert!(matches!(error, ConnectError::SystemDatabase(_)), "{error}");
        }
    }

    #[test]
    fn a_connection_string_names_the_database_of_the_site_but_not_that_of_the_users() {
        for (uri, database) in [
            ("mongodb://localhost/site?replicaSet=rs0", Some("site")),
            ("mongodb://kate:secret@one:1,two:2/site?authSource=admin", Some("site")),
            ("mongodb://localhost/my%2Dsite", Some("my-site")),
            ("mongodb+srv://cluster.example.com/site", Some("site")),
            ("mongodb://kate:secret@localhost/admin", None),
            ("mongodb://localhost/?replicaSet=rs0", None),
            ("mongodb://localhost", None),
            ("not a connection string", None),
        ] {
            assert_eq!(database_of(uri).as_deref(), database, "{uri}");
        }
    }
}
