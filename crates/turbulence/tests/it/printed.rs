//! Safety of the output of all commands: whatever the data, file names and arguments contain, no
//! control character reaches the terminal, and no line is forged.

use mongodb::bson::{Bson, DateTime, doc};
use test_support::{migration_id, mongodb_uri};

use crate::support::{Ended, Site, Turbulence};

/// Text that an attacker may want a command to print: a window title, another line, colours by C1,
/// text that runs backwards, a line separator, invisible characters.
const HOSTILE: &str = "x\u{1b}]0;pwned\u{7}\r\nturbulence: all is well\u{9b}31m\u{7f}\u{202e}\u{2066}\
                       \u{2028}turbulence: all is well\u{2029}\u{200b}\u{200f}\u{feff}\u{85}\
                       turbulence: all is well\\n\ty";

/// The beginning of the escaped text.
const ESCAPED: &str = r"x\u{1b}]0;pwned\u{7}\r\nturbulence: all is well\u{9b}31m\u{7f}\u{202e}\u{2066}\u{2028}turbulence: all is well\u{2029}\u{200b}\u{200f}\u{feff}\u{85}turbulence: all is well\\n\ty";

/// Checks the output of a command, which has to contain the hostile text if `is_repeated`.
fn check(ended: &Ended, what: &str, is_repeated: bool) {
    for text in [&ended.stdout, &ended.stderr] {
        let odd = |c: char| {
            c.is_control() && c != '\n'
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        };
        assert!(!text.contains(odd), "{what}: {text:?}");
        let forged = text.lines().find(|line| line.trim_start().starts_with("turbulence: all is"));
        assert_eq!(forged, None, "{what}: {text}");
    }
    let all = format!("{}{}", ended.stdout, ended.stderr);
    assert!(!is_repeated || all.contains(ESCAPED), "{what} does not repeat it: {ended:#?}");
}

impl Site {
    /// Runs a command and checks its output.
    async fn prints(&self, arguments: &[&str], is_repeated: bool) -> Ended {
        let ended = self.run(arguments).await;
        check(&ended, &format!("{arguments:?}"), is_repeated);
        ended
    }

    /// Creates a site whose data is hostile wherever a command may print it.
    async fn hostile() -> Self {
        let site = Self::new().await;
        let date = DateTime::from_millis(1_600_000_000_000);
        let content = |id: &str, fields: mongodb::bson::Document| {
            let mut document = doc! {
                "_id": format!("{id}{HOSTILE}"), "title": HOSTILE, "content": HOSTILE,
                HOSTILE: HOSTILE, "createdDate": date, "updatedDate": date,
            };
            document.extend(fields);
            document
        };
        let stories = [
            content("a", doc! { "slug": HOSTILE, "section_id": HOSTILE, "is_published": true }),
            content("b", doc! { "slug": HOSTILE, "is_published": true }),
            content("c", doc! { "date": HOSTILE }),
            content("d", doc! { "content": 5, "createdDate": HOSTILE, "user_id": HOSTILE }),
            doc! { "_id": { "a": HOSTILE }, "title": HOSTILE },
        ];
        site.database.insert("stories", stories).await;
        let pages =
            [content("p", doc! { "page_type": HOSTILE }), content("q", doc! { "title": 1 })];
        site.database.insert("pages", pages).await;
        site.database
            .insert("users", [doc! { "_id": HOSTILE, "email": HOSTILE, "role": HOSTILE }])
            .await;
        let section = |id: Bson, slug: &str, parent: Bson| {
            doc! {
                "_id": id, "title": HOSTILE, "slug": slug, "parent_id": parent,
                "display_type": "feed", "content_type": "story", "nav_visibility": "main",
                "sort_order": 0, "is_published": true, "is_deleted": false, "createdDate": date,
                "updatedDate": date,
            }
        };
        let id = mongodb::bson::oid::ObjectId::from_bytes([1; 12]);
        let sections = [
            section(id.into(), "blog", Bson::Null),
            section(HOSTILE.into(), HOSTILE, HOSTILE.into()),
        ];
        site.database.insert("sections", sections).await;
        let rule = doc! { "path": HOSTILE, "section_id": HOSTILE };
        site.database.insert("section_redirects", [rule]).await;
        site
    }
}

