//! Reports of editors that they have an item open.

use futures_util::future::join_all;
use models::ContentType;
use mongodb::bson::{Bson, DateTime, doc};
use serde_json::{Value, json};
use test_support::{Provider, TestDatabase};

use crate::{
    changes::Reader,
    support::{Site, created, send, send_raw, user},
};

const ANN: (&str, &str) = ("authorization", "Bearer ann");
const ADMIN: (&str, &str) = ("authorization", "Bearer admin");

/// Reports that someone has an item open, and returns the answer.
async fn report(url: &str, caller: (&str, &str)) -> Value {
    let (status, _, answer) = send_raw("PUT", url, &[caller], Vec::new()).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test]
async fn each_of_two_editors_sees_since_when_the_other_has_an_item_open() {
    let database = TestDatabase::new().await;
    let provider = Provider::start();
    let ann = user(&database, "ann", "author").await;
    let admin = user(&database, "admin", "admin").await;
    user(&database, "bob", "author").await;
    let site = Site::start_with(&database, &provider.settings()).await;
    let mut reader = Reader::start(&site.content).await;
    for kind in ContentType::ALL {
        let list = format!("{}/{}", site.content.url, kind.collection());
        let body = json!({ "title": "T", "content": "", "is_published": false });
        let item = send("POST", &list, &[ANN], &body).await.2;
        let url = format!("{list}/{}/editing", item["id"].as_str().unwrap());

        let alone = report(&url, ANN).await;
        assert_eq!(alone["editors"], json!([]), "{alone}");
        let other = &report(&url, ADMIN).await["editors"];
        let began = &other[0]["since"];
        let expected = json!([{ "user_id": ann, "name": "ann", "since": began, "seen_at": began }]);
        assert_eq!((other, began), (&expected, &alone["now"]));
        // Another report is not another beginning.
        let again = report(&url, ANN).await;
        assert_eq!(again["editors"][0]["user_id"], admin.as_str(), "{again}");
        let other = report(&url, ADMIN).await["editors"].take();
        assert_eq!((&other[0]["since"], &other[0]["seen_at"]), (began, &again["now"]));
        // Two pages of one person are two.
        let page = format!("{url}?session=0f2d8f4e-page_2");
        let others = report(&page, ANN).await["editors"].take();
        assert_eq!(others.as_array().map(Vec::len), Some(2), "{others}");
        for (url, caller) in [(&page, ANN), (&url, ANN), (&url, ANN)] {
            assert_eq!(send_raw("DELETE", url, &[caller], Vec::new()).await.0, 204);
        }
        assert_eq!(report(&url, ADMIN).await["editors"], json!([]));

        // Who reports nothing has left, and begins again.
        report(&url, ANN).await;
        let id = doc! { "_id.item": item["id"].as_str().unwrap() };
        let past = DateTime::from_millis(DateTime::now().timestamp_millis() - 91_000);
        let set = doc! { "$set": { "editors.$[].since": past, "editors.$[].seen_at": past } };
        database.collection("content_editing").update_one(id, set).await.unwrap();
        let back = report(&url, ADMIN).await;
        assert_eq!(back["editors"], json!([]));
        let other = report(&url, ANN).await["editors"].take();
        assert_eq!(other[0]["since"], back["now"], "{other}");

        for (who, status) in [("bob", 403), ("nobody", 403), ("", 401)] {
            let caller = format!("Bearer {who}");
            let headers = [("authorization", &*caller)];
            assert_eq!(send_raw("PUT", &url, &headers, Vec::new()).await.0, status, "{who}");
        }
        let long = format!("session={}", "x".repeat(65));
        for query in ["session=", "session=%24where", "session=a%20b", "page=1", &long] {
            let url = format!("{url}?{query}");
            let (status, _, answer) = send_raw("PUT", &url, &[ANN], Vec::new()).await;
            assert_eq!((status.as_u16(), &answer["code"]), (422, &"validation_failed".into()));
        }
        for (id, status) in [("ffffffffffffffffffffffff", 404), ("none", 400)] {
            let url = format!("{list}/{id}/editing");
            assert_eq!(send_raw("PUT", &url, &[ADMIN], Vec::new()).await.0, status);
        }
    }
    assert_eq!(reader.until_now(&database).await, [] as [Value; 0], "nothing of it is told");
}

#[tokio::test]
async fn many_who_open_an_item_at_once_are_all_known_up_to_a_limit() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let item = created(&site, "stories", json!({ "title": "T", "content": "" })).await;
    let url = format!("{}/stories/{}/editing", site.content.url, item["id"].as_str().unwrap());
    let operator = format!("Bearer {}", test_support::TOKEN);
    let operator = ("authorization", &*operator);
    let open = async |count: usize| {
        let urls: Vec<_> = (0..count).map(|number| format!("{url}?session={number}")).collect();
        join_all(urls.iter().map(|url| report(url, operator))).await;
    };
    open(8).await;
    let others = report(&url, operator).await["editors"].take();
    assert_eq!(others.as_array().map(Vec::len), Some(8), "{others}");
    assert_eq!(
        (&others[0]["name"], &others[0]["user_id"]),
        (&"An administrator".into(), &Value::Null)
    );
    open(40).await;
    let stored = database.one("content_editing", doc! {}).await;
    assert_eq!(stored.get_array("editors").unwrap().len(), 20);
    let indexes = database.collection("content_editing").list_indexes().await.unwrap();
    let indexes: Vec<_> = futures_util::TryStreamExt::try_collect(indexes).await.unwrap();
    let expires = |index: &mongodb::IndexModel| index.options.as_ref()?.expire_after;
    let expiring = indexes.iter().find_map(expires);
    assert_eq!(expiring.map(|time| time.as_secs()), Some(90));
    assert!(matches!(stored.get("seen_at"), Some(Bson::DateTime(_))));
}
