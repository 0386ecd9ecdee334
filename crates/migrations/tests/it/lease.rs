//! The lease: one holder, a fence that grows.

use std::time::Duration;

use futures_util::future::join_all;
use migrations::{
    Options, RunError, RunErrorKind, State, Throttle,
    lease::{self, DURATION, Lease, holder},
};
use mongodb::bson::{Bson, DateTime, doc};
use test_support::{TestDatabase, eventually};

use crate::support::{
    FailCommand, Gate, Given, LEDGER, LOCK, Service, command, count_up, each_with_gate, edit_entry,
    engine, engine_of, entry, expire_lease, fast, insert_items, run, set_by, state, within,
};

async fn acquire(database: &TestDatabase, owner: &str) -> Option<Lease> {
    acquire_for(database, owner, DURATION).await
}

async fn acquire_for(database: &TestDatabase, owner: &str, duration: Duration) -> Option<Lease> {
    lease::acquire(database.database(), "test", owner, duration).await.unwrap()
}

async fn current(database: &TestDatabase) -> (Option<String>, i64) {
    let holder = holder(database.database(), "test").await.unwrap().unwrap();
    (holder.owner, holder.fence)
}

#[tokio::test]
async fn a_lease_has_one_holder() {
    let database = TestDatabase::new().await;
    let held = acquire(&database, "one").await.unwrap();
    assert!(acquire(&database, "two").await.is_none());
    assert_eq!(current(&database).await, (Some("one".to_owned()), held.fence()));
    assert!(!held.lost().is_cancelled());
}

#[tokio::test]
async fn of_many_who_ask_at_once_one_gets_the_lease() {
    let database = TestDatabase::new().await;
    let owners: Vec<_> = (0..20).map(|number| format!("owner {number}")).collect();
    let leases = join_all(owners.iter().map(|owner| acquire(&database, owner))).await;
    let held: Vec<_> =
        owners.into_iter().zip(leases).filter(|(_, lease)| lease.is_some()).collect();
    assert_eq!(held.len(), 1);
    assert_eq!(current(&database).await, (Some(held[0].0.clone()), 1));
}

#[tokio::test]
async fn the_fence_grows_with_every_holder() {
    let database = TestDatabase::new().await;
    for fence in 1..5 {
        let lease = acquire(&database, &format!("owner {fence}")).await.unwrap();
        assert_eq!(lease.fence(), fence);
        lease.release().await.unwrap();
        assert_eq!(current(&database).await, (None, fence));
    }
}

#[tokio::test]
async fn a_lease_that_expired_is_taken() {
    let database = TestDatabase::new().await;
    let old = acquire(&database, "old").await.unwrap();
    expire_lease(&database).await;
    let new = acquire(&database, "new").await.unwrap();
    assert!(new.fence() > old.fence());
    assert_eq!(current(&database).await, (Some("new".to_owned()), new.fence()));
}

#[tokio::test]
async fn who_lost_a_lease_cannot_give_it_away() {
    let database = TestDatabase::new().await;
    let old = acquire(&database, "old").await.unwrap();
    expire_lease(&database).await;
    let new = acquire(&database, "new").await.unwrap();
    old.release().await.unwrap();
    assert_eq!(current(&database).await, (Some("new".to_owned()), new.fence()));
    assert!(acquire(&database, "third").await.is_none());
}

#[tokio::test]
async fn services_have_leases_of_their_own() {
    let database = TestDatabase::new().await;
    let one = acquire(&database, "one").await;
    let two = lease::acquire(database.database(), "other", "two", DURATION).await.unwrap();
    assert!(one.is_some() && two.is_some());
}

#[tokio::test]
async fn a_lease_that_was_never_taken_has_no_holder() {
    let database = TestDatabase::new().await;
    assert!(holder(database.database(), "test").await.unwrap().is_none());
}

/// Takes the lease out of the document, as if its holder had been away for long.
async fn steal(database: &TestDatabase) {
    let theirs = doc! { "$set": { "owner": "thief" }, "$inc": { "fence": 1_i64 } };
    let stolen = database.collection(LOCK).update_one(doc! { "_id": "lease" }, theirs).await;
    assert_eq!(stolen.unwrap().matched_count, 1);
}

