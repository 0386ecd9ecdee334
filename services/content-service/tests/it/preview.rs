//! Preview links, and drafts by their paths.

use models::ContentType;
use mongodb::bson::doc;
use serde_json::{Value, json};
use test_support::{Service, TestDatabase};

use crate::support::{Site, ask, content, created, page, section, send, with};

const SECRET: (&str, &str) = ("internal.secret", "a secret of the tests");

async fn link(service: &Service, body: Value) -> Value {
    let url = format!("{}/preview", service.url);
    let (status, headers, link) = send("POST", &url, &[], &body).await;
    assert_eq!(status, 201, "{link}");
    assert_eq!(headers["cache-control"], "private, no-store");
    link
}

#[tokio::test]
async fn a_link_shows_one_draft_of_any_kind_to_a_person_without_an_account() {
    let database = TestDatabase::new().await;
    let site = Site::start_with(&database, &[SECRET]).await;
    for kind in ContentType::ALL {
        let collection = kind.collection();
        let body = json!({ "title": "Draft", "content": "<p>x</p>", "is_published": false });
        let item = created(&site, collection, body).await;
        let path = format!("/{collection}/{}", item["id"].as_str().unwrap());
        let body = json!({ "content_type": kind.as_str(), "id": item["id"] });
        let link = link(&site.content, body).await;
        let address = format!("{}{}", site.content.url, link["path"].as_str().unwrap());
        let (status, headers, shown) = ask(&address, &[]).await;
        assert_eq!(status, 200, "{collection}: {shown}");
        let expected = json!({
            "content_type": kind.as_str(), "item": item, "expires_at": link["expires_at"],
        });
        assert_eq!(shown, expected);
        for (name, value) in [
            ("cache-control", "private, no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-robots-tag", "noindex, nofollow"),
        ] {
            assert_eq!(headers[name], value, "{collection}");
        }
        // The gateway keeps no answer without keys.
        assert!(!headers.contains_key("surrogate-key") && !headers.contains_key("etag"));
        // It is the item as it is now.
        let url = format!("{}{path}", site.content.url);
        assert_eq!(send("PATCH", &url, &[], &json!({ "title": "Changed" })).await.0, 200);
        assert_eq!(ask(&address, &[]).await.2["item"]["title"], "Changed");
        // Nothing else shows it.
        assert_eq!(site.content.get(&format!("/{collection}")).await.1["total"], 0);
        assert_eq!(send("DELETE", &url, &[], &Value::Null).await.0, 204);
        let (status, _, gone) = ask(&address, &[]).await;
        assert_eq!((status.as_u16(), &gone["code"]), (404, &"not_found".into()));
        assert!(!gone.to_string().contains("Changed"));
    }
}

#[tokio::test]
async fn an_editor_reads_drafts_by_their_path_and_address() {
    let database = TestDatabase::new().await;
    let mut sections = Vec::new();
    for kind in ContentType::ALL {
        let display = serde_json::to_value(kind.usual_display()).unwrap();
        let fields = doc! {
            "content_type": kind.as_str(), "display_type": display.as_str().unwrap(),
            "is_published": false,
        };
        sections.push((kind, section(&database, kind.collection(), fields).await));
    }
    let site = Site::start(&database).await;
    for (kind, section) in sections {
        let collection = kind.collection();
        let mut body = json!({
            "title": "Draft", "content": "<p>x</p>", "slug": "draft", "is_published": false,
            "section_id": section,
        });
        let mut address = format!("/{collection}/slug/draft");
        if kind == ContentType::Page {
            body["page_type"] = "draft".into();
            address = "/pages/type/draft".to_owned();
        }
        let item = created(&site, collection, body).await;
        let path = format!("/resolve?path=/{collection}/draft");
        let list = format!("/resolve?path=/{collection}");
        for public in [&address, &path, &list] {
            assert_eq!(site.content.get(public).await.0, 404, "{public}");
        }
        let editor = async |path: &str| {
            let separator = if path.contains('?') { '&' } else { '?' };
            let path = format!("{path}{separator}include_drafts=true");
            let (status, _) = site.content.get(&path).await;
            assert_eq!(status, 401, "{path}");
            let (status, body) = site.content.get_as_editor(&path).await;
            assert_eq!(status, 200, "{path}: {body}");
            body
        };
        assert_eq!(editor(&address).await, item);
        let resolved = editor(&path).await;
        assert_eq!((&resolved["kind"], &resolved["content"]), (&"item".into(), &item));
        assert_eq!(resolved["canonical_path"], format!("/{collection}/draft"));
        assert_eq!(resolved["section"]["is_published"], false);
        let resolved = editor(&list).await;
        if kind.usual_display() == models::DisplayType::StaticPage {
            assert_eq!((&resolved["kind"], &resolved["content"]), (&"item".into(), &item));
        } else {
            assert_eq!(
                (&resolved["kind"], &resolved["content"]["total"]),
                (&"section".into(), &1.into())
            );
        }
        // One with a new slug is found at its former path.
        let url = format!("{}/{collection}/{}", site.content.url, item["id"].as_str().unwrap());
        assert_eq!(send("PATCH", &url, &[], &json!({ "slug": "renamed" })).await.0, 200);
        let moved =
            json!({ "kind": "moved", "moved_to": format!("/{collection}/renamed"), "status": 301 });
        assert_eq!(editor(&path).await, moved);
        assert_eq!(site.content.get(&path).await.0, 404);
        // An item in the trash is not found.
        assert_eq!(send("DELETE", &url, &[], &Value::Null).await.0, 204);
        for gone in [&address, &path] {
            let separator = if gone.contains('?') { '&' } else { '?' };
            let gone = format!("{gone}{separator}include_drafts=true");
            assert_eq!(site.content.get_as_editor(&gone).await.0, 404, "{gone}");
        }
    }
}

