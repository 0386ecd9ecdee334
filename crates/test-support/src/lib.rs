//! What the tests of all crates share: a real MongoDB, a database a test, the services on real
//! ports, and faults: a cut connection, a wrong clock, a service that is not well.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod api;
mod clock;
mod database;
mod link;
mod provider;
mod service;
mod unreliable;

pub use api::{Answer, Api};
pub use clock::skewed_clock;
pub use database::{TestDatabase, mongodb_uri};
pub use link::Link;
pub use provider::Provider;
pub use service::{Service, TOKEN, get, settings};
pub use unreliable::{Fault, Unreliable};

use std::time::{Duration, Instant};

/// How long a condition may take. Generous, since machines that test are busy; a condition that
/// holds earlier is noticed earlier.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for a condition, and fails the test when it does not come to hold.
pub async fn eventually<F, R>(what: &str, mut condition: F)
where
    F: FnMut() -> R,
    R: Future<Output = bool>,
{
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < DEADLINE, "it never came to hold that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
