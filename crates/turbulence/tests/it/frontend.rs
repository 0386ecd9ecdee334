//! The requests of an existing frontend.

use mongodb::bson::{DateTime, doc};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::support::{Site, Summary};

/// The API client of the frontend.
struct StoriesApi<'a> {
    client: Client,
    site: &'a Summary,
}

impl StoriesApi<'_> {
    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        // The frontend always sets this header, even without a body.
        let request = self.client.request(method, format!("{}{path}", self.site.address));
        request.header("content-type", "application/json")
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Response {
        let request = self.request(method, path).bearer_auth(&self.site.token);
        match body {
            Some(body) => request.body(body.to_string()).send().await.unwrap(),
            None => request.send().await.unwrap(),
        }
    }
}

async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    // The frontend parses an error as JSON if this header says so, and shows `detail`.
    assert_eq!(response.headers()["content-type"], "application/json");
    (status, response.json().await.unwrap())
}

async fn refused(response: Response, status: u16, detail: &str) {
    let (actual, body) = answer(response).await;
    assert_eq!((actual, body["detail"].as_str()), (status, Some(detail)));
}

#[tokio::test]
async fn an_existing_frontend_works_unchanged() {
    let site = Site::new().await;
    let (older, at) =
        ("650000000000000000000001", DateTime::parse_rfc3339_str("2023-09-12T08:00:00Z"));
    site.database
        .insert(
            "stories",
            [
                doc! {
                    "_id": older.parse::<mongodb::bson::oid::ObjectId>().unwrap(),
                    "title": "Older", "content": "<p onclick=\"go()\">Older</p>", "slug": "older",
                    "is_published": true, "date": at.clone().unwrap(), "createdDate": at.clone().unwrap(),
                    "updatedDate": at.unwrap(), "views": 7,
                },
                doc! { "title": "Hidden", "content": "", "slug": "hidden", "is_published": false },
            ],
        )
        .await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    let client =
        service_kit::web::http_client::service_client(std::time::Duration::from_secs(60)).unwrap();
    let api = StoriesApi { client, site: &summary };
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let first_page = "/stories?limit=5&offset=0&include_drafts=false";

    // The page of the blog, for everybody.
    let list = answer(api.request(get.clone(), first_page).send().await.unwrap()).await;
    assert_eq!(
        (list.0, &list.1["total"], &list.1["limit"], &list.1["offset"]),
        (200, &json!(1), &json!(5), &json!(0))
    );
    let item = &list.1["items"][0];
    assert_eq!(
        (&item["id"], &item["slug"], &item["createdDate"]),
        (&json!(older), &json!("older"), &json!("2023-09-12T08:00:00.000Z"))
    );
    let by_slug =
        answer(api.request(get.clone(), "/stories/slug/older").send().await.unwrap()).await;
    assert_eq!(by_slug, (200, item.clone()));
    let hidden = api.request(get.clone(), "/stories/slug/hidden").send().await.unwrap();
    refused(hidden, 404, "Story not found").await;

    // The editor: drafts, and one item by its id.
    let drafts = "/stories?limit=5&offset=0&include_drafts=true";
    let list = answer(api.send(get.clone(), drafts, None).await).await;
    assert_eq!((list.0, &list.1["total"]), (200, &json!(2)));
    let by_id = answer(api.send(get.clone(), &format!("/stories/{older}"), None).await).await;
    assert_eq!(by_id, (200, item.clone()));
    for (path, token, status, detail) in [
        (drafts, None, 401, "Authorization header is missing."),
        (&*format!("/stories/{older}"), None, 401, "Authorization header is missing."),
        (
            drafts,
            Some("Basic eA=="),
            401,
            "Authorization header must be of the form `Bearer <token>`.",
        ),
        (drafts, Some("Bearer "), 401, "The token is missing after `Bearer`."),
        (drafts, Some("Bearer expired"), 401, "The token is invalid or has expired."),
    ] {
        let request = api.request(get.clone(), path);
        let request = token
            .into_iter()
            .fold(request, |request, token| request.header("authorization", token));
        refused(request.send().await.unwrap(), status, detail).await;
    }
    refused(
        api.send(get.clone(), "/stories/undefined", None).await,
        400,
        "Invalid story ID format",
    )
    .await;
    let unknown = "/stories/ffffffffffffffffffffffff";
    refused(api.send(get.clone(), unknown, None).await, 404, "Story not found").await;

    // It writes one with a date in the past, as its editor sends it.
    let body = json!({
        "title": "What's new?", "content": "<h2>New</h2><p>Text</p>", "is_published": true,
        "createdDate": "2026-05-01T09:30:00.000Z",
    });
    let created = api.send(post.clone(), "/stories", Some(&body)).await;
    let location = created.headers()["location"].to_str().unwrap().to_owned();
    let (status, new) = answer(created).await;
    assert_eq!(
        (status, &new["slug"], &new["createdDate"]),
        (201, &json!("whats-new"), &body["createdDate"])
    );
    assert_eq!((&new["title"], &new["content"]), (&body["title"], &body["content"]));
    let path = format!("/stories/{}", new["id"].as_str().unwrap());
    assert_eq!(location, path);
    let by_slug = api.request(get.clone(), "/stories/slug/whats-new").send().await.unwrap();
    assert_eq!(answer(by_slug).await, (200, new.clone()));
    let list = answer(api.request(get.clone(), first_page).send().await.unwrap()).await.1;
    assert_eq!(list["items"], json!([new, item]));

    // It changes both, and sends all of what it has read.
    for (before, path) in [(&new, &path), (item, &format!("/stories/{older}"))] {
        let mut changed = before.clone();
        changed["title"] = "Changed".into();
        let (status, after) = answer(api.send(put.clone(), path, Some(&changed)).await).await;
        assert_eq!((status, &after["title"]), (200, &json!("Changed")), "{after}");
        for kept in ["id", "slug", "createdDate", "date", "user_id", "section_id", "deleted"] {
            assert_eq!(after[kept], before[kept], "{kept}");
        }
    }
    let stored = site.database.one("stories", doc! { "slug": "older" }).await;
    assert_eq!(stored.get_i32("views").unwrap(), 7);
    let missing = api.send(put, unknown, Some(&body)).await;
    refused(missing, 404, "Story not found").await;
    let untitled = json!({ "title": "", "content": "" });
    assert_eq!(answer(api.send(post, "/stories", Some(&untitled)).await).await.0, 422);

    // It deletes one, and looks at what is left.
    let deleted = api.send(Method::DELETE, &path, None).await;
    assert_eq!((deleted.status().as_u16(), deleted.text().await.unwrap()), (204, String::new()));
    refused(api.send(Method::DELETE, &path, None).await, 404, "Story not found").await;
    refused(api.send(get.clone(), &path, None).await, 404, "Story not found").await;
    refused(
        api.send(Method::DELETE, "/stories/undefined", None).await,
        400,
        "Invalid story ID format",
    )
    .await;
    let gone = api.request(get.clone(), "/stories/slug/whats-new").send().await.unwrap();
    refused(gone, 404, "Story not found").await;
    let list = answer(api.request(get, first_page).send().await.unwrap()).await.1;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    turbulence.stop().await;
}
