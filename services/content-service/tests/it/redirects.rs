//! Redirects: old paths that lead to items, sections and addresses.

use futures_util::future::join_all;
use models::ContentType;
use mongodb::bson::{Bson, doc};
use serde_json::{Value, json};
use service_kit::web::changes::SURROGATE_KEY;
use test_support::{Answer, Api, TOKEN, TestDatabase, eventually};
use url::form_urlencoded;

use crate::support::{Site, created, day, section, send, send_raw, story, user, with};

fn query(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

async fn post(site: &Site, body: &Value) -> (u16, Value) {
    let (status, _, answer) =
        send("POST", &format!("{}/redirects", site.content.url), &[], body).await;
    (status.as_u16(), answer)
}

/// Adds a redirect to an address.
async fn add(site: &Site, from: &str, to: &str) -> (u16, Value) {
    post(site, &json!({ "from": from, "to": { "address": to } })).await
}

async fn delete(site: &Site, from: &str) -> u16 {
    let url = format!("{}/redirects?from={}", site.content.url, query(from));
    send("DELETE", &url, &[], &Value::Null).await.0.as_u16()
}

async fn list(site: &Site, query: &str) -> Value {
    let url = format!("{}/redirects{query}", site.content.url);
    let (status, _, answer) = send("GET", &url, &[], &Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Returns the kind of the answer to a path, and its address and status if it was moved.
async fn resolved(site: &Site, path: &str) -> Value {
    let (status, answer) = site.content.get(&format!("/resolve?path={}", query(path))).await;
    match (status.as_u16(), answer["kind"].as_str()) {
        (200, Some("moved")) => json!([answer["moved_to"], answer["status"]]),
        (200, Some(kind)) => json!(kind),
        (status, _) => json!(status),
    }
}

#[tokio::test]
async fn a_redirect_to_an_item_or_a_section_leads_to_its_present_path() {
    let database = TestDatabase::new().await;
    let mut sections = Vec::new();
    for kind in ContentType::ALL {
        let fields = doc! { "content_type": kind.as_str(), "display_type": "feed" };
        let slug = format!("of-{}", kind.collection());
        sections.push((kind, section(&database, &slug, fields).await));
    }
    let site = Site::start(&database).await;
    for (kind, section) in sections {
        let collection = kind.collection();
        let mut body = json!({
            "title": "One", "slug": "one", "content": "", "section_id": section,
            "is_published": true,
        });
        if kind == ContentType::Page {
            body["page_type"] = "some".into();
        }
        let item = created(&site, collection, body).await;
        let old = format!("/2015/{collection}.php");
        let target = json!({ "item": { "kind": collection, "id": item["id"] } });
        let (status, answer) = post(&site, &json!({ "from": old, "to": target })).await;
        assert_eq!(status, 201, "{answer}");
        assert_eq!((&answer["to"], &answer["status"]), (&target, &301.into()));
        let of_section = json!({
            "from": format!("{old}/all"), "to": { "section": { "id": section } }, "status": 302,
        });
        assert_eq!(post(&site, &of_section).await.0, 201);
        let path = format!("/of-{collection}/one");
        assert_eq!(answer["leads_to"], path);
        assert_eq!(resolved(&site, &old).await, json!([path, 301]));
        assert_eq!(
            resolved(&site, &format!("{old}/all")).await,
            json!([format!("/of-{collection}"), 302])
        );
        // However often it moves.
        let url = format!("{}/{collection}/{}", site.content.url, item["id"].as_str().unwrap());
        assert_eq!(send("PATCH", &url, &[], &json!({ "slug": "two" })).await.0, 200);
        assert_eq!(resolved(&site, &old).await, json!([format!("/of-{collection}/two"), 301]));
        let of_sections = format!("{}/sections/{section}", site.sections.url);
        let renamed = json!({ "slug": format!("new-{collection}") });
        assert_eq!(send("PATCH", &of_sections, &[], &renamed).await.0, 200);
        let now = json!([format!("/new-{collection}/two"), 301]);
        eventually("the section is renamed", async || resolved(&site, &old).await == now).await;
        // A draft is as if the redirect did not exist, except for editors.
        let draft = json!({ "is_published": false });
        assert_eq!(send("PATCH", &url, &[], &draft).await.0, 200);
        assert_eq!(resolved(&site, &old).await, json!(404));
        let address = format!("{}/resolve?path={old}&include_drafts=true", site.content.url);
        let (_, _, answer) = send("GET", &address, &[], &Value::Null).await;
        assert_eq!(answer["moved_to"], format!("/new-{collection}/two"));
        let listed = list(&site, &format!("?from={old}")).await;
        assert_eq!((&listed["total"], &listed["items"][0]["leads_to"]), (&1.into(), &Value::Null));
        assert_eq!(send("DELETE", &url, &[], &Value::Null).await.0, 204);
        assert_eq!(resolved(&site, &old).await, json!(404));
        assert_eq!(send("PATCH", &of_sections, &[], &draft).await.0, 200);
        let all = format!("{old}/all");
        eventually("the section is hidden", async || resolved(&site, &all).await == 404).await;
    }
}

#[tokio::test]
async fn an_old_path_is_found_however_it_is_written() {
    let database = TestDatabase::new().await;
    let site = Site::start_with(&database, &[("site.url", "https://example.com")]).await;
    for (from, to) in [
        ("/Über uns/", "/about"),
        ("/blog?page=2", "/projects"),
        ("/chained", "/blog?page=2"),
        ("/index.php?b=2&a=1", "/blog"),
        ("/index.php", "https://elsewhere.example/é?x=1"),
        ("/?p=123", "/projects?from=old#top"),
        ("/shop", "https://example.com/contact"),
    ] {
        let (status, answer) = add(&site, from, to).await;
        assert_eq!(status, 201, "{answer}");
    }
    for (path, expected) in [
        ("/Über uns", json!(["/about", 301])),
        ("/%C3%9Cber%20uns", json!(["/about", 301])),
        ("/U\u{308}ber%20uns/", json!(["/about", 301])),
        ("/über uns", json!(404)),
        ("/Über uns?utm_source=x", json!(["/about", 301])),
        ("/Über uns/more", json!(404)),
        ("/index.php?a=1&b=2", json!(["/blog", 301])),
        ("/index.php?a=1&b=3", json!(["https://elsewhere.example/%C3%A9?x=1", 301])),
        ("/index.php", json!(["https://elsewhere.example/%C3%A9?x=1", 301])),
        ("/?p=123", json!(["/projects?from=old#top", 301])),
        ("/?p=124", json!("section")),
        ("/blog?utm_source=x", json!("section")),
        ("/blogs?utm_source=x", json!(404)),
        ("/", json!("section")),
        // The query of a redirect comes before content without it.
        ("/blog?page=2", json!(["/projects", 301])),
        ("/chained", json!(["/projects", 301])),
        // An address of this site is a path of it.
        ("/shop", json!(["/contact", 301])),
        ("/blog", json!("section")),
    ] {
        assert_eq!(resolved(&site, path).await, expected, "{path}");
    }
    let all = list(&site, "").await;
    assert_eq!(all["items"][1]["from"], "/?p=123");
    assert_eq!(all["total"], 7);
}

#[tokio::test]
async fn content_at_the_path_wins_and_a_redirect_wins_over_a_former_address() {
    let database = TestDatabase::new().await;
    database.insert("stories", [story("first", day(1)), story("second", day(2))]).await;
    let draft = with(story("draft", day(1)), doc! { "is_published": false });
    database.insert("stories", [draft]).await;
    let site = Site::start(&database).await;
    for (path, named) in [
        ("/blog", "/blog"),
        ("/blog/", "/blog"),
        ("/about", "/about"),
        ("/blog/first", "/blog/first"),
        ("/", "/"),
    ] {
        let (status, answer) = add(&site, path, "/contact").await;
        assert_eq!((status, &answer["code"]), (409, &"conflict".into()), "{path}: {answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("`{named}`")), "{detail}");
    }
    // A draft is at no path yet.
    for path in ["/blog/draft", "/blog/new", "/2015"] {
        assert_eq!(add(&site, path, "/contact").await.0, 201);
        assert_eq!(resolved(&site, path).await, json!(["/contact", 301]));
    }
    // New content that claims the path wins.
    let body = json!({ "title": "New", "slug": "new", "content": "", "is_published": true });
    let new = created(&site, "stories", body).await;
    assert_eq!(new["path"], "/blog/new");
    assert_eq!(resolved(&site, "/blog/new").await, json!("item"));
    section(&database, "2015", doc! {}).await;
    eventually("the section is known", async || resolved(&site, "/2015").await == "section").await;
    let items = list(&site, "").await["items"].take();
    let hidden: Vec<_> = items.as_array().unwrap().iter().map(|one| &one["is_hidden"]).collect();
    assert_eq!(hidden, [&json!(true), &json!(false), &json!(true)], "{items}");
    // When it is gone, the redirect is used again.
    let url = format!("{}/stories/{}", site.content.url, new["id"].as_str().unwrap());
    assert_eq!(send("DELETE", &url, &[], &Value::Null).await.0, 204);
    assert_eq!(resolved(&site, "/blog/new").await, json!(["/contact", 301]));

    let second = database.one("stories", doc! { "slug": "second" }).await;
    let url = format!("{}/stories/{}", site.content.url, second.get_object_id("_id").unwrap());
    assert_eq!(send("PATCH", &url, &[], &json!({ "slug": "third" })).await.0, 200);
    assert_eq!(resolved(&site, "/blog/second").await, json!(["/blog/third", 301]));
    assert_eq!(add(&site, "/blog/second", "/projects").await.0, 201);
    assert_eq!(resolved(&site, "/blog/second").await, json!(["/projects", 301]));
    assert_eq!(delete(&site, "/blog/second/").await, 204);
    assert_eq!(delete(&site, "/blog/second").await, 404);
    assert_eq!(resolved(&site, "/blog/second").await, json!(["/blog/third", 301]));
    // So does one below a former path of a section; and it leads through former paths.
    let about = database.one("sections", doc! { "slug": "about" }).await;
    let of_about =
        format!("{}/sections/{}", site.sections.url, about.get_object_id("_id").unwrap());
    assert_eq!(send("PATCH", &of_about, &[], &json!({ "slug": "us" })).await.0, 200);
    let moved = json!(["/us", 301]);
    eventually("the move is known", async || resolved(&site, "/about").await == moved).await;
    assert_eq!(resolved(&site, "/about?utm_source=x").await, moved);
    assert_eq!(add(&site, "/wir", "/about").await.0, 201);
    assert_eq!(resolved(&site, "/wir").await, moved);
    assert_eq!(add(&site, "/about", "/contact").await.0, 201);
    assert_eq!(resolved(&site, "/wir").await, json!(["/contact", 301]));
}

#[tokio::test]
async fn chains_are_answered_at_once_and_none_is_a_circle() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for (from, to, status) in [("/a", "/b", 301), ("/b", "/c", 302), ("/d", "/e", 301)] {
        let body = json!({ "from": from, "to": { "address": to }, "status": status });
        assert_eq!(post(&site, &body).await.0, 201);
    }
    assert_eq!(add(&site, "/c", "/blog?x=1").await.0, 201);
    // For a time, if one of them is.
    for path in ["/a", "/b", "/a?q=1"] {
        assert_eq!(resolved(&site, path).await, json!(["/blog?x=1", 302]), "{path}");
    }
    assert_eq!(resolved(&site, "/c").await, json!(["/blog?x=1", 301]));
    // A path that the frontend itself may have.
    assert_eq!(resolved(&site, "/d").await, json!(["/e", 301]));
    for (from, to, circle) in [
        ("/e", "/d", "`/e` → `/d` → `/e`"),
        ("/x", "/x", "`/x` → `/x`"),
        ("/x", "/x/?a=1#b", "`/x` → `/x/?a=1#b`"),
        ("/e", "/d?x=1", "`/e` → `/d?x=1` → `/e`"),
    ] {
        let (status, answer) = add(&site, from, to).await;
        let detail = answer["detail"].as_str().unwrap();
        assert!(status == 409 && detail.contains(circle), "{from} {to}: {answer}");
    }
    // One that another redirect would close when it is replaced.
    assert_eq!(add(&site, "/f", "/a").await.0, 201);
    let url = format!("{}/redirects?replace=true", site.content.url);
    let body = json!({ "from": "/c", "to": { "address": "/f" } });
    let (status, _, answer) = send("POST", &url, &[], &body).await;
    assert_eq!((status.as_u16(), &answer["code"]), (409, &"conflict".into()), "{answer}");
    // Although content is in between now.
    database.insert("content_redirects", [stored("/blog", "/g", 301)]).await;
    let (status, answer) = add(&site, "/g", "/blog").await;
    assert_eq!(status, 409, "{answer}");

    // Whatever another program has stored.
    let circle = [stored("/l1", "/l2", 301), stored("/l2", "/l3", 301), stored("/l3", "/l1", 302)];
    database.insert("content_redirects", circle).await;
    for path in ["/l1", "/l2", "/l3"] {
        assert_eq!(resolved(&site, path).await, json!(404), "{path}");
    }
    let long = std::array::from_fn::<_, 25, _>(|number| {
        stored(&format!("/n{number}"), &format!("/n{}", number + 1), 301)
    });
    database.insert("content_redirects", long).await;
    let (status, answer) = add(&site, "/far", "/n0").await;
    assert_eq!((status, &answer["errors"][0]["field"]), (422, &"to".into()), "{answer}");
    // As far as browsers would follow; the next request leads to the end.
    assert_eq!(resolved(&site, "/n0").await, json!(["/n21", 301]));
    assert_eq!(resolved(&site, "/n21").await, json!(["/n25", 301]));
}

#[tokio::test]
async fn a_circle_is_found_however_the_address_is_written() {
    let database = TestDatabase::new().await;
    let site = Site::start_with(&database, &[("site.url", "https://example.com")]).await;
    for to in [
        "/x/../old",
        "/%2E/old/",
        "https://EXAMPLE.com/old",
        "https://example.com:443/x/%2e%2e/old",
        "http://example.com/old?x=1",
    ] {
        let (status, answer) = add(&site, "/old", to).await;
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert!(status == 409 && detail.contains("circle"), "{to}: {answer}");
    }
    assert_eq!(add(&site, "/old", "/shop/../about").await.0, 201);
    assert_eq!(resolved(&site, "/old").await, json!(["/about", 301]));
    // What could not be read again is not stored.
    let (status, answer) = add(&site, "/a/%2e%2e/b", "/about").await;
    assert_eq!((status, &answer["errors"][0]["field"]), (422, &"from".into()), "{answer}");
    let all = list(&site, "").await;
    assert_eq!((&all["total"], all["items"].as_array().unwrap().len()), (&1.into(), 1));
}

fn stored(from: &str, to: &str, status: i32) -> mongodb::bson::Document {
    doc! {
        "_id": from, "to": { "address": to }, "status": status, "createdDate": day(1),
        "updatedDate": day(1),
    }
}

#[tokio::test]
async fn a_change_of_a_redirect_concerns_the_answers_to_its_path() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let api = Api::new(site.content.url.clone());
    let has_key = |answer: &Answer, key: &str| {
        let keys = answer.header(SURROGATE_KEY);
        assert!(keys.split(' ').any(|one| one == key), "{key}: {keys}");
    };
    let key = "redirects/%2Fold%2520one";
    let resolve = async || api.get("/resolve?path=/old%20one").await;
    // An answer has its keys while changes are heard.
    let answered = async |status: u16| {
        let complete = std::cell::OnceCell::new();
        eventually("changes are heard", async || {
            let answer = resolve().await;
            assert_eq!(answer.status, status, "{answer:?}");
            let has_keys = !answer.header(SURROGATE_KEY).is_empty();
            has_keys && complete.set(answer).is_ok()
        })
        .await;
        complete.into_inner().unwrap()
    };
    has_key(&answered(404).await, key);
    let new = json!({ "from": "/old one", "to": { "address": "/next" } });
    let created = api.call("POST", "/redirects", new).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("location"), "/redirects?from=%2Fold%2520one");
    has_key(&created, key);
    let moved = answered(200).await;
    for key in [key, "redirects/%2Fnext", "sections", "redirects"] {
        has_key(&moved, key);
    }
    // Another program deletes it.
    database.collection("content_redirects").delete_many(doc! {}).await.unwrap();
    eventually("the change is heard", async || resolve().await.status == 404).await;
    assert_eq!(add(&site, "/old one", "/next").await.0, 201);
    let deleted = api.call("DELETE", "/redirects?from=/old%20one", Value::Null).await;
    assert_eq!(deleted.status, 204);
    has_key(&deleted, key);
}

#[tokio::test]
async fn two_redirects_at_once_never_close_a_circle() {
    let database = TestDatabase::new().await;
    let site = &Site::start(&database).await;
    for round in 0..8 {
        let ring = 3;
        let place = |number: usize| format!("/r{round}-{}", number % ring);
        let all = (0..ring).map(|number| {
            let (from, to) = (place(number), place(number + 1));
            async move { add(site, &from, &to).await.0 }
        });
        let mut statuses = join_all(all).await;
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 201, 409]);
        let answers = join_all((0..ring).map(|number| {
            let place = place(number);
            async move { resolved(site, &place).await }
        }));
        // The one that was refused leads nowhere; the others lead to it.
        let nowhere = answers.await.iter().filter(|answer| **answer == json!(404)).count();
        assert_eq!(nowhere, 1);
    }
    // The same one, made several times at once, is one.
    let same = join_all((0..6).map(|_| add(site, "/same", "/blog"))).await;
    let made = same.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(
        (made, same.iter().filter(|(status, _)| *status == 200).count()),
        (1, 5),
        "{same:?}"
    );
    assert_eq!(database.count("content_redirects", doc! { "_id": "/same" }).await, 1);
}