#[tokio::test]
async fn a_lease_is_renewed_for_as_long_as_it_is_held() {
    let database = TestDatabase::new().await;
    let held = acquire_for(&database, "one", Duration::from_secs(3)).await.unwrap();
    let acquired = database.one(LOCK, doc! {}).await;
    let acquired = *acquired.get_datetime("acquired_at").unwrap();
    let much_later = DateTime::from_millis(acquired.timestamp_millis() + 5_000);
    let expires_at =
        async || holder(database.database(), "test").await.unwrap().unwrap().expires_at;
    eventually("it is renewed again and again", async || expires_at().await > much_later).await;
    assert!(!held.lost().is_cancelled());
    assert!(acquire(&database, "two").await.is_none());
}

#[tokio::test]
async fn who_has_lost_the_lease_learns_of_it() {
    let database = TestDatabase::new().await;
    let held = acquire_for(&database, "one", Duration::from_secs(3)).await.unwrap();
    steal(&database).await;
    within("it is known", held.lost().cancelled()).await;
    assert_eq!(current(&database).await, (Some("thief".to_owned()), held.fence() + 1));
}

#[tokio::test]
async fn who_cannot_renew_the_lease_gives_up_before_others_may_have_it() {
    let database = TestDatabase::new().await;
    let held = acquire_for(&database, "one", Duration::from_secs(6)).await.unwrap();
    let namespace = format!("{}.{LOCK}", database.name());
    let refuse = doc! { "failCommands": ["update"], "namespace": namespace, "errorCode": 50 };
    let refusing = FailCommand::set(&database, "alwaysOn", refuse).await;
    within("it is given up", held.lost().cancelled()).await;
    refusing.off().await;
    let holder = holder(database.database(), "test").await.unwrap().unwrap();
    assert_eq!(holder.owner.as_deref(), Some("one"));
    assert!(holder.remaining_ms > 0, "{holder:?}");
}

#[tokio::test]
async fn a_run_stops_when_its_lease_is_lost() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10_000).await;
    // The work of minutes, at this rate.
    let throttle = Throttle { documents_per_second: 50.try_into().ok(), ..Throttle::OFF };
    let options = Options { lease: Duration::from_secs(3), throttle, operations: None };
    let client = database.connection().client();
    let engine = engine_of(client, &database, &[Given::steps([set_by("us")])], options);
    let running = tokio::spawn({
        let engine = engine.clone();
        async move { command(&engine).await }
    });
    let changed = async || database.count("items", doc! { "by": "us" }).await;
    eventually("it has begun", async || changed().await > 0).await;
    steal(&database).await;
    let end = within("it stops", running).await.unwrap();
    assert!(
        matches!(end, Err(RunError { migration: _, kind: RunErrorKind::TakenOver })),
        "{end:?}"
    );
    // The ledger does not know the thief: it was not the fence that stopped it.
    assert_eq!(state(&database).await, "running");
    assert!(changed().await < 10_000);
}

#[tokio::test]
async fn a_run_gives_the_lease_back() {
    let database = TestDatabase::new().await;
    run(&database, [count_up()]).await.unwrap();
    assert_eq!(current(&database).await, (None, 1));
}

#[tokio::test]
async fn a_lease_is_held_as_long_as_the_options_say_but_not_too_short_to_renew() {
    for (wanted, expected) in [(Duration::ZERO, 1_000), (Duration::from_secs(900), 900_000)] {
        let database = TestDatabase::new().await;
        insert_items(&database, 1).await;
        let gate = Gate::default();
        let (options, given) =
            (Options { lease: wanted, ..fast() }, each_with_gate("us", &gate, 1));
        let client = database.connection().client();
        let engine = engine_of(client, &database, &[Given::steps([given])], options);
        let service = Service::start(&engine);
        gate.reached().await;
        let lease = database.one(LOCK, doc! {}).await;
        let at = |field| lease.get_datetime(field).unwrap().timestamp_millis();
        // Perhaps it was renewed in that time.
        assert!(at("expires_at") - at("acquired_at") >= expected, "{lease}");
        assert!(at("expires_at") - at("acquired_at") < expected + 60_000, "{lease}");
        gate.open();
        service.ends().await;
    }
}

