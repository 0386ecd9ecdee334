//! `turbulence doctor`: finding problems, and repairing them without losing data.

use mongodb::bson::{Document, doc, oid::ObjectId};
use serde_json::Value;

use crate::{
    legacy,
    support::{Ended, Site},
};

fn id(number: u8) -> ObjectId {
    ObjectId::from_bytes([number; 12])
}

fn section(number: u8, parent: Option<u8>) -> Document {
    doc! {
        "_id": id(number), "title": format!("Section {number}"), "slug": format!("s{number}"),
        "parent_id": parent.map(|parent| id(parent).to_hex()), "display_type": "feed",
        "content_type": "story", "nav_visibility": "main", "sort_order": 9, "is_published": true,
        "is_deleted": false, "anything": "else",
    }
}

impl Site {
    async fn doctor(&self, arguments: &[&str]) -> Ended {
        self.run(&[&["doctor"], arguments].concat()).await
    }

    /// Runs a command that finds problems, and asserts that it wrote nothing.
    async fn found(&self, arguments: &[&str]) -> Ended {
        let before = (self.database.hash().await, self.collections().await);
        let ended = self.doctor(arguments).await;
        assert_eq!(
            ended.failure(6),
            "turbulence: the check found problems in the data: see above for each problem and its remedy"
        );
        assert_eq!((self.database.hash().await, self.collections().await), before, "{arguments:?}");
        ended
    }

    /// Creates a site with the four sections and no content.
    async fn seeded() -> Self {
        let site = Self::new().await;
        site.run(&["migrate", "up"]).await.success();
        site
    }

    /// Creates a site with repairable problems: a section whose parent does not exist, another below
    /// it, and redirects to a missing section and to themselves.
    async fn repairable() -> Self {
        let site = Self::seeded().await;
        site.database.insert("sections", [section(1, Some(9)), section(2, Some(1))]).await;
        let rule = |path, number| doc! { "path": path, "section_id": id(number).to_hex() };
        let rules = [rule("/nowhere", 8), rule("/was-there", 1)];
        site.database.insert("section_redirects", rules).await;
        site
    }
}

#[tokio::test]
async fn without_problems_nothing_is_changed() {
    let site = Site::seeded().await;
    let before = site.database.hash().await;
    for arguments in [&[][..], &["--repair"], &["--repair", "--yes"]] {
        let ended = site.doctor(arguments).await;
        let text = site.redact(ended.success());
        let expected = "Database [database] at [mongodb]\n\nProblems in the data\nsections: no \
                        problems found\ncontent: no problems found\nTotal: 0 problems";
        assert_eq!(text, expected);
    }
    assert_eq!(site.database.hash().await, before);
}

#[tokio::test]
async fn problems_are_listed_with_their_documents_and_remedies() {
    let site = Site::repairable().await;
    let mut odd = section(3, None);
    odd.insert("_id", "odd");
    let loop_of_two = [section(4, Some(5)), section(5, Some(4)), odd];
    site.database.insert("sections", loop_of_two).await;
    let story = |number: u8, fields: Document| {
        let mut story = doc! {
            "_id": id(number), "title": "T", "content": "", "slug": format!("s{number}"),
            "is_published": true,
        };
        story.extend(fields);
        story
    };
    let many = (100..112).map(|number| story(number, doc! { "section_id": id(99).to_hex() }));
    site.database.collection("stories").insert_many(many).await.unwrap();
    let twin = doc! { "slug": "twin", "user_id": id(98).to_hex() };
    let stories =
        [story(20, twin.clone()), story(21, twin), story(22, doc! { "content": { "html": "x" } })];
    site.database.insert("stories", stories).await;

    let ended = site.found(&[]).await;
    insta::assert_snapshot!(site.redact(&ended.stdout));
    let ended = site.found(&["--json"]).await;
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    let kinds = |service: &str| -> Vec<String> {
        let findings = answer[service]["findings"].as_array().unwrap();
        findings.iter().map(|one| one["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        kinds("sections"),
        ["unreadable_document", "cycle", "missing_parent", "unreachable", "dead_redirect"]
    );
    assert_eq!(
        kinds("content"),
        ["unreadable_field", "missing_section", "duplicate_slug", "missing_user"]
    );
    assert_eq!(answer["content"]["findings"][1]["ids"].as_array().unwrap().len(), 12);
    assert_eq!(answer["sections"].get("repair"), None);
}

#[tokio::test]
async fn a_repair_has_to_be_confirmed() {
    let site = Site::repairable().await;
    let ended = site.found(&["--repair"]).await;
    insta::assert_snapshot!(site.redact(&ended.stdout));
    let ended = site.found(&["--repair", "--json"]).await;
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    let repair = &answer["sections"]["repair"];
    assert_eq!(repair["dry_run"], true);
    let kinds: Vec<_> =
        repair["repaired"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["missing_parent", "dead_redirect"]);
}

#[tokio::test]
async fn a_repair_loses_no_data_and_publishes_nothing() {
    let site = Site::repairable().await;
    let ended = site.doctor(&["--repair", "--yes"]).await;
    insta::assert_snapshot!(site.redact(ended.success()));
    let adopted = site.database.one("sections", doc! { "_id": id(1) }).await;
    assert_eq!(adopted.get("parent_id"), Some(&mongodb::bson::Bson::Null));
    assert!(!adopted.get_bool("is_published").unwrap());
    assert_eq!(adopted.get_str("anything").unwrap(), "else");
    assert_eq!(site.database.count("section_redirects", doc! {}).await, 1);
    let kept = site.database.one("section_repairs", doc! { "collection": "sections" }).await;
    assert_eq!(kept.get_document("document").unwrap(), &section(1, Some(9)));
    let redirects = doc! { "collection": "section_redirects" };
    let kept = site.database.one("section_repairs", redirects).await;
    assert_eq!(kept.get_document("document").unwrap().get_str("path").unwrap(), "/nowhere");
    site.doctor(&[]).await.success();
}

#[tokio::test]
async fn problems_that_cannot_be_repaired_are_reported_as_such() {
    let site = Site::seeded().await;
    site.database.insert("sections", [section(1, Some(1))]).await;
    for arguments in [&["--repair"][..], &["--repair", "--yes"]] {
        let ended = site.found(arguments).await;
        assert!(ended.stdout.contains("sections: 1 that is its own ancestor\n"), "{ended:#?}");
        let is_reported = ended.stdout.contains("None of the problems can be repaired");
        assert_eq!(is_reported, arguments.len() == 1, "{ended:#?}");
    }
}

#[tokio::test]
async fn a_database_without_sections_can_be_checked() {
    let site = Site::new().await;
    legacy::write(&site.folder);
    site.run(&["import", legacy::FOLDER]).await.success();
    let ended = site.found(&[]).await;
    assert!(ended.stdout.contains("stories: 1 in a section that does not exist"), "{ended:#?}");
}

#[tokio::test]
async fn an_invalid_command_line_is_code_2() {
    let site = Site::new().await;
    let ended = site.doctor(&["--yes"]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("--repair"), "{ended:#?}");
}
