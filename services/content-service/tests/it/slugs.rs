//! Slugs that editors give, and the redirects that former ones leave.

use futures_util::future::join_all;
use models::ContentType;
use mongodb::bson::doc;
use reqwest::StatusCode;
use serde_json::{Value, json};
use test_support::{TestDatabase, eventually};

use crate::support::{Site, ask, content, created, day, section, section_id, send, story, with};

/// Returns the section of a site for each kind of content.
async fn sections(database: &TestDatabase) -> Vec<(ContentType, String)> {
    let mut sections = Vec::new();
    for kind in ContentType::ALL {
        let display = serde_json::to_value(kind.usual_display()).unwrap();
        let fields = doc! {
            "content_type": kind.as_str(), "display_type": display.as_str().unwrap(),
        };
        let id = section(database, &format!("of-{}", kind.collection()), fields).await;
        sections.push((kind, id));
    }
    sections
}

struct Items<'a> {
    site: &'a Site,
    kind: ContentType,
    section: String,
}

impl Items<'_> {
    async fn add(&self, mut body: Value) -> (u16, Value) {
        for (member, value) in
            [("content", ""), ("page_type", "some"), ("section_id", &self.section)]
        {
            if member != "page_type" || self.kind == ContentType::Page {
                body[member] = value.into();
            }
        }
        let url = format!("{}/{}", self.site.content.url, self.kind.collection());
        let (status, _, answer) = send("POST", &url, &[], &body).await;
        (status.as_u16(), answer)
    }

    async fn change(&self, method: &str, item: &Value, body: Value) -> (u16, Value) {
        let id = item["id"].as_str().unwrap();
        let url = format!("{}/{}/{id}", self.site.content.url, self.kind.collection());
        let (status, _, answer) = send(method, &url, &[], &body).await;
        (status.as_u16(), answer)
    }

    fn path(&self, slug: &str) -> String {
        format!("/of-{}/{slug}", self.kind.collection())
    }

    async fn resolved(&self, slug: &str) -> Value {
        self.site.content.get(&format!("/resolve?path={}", self.path(slug))).await.1
    }

    fn moved(&self, slug: &str) -> Value {
        json!({ "kind": "moved", "moved_to": self.path(slug), "status": 301 })
    }
}

#[tokio::test]
async fn a_slug_can_be_given_and_changed_and_each_former_one_leads_to_the_item() {
    let database = TestDatabase::new().await;
    let sections = sections(&database).await;
    let site = Site::start(&database).await;
    for (kind, section) in sections {
        let items = Items { site: &site, kind, section };
        // Takes the place of the only page of its section.
        let (status, first) = items.add(json!({ "title": "First" })).await;
        assert_eq!(status, 201, "{first}");
        let (status, item) = items.add(json!({ "title": "A title", "slug": "one" })).await;
        assert_eq!((status, &item["slug"]), (201, &"one".into()), "{item}");
        assert_eq!(items.resolved("one").await["content"], item);

        let (status, two) = items.change("PATCH", &item, json!({ "slug": "two" })).await;
        assert_eq!((status, &two["slug"]), (200, &"two".into()), "{two}");
        assert_eq!((&two["title"], &two["id"]), (&item["title"], &item["id"]));
        assert_eq!(items.resolved("one").await, items.moved("two"));
        // As it was read, with another slug.
        let mut body = two.clone();
        body["slug"] = "three".into();
        let (status, three) = items.change("PUT", &two, body).await;
        assert_eq!((status, &three["slug"]), (200, &"three".into()), "{three}");
        for former in ["one", "two"] {
            assert_eq!(items.resolved(former).await, items.moved("three"), "{former}");
        }
        assert_eq!(items.resolved("three").await["content"], three);

        // Back again: no path leads in a circle.
        let (_, one) = items.change("PATCH", &three, json!({ "slug": "one" })).await;
        assert_eq!(items.resolved("one").await["content"], one);
        for former in ["two", "three"] {
            assert_eq!(items.resolved(former).await, items.moved("one"), "{former}");
        }
        // Sent back as it is, nothing changes.
        assert_eq!(items.change("PUT", &one, one.clone()).await, (200, one));
    }
    let redirects = database.count("content_former_slugs", doc! {}).await;
    assert_eq!(redirects, 2 * ContentType::ALL.len() as u64);
}

