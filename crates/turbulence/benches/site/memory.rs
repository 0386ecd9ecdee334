//! Memory of the whole system.

use std::fs;

use mongodb::bson::Document;

use crate::{
    connection::Connection,
    support::{resident_kib, story},
    table::Table,
    up::Up,
};

/// The token of the editors.
const TOKEN: &str = "5d3c0c4f6a7b4f0f9d1e2a3b4c5d6e7f";

/// Resident memory of the whole system after a site was imported and read through once.
pub(crate) fn memory(uri: &str, table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    // As large as a real site: a few hundred long stories, one of them very long, many projects.
    let stories = (0..752).map(|n| story(n, if n == 7 { 170_000 } else { 9_000 }));
    let projects = (0..1_693).map(|n| {
        let mut project = story(n, 300);
        project.insert("summary", "A project.".repeat(10));
        project
    });
    write_lines(&folder.path().join("stories.jsonl"), stories);
    write_lines(&folder.path().join("projects.jsonl"), projects);

    let arguments = ["--import", folder.path().to_str().unwrap()];
    let environment = [("RUST_LOG", "off"), ("TURBULENCE__AUTH__STATIC_TOKEN", TOKEN)];
    let up = Up::start_with(uri, "memory", &arguments, &environment);
    up.wait_until_ready();
    let process = up.child.id().to_string();
    // Answers to requests with a token are not kept.
    let header = format!("authorization: Bearer {TOKEN}\r\n");
    read_all(&up.address, &header);
    let without_answers = resident_kib(&process) * 1024;
    table.row(
        "resident memory of all three services after the import was read through once with a token",
        format!("{} MB", without_answers / 1_000_000),
        "≤ 60 MB",
        without_answers <= 60_000_000,
    );
    read_all(&up.address, "");
    let with_answers = resident_kib(&process) * 1024;
    table.row(
        "the same after it was read through without a token, so that the answers are kept",
        format!("{} MB", with_answers / 1_000_000),
        "≤ 60 MB and the 64 MiB of answers",
        with_answers <= 60_000_000 + 64 * 1024 * 1024,
    );
}

/// Reads all lists and items.
fn read_all(address: &str, headers: &str) {
    let mut connection = Connection::open(address);
    let mut get = |path: String| {
        let answer = connection.send("GET", &path, headers, "");
        assert_eq!(answer.status, 200, "{path}");
        answer.json()
    };
    for kind in ["stories", "projects"] {
        let mut offset = 0;
        loop {
            let page = get(format!("/{kind}?limit=50&offset={offset}"));
            let items = page["items"].as_array().unwrap();
            for item in items {
                get(format!("/{kind}/slug/{}", item["slug"].as_str().unwrap()));
            }
            offset += items.len();
            if page["next_cursor"].is_null() {
                break;
            }
        }
        assert!(offset > 700, "{offset}");
    }
}

pub(crate) fn write_lines(path: &std::path::Path, documents: impl Iterator<Item = Document>) {
    let lines = documents
        .map(|document| mongodb::bson::Bson::from(document).into_canonical_extjson().to_string());
    fs::write(path, lines.collect::<Vec<_>>().join("\n")).unwrap();
}
