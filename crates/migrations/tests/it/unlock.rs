//! Taking the lease away from its holder.

use migrations::{
    Engine, OperateError, RunError, RunErrorKind, State,
    lease::{self, DURATION, holder},
};
use mongodb::bson::{Bson, Document, doc};
use test_support::{TestDatabase, eventually};

use crate::support::{
    Gate, Given, ID, LEDGER, LOCK, Service, assert_has, command, count_up, each, each_with_gate,
    engine, entry, expire_lease, insert_items, run, within,
};

/// A process that stands still in its third batch, and how many documents it has changed.
struct Holder {
    database: TestDatabase,
    gate: Gate,
    running: tokio::task::JoinHandle<Result<(), RunError>>,
    changed: u64,
}

impl Holder {
    async fn start(others: &[Given]) -> Self {
        let database = TestDatabase::new().await;
        insert_items(&database, 2_500).await;
        let gate = Gate::default();
        let given = Given::steps([each_with_gate("holder", &gate, 3)]);
        let engine = engine(&database, &[&[given], others].concat());
        let running = tokio::spawn(async move { command(&engine).await });
        gate.reached().await;
        let changed = database.count("items", doc! { "by": "holder" }).await;
        assert!((1..2_500).contains(&changed), "{changed}");
        Self { database, gate, running, changed }
    }

    async fn fence(&self) -> i64 {
        holder(self.database.database(), "test").await.unwrap().unwrap().fence
    }

    /// Returns the engine of an operator.
    fn operator(&self) -> Engine {
        engine(&self.database, &[])
    }

    async fn continues(self) -> (TestDatabase, Result<(), RunError>) {
        self.gate.open();
        (self.database, within("the holder ends", self.running).await.unwrap())
    }
}

#[tokio::test]
async fn a_lease_without_a_holder_cannot_be_taken_away() {
    let database = TestDatabase::new().await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    let never = engine.force_unlock(0, true).await.unwrap_err();
    assert!(matches!(never, OperateError::NotHeld("test")), "{never:?}");
    command(&engine).await.unwrap();
    let before = database.hash().await;
    let given_back = engine.force_unlock(1, true).await.unwrap_err();
    assert!(matches!(given_back, OperateError::NotHeld("test")), "{given_back:?}");
    assert_eq!(database.hash().await, before);
}

/// Lease and ledger but for the time of the last heartbeat.
async fn protocol(database: &TestDatabase) -> [Document; 2] {
    let mut lease = database.one(LOCK, doc! {}).await;
    lease.remove("expires_at");
    [lease, entry(database).await]
}

#[tokio::test]
async fn a_lease_that_changed_hands_since_the_status_was_read_is_not_taken_away() {
    let holder = Holder::start(&[]).await;
    let (fence, before) = (holder.fence().await, protocol(&holder.database).await);
    let refused = holder.operator().force_unlock(fence - 1, true).await.unwrap_err();
    assert!(matches!(refused, OperateError::OtherFence { given: 0, .. }), "{refused:?}");
    let message = "the lease of test has the fence 1, not 0: another process has acquired it; \
        check the status again";
    assert_eq!(refused.to_string(), message);
    assert_eq!(protocol(&holder.database).await, before);
    holder.continues().await.1.unwrap();
}

#[tokio::test]
async fn a_lease_whose_holder_is_alive_is_taken_away_only_if_one_insists() {
    let holder = Holder::start(&[]).await;
    let (fence, before) = (holder.fence().await, protocol(&holder.database).await);
    let refused = holder.operator().force_unlock(fence, false).await.unwrap_err();
    let OperateError::Live { holder: named, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(named.owner.as_deref(), before[0].get_str("owner").ok());
    assert_eq!(protocol(&holder.database).await, before);
    holder.continues().await.1.unwrap();
}

#[tokio::test]
async fn the_next_batch_of_a_holder_without_its_lease_changes_nothing() {
    let holder = Holder::start(&[]).await;
    let (changed, fence) = (holder.changed, holder.fence().await);
    let revoked = holder.operator().force_unlock(fence, true).await.unwrap();
    assert_eq!(revoked.fence, fence);
    // Its batch is under way, and its heartbeat has not noticed.
    let (database, end) = holder.continues().await;
    assert!(
        matches!(end, Err(RunError { migration: Some(ID), kind: RunErrorKind::TakenOver })),
        "{end:?}"
    );
    assert_eq!(database.count("items", doc! { "by": { "$exists": true } }).await, changed);
    let progress = entry(&database).await.get_document("progress").unwrap().clone();
    assert_eq!(progress.get_i64("modified").unwrap(), i64::try_from(changed).unwrap());
}

#[tokio::test]
async fn the_next_process_has_the_lease_at_once_and_continues_at_the_cursor() {
    let holder = Holder::start(&[]).await;
    let (changed, fence) = (holder.changed, holder.fence().await);
    holder.operator().force_unlock(fence, true).await.unwrap();
    let heir = each(doc! { "by": "heir" }, |_| std::future::ready(()));
    run(&holder.database, [heir]).await.unwrap();
    let (database, end) = holder.continues().await;
    assert!(
        matches!(end, Err(RunError { migration: Some(ID), kind: RunErrorKind::TakenOver })),
        "{end:?}"
    );
    assert_eq!(database.count("items", doc! { "by": "holder" }).await, changed);
    assert_eq!(database.count("items", doc! { "by": "heir" }).await, 2_500 - changed);
    assert_eq!(entry(&database).await.get_i64("fence").unwrap(), fence + 2);
}

#[tokio::test]
async fn a_holder_without_its_lease_begins_no_other_migration() {
    let database = TestDatabase::new().await;
    insert_items(&database, 2_500).await;
    let gate = Gate::default();
    let given = [
        Given::steps([each_with_gate("holder", &gate, 3)]),
        Given::steps([count_up()]).called("0002_next"),
    ];
    let holder = engine(&database, &given);
    let service = Service::start(&holder);
    gate.reached().await;
    engine(&database, &given).force_unlock(1, true).await.unwrap();
    // An operator takes the lease before the holder renews it.
    let other = lease::acquire(database.database(), "test", "other", DURATION).await;
    let other = other.unwrap().unwrap();
    gate.open();
    let message = service.comes_to(ID, State::FailedRetryable).await.unwrap();
    assert_eq!(message, "another process has taken over");
    // It has come to the other one, and waits for the lease.
    let next = || holder.statuses().borrow()[1].clone();
    eventually("it waits or is done", async || next().message.is_some() || next().is_settled).await;
    assert_eq!(next().message.as_deref(), Some("another process is migrating"));
    assert_eq!(database.count(LEDGER, doc! { "_id": "0002_next" }).await, 0);
    other.release().await.unwrap();
    service.ends().await;
    assert_eq!(database.count("items", doc! { "n": 1, "by": "holder" }).await, 2_500);
}

#[tokio::test]
async fn a_lease_that_has_expired_can_be_taken_away_without_insisting() {
    let holder = Holder::start(&[]).await;
    let fence = holder.fence().await;
    expire_lease(&holder.database).await;
    holder.operator().force_unlock(fence, false).await.unwrap();
    let lease = holder.database.one(LOCK, doc! {}).await;
    assert_has(&lease, doc! { "owner": Bson::Null, "fence": fence + 1 });
    let end = holder.continues().await.1;
    assert!(
        matches!(end, Err(RunError { migration: Some(ID), kind: RunErrorKind::TakenOver })),
        "{end:?}"
    );
}
