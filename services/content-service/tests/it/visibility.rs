//! The content that the public sees while sections change and are deleted. That no route reveals what
//! is hidden is tested where all parts are, in the crate `turbulence`.

use mongodb::bson::{Bson, DateTime, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::{Fault, Service, TestDatabase, Unreliable, eventually, settings};

use crate::support::{Site, ask, content, day, each, page, section, story, walk, with};

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
async fn without_any_knowledge_of_sections_only_content_without_a_section_is_shown() {
    let database = TestDatabase::new().await;
    let none = "ffffffffffffffffffffffff";
    let linked = with(story("linked", day(1)), doc! { "section_id": none });
    let draft = with(
        linked.clone(),
        doc! {
            "_id": ObjectId::new(), "slug": "draft", "is_published": false,
        },
    );
    let loose = with(story("loose", day(1)), doc! { "section_id": null });
    database.insert("stories", [linked, draft, loose]).await;
    let loose = with(page("about"), doc! { "section_id": null });
    database.insert("pages", [loose, page("x")]).await;
    let sections = Service::sections(&settings(&database, &[])).await;
    sections.migrated().await;
    let between =
        Unreliable::start(Fault::Answers("503 Service Unavailable", ""), &sections.url).await;
    let content = content(&database, &between.url, &[]).await;
    for path in [
        "/stories/slug/linked",
        &format!("/stories?section_id={none}"),
        "/stories?section=blog",
        "/resolve?path=/blog",
        "/resolve?path=/nope",
    ] {
        let (status, headers, body) = ask(&format!("{}{path}", content.url), &[]).await;
        assert_eq!(
            (status.as_u16(), &body["code"]),
            (503, &"upstream_unavailable".into()),
            "{path}"
        );
        assert!(headers.contains_key("retry-after"));
    }
    let (status, list) = content.get("/stories").await;
    assert_eq!(
        (status.as_u16(), &list["total"], each(&list, "slug")),
        (200, &1.into(), vec!["loose"])
    );
    assert_eq!(content.get("/stories/slug/loose").await.0, 200);
    for slug in ["nope", "draft"] {
        assert_eq!(content.get(&format!("/stories/slug/{slug}")).await.0, 404, "{slug}");
    }
    let pages = content.get("/pages").await;
    assert_eq!((pages.0.as_u16(), &pages.1["total"]), (200, &2.into()));
    assert_eq!(content.get("/pages/type/about").await.0, 200);
    // An editor needs nobody's leave.
    let (status, list) = content.get_as_editor("/stories?include_drafts=true").await;
    assert_eq!((status.as_u16(), &list["total"]), (200, &3.into()));
    let (status, ready) = content.get("/health/ready").await;
    let check = &ready["checks"]["sections"];
    assert_eq!((status.as_u16(), &check["status"]), (200, &"ok".into()), "{ready}");
    assert!(check["detail"].as_str().unwrap().contains("unknown"), "{ready}");
    between.heal();
    eventually("the public sees it", async || content.get("/stories").await.1["total"] == 2).await;
    content.migrated().await;
}

#[tokio::test]
async fn a_section_id_that_contains_the_id_of_a_hidden_section_is_never_public() {
    let database = TestDatabase::new().await;
    let hidden = section(&database, "hidden", doc! { "is_published": false }).await;
    let shown = section(&database, "shown", doc! {}).await;
    let upper = hidden.to_uppercase();
    let mixed = format!("{}{}", &upper[..12], &hidden[12..]);
    let of_hidden = [
        format!(" {hidden}"),
        format!("{hidden} "),
        format!("\t{hidden}\r\n"),
        format!("\u{a0}{upper}\u{2003}"),
        format!("ObjectId(\"{hidden}\")"),
        format!("{hidden}\u{200b}"),
        mixed,
    ];
    let mut slugs = Vec::new();
    for kind in ["stories", "projects"] {
        for (number, section_id) in of_hidden.iter().enumerate() {
            let slug = format!("secret-{number}");
            let item = with(story(&slug, day(1)), doc! { "section_id": section_id });
            database.insert(kind, [item]).await;
            slugs.push(format!("/{kind}/slug/{slug}"));
        }
        let odd = with(story("odd", day(2)), doc! { "section_id": format!(" {shown}") });
        let inside = with(story("inside", day(3)), doc! { "section_id": &shown });
        database.insert(kind, [odd, inside]).await;
    }
    let site = Site::start(&database).await;
    for kind in ["stories", "projects"] {
        let (_, list) = site.content.get(&format!("/{kind}?limit=50")).await;
        assert_eq!((&list["total"], each(&list, "slug")), (&2.into(), vec!["inside", "odd"]));
        let path = format!("/{kind}?include_drafts=true&limit=50");
        assert_eq!(site.content.get_as_editor(&path).await.1["total"], 9);
        assert_eq!(site.content.get(&format!("/{kind}/slug/odd")).await.0, 200);
    }
    for path in &slugs {
        assert_eq!(site.content.get(path).await.0, 404, "{path}");
    }
    for number in 0..of_hidden.len() {
        let path = format!("/resolve?path=/shown/secret-{number}");
        assert_eq!(site.content.get(&path).await.0, 404, "{path}");
    }
    // One that gets such a value later.
    let update = doc! { "$set": { "section_id": format!("{hidden}  ") } };
    database.collection("stories").update_one(doc! { "slug": "odd" }, update).await.unwrap();
    eventually("it is hidden", async || {
        site.content.get("/stories").await.1["total"] == 1
            && site.content.get("/stories/slug/odd").await.0 == 404
    })
    .await;
    let open = doc! { "$set": { "is_published": true } };
    database.collection("sections").update_one(doc! { "slug": "hidden" }, open).await.unwrap();
    eventually("all are shown", async || site.content.get("/projects").await.1["total"] == 9).await;
}

#[tokio::test]
async fn any_plain_way_to_say_deleted_hides_an_item() {
    let database = TestDatabase::new().await;
    let flags = [Bson::from(1), 1.0.into(), 1_i64.into(), "true".into(), "1".into(), true.into()];
    for (number, flag) in flags.iter().enumerate() {
        let gone = with(story(&format!("gone-{number}"), day(1)), doc! { "deleted": flag });
        database.insert("stories", [gone]).await;
    }
    let here = with(story("here", day(1)), doc! { "deleted": 0 });
    database.insert("stories", [here]).await;
    let site = Site::start(&database).await;
    let (_, list) = site.content.get("/stories").await;
    assert_eq!((&list["total"], each(&list, "slug")), (&1.into(), vec!["here"]));
    let drafts = site.content.get_as_editor("/stories?include_drafts=true").await.1;
    assert_eq!(drafts["total"], 1);
    for number in 0..flags.len() {
        let path = format!("gone-{number}");
        assert_eq!(site.content.get(&format!("/stories/slug/{path}")).await.0, 404, "{path}");
        assert_eq!(site.content.get(&format!("/resolve?path=/blog/{path}")).await.0, 404);
    }
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
