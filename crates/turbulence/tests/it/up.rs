//! `turbulence up`: the resulting database, its output, and the answers of the gateway.

use std::fs;

use content_service::SECTION_BACKFILL as BACKFILL;
use mongodb::bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use serde_json::{Map, Value};

use crate::{
    legacy,
    support::{LAST_LINE, Site, Summary, Turbulence, excerpt},
};

async fn imported() -> (Site, Turbulence, Summary) {
    let site = Site::new().await;
    legacy::write(&site.folder);
    let turbulence = site.up(&["--import", legacy::FOLDER]);
    let summary = turbulence.ready().await;
    (site, turbulence, summary)
}

fn lines(text: &str) -> impl Iterator<Item = Document> {
    text.lines().filter(|line| !line.is_empty()).map(|line| {
        let object: Map<String, Value> = serde_json::from_str(line).unwrap();
        Document::try_from(object).unwrap()
    })
}

async fn section(site: &Site, slug: &str) -> String {
    let section = site.database.one("sections", doc! { "slug": slug }).await;
    section.get_object_id("_id").unwrap().to_hex()
}

#[tokio::test]
async fn an_imported_site_has_its_four_sections_and_all_of_its_content_in_them() {
    let (site, turbulence, _) = imported().await;
    turbulence.stop().await;

    let database = &site.database;
    assert_eq!(database.count("sections", doc! {}).await, 4);
    let blog = section(&site, "blog").await;
    let counts = [
        ("stories", section(&site, "blog").await, 7),
        ("projects", section(&site, "projects").await, 3),
        ("pages", section(&site, "about").await, 2),
        ("pages", section(&site, "contact").await, 1),
    ];
    for (collection, section, count) in counts {
        let linked = database.count(collection, doc! { "section_id": section }).await;
        assert_eq!(linked, count, "{collection}");
    }
    for (collection, count) in [("stories", 9), ("projects", 3), ("pages", 4), ("users", 1)] {
        assert_eq!(database.count(collection, doc! {}).await, count, "{collection}");
    }
    // An explicit null, a reference to a missing section, and a page type without a section are kept.
    for (collection, hex, expected) in [
        ("stories", "61000000000000000000000c", Some(Bson::Null)),
        ("stories", "61000000000000000000000d", Some("ffffffffffffffffffffffff".into())),
        ("pages", "63000000000000000000000d", None),
    ] {
        let document = database.one(collection, doc! { "_id": id(hex) }).await;
        assert_eq!(document.get("section_id"), expected.as_ref(), "{document}");
    }
    // Apart from the documented changes of the migrations, every document is unchanged.
    let added = [
        ("61000000000000000000000a", {
            let date = DateTime::parse_rfc3339_str("2021-10-03T18:20:00Z").unwrap();
            doc! {
                "is_published": true, "createdDate": date, "updatedDate": date,
                "slug": "first-light",
            }
        }),
        ("610000000000000000000011", doc! { "slug": "first-light-2" }),
    ];
    for mut expected in lines(legacy::STORIES) {
        let its_id = expected.get("_id").unwrap().clone();
        let actual = database.one("stories", doc! { "_id": its_id.clone() }).await;
        if let Some((_, added)) =
            added.iter().find(|(hex, _)| its_id.as_object_id() == Some(id(hex)))
        {
            expected.extend(added.clone());
        }
        if !expected.contains_key("section_id") {
            expected.insert("section_id", &blog);
        }
        assert_eq!(sorted(actual), sorted(expected), "{its_id}");
    }
}

fn id(hex: &str) -> ObjectId {
    ObjectId::parse_str(hex).unwrap()
}

