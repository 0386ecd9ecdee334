//! The database of a command: the one that is named, and no other one by mistake.

use std::collections::BTreeMap;

use local_mongod::{DataDir, LocalMongod, Options};
use mongodb::{Client, bson::doc};
use test_support::{TestDatabase, eventually, mongodb_uri};

use crate::{
    legacy,
    support::{Ended, Folder, Site, Turbulence, own_mongod},
    terminal::Terminal,
};

/// Returns a connection string of the shared MongoDB that names a database.
fn uri_with(database: &str) -> String {
    mongodb_uri().replace("/?", &format!("/{database}?"))
}

async fn collections(database: &TestDatabase) -> usize {
    database.database().list_collection_names().await.unwrap().len()
}

#[tokio::test]
async fn the_database_of_the_connection_string_is_used_unless_another_is_named() {
    let (in_uri, named) = (TestDatabase::new().await, TestDatabase::new().await);
    let folder = Folder::new();
    let uri = uri_with(in_uri.name());
    let up = ["migrate", "up", "--create", "--mongodb-uri", &uri];
    let mut command = folder.command(&up);
    // On the command line, it beats a name from the environment.
    command.env("TURBULENCE__MONGODB__DATABASE", named.name());
    let ended = Turbulence::spawn(command).ended().await;
    let heading = format!("Database {} at 127.0.0.1:", in_uri.name());
    assert!(ended.success().starts_with(&heading), "{ended:#?}");
    assert!(collections(&in_uri).await > 0);
    assert_eq!(collections(&named).await, 0);

    in_uri.database().drop().await.unwrap();
    let ended = folder.run(&[&up[..], &["--database", named.name()]].concat()).await;
    let heading = format!("Database {} at 127.0.0.1:", named.name());
    assert!(ended.success().starts_with(&heading), "{ended:#?}");
    assert!(collections(&named).await > 0);
    assert_eq!(collections(&in_uri).await, 0);
}

#[tokio::test]
async fn a_service_uses_and_logs_the_database_of_the_connection_string() {
    let database = TestDatabase::new().await;
    let folder = Folder::new();
    let mut command = folder.command(&["sections", "--port", "0"]);
    command.env("TURBULENCE__MONGODB__URI", uri_with(database.name()));
    let service = Turbulence::spawn(command);
    service.logged("using the database").await;
    let log = service.log();
    let line = log.iter().find(|line| line["message"] == "using the database").unwrap();
    assert_eq!(line["database"], database.name());
    eventually("the sections are there", async || database.count("sections", doc! {}).await == 4)
        .await;
    service.stop().await;
}

/// A MongoDB that no other test uses.
struct Server {
    mongod: LocalMongod,
    folder: Folder,
}

impl Server {
    async fn start() -> Self {
        let options =
            Options { data: DataDir::Temporary, server_parameters: Vec::new(), cache_mb: None };
        let mongod = LocalMongod::start(options).await.unwrap();
        Self { mongod, folder: Folder::new() }
    }

    /// Returns the collections of all databases but those of MongoDB itself.
    async fn everything(&self) -> BTreeMap<String, Vec<String>> {
        let client = Client::with_uri_str(self.mongod.uri()).await.unwrap();
        let mut all = BTreeMap::new();
        for name in client.list_database_names().await.unwrap() {
            if !matches!(&*name, "admin" | "config" | "local") {
                let mut names = client.database(&name).list_collection_names().await.unwrap();
                names.sort();
                all.insert(name, names);
            }
        }
        all
    }

    fn arguments<'a>(&'a self, arguments: &[&'a str], database: &'a str) -> Vec<&'a str> {
        let options = ["--mongodb-uri", self.mongod.uri(), "--database", database];
        [arguments, &options].concat()
    }

    async fn run(&self, arguments: &[&str], database: &str) -> Ended {
        self.folder.run(&self.arguments(arguments, database)).await
    }
}

#[tokio::test]
async fn a_misspelt_database_is_refused_and_nothing_is_created() {
    let _turn = own_mongod().await;
    let server = Server::start().await;
    legacy::write(&server.folder);
    let reading: [&[&str]; 5] = [
        &["migrate", "plan"],
        &["migrate", "status"],
        &["migrate", "verify"],
        &["doctor"],
        &["uninstall"],
    ];
    // On a server without any site, every name is that of a new one. Reading it creates nothing.
    for arguments in reading {
        let ended = server.run(arguments, "site").await;
        assert!(matches!(ended.status.code(), Some(0 | 6)), "{arguments:?}: {ended:#?}");
    }
    assert_eq!(server.everything().await, BTreeMap::new());
    server.run(&["import", legacy::FOLDER], "site").await.success();
    server.run(&["migrate", "up"], "site").await.success();
    // Many programs have users.
    let client = Client::with_uri_str(server.mongod.uri()).await.unwrap();
    let users = client.database("shop").collection("users");
    users.insert_one(doc! { "name": "Kate" }).await.unwrap();

    let before = server.everything().await;
    let writing: [&[&str]; 6] = [
        &["up", "--port", "0"],
        &["up", "--port", "0", "--demo"],
        &["import", legacy::FOLDER],
        &["migrate", "up"],
        &["migrate", "down"],
        &["migrate", "pause", "0006_backfill_section_id"],
    ];
    for arguments in reading.iter().chain(&writing) {
        let ended = server.run(arguments, "stie").await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(ended.failure(1), @"turbulence: `stie` has no collection of a site; databases here: site. Correct the name, or begin a new site in `stie` with `--create`");
        }
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
    assert_eq!(server.everything().await, before);

    // At a terminal, a person is asked.
    let up = server.arguments(&["migrate", "up"], "stie");
    let no = Terminal::new(&server.folder).types("n\n", "[y/N]").run(&up).await;
    assert_eq!(no.code, 1, "{no:#?}");
    let question = "`stie` has no collection of a site; databases here: site";
    assert!(no.screen.contains(question), "{no:#?}");
    assert!(no.screen.contains("Begin a new site in it? [y/N]"), "{no:#?}");
    assert_eq!(server.everything().await, before);
    let yes = Terminal::new(&server.folder).types("y\n", "[y/N]").run(&up).await;
    assert_eq!(yes.code, 0, "{yes:#?}");
    assert!(server.everything().await.contains_key("stie"));
    server.run(&["migrate", "up", "--create"], "another").await.success();
    assert!(server.everything().await.contains_key("another"));
    server.mongod.stop().await.unwrap();
}

#[tokio::test]
async fn a_database_with_content_is_no_new_site() {
    let site = Site::new().await;
    site.database.insert("stories", [doc! { "title": "One" }]).await;
    let uri = uri_with(site.database.name());
    site.folder.run(&["migrate", "up", "--mongodb-uri", &uri]).await.success();
}
