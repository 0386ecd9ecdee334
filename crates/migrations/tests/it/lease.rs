//! The lease: one holder, a fence that grows.

use futures_util::future::join_all;
use migrations::lease::{Lease, holder};
use test_support::TestDatabase;

use crate::support::expire_lease;

async fn acquire(database: &TestDatabase, owner: &str) -> Option<Lease> {
    Lease::acquire(database.database(), "test", owner).await.unwrap()
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
    let two = Lease::acquire(database.database(), "other", "two").await.unwrap();
    assert!(one.is_some() && two.is_some());
}

#[tokio::test]
async fn nobody_holds_a_lease_that_was_never_taken() {
    let database = TestDatabase::new().await;
    assert!(holder(database.database(), "test").await.unwrap().is_none());
}
