//! The example does what it says.

#[path = "../../examples/backfill.rs"]
#[expect(dead_code, reason = "its `main`")]
mod backfill;

use migrations::State;
use mongodb::bson::doc;
use test_support::{TestDatabase, mongodb_uri};

#[tokio::test]
async fn the_example_fills_in_what_is_missing_and_then_has_nothing_to_do() {
    let database = TestDatabase::new().await;
    let articles = [doc! { "_id": 1 }, doc! { "_id": 2, "language": "pt" }, doc! { "_id": 3 }];
    database.insert("articles", articles).await;
    for _ in 0..2 {
        let report = backfill::migrate(mongodb_uri(), database.name()).await.unwrap();
        assert_eq!(report.migrations[0].state, State::Applied);
        let entry = report.migrations[0].entry.as_ref().unwrap();
        assert_eq!((entry.attempts, entry.parts[0].modified), (1, 2));
        backfill::print(&report);
    }
    assert_eq!(database.count("articles", doc! { "language": "en" }).await, 2);
    let names = database.collection("articles").list_index_names().await.unwrap();
    assert!(names.contains(&"language_1".to_owned()), "{names:?}");
}
