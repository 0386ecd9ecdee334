//! Finding, describing and deleting files, with the real content-service.

use image::ImageFormat;
use serde_json::{Value, json};
use test_support::{Api, Service, TestDatabase};

use crate::support::{Site, picture, video};

/// The services of a site.
struct Services {
    site: Site,
    content: Api,
    both: (Service, Service),
}

impl Services {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let services = Service::both(&database).await;
        let content = Api::new(&*services.1.url);
        let site = Site::on(database, &[("content.url", &services.1.url)]).await;
        Self { site, content, both: services }
    }

    /// Returns the ids of the files of a list.
    async fn ids(&self, query: &str) -> Vec<String> {
        let answer = self.site.api.get(&format!("/media{query}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let items = answer.body["items"].as_array().unwrap().iter();
        items.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Uploads a picture, and returns its id and its address.
    async fn picture(&self, name: &str) -> (String, String) {
        let url = self.site.address(name, &picture(ImageFormat::Png, 800, 8)).await;
        (self.ids("?limit=1").await.remove(0), url)
    }

    async fn add(&self, path: &str, body: Value) -> String {
        let answer = self.content.call("POST", path, body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.id()
    }
}

#[tokio::test]
async fn files_are_listed_searched_and_paged() {
    let services = Services::new().await;
    let mut all = Vec::new();
    for name in ["Lighthouse (1).png", "dune.png", "dune 50%.png"] {
        all.insert(0, services.picture(name).await.0);
    }
    services.site.address("clip.mp4", &video(b"isom", 9)).await;
    all.insert(0, services.ids("?limit=1").await.remove(0));
    assert_eq!(services.ids("").await, all);
    let first = services.site.api.get("/media?limit=3").await;
    assert_eq!((&first.body["total"], &first.body["limit"]), (&json!(4), &json!(3)));
    let cursor = first.body["next_cursor"].as_str().unwrap();
    assert_eq!(services.ids(&format!("?limit=3&cursor={cursor}")).await, all[3..]);
    let last = services.site.api.get(&format!("/media?limit=3&cursor={cursor}")).await;
    assert_eq!(last.body["next_cursor"], Value::Null);
    for (query, expected) in [
        ("lighthouse", &all[3..]),
        ("DUNE", &all[1..3]),
        ("50%25", &all[1..2]),
        ("(1)", &all[3..]),
        (".*", &[]),
        ("%5E", &[]),
        (".mp4", &all[..1]),
    ] {
        assert_eq!(services.ids(&format!("?q={query}")).await, expected, "{query}");
    }
    let file = &services.site.api.get("/media?q=lighthouse").await.body["items"][0];
    assert_eq!(file["original_name"], "Lighthouse (1).png");
    assert_eq!(file["media_type"], "image/webp");
    assert_eq!((&file["width"], &file["height"]), (&json!(800), &json!(8)));
    let url = file["url"].as_str().unwrap();
    assert!(file["srcset"].as_str().unwrap().starts_with(&format!("{url} 800w, ")));
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?limit=51", "limit"),
        ("?cursor=x", "cursor"),
        ("?q=", "q"),
        ("?q[$ne]=x", "q[$ne]"),
        ("?unused=maybe", "unused"),
        ("?offset=1", "offset"),
    ] {
        let answer = services.site.api.get(&format!("/media{query}")).await;
        assert_eq!(answer.status, 422, "{query}: {answer:?}");
        assert_eq!(answer.body["errors"][0]["field"], field);
    }
    let stranger = services.site.api.clone().sent_by(None);
    for path in ["/media", &format!("/media/{}", all[0])] {
        assert_eq!(stranger.get(path).await.status, 401);
    }
}

#[tokio::test]
async fn a_file_is_deleted_unless_an_item_shows_it() {
    let services = Services::new().await;
    let (in_text, url) = services.picture("a.png").await;
    let (as_picture, image_url) = services.picture("b.png").await;
    let (unused, _) = services.picture("c.png").await;
    let small = url.replace(".webp", "_500.webp");
    let story = json!({ "title": "With a picture", "content": format!("<img src=\"{small}\">") });
    let story = services.add("/stories", story).await;
    let project = json!({
        "title": "Tool", "content": "", "summary": "", "technologies": [],
        "image_url": format!("https://site.example{image_url}"),
    });
    services.add("/projects", project).await;
    assert_eq!(services.ids("?unused=true").await, [unused.as_str()]);

    let detail = services.site.api.get(&format!("/media/{in_text}")).await;
    let place = json!({
        "content_type": "story", "id": story, "title": "With a picture", "deleted": false,
    });
    assert_eq!(detail.body["used_in"], json!([place]), "{detail:?}");
    for (id, words) in
        [(&in_text, ["`With a picture`", &story]), (&as_picture, ["`Tool`", "/projects/"])]
    {
        let refused = services.site.api.call("DELETE", &format!("/media/{id}"), Value::Null).await;
        assert_eq!(refused.code(), (409, "conflict"), "{refused:?}");
        let text = refused.body["detail"].as_str().unwrap();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
    // In the trash, from which it can be restored.
    let path = format!("/stories/{story}");
    assert_eq!(services.content.call("DELETE", &path, Value::Null).await.status, 204);
    let refused = services.site.api.call("DELETE", &format!("/media/{in_text}"), Value::Null).await;
    assert!(refused.body["detail"].as_str().unwrap().contains("in the trash"), "{refused:?}");
    let restored = services.content.call("POST", &format!("{path}/restore"), Value::Null).await;
    assert_eq!(restored.status, 200, "{restored:?}");
    let changed = services.content.call("PATCH", &path, json!({ "content": "<p>None</p>" })).await;
    assert_eq!(changed.status, 200, "{changed:?}");

    let path = format!("/media/{in_text}");
    let stale = services.site.api.send("DELETE", &path, &[("if-match", "\"old\"")], None).await;
    assert_eq!(stale.status, 412, "{stale:?}");
    assert_eq!(services.site.get(&url, &[]).await.status(), 200);
    assert_eq!(services.site.api.call("DELETE", &path, Value::Null).await.status, 204);
    for url in [&url, &small, &url.replace(".webp", "_750.webp")] {
        assert_eq!(services.site.get(url, &[]).await.status(), 404, "{url}");
    }
    assert_eq!(services.site.api.call("DELETE", &path, Value::Null).await.status, 404);
    assert_eq!(services.ids("").await, [unused, as_picture]);
    assert_eq!(services.site.stored().len(), 6, "{:?}", services.site.stored());
}

#[tokio::test]
async fn a_file_is_not_deleted_while_a_section_or_the_site_shows_it() {
    let services = Services::new().await;
    let sections = Api::new(&*services.both.0.url);
    let (of_section, url) = services.picture("a.png").await;
    let section = json!({ "title": "Tides", "content_type": "story", "social_image": url });
    let section = sections.call("POST", "/sections", section).await;
    assert_eq!(section.status, 201, "{section:?}");
    let section = section.id();
    let (of_site, url) = services.picture("b.png").await;
    let site =
        services.content.call("PATCH", "/site", json!({ "title": "Lamp", "logo": url })).await;
    assert_eq!(site.status, 200, "{site:?}");
    assert_eq!(services.ids("?unused=true").await, [] as [&str; 0]);

    let place = json!({
        "content_type": "section", "id": section, "title": "Tides", "deleted": false,
    });
    let detail = services.site.api.get(&format!("/media/{of_section}")).await;
    assert_eq!(detail.body["used_in"], json!([place]), "{detail:?}");
    let place = json!({ "content_type": "site", "id": "site", "title": "Lamp", "deleted": false });
    let detail = services.site.api.get(&format!("/media/{of_site}")).await;
    assert_eq!(detail.body["used_in"], json!([place]), "{detail:?}");
    let path = format!("/sections/{section}");
    assert_eq!(sections.call("DELETE", &path, Value::Null).await.status, 204);
    let in_trash = format!("`Tides` ({path}, in the trash)");
    for (id, place) in [(&of_section, &*in_trash), (&of_site, "`Lamp` (/site)")] {
        let refused = services.site.api.call("DELETE", &format!("/media/{id}"), Value::Null).await;
        assert_eq!(refused.code(), (409, "conflict"), "{refused:?}");
        assert!(refused.body["detail"].as_str().unwrap().contains(place), "{refused:?}");
    }
    let none = json!({ "logo": null });
    assert_eq!(services.content.call("PATCH", "/site", none).await.status, 200);
    let path = format!("/media/{of_site}");
    assert_eq!(services.site.api.call("DELETE", &path, Value::Null).await.status, 204);
}

#[tokio::test]
async fn title_and_text_of_a_file_are_changed_and_nothing_else() {
    let services = Services::new().await;
    let (id, _) = services.picture("a.png").await;
    let path = format!("/media/{id}");
    let before = services.site.api.get(&path).await;
    let body = json!({ "title": " The dune ", "alt": "Sand" });
    let changed = services.site.api.call("PATCH", &path, body).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(
        (&changed.body["title"], &changed.body["alt"]),
        (&json!("The dune"), &json!("Sand"))
    );
    assert_ne!(changed.header("etag"), before.header("etag"));
    // What was read can be sent back, and changes nothing.
    let same = services.site.api.call("PATCH", &path, changed.body.clone()).await;
    assert_eq!((same.status, &same.body), (200, &changed.body));
    let tag = before.header("etag").to_owned();
    let body = Some(json!({ "alt": null }).to_string());
    let stale = services.site.api.send("PATCH", &path, &[("if-match", &tag)], body.clone()).await;
    assert_eq!(stale.status, 412);
    assert_eq!(stale.body["current"]["etag"], changed.header("etag"));
    assert_eq!(stale.body["current"]["value"]["title"], "The dune");
    let tag = changed.header("etag").to_owned();
    let cleared = services.site.api.send("PATCH", &path, &[("if-match", &tag)], body).await;
    assert_eq!((cleared.status, &cleared.body["alt"]), (200, &Value::Null), "{cleared:?}");
    assert_eq!(services.ids("?q=dune").await, [id.as_str()]);
    for (body, field) in [
        (json!({ "title": "" }), "title"),
        (json!({ "alt": { "$set": 1 } }), "alt"),
        (json!({ "url": "/uploads/other.webp" }), "url"),
        (json!({ "name": "x" }), "name"),
        (json!({ "title": "x".repeat(201) }), "title"),
    ] {
        let answer = services.site.api.call("PATCH", &path, body).await;
        assert_eq!(answer.status, 422, "{answer:?}");
        assert_eq!(answer.body["errors"][0]["field"], field);
    }
    for (path, status) in [("/media/x", 400), ("/media/ffffffffffffffffffffffff", 404)] {
        for method in ["GET", "PATCH", "DELETE"] {
            let body = if method == "PATCH" { json!({}) } else { Value::Null };
            let answer = services.site.api.call(method, path, body).await;
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn without_content_service_nothing_is_deleted() {
    let site = Site::with(&[("content.url", "http://127.0.0.1:9")]).await;
    let url = site.address("a.png", &picture(ImageFormat::Png, 9, 9)).await;
    let list = site.api.get("/media").await;
    let id = list.body["items"][0]["id"].as_str().unwrap();
    let refused = site.api.call("DELETE", &format!("/media/{id}"), Value::Null).await;
    assert_eq!(refused.code(), (503, "upstream_unavailable"), "{refused:?}");
    assert_eq!(site.get(&url, &[]).await.status(), 200);
}
