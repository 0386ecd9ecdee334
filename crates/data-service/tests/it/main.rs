//! Transactions and idempotency keys on a real MongoDB, and the common behaviour of both services.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod cached;
mod changes;
mod edge;
mod writers;

use actix_web::{HttpResponse, body::to_bytes, http::StatusCode, test::TestRequest};
use data_service::{
    Abort,
    idempotency::{Created, Idempotency, IdempotencyKey, KeyReused, KeyedRequest},
    transact,
};
use futures_util::future::join_all;
use models::{ErrorCode, Role};
use mongodb::{
    ClientSession,
    bson::{Document, doc},
};
use serde_json::json;
use service_kit::{
    auth::caller::Caller,
    web::{conditional::ETag, error::ApiError},
};
use test_support::TestDatabase;

/// Returns a request of a user with a key, to create a thing of this name.
async fn request(user: &str, key: &str, name: &str) -> KeyedRequest {
    let caller = Caller::User { id: user.to_owned(), role: Role::Admin };
    request_of(&caller, key, name).await
}

async fn request_of(caller: &Caller, key: &str, name: &str) -> KeyedRequest {
    let request = TestRequest::post().uri("/things").insert_header(("idempotency-key", key));
    let (request, mut payload) = request.to_http_parts();
    let key = <IdempotencyKey as actix_web::FromRequest>::from_request(&request, &mut payload);
    key.await.unwrap().with(caller, &request, &json!({ "name": name })).unwrap().unwrap()
}

/// Creates a thing, unless the request was sent before.
async fn create(
    database: &TestDatabase,
    keyed: Option<&KeyedRequest>,
    name: &str,
) -> Result<Created, Abort<KeyReused>> {
    let idempotency = Idempotency::new(database.connection(), "things");
    let things = database.collection("things");
    let work = async |session: &mut ClientSession| {
        let made = things.insert_one(doc! { "name": name }).session(session).await?;
        let id = made.inserted_id.as_object_id().unwrap().to_hex();
        let thing = json!({ "id": id, "name": name });
        let tag = ETag::of_json(&thing).unwrap();
        Ok(Created::new(&thing, &tag, format!("/things/{id}")).unwrap())
    };
    idempotency.once(database.connection().writers(), keyed, work).await
}

#[tokio::test]
async fn a_request_that_comes_again_is_answered_again_and_done_once() {
    let database = TestDatabase::new().await;
    let keyed = request("ann", "k", "a").await;
    let first = create(&database, Some(&keyed), "a").await.unwrap();
    // As when the first answer was lost.
    let second = create(&database, Some(&keyed), "a").await.unwrap();
    assert_eq!(first, second);
    assert_eq!(database.count("things", doc! {}).await, 1);
    let remembered = database.one("things_idempotency_keys", doc! {}).await;
    assert_eq!(remembered.get_i32("status").unwrap(), 201);
    let (_, headers, body) = sent(first).await;
    assert_eq!(remembered.get_str("body").unwrap(), body);
    assert_eq!(remembered.get_str("etag").unwrap(), headers[0]);
    assert_eq!(remembered.get_str("location").unwrap(), headers[1]);
}