#[tokio::test]
async fn a_link_works_at_every_replica_with_the_same_secret_and_at_no_other() {
    let database = TestDatabase::new().await;
    let draft = with(page("about"), doc! { "is_published": false, "_id": "an id of text" });
    database.insert("pages", [draft]).await;
    let site = Site::start_with(&database, &[SECRET]).await;
    let link = link(&site.content, json!({ "content_type": "page", "id": "an id of text" })).await;
    let path = link["path"].as_str().unwrap();
    for (secret, expected) in [(SECRET.1, 200), ("another secret of them", 404)] {
        let replica = content(&database, &site.sections.url, &[("internal.secret", secret)]).await;
        let (status, _, answer) = ask(&format!("{}{path}", replica.url), &[]).await;
        assert_eq!(status, expected, "{answer}");
        replica.stop().await.unwrap();
    }
    // A token of one item reads no other, and none that was changed.
    let token = link["token"].as_str().unwrap();
    for wrong in [&token[1..], &token[..token.len() - 1], "x.y", ".", "", &format!("{token}x")] {
        let (status, answer) = site.content.get(&format!("/preview?token={wrong}")).await;
        assert_eq!(status, 404, "{wrong}: {answer}");
    }
    assert_eq!(site.content.get("/preview").await.0, 422);
}

#[tokio::test]
async fn a_link_needs_a_token_an_item_a_time_and_a_secret() {
    let database = TestDatabase::new().await;
    let site = Site::start_with(&database, &[SECRET]).await;
    let item = created(&site, "stories", json!({ "title": "A", "content": "<p>x</p>" })).await;
    let url = format!("{}/preview", site.content.url);
    let new = |more: Value| {
        let mut body = json!({ "content_type": "story", "id": item["id"] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (body, status, code, field) in [
        (new(json!({ "id": "626e3e0035b0bc65bb5e1545" })), 404, "not_found", None),
        (new(json!({ "content_type": "page" })), 404, "not_found", None),
        (new(json!({ "content_type": "stories" })), 422, "validation_failed", Some("content_type")),
        (new(json!({ "expires_in": 59 })), 422, "validation_failed", Some("expires_in")),
        (new(json!({ "expires_in": 604_801 })), 422, "validation_failed", Some("expires_in")),
        (new(json!({ "id": { "$ne": null } })), 422, "validation_failed", Some("id")),
        (new(json!({ "path": "/" })), 422, "validation_failed", Some("path")),
    ] {
        let (answered, _, answer) = send("POST", &url, &[], &body).await;
        assert_eq!(
            (answered.as_u16(), &answer["code"]),
            (status, &code.into()),
            "{body}: {answer}"
        );
        if let Some(field) = field {
            assert_eq!(answer["errors"][0]["field"], field);
        }
    }
    for expires_in in [60, 604_800] {
        link(&site.content, new(json!({ "expires_in": expires_in }))).await;
    }
    let (status, _, _) =
        send("POST", &url, &[("authorization", "Bearer no")], &new(json!({}))).await;
    assert_eq!(status, 401);
    let without = content(&database, &site.sections.url, &[]).await;
    let (status, _, answer) =
        send("POST", &format!("{}/preview", without.url), &[], &new(json!({}))).await;
    assert_eq!((status.as_u16(), &answer["code"]), (409, &"conflict".into()));
    assert!(answer["detail"].as_str().unwrap().contains("internal.secret"));
    assert_eq!(without.get("/preview?token=a.b").await.0, 404);
}