#[tokio::test]
async fn the_look_up_by_a_former_slug_answers_the_item_and_its_address() {
    let database = TestDatabase::new().await;
    let odd = "2015/02/Größe 100%";
    database.insert("stories", [story(odd, day(1))]).await;
    let site = Site::start(&database).await;
    let id = site.content.get("/stories").await.1["items"][0]["id"].clone();
    let url = format!("{}/stories/{}", site.content.url, id.as_str().unwrap());
    let encoded = "/stories/slug/2015%2F02%2FGr%C3%B6%C3%9Fe%20100%25";
    let look_up = format!("{}{encoded}", site.content.url);
    let (status, headers, _) = ask(&look_up, &[]).await;
    assert_eq!((status, headers.get("content-location")), (StatusCode::OK, None));

    assert_eq!(send("PATCH", &url, &[], &json!({ "slug": "size" })).await.0, 200);
    let (status, headers, item) = ask(&look_up, &[]).await;
    assert_eq!((status, &item["slug"]), (StatusCode::OK, &"size".into()));
    assert_eq!(headers["content-location"], "/stories/slug/size");
    assert_eq!(item, site.content.get("/stories/slug/size").await.1);
    let keys = headers["surrogate-key"].to_str().unwrap();
    for key in ["stories/slug".to_owned(), format!("stories/{}", id.as_str().unwrap())] {
        assert!(keys.split(' ').any(|one| one == key), "{key}: {keys}");
    }
    // The answer that is confirmed has the header too, from the memory of tags as well.
    let tag = headers["etag"].to_str().unwrap().to_owned();
    for _ in 0..2 {
        let (status, headers, _) = ask(&look_up, &[("if-none-match", &tag)]).await;
        assert_eq!(status, StatusCode::NOT_MODIFIED);
        assert_eq!(headers["content-location"], "/stories/slug/size");
    }
    assert_eq!(site.content.get("/stories/slug/siz").await.0, 404);
}

#[tokio::test]
async fn a_slug_that_is_taken_or_none_is_refused_with_the_reason() {
    let database = TestDatabase::new().await;
    let sections = sections(&database).await;
    let site = Site::start(&database).await;
    for (kind, section) in sections {
        let items = Items { site: &site, kind, section };
        let body = json!({ "title": "Draft", "slug": "taken", "is_published": false });
        assert_eq!(items.add(body).await.0, 201);
        let (_, other) = items.add(json!({ "title": "Other", "slug": "other" })).await;
        let taken = json!({ "title": "T", "slug": "taken" });
        for (status, answer) in [
            items.add(taken.clone()).await,
            items.change("PATCH", &other, json!({ "slug": "taken" })).await,
            items
                .change("PUT", &other, json!({ "title": "T", "content": "", "slug": "taken" }))
                .await,
        ] {
            assert_eq!((status, &answer["code"]), (409, &"slug_taken".into()), "{answer}");
            assert!(answer["detail"].as_str().unwrap().contains("`taken`"), "{answer}");
        }
        let long = "x".repeat(201);
        for slug in ["", "Two Words", "a/b", "a--b", "-a", "ä", "%61", "a\n", &long] {
            for (status, answer) in [
                items.add(json!({ "title": "T", "slug": slug })).await,
                items.change("PATCH", &other, json!({ "slug": slug })).await,
            ] {
                assert_eq!((status, &answer["errors"][0]["field"]), (422, &"slug".into()));
                let message = answer["errors"][0]["message"].as_str().unwrap();
                assert!(
                    message.contains("lower-case letters, digits and single hyphens"),
                    "{message}"
                );
            }
        }
        for slug in [json!(7), json!({ "$ne": "" }), json!(["a"])] {
            let (status, answer) = items.change("PATCH", &other, json!({ "slug": slug })).await;
            assert_eq!(status, 422, "{answer}");
        }
        // Only a page can be without one.
        let (status, answer) = items.change("PATCH", &other, json!({ "slug": null })).await;
        if kind == ContentType::Page {
            assert_eq!((status, &answer["slug"]), (200, &Value::Null));
            assert_eq!(items.add(json!({ "title": "T", "slug": "other" })).await.0, 201);
        } else {
            assert_eq!((status, &answer["errors"][0]["field"]), (422, &"slug".into()));
        }
    }
}