/// Returns the status, the tag and the location, and the text of a response.
async fn sent(created: Created) -> (StatusCode, [String; 2], String) {
    let response = HttpResponse::try_from(created).unwrap();
    let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
    let headers = [header("etag"), header("location")];
    let status = response.status();
    let body = to_bytes(response.into_body()).await.unwrap();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_stored_response_is_sent_again_whatever_this_version_would_send() {
    let database = TestDatabase::new().await;
    let keyed = request("ann", "k", "a").await;
    create(&database, Some(&keyed), "a").await.unwrap();
    // A version whose things have other members.
    let body = r#"{"id":"1","former":1.50}"#;
    let fields = doc! { "body": body, "etag": "\"tag\"", "location": "/things/1" };
    let responses = database.collection("things_idempotency_keys");
    responses.update_one(doc! {}, doc! { "$set": fields }).await.unwrap();
    let again = create(&database, Some(&keyed), "a").await.unwrap();
    let headers = ["\"tag\"".to_owned(), "/things/1".to_owned()];
    assert_eq!(sent(again).await, (StatusCode::CREATED, headers, body.to_owned()));
}

#[tokio::test]
async fn a_response_of_a_version_that_stored_only_the_item_is_sent_with_its_tag_and_location() {
    let database = TestDatabase::new().await;
    let keyed = request("ann", "k", "a").await;
    let first = create(&database, Some(&keyed), "a").await.unwrap();
    let responses = database.collection("things_idempotency_keys");
    let unset = doc! { "$unset": { "etag": "", "location": "" } };
    responses.update_one(doc! {}, unset).await.unwrap();
    let again = create(&database, Some(&keyed), "a").await.unwrap();
    assert_eq!(sent(again).await, sent(first).await);
}

#[tokio::test]
async fn of_requests_at_the_same_time_one_is_done_and_all_are_answered_alike() {
    let database = TestDatabase::new().await;
    let keyed = request("ann", "k", "a").await;
    let all = join_all((0..20).map(|_| create(&database, Some(&keyed), "a"))).await;
    let mut all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    all.dedup();
    assert_eq!(all.len(), 1);
    assert_eq!(database.count("things", doc! {}).await, 1);
}

#[tokio::test]
async fn a_key_is_for_one_request_of_one_caller() {
    let database = TestDatabase::new().await;
    create(&database, Some(&request("ann", "k", "a").await), "a").await.unwrap();
    let reused = create(&database, Some(&request("ann", "k", "b").await), "b").await;
    let code = reused.map_err(ApiError::from).unwrap_err().code();
    assert_eq!(code, ErrorCode::IdempotencyKeyReused);
    create(&database, Some(&request("ann", "other", "b").await), "b").await.unwrap();
    create(&database, Some(&request("bob", "k", "c").await), "c").await.unwrap();
    create(&database, None, "d").await.unwrap();
    create(&database, None, "d").await.unwrap();
    assert_eq!(database.count("things", doc! {}).await, 5);
}

#[tokio::test]
async fn a_key_of_the_operator_does_not_depend_on_whether_their_user_could_be_looked_up() {
    let database = TestDatabase::new().await;
    for user_id in [Some("1".to_owned()), None] {
        let operator = Caller::Operator { user_id };
        create(&database, Some(&request_of(&operator, "k", "a").await), "a").await.unwrap();
    }
    assert_eq!(database.count("things", doc! {}).await, 1);
}

#[tokio::test]
async fn a_request_that_is_refused_leaves_nothing_behind() {
    let database = TestDatabase::new().await;
    let keyed = request("ann", "k", "a").await;
    let things = database.collection("things");
    let idempotency = Idempotency::new(database.connection(), "things");
    let work = async |session: &mut ClientSession| {
        things.insert_one(doc! { "name": "a" }).session(session).await?;
        Err(Abort::Refused(KeyReused))
    };
    let refused = idempotency.once(database.connection().writers(), Some(&keyed), work).await;
    assert!(matches!(refused, Err(Abort::Refused(KeyReused))));
    assert_eq!(database.count("things", doc! {}).await, 0);
    assert_eq!(database.count("things_idempotency_keys", doc! {}).await, 0);
    create(&database, Some(&keyed), "a").await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_met_another_one_is_repeated() {
    let database = TestDatabase::new().await;
    database.insert("things", [doc! { "_id": 1, "count": 0 }]).await;
    let (things, writers) = (database.collection("things"), database.connection().writers());
    let adding = (0..10).map(|_| {
        transact(writers, async |session: &mut ClientSession| {
            let found: Option<Document> = things.find_one(doc! {}).session(&mut *session).await?;
            let count = found.unwrap().get_i32("count").unwrap();
            let set = doc! { "$set": { "count": count + 1 } };
            things.update_one(doc! {}, set).session(session).await?;
            Ok::<_, Abort<KeyReused>>(())
        })
    });
    assert!(join_all(adding).await.iter().all(Result::is_ok));
    assert_eq!(database.one("things", doc! {}).await.get_i32("count").unwrap(), 10);
}

#[tokio::test]
async fn old_answers_are_forgotten_after_a_day() {
    let database = TestDatabase::new().await;
    create(&database, Some(&request("ann", "k", "a").await), "a").await.unwrap();
    let command = doc! { "listIndexes": "things_idempotency_keys" };
    let answer = database.database().run_command(command).await.unwrap();
    let text = answer.to_string();
    assert!(text.contains("\"expireAfterSeconds\": 86400"), "{text}");
}