#[tokio::test]
async fn redirects_are_listed_page_by_page_and_by_the_beginning_of_their_path() {
    let database = TestDatabase::new().await;
    // Of another program, and one that cannot be read.
    let others = [doc! { "_id": 7 }, doc! { "_id": "x" }, doc! { "_id": "/blog/5b", "to": 1 }];
    database.insert("content_redirects", others).await;
    let site = Site::start(&database).await;
    for number in 0..5 {
        assert_eq!(add(&site, &format!("/blog/{number}"), "/blog").await.0, 201);
    }
    assert_eq!(add(&site, "/blog-old", "/blog").await.0, 201);
    assert_eq!(add(&site, "/Émile", "/blog").await.0, 201);
    let from = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|one| one["from"].as_str().unwrap().to_owned()).collect()
    };
    let first = list(&site, "?limit=3").await;
    assert_eq!(from(&first), ["/%C3%89mile", "/blog-old", "/blog/0"]);
    assert_eq!((&first["total"], &first["previous_cursor"]), (&8.into(), &Value::Null));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = list(&site, &format!("?limit=3&cursor={cursor}")).await;
    assert_eq!(from(&second), ["/blog/1", "/blog/2", "/blog/3"]);
    let next = second["next_cursor"].as_str().unwrap();
    let last = list(&site, &format!("?limit=3&cursor={next}")).await;
    assert_eq!((from(&last), &last["next_cursor"]), (vec!["/blog/4".to_owned()], &Value::Null));
    let back = second["previous_cursor"].as_str().unwrap();
    assert_eq!(from(&list(&site, &format!("?limit=3&cursor={back}")).await), from(&first));
    for (prefix, total) in [("/blog/", 6), ("/blog", 7), ("/Ém", 1), ("/%C3%89", 1), ("/x", 0)] {
        let found = list(&site, &format!("?prefix={}", query(prefix))).await;
        assert_eq!(found["total"], total, "{prefix}");
    }
    for wrong in [
        "?cursor=x",
        "?cursor=",
        "?prefix=blog",
        "?from=blog",
        "?from=/a&prefix=/b",
        "?limit=51",
        "?offset=1",
    ] {
        let url = format!("{}/redirects{wrong}", site.content.url);
        assert_eq!(send("GET", &url, &[], &Value::Null).await.0, 422, "{wrong}");
    }
}

