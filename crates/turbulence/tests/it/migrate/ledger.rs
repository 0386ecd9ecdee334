//! Ledgers that were edited by hand or written by a newer program.

use mongodb::bson::{Document, doc};
use serde_json::Value;
use test_support::migration_id;

use super::{BACKFILL, legacy_site, linked, migrated_site, of};

/// Returns the commands that need the entry, and therefore fail.
fn refused() -> [Vec<&'static str>; 7] {
    [
        vec!["up"],
        vec!["up", "--to", BACKFILL],
        vec!["plan"],
        vec!["pause", BACKFILL],
        vec!["resume", BACKFILL],
        vec!["retry", BACKFILL],
        vec!["down", "--to", migration_id("user_id")],
    ]
}

#[tokio::test]
async fn an_edited_entry_is_refused_without_changes_until_it_is_repaired() {
    let edits: [(&str, Document, &str); 4] = [
        ("wrong text", doc! { "state": "aplied" }, "`state`: unknown variant `aplied`"),
        (
            "wrong type",
            doc! { "attempts": "three" },
            "`attempts`: invalid type: string \"three\", expected i64",
        ),
        ("no number", doc! { "revision": null }, "`revision`: invalid type"),
        ("another checksum", doc! { "checksum": "0123456789abcdef" }, "0123456789ab"),
    ];
    for (case, edit, words) in edits {
        let site = migrated_site().await;
        site.edit(BACKFILL, edit).await;
        for arguments in refused() {
            let line = site.refused(5, &arguments).await;
            assert!(line.contains(BACKFILL) && line.contains("repair"), "{case}: {line}");
            assert!(line.contains(words), "{case} {arguments:?}: {line}");
        }
        // The data is checked nevertheless.
        let ended = site.migrate(&["verify"]).await;
        let line = ended.failure(5);
        let agree = format!("the ledger does not match this program: content {BACKFILL}");
        assert!(line.ends_with(&agree), "{case}: {line}");
        let below = ended.stdout.lines().skip_while(|line| !line.contains(BACKFILL));
        let below: Vec<_> = below.take(3).collect();
        assert!(below[0].ends_with(" ok") && below[1].contains(words), "{case}: {ended:#?}");
        assert!(below[2].contains("skipped: pages of other types: 1"), "{case}: {ended:#?}");
        // The status shows all readable parts.
        site.refused(5, &["status", "--check"]).await;
        let ended = site.migrate(&["status"]).await;
        let text = ended.success();
        let count = site.ids("content").await.len();
        let all_others = format!("{} of {count} applied", count - 1);
        assert!(text.contains(words) && text.contains(&all_others), "{case}: {text}");
        // Earlier migrations are not affected.
        site.migrate(&["up", "--to", migration_id("user_id")]).await.success();

        let repaired = site.answer(&["repair"]).await;
        assert_eq!(repaired["sections"], Value::Array(vec![]));
        let repaired = repaired["content"].as_array().unwrap();
        assert_eq!(repaired.len(), 1, "{case}");
        assert_eq!(repaired[0]["id"], BACKFILL, "{case}");
        site.migrate(&["up"]).await.success();
        site.migrate(&["status", "--check"]).await.success();
        // Earlier changes can still be undone.
        site.migrate(&["down", "--to", migration_id("user_id")]).await.success();
        assert_eq!(site.database.count("stories", linked()).await, 0, "{case}");
    }
}

#[tokio::test]
async fn a_refusal_gives_the_reason_and_the_remedy() {
    let site = migrated_site().await;
    site.edit(BACKFILL, doc! { "state": "aplied" }).await;
    site.edit(migration_id("story_slugs"), doc! { "checksum": "0123456789abcdef" }).await;
    let redact = |line: &str| {
        let (begin, end) = line.split_once("this program ").unwrap();
        format!("{begin}this program [checksum]{}", &end[12..])
    };
    insta::assert_snapshot!(redact(&site.refused(5, &["up"]).await), @"turbulence: content 0003_story_slugs: its definition differs from the one that was applied: the ledger has the checksum 0123456789ab, this program [checksum]; run the matching version of the program, or accept this one with `turbulence migrate repair`. No migration was run");
    insta::assert_snapshot!(redact(&site.refused(5, &["plan"]).await), @"turbulence: 0003_story_slugs: differs from the migration that was applied: the ledger has the checksum 0123456789ab, this program [checksum], both for revision 2. Run the matching program or raise the revision; `repair` accepts the checksum of this program");
    let ended = site.migrate(&["status"]).await;
    let text = site.redact(ended.success());
    let lines: Vec<_> = text.lines().filter(|line| line.contains("repair")).collect();
    insta::assert_snapshot!(redact(&lines.join("\n")));
    let ended = site.migrate(&["repair"]).await;
    ended.success();
    insta::assert_snapshot!(ended.results(), @"Repair of the ledgers\n  sections nothing to repair\n  content  0003_story_slugs            checksum 0123456789ab replaced by that of this program\n  content  0006_backfill_section_id    started over: `state`: unknown variant `aplied`, expected one of `pending`, `running`, `paused`, `waiting_dependency`, `verifying`, `applied`, `failed_retryable`, `failed_fatal`, `rolling_back`, `rolled_back`\n  media    nothing to repair");
    // A second repair has nothing to do.
    let ended = site.migrate(&["repair"]).await;
    ended.success();
    insta::assert_snapshot!(ended.results(), @"Repair of the ledgers\n  sections nothing to repair\n  content  nothing to repair\n  media    nothing to repair");
    site.migrate(&["up"]).await.success();
    let repaired = site.entry(migration_id("story_slugs")).await;
    let from = repaired.get_document("repaired_from").unwrap();
    assert_eq!(from.get_str("checksum").unwrap(), "0123456789abcdef");
}