#[tokio::test]
async fn hostile_data_cannot_control_the_terminal_or_forge_a_line() {
    let site = Site::hostile().await;
    site.prints(&["migrate", "plan"], true).await;
    site.prints(&["doctor"], true).await;
    site.prints(&["doctor", "--repair"], true).await;
    site.prints(&["migrate", "up"], true).await;
    for command in ["status", "plan", "verify"] {
        site.prints(&["migrate", command], true).await;
        site.prints(&["migrate", command, "--json"], false).await;
    }
    site.prints(&["migrate", "status", "--check"], true).await;
    let ended = site.prints(&["doctor", "--json"], false).await;
    let answer: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(answer.to_string().contains(&serde_json::json!(HOSTILE).to_string()[1..]), "{answer}");

    let turbulence = site.up(&[]);
    turbulence.ready().await;
    check(&turbulence.stop().await, "up", true);

    site.prints(&["migrate", "pause", migration_id("backfill_section_id")], false).await;
    site.prints(&["migrate", "down", "--all", "--service", "content"], false).await;
    site.prints(&["doctor", "--repair", "--yes"], true).await;
}

#[tokio::test]
async fn an_edited_ledger_cannot_forge_a_line() {
    let site = Site::new().await;
    site.run(&["migrate", "up"]).await.success();
    let entries = site.database.collection("content_migrations");
    let error = doc! { "message": HOSTILE, "at": DateTime::from_millis(0), "retryable": false };
    let fields = doc! {
        "state": "failed_fatal", "error": error, "owner": HOSTILE, "app_version": HOSTILE,
        "checksum": HOSTILE,
    };
    let all = [
        (doc! { "_id": migration_id("published_flag") }, fields),
        (doc! { "_id": migration_id("story_dates") }, doc! { "state": HOSTILE }),
        (
            doc! { "_id": migration_id("story_slugs") },
            doc! { "revision": 99, "app_version": HOSTILE },
        ),
    ];
    for (entry, fields) in all {
        entries.update_one(entry, doc! { "$set": fields }).await.unwrap();
    }
    entries.insert_one(doc! { "_id": HOSTILE, "state": "applied" }).await.unwrap();
    let lease = doc! {
        "owner": HOSTILE, "fence": 7i64, "expires_at": DateTime::from_millis(i64::MAX / 2),
    };
    let leases = site.database.collection("content_migration_lock");
    let lease = doc! { "$set": lease };
    leases.update_one(doc! { "_id": "lease" }, lease).upsert(true).await.unwrap();
    site.prints(&["migrate", "status"], true).await;
    site.prints(&["migrate", "status", "--json"], false).await;
    for command in ["plan", "verify", "up"] {
        // The command ends at the entry that cannot be read.
        let ended = site.prints(&["migrate", command], false).await;
        assert_eq!(ended.status.code(), Some(5), "{ended:#?}");
    }
    site.prints(&["migrate", "force-unlock", "--fence", "7"], true).await;
    site.prints(&["migrate", "force-unlock", "--fence", "7", "--yes"], true).await;
    site.prints(&["migrate", "repair"], false).await;
}