/// Added fields may come in any order.
fn sorted(document: Document) -> Vec<(String, Bson)> {
    let mut fields: Vec<_> = document.into_iter().collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

#[tokio::test]
async fn an_imported_site_is_served_by_the_gateway() {
    let (_site, turbulence, summary) = imported().await;
    let (status, sections) = summary.get("/sections").await;
    assert_eq!(status, 200);
    let slugs: Vec<_> = sections.as_array().unwrap().iter().map(|one| &one["slug"]).collect();
    assert_eq!(slugs, ["blog", "about", "projects", "contact"]);

    // Deleted items are never listed, drafts only for editors.
    assert_eq!(summary.totals("stories").await, [Some(7), Some(8)]);
    assert_eq!(summary.totals("projects").await, [Some(2), Some(2)]);
    assert_eq!(summary.totals("pages").await, [Some(3), Some(4)]);
    assert_eq!(summary.get("/stories?include_drafts=true").await.0, 401);

    let (_, blog) = summary.get("/stories?section=blog").await;
    assert_eq!(blog["total"], 5);
    for (path, title) in [
        ("/stories/slug/a-letter", "A letter"),
        ("/stories/slug/first-light", "First light"),
        ("/pages/type/about", "About"),
        ("/projects/slug/folded-tides", "Folded tides"),
    ] {
        let (status, body) = summary.get(path).await;
        assert_eq!((status.as_u16(), &body["title"]), (200, &title.into()), "{path}: {body}");
    }
    let (_, letter) = summary.get("/stories/slug/a-letter").await;
    assert_eq!(letter["createdDate"], "2022-02-11T18:40:00.000Z");
    assert_eq!(summary.get("/health/ready").await.0, 200);
    turbulence.stop().await;
}

#[tokio::test]
async fn the_summary_has_the_address_the_token_and_the_results() {
    let (site, turbulence, summary) = imported().await;
    let kept = fs::read_to_string(site.folder.path(".turbulence/token")).unwrap();
    assert_eq!(kept.trim(), summary.token);
    assert_eq!(summary.token.len(), 32);
    insta::assert_snapshot!(excerpt(&summary.redacted(&site), &[BACKFILL]));
    turbulence.stop().await;
}

#[tokio::test]
async fn a_second_import_loads_nothing_and_a_second_start_writes_nothing() {
    let (site, turbulence, first) = imported().await;
    turbulence.stop().await;
    let before = site.database.hash().await;

    let turbulence = site.up(&["--import", legacy::FOLDER]);
    let second = turbulence.ready().await;
    turbulence.stop().await;

    assert_eq!(site.database.hash().await, before);
    assert_eq!(second.token, first.token);
    insta::assert_snapshot!(excerpt(&second.redacted(&site), &[BACKFILL]));
}

#[tokio::test]
async fn a_site_with_sections_keeps_them_and_gets_no_others() {
    let site = Site::new().await;
    legacy::write(&site.folder);
    let sections = r#"{"_id":{"$oid":"64000000000000000000000a"},"title":"Journal","slug":"blog","parent_id":null,"display_type":"feed","content_type":"story","nav_visibility":"main","sort_order":0,"is_published":true,"is_deleted":false,"createdDate":{"$date":"2021-10-02T17:50:00Z"},"updatedDate":{"$date":"2021-10-02T17:50:00Z"}}"#;
    site.folder.write("site/sections.jsonl", sections);
    let turbulence = site.up(&["--import", "site"]);
    let summary = turbulence.ready().await;
    turbulence.stop().await;

    assert_eq!(site.database.count("sections", doc! {}).await, 1);
    let journal = doc! { "section_id": "64000000000000000000000a" };
    assert_eq!(site.database.count("stories", journal).await, 7);
    let linked = doc! { "section_id": { "$exists": true } };
    for collection in ["projects", "pages"] {
        assert_eq!(site.database.count(collection, linked.clone()).await, 0, "{collection}");
    }
    for slug in ["projects", "about", "contact"] {
        let reason = format!("there is no section `{slug}`");
        assert!(summary.text.contains(&reason), "{reason}: {}", summary.text);
    }
}

#[tokio::test]
async fn a_configured_token_is_used_and_not_printed() {
    let site = Site::new().await;
    let token = "correct-horse-battery-staple";
    let turbulence = site.up_with(&[], &[("TURBULENCE__AUTH__STATIC_TOKEN", token)]);
    let summary = turbulence.ready().await;
    let drafts = format!("{}/stories?include_drafts=true", summary.address);
    assert_eq!(test_support::get(&drafts, Some(token)).await.0, 200);
    assert_eq!(test_support::get(&drafts, Some("another")).await.0, 401);
    let ended = turbulence.stop().await;
    assert!(!ended.stdout.contains(token) && !ended.stderr.contains(token), "{ended:#?}");
    assert!(!site.folder.path(".turbulence/token").exists());
}

#[tokio::test]
async fn with_an_identity_provider_no_token_is_generated_and_public_content_is_counted() {
    let site = Site::new().await;
    legacy::write(&site.folder);
    let google = [
        ("TURBULENCE__AUTH__MODE", "google"),
        ("TURBULENCE__AUTH__GOOGLE__AUDIENCE", "site.apps.example"),
    ];
    let turbulence = site.up_with(&["--import", legacy::FOLDER], &google);
    let summary = turbulence.ready().await;
    turbulence.stop().await;
    assert!(!site.folder.path(".turbulence/token").exists());
    for line in ["Token    one that Google issued to a user of the site", "     7 stories"] {
        assert!(summary.text.contains(line), "{line}: {}", summary.text);
    }
}

#[tokio::test]
async fn address_and_token_are_printed_before_all_content_is_linked() {
    let site = Site::new().await;
    legacy::write(&site.folder);
    // The first two stories are linked at once, the others at one per second.
    let slow = [("TURBULENCE__MIGRATIONS__DOCUMENTS_PER_SECOND", "1")];
    let turbulence = site.up_with(&["--import", legacy::FOLDER], &slow);
    let early = Summary::of(turbulence.printed("Loaded").await);
    assert_eq!(early.get("/stories").await.0, 200);
    assert_eq!(early.get_as_editor("/stories?include_drafts=true").await.0, 200);
    turbulence.logged("\"eta_seconds\"").await;
    let linked = doc! { "section_id": { "$exists": true } };
    assert!(site.database.count("projects", linked.clone()).await < 3);
    // The results are not printed yet.
    for words in ["ready", "→ section", LAST_LINE] {
        assert!(!early.text.contains(words), "{words}: {}", early.text);
    }

    let done = turbulence.ready().await;
    assert_eq!((done.address, done.token), (early.address, early.token));
    assert!(done.text.contains("projects → section projects: 3"), "{}", done.text);
    assert_eq!(site.database.count("projects", linked).await, 3);
    turbulence.stop().await;
}

#[tokio::test]
async fn a_start_is_quick() {
    let site = Site::new().await;
    let turbulence = site.up(&[]);
    turbulence.ready().await;
    let took = turbulence.age();
    let status = fs::read_to_string(format!("/proc/{}/status", turbulence.pid())).unwrap();
    let memory = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    println!("from start to ready: {took:?}; {memory}");
    assert!(took.as_secs() < 10, "{took:?}");
    turbulence.stop().await;
}
