//! MongoDB servers of one test, whose fail points make them fail: a fail point concerns all clients
//! of its server.

use local_mongod::{DataDir, LocalMongod, Options};
use mongodb::{
    Client, Database,
    bson::{Bson, Document, doc},
};

/// Maximum time until a fail point is reached, in milliseconds.
const DEADLINE_MS: i64 = 60_000;

/// A MongoDB that a test has to itself.
pub(crate) async fn own_mongod() -> LocalMongod {
    let server_parameters = vec![("enableTestCommands".to_owned(), "1".to_owned())];
    let options = Options { data: DataDir::Temporary, server_parameters, cache_mb: None };
    LocalMongod::start(options).await.unwrap()
}

/// The fail points of one server.
pub(crate) struct FailPoints(Database);

impl FailPoints {
    /// Those of the server on this port.
    pub(crate) async fn of(port: u16) -> Self {
        let uri = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
        Self(Client::with_uri_str(uri).await.unwrap().database("admin"))
    }

    /// Sets a fail point, and returns how often it was reached before.
    pub(crate) async fn set(&self, name: &str, mode: impl Into<Bson>, data: Document) -> i64 {
        let command = doc! { "configureFailPoint": name, "mode": mode.into(), "data": data };
        let answer = self.0.run_command(command).await.unwrap();
        answer.get_i32("count").unwrap().into()
    }

    /// Commands fail, block or cut their connection as `data` says (MongoDB's wiki, "The
    /// `failCommand` Fail Point").
    pub(crate) async fn fail(&self, mode: impl Into<Bson>, data: Document) -> i64 {
        self.set("failCommand", mode, data).await
    }

    /// No command fails any more. Returns how often one did.
    pub(crate) async fn heal(&self) -> i64 {
        self.fail("off", doc! {}).await
    }

    /// Waits until a fail point was reached so often, ever.
    pub(crate) async fn reached(&self, name: &str, times: i64) {
        let command =
            doc! { "waitForFailPoint": name, "timesEntered": times, "maxTimeMS": DEADLINE_MS };
        self.0.run_command(command).await.unwrap();
    }
}
