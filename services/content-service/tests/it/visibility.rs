//! The content that the public sees while sections change and are deleted. That no route reveals what
//! is hidden is tested where all parts are, in the crate `turbulence`.

use mongodb::bson::{DateTime, doc};
use serde_json::{Value, json};
use test_support::{Fault, Service, TestDatabase, Unreliable, eventually, settings};

use crate::support::{Site, ask, content, day, each, page, section, story, walk, with, without};

#[tokio::test]
async fn a_list_of_a_hidden_section_is_not_found_by_slug_and_empty_by_id() {
    let database = TestDatabase::new().await;
    let hidden = section(&database, "hidden", doc! { "is_published": false }).await;
    database.insert("stories", [with(story("a", day(1)), doc! { "section_id": &hidden })]).await;
    let site = Site::start(&database).await;
    let (status, answer) = site.content.get("/stories?section=hidden").await;
    assert_eq!((status.as_u16(), &answer["detail"]), (404, &"Section not found".into()));
    let (status, list) = site.content.get(&format!("/stories?section_id={hidden}")).await;
    assert_eq!((status.as_u16(), &list["total"], &list["items"]), (200, &0.into(), &json!([])));
    for query in ["section=hidden".to_owned(), format!("section_id={hidden}")] {
        let path = format!("/stories?include_drafts=true&{query}");
        assert_eq!(site.content.get(&path).await.0, 401);
        let (status, list) = site.content.get_as_editor(&path).await;
        assert_eq!((status.as_u16(), &list["total"]), (200, &1.into()));
    }
}

#[tokio::test]
async fn what_a_section_hides_or_shows_is_right_within_a_second() {
    let database = TestDatabase::new().await;
    let section = section(&database, "s", doc! {}).await;
    let inside = |number: i64| {
        with(story(&format!("in-{number}"), day(number)), doc! { "section_id": &section })
    };
    database.collection("stories").insert_many((0..20).map(inside)).await.unwrap();
    let outside = |number: i64| {
        with(story(&format!("out-{number}"), day(number)), doc! { "section_id": null })
    };
    database.collection("stories").insert_many((0..5).map(outside)).await.unwrap();
    let site = Site::start(&database).await;
    let sections = database.collection("sections");
    for (is_published, total) in [(false, 5), (true, 25), (false, 5)] {
        let change = doc! { "$set": { "is_published": is_published } };
        sections.update_one(doc! { "slug": "s" }, change).await.unwrap();
        let began = std::time::Instant::now();
        eventually("the list follows", async || {
            let list = site.content.get("/stories?limit=50").await.1;
            let shown = list["items"].as_array().unwrap().len();
            assert!(list["total"] == shown, "{list}");
            list["total"] == total
        })
        .await;
        assert!(began.elapsed() < std::time::Duration::from_secs(3), "{:?}", began.elapsed());
        let found = site.content.get("/stories/slug/in-1").await.0.as_u16();
        assert_eq!(found, if is_published { 200 } else { 404 });
    }
    assert_eq!(walk(&site.content, "/stories?limit=2").await.len(), 5);
}

#[tokio::test]
async fn while_sections_are_away_the_last_answer_holds() {
    let database = TestDatabase::new().await;
    let hidden = section(&database, "hidden", doc! { "is_published": false }).await;
    section(&database, "blog", doc! {}).await;
    let secret = with(story("secret", day(1)), doc! { "section_id": &hidden });
    database.insert("stories", [secret, story("open", day(2))]).await;
    let sections = Service::sections(&settings(&database, &[])).await;
    sections.migrated().await;
    let content = content(&database, &sections.url, &[]).await;
    content.migrated().await;
    assert_eq!(content.get("/stories").await.1["total"], 1);
    sections.stop().await.unwrap();
    let began = std::time::Instant::now();
    // Longer than what is known holds without asking.
    while began.elapsed() < std::time::Duration::from_millis(2_500) {
        for path in ["/stories", "/stories?section=blog"] {
            let (status, list) = content.get(path).await;
            assert_eq!((status.as_u16(), each(&list, "slug")), (200, vec!["open"]));
        }
        assert_eq!(content.get("/stories/slug/secret").await.0, 404);
        assert_eq!(content.get("/stories?section=hidden").await.0, 404);
    }
}

#[tokio::test]
async fn without_any_knowledge_of_sections_linked_content_is_not_shown() {
    let database = TestDatabase::new().await;
    let linked = with(story("linked", day(1)), doc! { "section_id": "ffffffffffffffffffffffff" });
    database.insert("stories", [linked]).await;
    let loose = with(page("about"), doc! { "section_id": null });
    database.insert("pages", [loose, without(with(page("x"), doc! { "a": 1 }), "a")]).await;
    let sections = Service::sections(&settings(&database, &[])).await;
    sections.migrated().await;
    let between =
        Unreliable::start(Fault::Answers("503 Service Unavailable", ""), &sections.url).await;
    let content = content(&database, &between.url, &[]).await;
    for path in ["/stories", "/stories/slug/linked", "/stories?section_id=ffffffffffffffffffffffff"]
    {
        let (status, headers, body) = ask(&format!("{}{path}", content.url), &[]).await;
        assert_eq!(
            (status.as_u16(), &body["code"]),
            (503, &"upstream_unavailable".into()),
            "{path}"
        );
        assert!(headers.contains_key("retry-after"));
    }
    // Nothing is linked here.
    let pages = content.get("/pages").await;
    assert_eq!((pages.0.as_u16(), &pages.1["total"]), (200, &2.into()));
    assert_eq!(content.get("/pages/type/about").await.0, 200);
    // An editor needs nobody's leave.
    let (status, list) = content.get_as_editor("/stories?include_drafts=true").await;
    assert_eq!((status.as_u16(), &list["total"]), (200, &1.into()));
    between.heal();
    eventually("the public sees it", async || content.get("/stories").await.0 == 200).await;
    content.migrated().await;
}

#[tokio::test]
async fn a_large_hidden_section_is_counted_from_the_index() {
    let database = TestDatabase::new().await;
    let hidden = section(&database, "hidden", doc! { "is_published": false }).await;
    let stories = (0..2_000).map(|number: i64| {
        let story = story(&number.to_string(), DateTime::from_millis(number * 1_000));
        let section: Value = if number % 2 == 0 { hidden.clone().into() } else { Value::Null };
        with(story, doc! { "section_id": mongodb::bson::serialize_to_bson(&section).unwrap() })
    });
    database.collection("stories").insert_many(stories).await.unwrap();
    let site = Site::start(&database).await;
    crate::support::profile(&database, 2).await;
    assert_eq!(site.content.get("/stories").await.1["total"], 1_000);
    crate::support::profile(&database, 0).await;
    let counts = doc! { "command.aggregate": "stories" };
    let counts = crate::support::profiled(&database, counts).await;
    assert!(!counts.is_empty());
    for count in counts {
        assert_eq!(count.get_i32("docsExamined").unwrap(), 0, "{count:#?}");
    }
}