#[tokio::test]
async fn wrong_redirects_are_refused_with_the_reason_and_only_admins_make_them() {
    let database = TestDatabase::new().await;
    user(&database, "author", "author").await;
    let site = Site::start(&database).await;
    let to = json!({ "address": "/blog" });
    let missing = "ffffffffffffffffffffffff";
    for (body, field) in [
        (json!({ "to": to }), "from"),
        (json!({ "from": "/old" }), "to"),
        (json!({ "from": "old", "to": to }), "from"),
        (json!({ "from": "https://example.com/old", "to": to }), "from"),
        (json!({ "from": "/old#x", "to": to }), "from"),
        (json!({ "from": { "$ne": 1 }, "to": to }), "from"),
        (json!({ "from": format!("/{}", "x".repeat(2_048)), "to": to }), "from"),
        (json!({ "from": "/old", "to": "/blog" }), "to"),
        (json!({ "from": "/old", "to": { "address": "javascript:alert(1)" } }), "to.address"),
        (json!({ "from": "/old", "to": { "address": "//evil.example" } }), "to.address"),
        (json!({ "from": "/old", "to": { "section": { "id": missing } } }), "to.section.id"),
        (
            json!({ "from": "/old", "to": { "item": { "kind": "stories", "id": missing } } }),
            "to.item.id",
        ),
        (
            json!({ "from": "/old", "to": { "item": { "kind": "users", "id": missing } } }),
            "to.item.kind",
        ),
        (json!({ "from": "/old", "to": to, "status": 307 }), "status"),
        (json!({ "from": "/old", "to": to, "code": 301 }), "code"),
    ] {
        let (status, answer) = post(&site, &body).await;
        assert_eq!(status, 422, "{body}: {answer}");
        assert_eq!(answer["errors"][0]["field"], field, "{body}: {answer}");
    }
    let url = format!("{}/redirects", site.content.url);
    let json_type = [("content-type", "application/json")];
    for method in ["GET", "POST", "DELETE"] {
        assert_eq!(send_raw(method, &url, &json_type, b"{}".to_vec()).await.0, 401, "{method}");
    }
    assert_eq!(send("DELETE", &url, &[], &Value::Null).await.0, 422);
    assert_eq!(database.count("content_redirects", doc! {}).await, 0);

    let (status, made) = add(&site, "/old", "/blog").await;
    assert_eq!(status, 201);
    // What was answered can be sent back; another target is named.
    assert_eq!(post(&site, &made).await, (200, made.clone()));
    let (status, answer) = add(&site, "/old/", "/about").await;
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        status == 409 && detail.contains("`/old` has a redirect already, to `/blog`"),
        "{answer}"
    );
    let body = json!({ "from": "/old", "to": { "address": "/about" }, "status": 302 });
    let (status, _, replaced) = send("POST", &format!("{url}?replace=true"), &[], &body).await;
    assert_eq!((status.as_u16(), &replaced["status"]), (200, &302.into()), "{replaced}");
    assert_eq!(replaced["createdDate"], made["createdDate"]);
    assert_eq!(resolved(&site, "/old").await, json!(["/about", 302]));
    // Stored values of other types do no harm.
    let odd = doc! { "$set": { "to": { "address": Bson::Null } } };
    database.collection("content_redirects").update_one(doc! { "_id": "/old" }, odd).await.unwrap();
    assert_eq!(resolved(&site, "/old").await, json!(404));
}