#[tokio::test]
async fn a_redirect_gives_way_to_content_that_gets_its_slug() {
    let database = TestDatabase::new().await;
    let sections = sections(&database).await;
    let site = Site::start(&database).await;
    for (kind, section) in sections {
        let items = Items { site: &site, kind, section };
        items.add(json!({ "title": "First" })).await;
        let (_, item) = items.add(json!({ "title": "News", "slug": "news" })).await;
        let (_, item) = items.change("PATCH", &item, json!({ "slug": "old-news" })).await;
        assert_eq!(items.resolved("news").await, items.moved("old-news"));
        // The title alone makes it, or it is given.
        let mut body = json!({ "title": "News" });
        if kind == ContentType::Page {
            body["slug"] = "news".into();
        }
        let (_, new) = items.add(body).await;
        assert_eq!(new["slug"], "news");
        assert_eq!(items.resolved("news").await["content"], new);
        // It does not come back when that item gets another one: the last that had it counts.
        items.change("PATCH", &new, json!({ "slug": "newer" })).await;
        assert_eq!(items.resolved("news").await, items.moved("newer"));
        // An item that gets it by a change, and one that is restored with it.
        let (status, item) = items.change("PATCH", &item, json!({ "slug": "news" })).await;
        assert_eq!(status, 200, "{item}");
        assert_eq!(items.resolved("news").await["content"], item);
        assert_eq!(items.change("DELETE", &item, Value::Null).await.0, 204);
        let (status, third) = items.add(json!({ "title": "T", "slug": "news" })).await;
        assert_eq!(status, 201, "what is in the trash does not keep it: {third}");
        let url = format!(
            "{}/{}/{}/restore",
            site.content.url,
            kind.collection(),
            item["id"].as_str().unwrap()
        );
        let (status, _, answer) = send("POST", &url, &[], &Value::Null).await;
        assert_eq!((status.as_u16(), &answer["code"]), (409, &"slug_taken".into()), "{answer}");
        items.change("PATCH", &third, json!({ "slug": "third" })).await;
        assert_eq!(items.resolved("news").await, items.moved("third"));
        assert_eq!(send("POST", &url, &[], &Value::Null).await.0, 200);
        assert_eq!(items.resolved("news").await["content"]["id"], item["id"]);
    }
}

#[tokio::test]
async fn a_former_slug_shows_nothing_that_the_public_does_not_see() {
    let database = TestDatabase::new().await;
    let hidden = section(&database, "hidden", doc! { "is_published": false }).await;
    section(&database, "blog", doc! {}).await;
    let site = Site::start(&database).await;
    let blog = section_id(&database, "blog").await;
    let items = Items { site: &site, kind: ContentType::Story, section: blog };
    let found = async |slug: &str| {
        let by_slug = site.content.get(&format!("/stories/slug/{slug}")).await.0.as_u16();
        let resolved = site.content.get(&format!("/resolve?path=/blog/{slug}")).await.0.as_u16();
        (by_slug, resolved)
    };
    for (name, hide, show) in [
        ("draft", json!({ "is_published": false }), json!({ "is_published": true })),
        ("in-hidden", json!({ "section_id": hidden }), json!({ "section_id": items.section })),
    ] {
        let (_, item) = items.add(json!({ "title": "T", "slug": name })).await;
        items.change("PATCH", &item, json!({ "slug": format!("{name}-now") })).await;
        assert_eq!(found(name).await, (200, 200), "{name}");
        items.change("PATCH", &item, hide).await;
        assert_eq!(found(name).await, (404, 404), "{name}");
        items.change("PATCH", &item, show).await;
        assert_eq!(found(name).await, (200, 200), "{name}");
        assert_eq!(items.change("DELETE", &item, Value::Null).await.0, 204);
        assert_eq!(found(name).await, (404, 404), "{name}");
    }
    // A draft that gets the slug hides the redirect, and itself.
    let (_, item) = items.add(json!({ "title": "T", "slug": "a" })).await;
    items.change("PATCH", &item, json!({ "slug": "b" })).await;
    items.add(json!({ "title": "T", "slug": "a", "is_published": false })).await;
    assert_eq!(found("a").await, (404, 404));
}

