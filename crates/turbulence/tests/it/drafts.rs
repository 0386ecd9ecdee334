//! Drafts beside what is published, through the gateway and what it keeps.

use models::ContentType;
use serde_json::{Value, json};
use test_support::{Api, TestDatabase};

use crate::front::Front;

#[tokio::test]
async fn the_public_reads_a_draft_right_after_it_is_published_and_not_before() {
    let database = TestDatabase::new().await;
    let front = Front::start(&database, &[]).await;
    let public = Api::new(&*front.url).sent_by(None);
    for kind in ContentType::ALL {
        let collection = kind.collection();
        let section = json!({
            "title": "Notes", "slug": format!("of-{collection}"), "content_type": kind.as_str(),
            "display_type": kind.usual_display(),
        });
        let section = front.call("POST", "/sections", section).await;
        assert_eq!(section.status, 201, "{section:?}");
        let item = json!({ "title": "First", "content": "<p>One</p>", "section_id": section.id() });
        let item = front.call("POST", &format!("/{collection}"), item).await;
        assert_eq!(item.status, 201, "{item:?}");
        let own = format!("/{collection}/{}", item.id());
        let path = item.body["path"].as_str().unwrap();
        let addresses = [
            format!("/resolve?path={path}"),
            format!("/{collection}?section=of-{collection}"),
            "/search?q=second".to_owned(),
        ];
        let mut shown = Vec::new();
        for address in &addresses {
            let answer = public.get(address).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            shown.push(answer.body);
        }

        let body = json!({ "title": "Second", "content": "<p>Two</p>" });
        let saved = front.call("PUT", &format!("{own}/draft"), body).await;
        assert_eq!((saved.status, &saved.body["title"]), (200, &json!("Second")), "{saved:?}");
        for (address, before) in addresses.iter().zip(&shown) {
            assert_eq!(public.get(address).await.body, *before, "{address}");
        }
        for (method, end) in [("GET", "draft"), ("DELETE", "draft"), ("POST", "publish")] {
            let answer = public.call(method, &format!("{own}/{end}"), Value::Null).await;
            assert_eq!(answer.code(), (401, "unauthorized"), "{method} {end}");
        }

        let published = front.call("POST", &format!("{own}/publish"), Value::Null).await;
        assert_eq!(published.status, 200, "{published:?}");
        for address in &addresses {
            let answer = public.get(address).await;
            assert!(answer.body.to_string().contains("Second"), "{address}: {answer:?}");
        }
        assert_eq!(front.get(&format!("{own}/draft")).await.code(), (404, "not_found"));
        assert_eq!(front.call("DELETE", &own, Value::Null).await.status, 204);
    }
}
