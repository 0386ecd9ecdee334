//! Documents that are inserted, and documents that are left out.

use migrations::{Insert, Skip};
use mongodb::bson::{Document, doc};
use test_support::TestDatabase;

use crate::support::{Given, Service, Step, arc, engine, entry, insert_items, run};

fn insert(documents: impl Into<Vec<Document>>) -> Step {
    arc(Insert {
        key: "the first items".into(),
        collection: "items",
        unless: doc! { "is_first": true },
        documents: documents.into(),
    })
}

#[tokio::test]
async fn documents_are_inserted_once() {
    let database = TestDatabase::new().await;
    let step = || insert([doc! { "_id": 1, "is_first": true }, doc! { "_id": 2 }]);
    for _ in 0..2 {
        run(&database, [step()]).await.unwrap();
        assert_eq!(database.count("items", doc! {}).await, 2);
    }
    database.collection("items").delete_one(doc! { "_id": 2 }).await.unwrap();
    run(&database, [step()]).await.unwrap();
    assert_eq!(database.count("items", doc! {}).await, 1);
}

#[tokio::test]
async fn documents_are_inserted_all_or_none() {
    let database = TestDatabase::new().await;
    database.insert("items", [doc! { "_id": 2, "theirs": true }]).await;
    let step = insert([doc! { "_id": 1, "is_first": true }, doc! { "_id": 2 }, doc! { "_id": 3 }]);
    let error = run(&database, [step]).await.unwrap_err();
    assert!(!error.is_transient());
    assert_eq!(database.count("items", doc! {}).await, 1);
    assert_eq!(entry(&database).await.get_str("state").unwrap(), "failed_fatal");
}

#[tokio::test]
async fn many_who_insert_at_once_insert_once() {
    let database = TestDatabase::new().await;
    let step = insert([doc! { "is_first": true }, doc! {}, doc! {}]);
    let services: Vec<_> = (0..10)
        .map(|_| Service::start(&engine(&database, &[Given::steps([step.clone()])])))
        .collect();
    for service in services {
        service.ends().await;
    }
    assert_eq!(database.count("items", doc! {}).await, 3);
    assert_eq!(entry(&database).await.get_i64("attempts").unwrap(), 1);
}

fn leave_out(filter: Document) -> Step {
    arc(Skip {
        key: "items left".into(),
        reason: "an editor chose so".to_owned(),
        documents: Some(("items", filter)),
    })
}

#[tokio::test]
async fn what_is_left_out_is_counted_and_some_of_it_named() {
    let database = TestDatabase::new().await;
    insert_items(&database, 25).await;
    run(&database, [leave_out(doc! {})]).await.unwrap();
    let entry = entry(&database).await;
    assert_eq!(entry.get_str("state").unwrap(), "applied");
    let left = entry.get_array("left_out").unwrap()[0].as_document().unwrap();
    assert_eq!(
        (left.get_i64("count").unwrap(), left.get_array("examples").unwrap().len()),
        (25, 10)
    );
    assert_eq!(left.get_str("reason").unwrap(), "an editor chose so");
}

#[tokio::test]
async fn what_could_be_left_out_but_does_not_exist_is_no_news() {
    let database = TestDatabase::new().await;
    run(&database, [leave_out(doc! {})]).await.unwrap();
    assert!(entry(&database).await.get_array("left_out").unwrap().is_empty());
}

#[tokio::test]
async fn the_ledger_learns_what_came_to_be_left_out_and_what_no_longer_is() {
    let database = TestDatabase::new().await;
    for (is_there, expected) in [(false, 0), (true, 1), (false, 0)] {
        database.collection("items").delete_many(doc! {}).await.unwrap();
        if is_there {
            insert_items(&database, 3).await;
        }
        for _ in 0..2 {
            run(&database, [leave_out(doc! {})]).await.unwrap();
            assert_eq!(entry(&database).await.get_array("left_out").unwrap().len(), expected);
        }
    }
    // Three times there was something new to say.
    assert_eq!(entry(&database).await.get_i64("attempts").unwrap(), 3);
}
