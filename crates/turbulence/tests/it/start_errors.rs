//! Errors of a start: one line with the reason and the remedy.

use std::{
    fmt::Write,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use mongodb::bson::doc;
use tempfile::TempDir;
use test_support::{TestDatabase, eventually, mongodb_uri};

use crate::support::{Ended, Folder, Site, Turbulence, own_mongod};

const PASSWORD: &str = "hunter2";

/// A description, the arguments and the environment variables of an invalid start.
type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);

#[tokio::test]
async fn a_wrong_setting_is_named_in_one_line() {
    let folder = Folder::new();
    folder.write("unknown.toml", "[server]\nprot = 5001\n");
    folder.write("broken.toml", "[server\n");
    let up = ["up", "--port", "0"];
    let cases: [Case<'_>; 10] = [
        ("no connection string", &["--mongodb-uri", "http://db"], &[]),
        ("a wrong option", &["--mongodb-uri", "mongodb://db/?replicaSet"], &[]),
        ("no database name", &["--mongodb-uri", "mongodb://db/", "--database", "my site"], &[]),
        ("an unknown key in a file", &["--config", "unknown.toml"], &[]),
        ("a broken file", &["--config", "broken.toml"], &[]),
        ("a missing file", &["--config", "missing.toml"], &[]),
        ("no host", &["--host", "not a host"], &[]),
        ("no log filter", &[], &[("RUST_LOG", "turbulence=loud")]),
        ("no address", &[], &[("TURBULENCE__SECTIONS__URL", "localhost:5002")]),
        ("no mode", &[], &[("TURBULENCE__AUTH__MODE", "none")]),
    ];
    let mut said = String::new();
    for (case, arguments, environment) in cases {
        let mut command = folder.command(&[&up, arguments].concat());
        command.envs(environment.iter().copied());
        let ended = Turbulence::spawn(command).ended().await;
        // The system refuses the host and the filter; everything else is refused before.
        let code = if matches!(case, "no host" | "no log filter") { 1 } else { 2 };
        _ = writeln!(said, "{case}\n    {}", ended.failure(code));
        assert!(ended.took < Duration::from_secs(5), "{case}: {ended:#?}");
    }
    let mut command = folder.command(&["up"]);
    command.env("TURBULENCE__SERVER__PORT", "http");
    let ended = Turbulence::spawn(command).ended().await;
    _ = writeln!(said, "no port\n    {}", ended.failure(2));
    let mut command = folder.command(&["up", "--port", "0"]);
    command.env("TURBULENCE__ADMIN__EMAIL", "boss");
    let ended = Turbulence::spawn(command).ended().await;
    _ = writeln!(said, "no e-mail address\n    {}", ended.failure(2));
    insta::assert_snapshot!(said);
    // No MongoDB was started for any of it.
    assert!(!folder.path(".turbulence").exists());
}

#[tokio::test]
async fn a_misspelt_variable_is_named_with_the_nearest_one() {
    let folder = Folder::new();
    for arguments in [&["gateway", "--port", "0"][..], &["migrate", "status", "--mongodb-uri", "x"]]
    {
        let mut command = folder.command(arguments);
        command.env("TURBULENCE__SERVER__PROT", "1");
        let turbulence = Turbulence::spawn(command);
        let expected = "the variable TURBULENCE__SERVER__PROT is no setting and is ignored: did you \
                        mean TURBULENCE__SERVER__PORT?";
        turbulence.logged(expected).await;
        let log = turbulence.log();
        assert!(log.iter().any(|line| line["message"] == expected && line["level"] == "WARN"));
    }
}

#[tokio::test]
async fn a_port_in_use_is_reported_before_anything_is_started() {
    let folder = Folder::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let ended = folder.run(&["up", "--port", &port]).await;
    let line = ended.failure(1).replace(&port, "[port]");
    insta::assert_snapshot!(line, @"turbulence: port [port] on 127.0.0.1 is in use: stop what listens there, or choose another port with --port or TURBULENCE__SERVER__PORT");
    assert!(ended.took < Duration::from_secs(5), "{ended:#?}");
    assert!(!folder.path(".turbulence").exists());
}

#[tokio::test]
async fn an_invalid_command_line_is_refused_with_code_2() {
    let folder = Folder::new();
    let cases: [(&[&str], &str); 7] = [
        (&[], "Usage: turbulence"),
        (&["upp"], "unrecognized subcommand 'upp'"),
        (&["up", "--prot", "1"], "unexpected argument '--prot'"),
        (&["up", "--import", "site", "--demo"], "cannot be used with '--demo'"),
        (&["up", "--port", "70000"], "70000 is not in 0..=65535"),
        (&["import"], "<DIR>"),
        (&["migrate", "undo"], "unrecognized subcommand 'undo'"),
    ];
    for (arguments, words) in cases {
        let ended = folder.run(arguments).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:#?}");
        assert!(ended.stderr.contains(words), "{arguments:?}: {ended:#?}");
        assert_eq!(ended.stdout, "");
    }
}

