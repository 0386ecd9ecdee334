//! Support for the tests of all crates: a real MongoDB, a database for each test, the services on real
//! ports, and faults such as a cut connection, a wrong clock or a failing service.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod api;
mod clock;
mod database;
mod link;
mod migration_ids;
mod provider;
mod random;
mod receiver;
mod service;
mod table;
mod unreliable;

pub use api::{Answer, Api};
pub use clock::skewed_clock;
pub use database::{SECTION_DIRECTORY, TestDatabase, hash, mongodb_uri};
pub use link::Link;
pub use migration_ids::migration_id;
pub use provider::Provider;
pub use random::Random;
pub use receiver::{Behaviour, Received, Receiver};
pub use service::{Service, TOKEN, get, settings};
pub use table::markdown_table;
pub use unreliable::{Fault, Unreliable};

use std::time::{Duration, Instant};

/// Maximum wait for a condition. It is long because machines that run tests are busy; a test continues
/// as soon as the condition holds.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for a condition. Fails the test if it does not hold in time.
pub async fn eventually<F, R>(what: &str, mut condition: F)
where
    F: FnMut() -> R,
    R: Future<Output = bool>,
{
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < DEADLINE, "this has not become true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
