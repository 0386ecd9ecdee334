//! Leaving room for others.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use migrations::{Fill, Options, Progress, Throttle, ThrottledBy};
use mongodb::bson::{Bson, doc};
use test_support::{TestDatabase, eventually};

use crate::support::{
    Commands, Given, Service, arc, command, count_up, each, engine_of, entry, fast, insert_items,
    set_by,
};

/// The options of an engine that changes at most so many documents a second.
fn at_most(documents_per_second: u32) -> Options {
    let documents_per_second = documents_per_second.try_into().ok();
    Options { throttle: Throttle { documents_per_second, ..Throttle::OFF }, ..fast() }
}

#[tokio::test]
async fn no_more_documents_a_second_are_changed_than_the_limit_allows() {
    let database = TestDatabase::new().await;
    insert_items(&database, 400).await;
    let client = database.connection().client();
    let given = Given::steps([count_up()]);
    let engine = engine_of(client, &database, std::slice::from_ref(&given), at_most(200));
    let began = Instant::now();
    command(&engine).await.unwrap();
    // A batch has a tenth of a second's worth, and the first one waits for nothing.
    assert!(began.elapsed() >= Duration::from_secs_f64((400.0 - 40.0) / 200.0));
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 400);
}

#[tokio::test]
async fn a_batch_has_at_most_a_tenth_of_what_a_second_allows() {
    let database = TestDatabase::new().await;
    insert_items(&database, 300).await;
    let (client, commands) = Commands::of_a_client().await;
    let engine = engine_of(&client, &database, &[Given::steps([set_by("us")])], at_most(500));
    command(&engine).await.unwrap();
    let updates = commands.of("update", "items");
    let sizes = updates.iter().map(|update| {
        let statement = update.get_array("updates").unwrap()[0].as_document().unwrap();
        let ids = statement.get_document("q").unwrap().get_array("$and").unwrap()[0].as_document();
        ids.unwrap().get_document("_id").unwrap().get_array("$in").unwrap().len()
    });
    assert!(sizes.clone().all(|size| size <= 50), "{:?}", sizes.collect::<Vec<_>>());
    assert_eq!(sizes.sum::<usize>(), 300);
}

/// Returns the progress of a run in its status and in the ledger.
async fn progress_of(options: Options) -> (Progress, Progress) {
    let database = TestDatabase::new().await;
    insert_items(&database, 5_000).await;
    let client = database.connection().client();
    let engine = engine_of(client, &database, &[Given::steps([count_up()])], options);
    let statuses = engine.statuses();
    let service = Service::start(&engine);
    let shown = || statuses.borrow()[0].progress.clone();
    eventually("it is throttled", async || {
        shown().is_some_and(|progress| progress.throttled_by.is_some() && progress.rate > 0.0)
    })
    .await;
    let in_status = shown().unwrap();
    let stored = async || {
        let report = engine.report().await.unwrap();
        report.migrations[0].entry.as_ref().unwrap().progress.clone()
    };
    eventually("the ledger says so", async || {
        stored().await.is_some_and(|now| now.throttled_by.is_some() && now.rate > 0.0)
    })
    .await;
    let in_ledger = stored().await.unwrap();
    let eta = engine.report().await.unwrap().migrations[0].eta_seconds;
    assert!(eta.is_some_and(|seconds| seconds > 0.0), "{eta:?}");
    service.stop().await;
    assert_eq!(entry(&database).await.get_str("state").unwrap(), "running");
    (in_status, in_ledger)
}

#[tokio::test]
async fn the_limit_is_named_where_it_is_what_slows_a_run_down() {
    for progress in <[Progress; 2]>::from(progress_of(at_most(100)).await) {
        assert_eq!(progress.throttled_by, Some(ThrottledBy::RateLimit));
    }
}

#[tokio::test]
async fn the_share_of_time_that_is_left_to_others_is_named() {
    let throttle = Throttle { duty_cycle: 0.01, ..Throttle::GENTLE };
    for progress in <[Progress; 2]>::from(progress_of(Options { throttle, ..fast() }).await) {
        assert_eq!(progress.throttled_by, Some(ThrottledBy::DutyCycle));
    }
}

#[tokio::test]
async fn a_share_that_makes_no_sense_stops_nothing() {
    let with_share = async |duty_cycle: f64| {
        let database = TestDatabase::new().await;
        insert_items(&database, 10).await;
        let throttle = Throttle { duty_cycle, ..Throttle::OFF };
        let client = database.connection().client();
        let given = Given::steps([count_up()]);
        let engine = engine_of(client, &database, &[given], Options { throttle, ..fast() });
        command(&engine).await.unwrap();
        assert_eq!(database.count("items", doc! { "n": 1 }).await, 10, "{duty_cycle}");
    };
    join_all([f64::NAN, f64::INFINITY, 7.0, -1.0, 0.0].map(with_share)).await;
}

#[tokio::test]
async fn a_run_that_is_throttled_ends_when_it_is_told_to() {
    let database = TestDatabase::new().await;
    insert_items(&database, 5_000).await;
    let client = database.connection().client();
    let engine = engine_of(client, &database, &[Given::steps([count_up()])], at_most(1));
    let service = Service::start(&engine);
    let changed = async || database.count("items", doc! { "n": 1 }).await;
    eventually("it has begun", async || changed().await > 1).await;
    let told = Instant::now();
    service.stop().await;
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
}

#[tokio::test]
async fn a_batch_that_leaves_room_for_others_is_changed_by_short_commands() {
    let gentle = Options { throttle: Throttle::GENTLE, ..fast() };
    let each_of_us = each(doc! { "by": "us" }, |_| std::future::ready(()));
    let not_us = doc! { "by": { "$ne": "us" } };
    let of_us = arc(Fill::set("items set", "items", not_us, doc! { "by": "us" }));
    let kinds = [("values", of_us, 3), ("update", count_up(), 2), ("each", each_of_us, 2)];
    for (kind, step, records) in kinds {
        let database = TestDatabase::new().await;
        insert_items(&database, 101).await;
        if kind == "values" {
            // What has the field already has a statement of its own, and another record.
            let them = doc! { "$set": { "by": "them" } };
            let some = doc! { "_id": { "$gt": 70 } };
            database.collection("items").update_many(some, them).await.unwrap();
        }
        let (client, commands) = Commands::of_a_client().await;
        let engine = engine_of(&client, &database, &[Given::steps([step])], gentle.clone());
        command(&engine).await.unwrap();

        let mut transactions = BTreeMap::<i64, Vec<usize>>::new();
        for update in commands.of("update", "items") {
            let documents = update.get_array("updates").unwrap().iter().map(|statement| {
                let q = statement.as_document().unwrap().get_document("q").unwrap();
                let id = q.get_array("$and").unwrap()[0].as_document().unwrap().get("_id");
                let together = id.and_then(Bson::as_document).map(|ids| ids.get_array("$in"));
                together.map_or(1, |ids| ids.unwrap().len())
            });
            let transaction = update.get_i64("txnNumber").unwrap();
            transactions.entry(transaction).or_default().push(documents.sum());
        }
        // The first document is alone. All the others are one batch.
        let sizes: Vec<Vec<usize>> = transactions.into_values().collect();
        let [first, others] = &*sizes else { panic!("{kind}: {sizes:?}") };
        assert_eq!((&**first, others.iter().sum::<usize>()), (&[1][..], 100), "{kind}");
        assert!(others.iter().all(|size| *size <= 8), "{kind}: {others:?}");
        let journal = database.count("test_migration_journal", doc! {}).await;
        assert_eq!(journal, records, "{kind}");
    }
}