#[tokio::test]
async fn hostile_files_cannot_control_the_terminal_or_forge_a_line() {
    let site = Site::new().await;
    // File names cannot contain these.
    let name = HOSTILE.replace(['/', '\0'], "");
    let import = async |folder: &str| site.prints(&["import", folder], true).await;
    let site_folder = format!("site {name}");
    site.folder.write(&format!("{site_folder}/stories.jsonl"), "{\"_id\":1}");
    site.folder.write("other/stories.jsonl", "{}");
    site.folder.write(&format!("other/{name}.jsonl"), "{}");
    site.folder.write("unread/stories.jsonl", "{\"_id\":1}");
    site.folder.write(&format!("unread/._{name}"), "{}");
    import("other").await;
    import(&format!("nowhere {name}")).await;
    for (number, line) in [
        serde_json::json!({ "_id": 1, HOSTILE: { "$oid": HOSTILE } }).to_string(),
        serde_json::json!({ "$date": HOSTILE, HOSTILE: 1 }).to_string(),
        format!("{}\n", serde_json::json!({ "_id": HOSTILE })).repeat(2),
        format!("{{{0}:1,{0}:2}}", serde_json::json!(HOSTILE)),
    ]
    .into_iter()
    .enumerate()
    {
        site.folder.write(&format!("{number}/stories.jsonl"), line);
        let ended = site.prints(&["import", &number.to_string()], number >= 2).await;
        assert!(ended.failure(1).contains("stories.jsonl, line "), "{ended:#?}");
    }
    site.folder.write(&format!("broken {name}/stories.jsonl"), "{");
    import(&format!("broken {name}")).await;
    import("unread").await.success();
    let ended = site.prints(&["import", &site_folder], false).await;
    assert!(ended.failure(1).contains("is not empty"), "{ended:#?}");

    site.folder.write(&format!("{name}.toml"), "[server\n");
    site.prints(&["migrate", "status", "--config", &format!("{name}.toml")], false).await;
    // The token is read from a file that others may have written.
    let data = format!("data {name}");
    site.folder.write(&format!("data {name}/token"), HOSTILE);
    let refused = site.up(&["--data-dir", &data]).ended().await;
    assert_eq!(refused.status.code(), Some(1), "{refused:#?}");
    check(&refused, "up with such a token", true);
    site.folder.write(&format!("data {name}/token"), "correct-horse-battery");
    let turbulence = site.up(&["--import", &site_folder, "--data-dir", &data]);
    turbulence.ready().await;
    check(&turbulence.stop().await, "up", false);
}

#[tokio::test]
async fn hostile_arguments_cannot_control_the_terminal_or_forge_a_line() {
    let site = Site::new().await;
    let database = ["--mongodb-uri", mongodb_uri(), "--database"];
    let name = format!("{HOSTILE}.");
    let cases: [&[&str]; 9] = [
        &[HOSTILE],
        &["up", HOSTILE],
        &["up", "--port", HOSTILE],
        &["up", &format!("--{HOSTILE}")],
        &["migrate", HOSTILE],
        &["migrate", "pause", HOSTILE, database[0], database[1], "--create"],
        &["migrate", "status", "--service", HOSTILE],
        &["migrate", "status", database[0], database[1], database[2], &name],
        &["doctor", "--config", HOSTILE],
    ];
    for arguments in cases {
        let ended = site.folder.run(arguments).await;
        assert!(matches!(ended.status.code(), Some(1 | 2)), "{ended:#?}");
        // The parser of settings repeats it in one line, with blanks for what separates lines.
        let is_repeated = arguments[0] != "doctor" && arguments != ["up", "--port", HOSTILE];
        check(&ended, &format!("{arguments:?}"), is_repeated);
    }
    let no_level = format!("turbulence={HOSTILE}");
    for (name, value, code) in
        [("TURBULENCE__SERVER__PORT", HOSTILE, 2), ("RUST_LOG", &*no_level, 1)]
    {
        let mut command = site.folder.command(&["up", "--port", "0"]);
        if name == "TURBULENCE__SERVER__PORT" {
            command = site.folder.command(&["up"]);
        }
        command.env(name, value);
        let ended = Turbulence::spawn(command).ended().await;
        assert_eq!(ended.status.code(), Some(code), "{ended:#?}");
        check(&ended, name, false);
    }
    let ended = site.prints(&["up", "--host", HOSTILE, "--port", "0"], true).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
}