#[tokio::test]
async fn a_service_waits_for_the_lease_and_shows_what_another_process_does() {
    let database = TestDatabase::new().await;
    insert_items(&database, 2_500).await;
    let gate = Gate::default();
    let first = engine(&database, &[Given::steps([each_with_gate("first", &gate, 3)])]);
    let first = Service::start(&first);
    gate.reached().await;
    let second = engine(&database, &[Given::steps([each_with_gate("second", &gate, 0)])]);
    let statuses = second.statuses();
    let second = Service::start(&second);
    let message = second.comes_to("0001_test", State::Running).await;
    assert_eq!(message.as_deref(), Some("another process is migrating"));
    let progress = statuses.borrow()[0].progress.clone().unwrap();
    assert!(progress.modified > 0 && progress.total == 2_500, "{progress:?}");
    gate.open();
    first.ends().await;
    second.ends().await;
    assert_eq!(database.count("items", doc! { "by": "first" }).await, 2_500);
}

#[tokio::test]
async fn a_dropped_lock_keeps_nothing_from_running() {
    let database = TestDatabase::new().await;
    for run_before in 1..=3 {
        database.insert("items", [doc! { "_id": run_before }]).await;
        run(&database, [count_up()]).await.unwrap();
    }
    database.collection(LOCK).drop().await.unwrap();
    database.insert("items", [doc! { "_id": 4 }]).await;
    run(&database, [count_up()]).await.unwrap();
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 4);
    // Fences continue to grow: an earlier process is still distinguished.
    assert_eq!(entry(&database).await.get_i64("fence").unwrap(), 4);
    assert_eq!(database.count(LEDGER, doc! {}).await, 1);
}

#[tokio::test]
async fn an_edited_lease_is_named_and_stays_as_it_is() {
    let database = TestDatabase::new().await;
    database.insert("items", [doc! { "_id": 1 }]).await;
    run(&database, [count_up()]).await.unwrap();
    let leases = database.collection(LOCK);
    // A shell makes fractions of whole numbers: still a lease.
    let set = async |field: &str, value: Bson| {
        let update = doc! { "$set": { field: value } };
        leases.update_one(doc! { "_id": "lease" }, update).await.unwrap();
        database.one(LOCK, doc! {}).await
    };
    set("fence", Bson::from(1.0)).await;
    assert_eq!(current(&database).await, (None, 1));
    database.insert("items", [doc! { "_id": 2 }]).await;
    for (field, value) in [("expires_at", Bson::from("tomorrow")), ("fence", Bson::from("seven"))] {
        let edited = set(field, value).await;
        let error = run(&database, [count_up()]).await.unwrap_err();
        assert!(
            matches!(error, RunError { kind: RunErrorKind::UnreadableLease { .. }, .. }),
            "{error:?}"
        );
        let error = error.to_string();
        assert!(
            error.contains("the document `lease` of test_migration_lock was edited"),
            "{error}"
        );
        assert!(error.contains("delete it"), "{error}");
        assert_eq!(database.one(LOCK, doc! {}).await, edited);
    }
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 1);
    leases.delete_one(doc! {}).await.unwrap();
    run(&database, [count_up()]).await.unwrap();
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 2);
}

#[tokio::test]
async fn a_fence_that_was_raised_in_the_ledger_fences_no_process_off() {
    let database = TestDatabase::new().await;
    database.insert("items", [doc! { "_id": 1 }]).await;
    run(&database, [count_up()]).await.unwrap();
    edit_entry(&database, doc! { "$set": { "fence": 999_999_i64 } }).await;
    database.insert("items", [doc! { "_id": 2 }]).await;
    run(&database, [count_up()]).await.unwrap();
    assert_eq!(entry(&database).await.get_i64("fence").unwrap(), 1_000_000);
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 2);
}