/// Sends a CSV file, and returns the status and the answer.
async fn import(site: &Site, query: &str, text: impl Into<Vec<u8>>) -> (u16, Value) {
    let url = format!("{}/redirects{query}", site.content.url);
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("content-type", "text/csv; charset=utf-8"), ("authorization", &*bearer)];
    let (status, _, answer) = send_raw("POST", &url, &headers, text.into()).await;
    (status.as_u16(), answer)
}

/// Returns the number, the path and the outcome of each line, with the field that was wrong.
fn outcomes(answer: &Value) -> Vec<String> {
    let lines = answer["lines"].as_array().unwrap_or_else(|| panic!("{answer}")).iter();
    let line = |line: &Value| {
        let field = line["errors"][0]["field"].as_str().map(|field| format!(" {field}"));
        let [from, outcome] = ["from", "outcome"].map(|member| line[member].as_str().unwrap());
        format!("{} {from} {outcome}{}", line["line"], field.unwrap_or_default())
    };
    lines.map(line).collect()
}

#[tokio::test]
async fn a_csv_file_is_added_line_by_line_and_again_without_a_change() {
    let database = TestDatabase::new().await;
    database.insert("stories", [story("first", day(1))]).await;
    let site = Site::start(&database).await;
    let first = database.one("stories", doc! { "slug": "first" }).await;
    let id = first.get_object_id("_id").unwrap();
    let missing = "ffffffffffffffffffffffff";
    let file = format!(
        "\u{feff}from;to;status\r\n\
         /a;/b;\r\n\
         /über;stories/{id};302\r\n\
         \"/x;y\";https://elsewhere.example/;301\r\n\
         \r\n\
         /b;/a;\r\n\
         /blog;/about;\r\n\
         old;/about;\r\n\
         /gone;sections/{missing};\r\n\
         /a/;/b;\r\n\
         /a;/c;\r\n\
         /c;/d;303\r\n"
    );
    let (status, answer) = import(&site, "", file.clone()).await;
    assert_eq!(status, 200, "{answer}");
    let expected = [
        "2 /a created",
        "3 /%C3%BCber created",
        "4 /x;y created",
        "6 /b refused from",
        "7 /blog refused from",
        "8 old refused from",
        "9 /gone refused to.section.id",
        "10 /a unchanged",
        "11 /a refused from",
        "12 /c refused status",
    ];
    assert_eq!(outcomes(&answer), expected, "{answer}");
    let circle = answer["lines"][3]["errors"][0]["message"].as_str().unwrap();
    assert!(circle.contains("`/b` → `/a` → `/b`"), "{circle}");
    let counts = ["created", "changed", "unchanged", "refused"].map(|name| answer[name].as_u64());
    assert_eq!(counts, [Some(3), Some(0), Some(1), Some(6)]);
    assert_eq!(resolved(&site, "/a").await, json!(["/b", 301]));
    assert_eq!(resolved(&site, "/Über").await, json!(404));
    assert_eq!(resolved(&site, "/über").await, json!(["/blog/first", 302]));
    // Again, nothing changes.
    let (_, again) = import(&site, "", file).await;
    let counts = ["created", "changed", "unchanged", "refused"].map(|name| again[name].as_u64());
    assert_eq!(counts, [Some(0), Some(0), Some(4), Some(6)], "{again}");
    assert_eq!(database.count("content_redirects", doc! {}).await, 3);

    let other = "from,to\n/a,/contact\n/n,/contact\n";
    assert_eq!(outcomes(&import(&site, "", other).await.1), ["2 /a refused from", "3 /n created"]);
    let (_, replaced) = import(&site, "?replace=true", other).await;
    assert_eq!(outcomes(&replaced), ["2 /a changed", "3 /n unchanged"]);
    assert_eq!(resolved(&site, "/a").await, json!(["/contact", 301]));
}