#[tokio::test]
async fn an_unreachable_mongodb_is_code_7_and_reported_without_its_password() {
    let folder = Folder::new();
    let uri = format!("mongodb://editor:{PASSWORD}@127.0.0.1:1/?replicaSet=rs0");
    // At the same time, since each command waits for twelve seconds.
    let commands: [&[&str]; 3] = [&["up", "--port", "0"], &["migrate", "status"], &["doctor"]];
    let commands = commands.map(|arguments| {
        let mut command = folder.command(&[arguments, &["--mongodb-uri", &uri]].concat());
        command.env("RUST_LOG", "debug");
        Turbulence::spawn(command)
    });
    for command in commands {
        let ended = command.ended().await;
        let line = ended.failure(7);
        let expected = "turbulence: MongoDB at 127.0.0.1:1 cannot be reached: check `mongodb.uri` \
                        and that mongod runs (127.0.0.1:1: nothing listens there)";
        assert_eq!(line, expected);
        assert_password_is_not_printed(&ended);
        assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
    }
}

#[tokio::test]
async fn a_standalone_mongodb_is_refused_with_instructions_for_a_replica_set() {
    let _turn = own_mongod().await;
    let mongod = Standalone::start().await;
    let folder = Folder::new();
    for query in ["", "?replicaSet=rs0"] {
        let uri = format!("mongodb://127.0.0.1:{}/{query}", mongod.port);
        let ended = folder.run(&["up", "--port", "0", "--mongodb-uri", &uri]).await;
        let line = ended.failure(1).replace(&mongod.port.to_string(), "[port]");
        insta::allow_duplicates! {
            insta::assert_snapshot!(line, @"turbulence: the MongoDB server at 127.0.0.1:[port] is standalone, a replica set is needed (one node is enough): start mongod with --replSet rs0 and run rs.initiate() once in mongosh");
        }
        assert!(ended.took < Duration::from_secs(15), "{ended:#?}");
    }
}

#[tokio::test]
async fn a_wrong_replica_set_and_a_wrong_password_have_different_errors() {
    let database = TestDatabase::new().await;
    let address = database.connection().addresses();
    let folder = Folder::new();
    for (uri, words) in [
        (
            format!("mongodb://editor:{PASSWORD}@{address}/?replicaSet=rs0"),
            "MongoDB refused the user name or password in `mongodb.uri`",
        ),
        (format!("mongodb://{address}/?replicaSet=other"), "belongs to the replica set \"rs0\""),
        (format!("mongodb://editor:{PASSWORD}@{address}:x/"), "is not a MongoDB connection string"),
    ] {
        let mut command = folder.command(&["migrate", "status", "--mongodb-uri", &uri]);
        command.env("RUST_LOG", "debug");
        let ended = Turbulence::spawn(command).ended().await;
        // A connection string that cannot be read is a mistake in the command line.
        let code = if words.starts_with("is not") { 2 } else { 1 };
        assert!(ended.failure(code).contains(words), "{ended:#?}");
        assert_password_is_not_printed(&ended);
    }
}

#[tokio::test]
async fn a_start_with_a_password_does_not_print_it() {
    let site = Site::new().await;
    let admin = site.database.connection().client().database("admin");
    let user = site.database.name();
    admin
        .run_command(doc! { "createUser": user, "pwd": PASSWORD, "roles": ["root"] })
        .await
        .unwrap();
    let uri = mongodb_uri().replace("mongodb://", &format!("mongodb://{user}:{PASSWORD}@"));
    let arguments = ["up", "--port", "0", "--mongodb-uri", &uri, "--database", user, "--create"];
    let mut command = site.folder.command(&arguments);
    command.env("RUST_LOG", "debug");
    let turbulence = Turbulence::spawn(command);
    let summary = turbulence.ready().await;
    assert_eq!(summary.get("/sections").await.0, 200);
    let ended = turbulence.stop().await;
    admin.run_command(doc! { "dropUser": user }).await.unwrap();
    assert_password_is_not_printed(&ended);
}

fn assert_password_is_not_printed(ended: &Ended) {
    assert!(!ended.stdout.contains(PASSWORD), "{ended:#?}");
    assert!(!ended.stderr.contains(PASSWORD), "{ended:#?}");
}

/// A mongod that is not part of a replica set.
struct Standalone {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Standalone {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(local_mongod::binary().await.unwrap())
            .args(["--bind_ip=127.0.0.1", "--nounixsocket", "--quiet"])
            .args([format!("--port={port}"), "--wiredTigerCacheSizeGB=0.25".to_owned()])
            .arg("--dbpath")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mongod = Self { child, port, _folder: folder };
        eventually("mongod listens", || {
            std::future::ready(TcpStream::connect(("127.0.0.1", port)).is_ok())
        })
        .await;
        mongod
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