#[tokio::test]
async fn a_newer_revision_is_recognised_in_every_numeric_type() {
    let site = migrated_site().await;
    site.edit(BACKFILL, doc! { "revision": 2_i64, "app_version": "9.9.9" }).await;
    site.database.insert("stories", [doc! { "_id": "new" }]).await;
    let ended = site.migrate(&["up"]).await;
    assert!(ended.success().contains("not run: revision 2 was applied by 9.9.9"), "{ended:#?}");
    assert_eq!(site.database.count("stories", linked()).await, 7);
}

#[tokio::test]
async fn results_before_a_refusal_are_printed() {
    let site = migrated_site().await;
    site.edit(BACKFILL, doc! { "checksum": "0123456789abcdef" }).await;
    for action in ["plan", "verify"] {
        let ended = site.migrate(&[action]).await;
        ended.failure(5);
        assert!(ended.stdout.contains(migration_id("seed_initial_sections")), "{ended:#?}");
        let ended = site.migrate(&[action, "--json"]).await;
        ended.failure(5);
        let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
        of(&answer["sections"], migration_id("seed_initial_sections"));
    }
}

#[tokio::test]
async fn no_migration_is_run_if_a_later_one_is_refused() {
    let site = legacy_site().await;
    site.migrate(&["pause", BACKFILL]).await.success();
    site.edit(BACKFILL, doc! { "checksum": "0123456789abcdef" }).await;
    let line = site.refused(5, &["up"]).await;
    assert!(line.ends_with("No migration was run"), "{line}");
    let ended = site.migrate(&["up", "--json"]).await;
    ended.failure(5);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    let [refused] = &answer["content"].as_array().unwrap()[..] else { panic!("{answer:#}") };
    assert_eq!((&refused["id"], &refused["problem"]["kind"]), (&BACKFILL.into(), &"drift".into()));
    assert_eq!(site.database.count("sections", doc! {}).await, 0);
}

#[tokio::test]
async fn migrations_of_a_newer_program_are_not_run_and_the_others_are() {
    let site = migrated_site().await;
    let newer = doc! { "revision": 2, "app_version": "9.9.9", "state": "a new state" };
    site.edit(BACKFILL, newer).await;
    let future = doc! { "_id": "9999_future", "state": "applied" };
    site.entries("content").insert_one(future).await.unwrap();
    site.database.insert("stories", [doc! { "_id": "new" }]).await;

    let ended = site.migrate(&["status"]).await;
    let text = site.redact(ended.success());
    let newer = "not run: revision 2 was applied by a newer version of the program, 9.9.9";
    assert!(text.contains(newer), "{text}");
    let unknown =
        "9999_future                 not run: unknown to this program, written by a newer version";
    assert!(text.contains(unknown), "{text}");
    site.migrate(&["status", "--check"]).await.success();
    let ended = site.migrate(&["plan"]).await;
    let text = ended.success();
    let plan = format!("{BACKFILL}    not run: revision 2 was applied by 9.9.9");
    assert!(text.contains(&plan) && text.contains(unknown), "{text}");
    let status = site.answer(&["status"]).await;
    assert_eq!(status["content"]["unknown"], serde_json::json!(["9999_future"]));
    let one = of(&status["content"]["migrations"], BACKFILL);
    assert_eq!(one["problem"]["kind"], "newer", "{one:#}");

    let ended = site.migrate(&["up"]).await;
    let text = ended.success();
    assert!(text.contains(&plan) && text.contains(unknown), "{text}");
    assert!(ended.log().iter().any(|line| line["migration"] == "9999_future"), "{ended:#?}");
    let story = site.database.one("stories", doc! { "_id": "new" }).await;
    assert!(story.contains_key("slug") && !story.contains_key("section_id"), "{story}");

    for action in ["pause", "resume", "retry"] {
        let line = site.refused(1, &[action, BACKFILL]).await;
        assert!(line.contains("revision 2 was applied by a newer program, 9.9.9"), "{line}");
    }
    let line = site.refused(1, &["down", "--to", migration_id("user_id")]).await;
    assert!(line.contains("cannot be rolled back") && line.contains("9.9.9"), "{line}");
    site.migrate(&["repair"]).await.success();
    assert_eq!(site.entry(BACKFILL).await.get_str("state").unwrap(), "a new state");
}