#[tokio::test]
async fn a_large_csv_file_is_added_and_one_that_is_no_csv_is_refused() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let lines: String = (0..100).map(|number| format!("/old/{number}.html,/blog\n")).collect();
    let (status, answer) = import(&site, "", format!("from,to\n{lines}")).await;
    assert_eq!((status, &answer["created"]), (200, &100.into()), "{}", answer["code"]);
    assert_eq!(list(&site, "?limit=1").await["total"], 100);
    let (status, answer) = import(&site, "", format!("from,to\n{lines}/more,/blog\n")).await;
    assert_eq!((status, &answer["errors"][0]["field"]), (422, &"body".into()), "{answer}");
    for (text, expected) in [
        (b"/a,/b\n".to_vec(), 422),
        (b"".to_vec(), 422),
        (b"from,to,code\n/a,/b,1\n".to_vec(), 422),
        (b"from,to\n/\xfcber,/b\n".to_vec(), 400),
        (vec![b'x'; 5 * 1024 * 1024], 413),
    ] {
        assert_eq!(import(&site, "", text.clone()).await.0, expected, "{text:.40?}");
    }
    let url = format!("{}/redirects", site.content.url);
    let of_stranger = [("content-type", "text/csv")];
    let (status, ..) = send_raw("POST", &url, &of_stranger, b"from,to\n/s,/b\n".to_vec()).await;
    assert_eq!(status, 401);
    let bearer = format!("Bearer {TOKEN}");
    for content_type in ["text/plain", "text/csv; charset=windows-1252", "application/xml"] {
        let headers = [("content-type", content_type), ("authorization", &*bearer)];
        let (status, _, answer) =
            send_raw("POST", &url, &headers, b"from,to\n/s,/b\n".to_vec()).await;
        assert_eq!(status, 415, "{content_type}: {answer}");
    }
    assert_eq!(database.count("content_redirects", doc! {}).await, 100);
}
