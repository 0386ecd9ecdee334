//! Documents that a migration quarantines because they cannot be changed.

use mongodb::bson::{Document, doc};
use serde_json::Value;

use super::{BACKFILL, legacy_site, linked, of};
use crate::support::{Site, excerpt};

/// Makes the collection reject a section on the letter.
async fn refuse_a_section(site: &Site) {
    validate(
        site,
        doc! { "$or": [{ "_id": { "$ne": "letter" } }, { "section_id": { "$exists": false } }] },
    )
    .await;
}

async fn validate(site: &Site, validator: Document) {
    let change = doc! { "collMod": "stories", "validator": validator };
    site.database.database().run_command(change).await.unwrap();
}

#[tokio::test]
async fn the_other_documents_are_changed_and_the_command_returns_code_6_until_it_is_corrected() {
    let site = legacy_site().await;
    refuse_a_section(&site).await;
    let ended = site.migrate(&["up"]).await;
    insta::assert_snapshot!(ended.failure(6), @"turbulence: documents that could not be changed are quarantined (1): correct them, then run `turbulence migrate retry ID` and `turbulence migrate up`");
    let named =
        "  quarantined:  letter: stories → section blog: Document failed validation (error 121)";
    assert!(ended.stdout.contains(named), "{ended:#?}");
    let text = excerpt(&site.redact(&ended.stdout), &[BACKFILL]);
    insta::assert_snapshot!("up_with_a_document_set_aside", text);
    assert_eq!(site.database.count("stories", linked()).await, 6);
    let letter = site.database.one("stories", doc! { "_id": "letter" }).await;
    assert!(!letter.contains_key("section_id"), "{letter}");

    let ended = site.migrate(&["status"]).await;
    let text = ended.success();
    let aside =
        "    quarantined:  letter: stories → section blog: Document failed validation (error 121)";
    assert!(text.contains(aside), "{text}");
    site.refused(6, &["status", "--check"]).await;
    let ended = site.migrate(&["plan"]).await;
    assert!(ended.success().contains(aside), "{ended:#?}");
    let ended = site.migrate(&["verify", "--json"]).await;
    ended.failure(6);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    let backfill = of(&answer["content"], BACKFILL);
    let findings = backfill["findings"].as_array().unwrap();
    let finding = findings.iter().find(|one| one["kind"] == "set_aside").unwrap();
    assert_eq!(finding["documents"], serde_json::json!(["letter"]));

    // It is not retried automatically, and remains reported.
    let line = site.refused(6, &["up", "--json"]).await;
    assert!(line.contains("retry"), "{line}");

    validate(&site, doc! {}).await;
    site.migrate(&["retry", BACKFILL]).await.success();
    site.migrate(&["up"]).await.success();
    assert_eq!(site.database.count("stories", linked()).await, 7);
    site.migrate(&["verify"]).await.success();
    site.migrate(&["status", "--check"]).await.success();
    let entry = site.entry(BACKFILL).await;
    assert_eq!(entry.get_array("set_aside").unwrap().len(), 0, "{entry}");
}

#[tokio::test]
async fn the_summary_of_a_start_lists_it() {
    let site = legacy_site().await;
    refuse_a_section(&site).await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    let aside = "letter: stories → section blog: Document failed validation (error 121)";
    assert!(summary.text.contains(aside), "{}", summary.text);
    turbulence.stop().await;
}
