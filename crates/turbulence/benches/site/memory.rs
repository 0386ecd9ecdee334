//! Memory of the whole system.

use std::{fs, time::Duration};

use mongodb::bson::Document;

use crate::{
    support::{resident_kib, story},
    table::Table,
    up::Up,
};

/// Resident memory of the whole system after a site was imported and read through once.
pub(crate) async fn memory(uri: &str, table: &mut Table) {
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

    let up = Up::start(uri, "memory", &["--import", folder.path().to_str().unwrap()]);
    up.wait_until_ready();
    let client = service_kit::web::http_client::service_client(Duration::from_secs(10)).unwrap();
    let get = async |path: String| -> serde_json::Value {
        let answer = client.get(format!("{}{path}", up.address)).send().await.unwrap();
        answer.error_for_status().unwrap().json().await.unwrap()
    };
    for kind in ["stories", "projects"] {
        let mut offset = 0;
        loop {
            let page = get(format!("/{kind}?limit=50&offset={offset}")).await;
            let items = page["items"].as_array().unwrap();
            for item in items {
                get(format!("/{kind}/slug/{}", item["slug"].as_str().unwrap())).await;
            }
            offset += items.len();
            if page["next_cursor"].is_null() {
                break;
            }
        }
        assert!(offset > 700, "{offset}");
    }
    let mebibytes = resident_kib(&up.child.id().to_string()) / 1024;
    table.row(
        "resident memory of all three services after the import was read through once",
        format!("{mebibytes} MiB"),
        "< 60 MB",
        mebibytes * 1024 * 1024 < 60_000_000,
    );
}

pub(crate) fn write_lines(path: &std::path::Path, documents: impl Iterator<Item = Document>) {
    let lines = documents
        .map(|document| mongodb::bson::Bson::from(document).into_canonical_extjson().to_string());
    fs::write(path, lines.collect::<Vec<_>>().join("\n")).unwrap();
}