#[tokio::test]
async fn a_section_has_several_pages_and_shows_the_oldest_itself() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let page = |body: Value| created(&site, "pages", body);
    let about = page(json!({ "title": "About", "content": "", "page_type": "about" })).await;
    assert_eq!(about["slug"], Value::Null);
    let history = json!({
        "title": "History", "content": "", "section_id": about["section_id"], "slug": "history",
    });
    let history = page(history).await;
    for (path, item) in [("/about", &about), ("/about/history", &history)] {
        let (_, found) = site.content.get(&format!("/resolve?path={path}")).await;
        assert_eq!((&found["kind"], &found["content"]), (&"item".into(), item), "{path}");
        assert_eq!(found["canonical_path"], path);
    }
    assert_eq!(site.content.get("/pages/type/about").await.1, about);
    assert_eq!(site.content.get("/pages/type/history").await.0, 404);
    assert_eq!(site.content.get("/resolve?path=/about/other").await.0, 404);
}

#[tokio::test]
async fn of_many_who_take_one_slug_at_two_replicas_one_gets_it() {
    let database = TestDatabase::new().await;
    for number in 0..12 {
        database.insert("stories", [story(&format!("s-{number}"), day(number))]).await;
    }
    let site = Site::start(&database).await;
    let other = content(&database, &site.sections.url, &[]).await;
    other.migrated().await;
    let ids: Vec<String> = site.content.get("/stories?limit=50").await.1["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect();
    let requests = ids.iter().enumerate().map(|(number, id)| {
        let base = if number % 2 == 0 { &site.content.url } else { &other.url };
        async move {
            // Every third one is new.
            let body = json!({ "title": "New", "content": "", "slug": "one" });
            match number % 3 {
                0 => send("POST", &format!("{base}/stories"), &[], &body).await,
                _ => {
                    send("PATCH", &format!("{base}/stories/{id}"), &[], &json!({ "slug": "one" }))
                        .await
                }
            }
        }
    });
    let answers = join_all(requests).await;
    let statuses: Vec<_> = answers.iter().map(|(status, ..)| status.as_u16()).collect();
    assert!(statuses.iter().all(|status| [200, 201, 409].contains(status)), "{answers:?}");
    assert_eq!(statuses.iter().filter(|status| **status != 409).count(), 1, "{statuses:?}");
    assert_eq!(database.count("stories", doc! { "slug": "one" }).await, 1);
    let renamed = u64::from(statuses.contains(&200));
    assert_eq!(database.count("content_former_slugs", doc! {}).await, renamed);
}

#[tokio::test]
async fn a_new_slug_is_told_as_a_move() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let about = json!({ "title": "About", "content": "", "page_type": "about", "slug": "us" });
    let about = created(&site, "pages", about).await;
    let start = site.content.get("/changes").await.1["cursor"].as_str().unwrap().to_owned();
    let url = format!("{}/pages/{}", site.content.url, about["id"].as_str().unwrap());
    assert_eq!(send("PATCH", &url, &[], &json!({ "slug": "we" })).await.0, 200);
    eventually("it is told", async || {
        let (_, page) = site.content.get(&format!("/changes?cursor={start}")).await;
        let changes = page["changes"].as_array().unwrap();
        changes.iter().any(|one| {
            one["event"] == "moved"
                && (&one["path"], &one["previous_path"])
                    == (&"/about/we".into(), &"/about/us".into())
        })
    })
    .await;
}

#[tokio::test]
async fn slugs_of_old_pages_are_read_as_far_as_they_are_plain() {
    let database = TestDatabase::new().await;
    let old = |slug: mongodb::bson::Bson| {
        with(crate::support::page("about"), doc! { "title": slug.to_string(), "slug": slug })
    };
    let pages = [old("team".into()), old(7.into()), old(doc! { "current": "x" }.into())];
    database.insert("pages", pages).await;
    let site = Site::start(&database).await;
    let (_, list) = site.content.get("/pages").await;
    let mut slugs: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|page| page["slug"].clone()).collect();
    slugs.sort_by_key(Value::to_string);
    assert_eq!(slugs, [json!("7"), json!("team"), Value::Null]);
    // The oldest is the section's own.
    let (_, found) = site.content.get("/resolve?path=/about").await;
    assert_eq!(
        (&found["content"]["slug"], &found["canonical_path"]),
        (&"team".into(), &"/about".into())
    );
    assert_eq!(site.content.get("/resolve?path=/about/7").await.1["content"]["slug"], "7");
}
