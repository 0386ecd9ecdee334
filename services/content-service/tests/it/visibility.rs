//! What the public never sees, by any route.

use mongodb::bson::{DateTime, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::{Fault, Service, TestDatabase, Unreliable, eventually, settings};

use crate::support::{
    Site, all_content, ask, content, day, each, page, project, section, story, walk, with, without,
};

/// Everything that is secret has this in its title.
const SECRET: &str = "SECRET";

/// Content of every kind in every state, and sections in every state; the ids of the sections.
async fn insert_secrets(database: &TestDatabase) -> Vec<String> {
    let mut ids = Vec::new();
    for content_type in ["story", "project", "page"] {
        let of = |slug: &str| format!("{slug}-{content_type}");
        let kind = doc! { "content_type": content_type };
        let section = async |slug: &str, fields| {
            section(database, &of(slug), with(kind.clone(), fields)).await
        };
        let shown = section("shown", doc! {}).await;
        let draft = section("draft", doc! { "is_published": false }).await;
        let trash = section("trash", doc! { "is_deleted": true }).await;
        let below = section("below", doc! { "parent_id": &draft }).await;
        let below_trash = section("below-trash", doc! { "parent_id": &trash }).await;
        let lost = section("lost", doc! { "parent_id": ObjectId::new().to_hex() }).await;
        let page = |slug: &str, fields| {
            let page = match content_type {
                "story" => story(slug, day(1)),
                "project" => with(project(slug), doc! { "is_published": true }),
                _ => page(slug),
            };
            with(with(page, doc! { "title": SECRET, "slug": slug, "createdDate": day(9) }), fields)
        };
        let collection = match content_type {
            "story" => "stories",
            "project" => "projects",
            _ => "pages",
        };
        let here = doc! { "section_id": &shown };
        let mut documents = vec![
            with(page("open", here.clone()), doc! { "title": "Open", "createdDate": day(5) }),
            with(page("loose", doc! { "section_id": null }), doc! { "title": "Open" }),
            with(
                page("dangling", doc! { "section_id": "ffffffffffffffffffffffff" }),
                doc! { "title": "Open" },
            ),
            page("a-draft", with(here.clone(), doc! { "is_published": false })),
            page("a-deleted", with(here.clone(), doc! { "deleted": true })),
            page(
                "a-text-dated",
                doc! { "section_id": &draft, "createdDate": "2024-03-01T00:00:00Z" },
            ),
            page("an-object-id", doc! { "section_id": draft.parse::<ObjectId>().unwrap() }),
        ];
        for (number, section) in
            [&draft, &trash, &below, &below_trash, &lost].into_iter().enumerate()
        {
            documents.push(page(&format!("in-{number}"), doc! { "section_id": section }));
        }
        database.collection(collection).insert_many(documents).await.unwrap();
        ids.extend([shown, draft, trash, below, below_trash, lost]);
    }
    ids
}

#[tokio::test]
async fn nothing_that_is_not_public_is_answered_by_any_public_route() {
    let database = TestDatabase::new().await;
    let sections = insert_secrets(&database).await;
    // The odd site has no blog; what is above was linked by hand.
    let site = Site::start(&database).await;
    let document = site.content.get("/internal/openapi.json").await.1;
    let mut slugs: Vec<String> = vec!["open".into(), "a-draft".into(), "a-deleted".into()];
    slugs.extend(["a-text-dated".into(), "an-object-id".into()]);
    slugs.extend((0..5).map(|number| format!("in-{number}")));
    let mut section_slugs = Vec::new();
    for state in ["shown", "draft", "trash", "below", "below-trash", "lost"] {
        section_slugs.extend(["story", "project", "page"].map(|kind| format!("{state}-{kind}")));
    }
    let mut ids = Vec::new();
    for document in all_content(&database).await {
        ids.push(document.get_object_id("_id").unwrap().to_hex());
    }
    let mut asked = 0;
    let paths = document["paths"].as_object().unwrap();
    for path in
        paths.iter().filter(|(_, methods)| methods.get("get").is_some()).map(|(path, _)| path)
    {
        let mut urls = Vec::new();
        match path.as_str() {
            internal if internal.starts_with("/internal") => continue,
            "/resolve" => {
                for section in &section_slugs {
                    urls.push(format!("{path}?path=/{section}"));
                    urls.push(format!("{path}?path=/draft-story/{section}"));
                    urls.extend(slugs.iter().map(|slug| format!("{path}?path=/{section}/{slug}")));
                }
            }
            one if one.contains("{id}") => {
                urls.extend(ids.iter().map(|id| path.replace("{id}", id)));
            }
            one if one.contains('{') => {
                let (start, _) = path.split_once('{').unwrap();
                urls.extend(slugs.iter().map(|slug| format!("{start}{slug}")));
            }
            _ => {
                urls.push(path.clone());
                urls.push(format!("{path}?limit=50"));
                urls.push(format!("{path}?limit=1&offset=1"));
                urls.extend(sections.iter().map(|id| format!("{path}?section_id={id}")));
                urls.extend(section_slugs.iter().map(|slug| format!("{path}?section={slug}")));
            }
        }
        for url in urls {
            let (_, body) = site.content.get(&url).await;
            assert!(!body.to_string().contains(SECRET), "{url}: {body}");
            // Nobody is given more for a wrong token.
            let url = format!("{}{url}", site.content.url);
            let (_, headers, body) = ask(&url, &[("authorization", "Bearer wrong")]).await;
            assert!(!body.to_string().contains(SECRET), "{url}: {body}");
            if let Some(tag) = headers.get("etag") {
                let tag = [("if-none-match", tag.to_str().unwrap())];
                assert!(!ask(&url, &tag).await.2.to_string().contains(SECRET));
            }
            asked += 1;
        }
    }
    assert!(asked > 300, "{asked}");
    for kind in ["stories", "projects", "pages"] {
        let list = site.content.get(&format!("/{kind}?limit=50")).await.1;
        assert_eq!((&list["total"], each(&list, "title")), (&3.into(), vec!["Open"; 3]), "{kind}");
        let all =
            site.content.get_as_editor(&format!("/{kind}?limit=50&include_drafts=true")).await.1;
        assert_eq!((&all["total"], all["items"].as_array().unwrap().len()), (&11.into(), 11));
    }
}

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
