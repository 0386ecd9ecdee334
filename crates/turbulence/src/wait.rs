//! Waiting for the migrations of a start, which a service never gives up.

use std::time::Duration;

use migrations::{State, Status};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::progress;

/// Time without a change of state after which a migration that waits for another service, or that is
/// retried, counts as stuck. The other service starts within the same process, and the engine tries
/// four times in this time.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Waits until the migrations of every service are settled or stuck, and shows their progress.
pub(crate) async fn until_settled_or_stuck(
    services: &[(&'static str, watch::Receiver<Vec<Status>>)],
) {
    for (service, statuses) in services {
        progress::show_while(service, statuses.clone(), settled_or_stuck(statuses.clone())).await;
    }
}

async fn settled_or_stuck(mut statuses: watch::Receiver<Vec<Status>>) {
    let (mut states, mut changed_at) = (Vec::new(), Instant::now());
    loop {
        let all = statuses.borrow_and_update().clone();
        let now: Vec<_> = all.iter().map(|status| (status.state, status.is_settled)).collect();
        if now != states {
            (states, changed_at) = (now, Instant::now());
        }
        let may_change = changed_at.elapsed() < STUCK_AFTER;
        if all_settled_or_stuck(&all, may_change) {
            return;
        }
        tokio::select! {
            changed = statuses.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = sleep_until(changed_at + STUCK_AFTER), if may_change => {}
        }
    }
}

/// Returns `true` if no migration will be settled without an operator. While `may_change` is `true`,
/// one that waits or is retried may still be.
fn all_settled_or_stuck(statuses: &[Status], may_change: bool) -> bool {
    let (mut follows_stuck, mut follows_blocking) = (false, false);
    statuses.iter().all(|status| {
        let is_stuck = match status.state {
            _ if status.is_settled => return true,
            State::FailedFatal | State::Paused | State::RolledBack => true,
            State::WaitingDependency | State::FailedRetryable => !may_change,
            // After a blocking migration that is stuck, the engine runs nothing. After another one
            // it visits each, and sets the message of those that require the stuck one.
            State::Pending => follows_blocking || follows_stuck && status.message.is_some(),
            State::Applied | State::Running | State::Verifying | State::RollingBack => false,
        };
        follows_stuck |= is_stuck;
        follows_blocking |= is_stuck && status.blocking;
        is_stuck
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: State) -> Status {
        Status {
            id: "first",
            summary: "",
            blocking: false,
            state,
            is_settled: state == State::Applied,
            message: None,
            progress: None,
            parts: Vec::new(),
            skipped: Vec::new(),
            quarantined: Vec::new(),
        }
    }

    fn blocking(state: State) -> Status {
        Status { blocking: true, ..status(state) }
    }

    fn waiting() -> Status {
        Status { message: Some("waits for another".to_owned()), ..status(State::Pending) }
    }

    #[test]
    fn a_start_waits_until_every_migration_is_settled_or_needs_an_operator() {
        use State::{
            Applied, FailedFatal, FailedRetryable, Paused, Pending, RolledBack, Running, Verifying,
            WaitingDependency,
        };
        for (statuses, at_first, after_a_while) in [
            (vec![status(Applied), status(Applied)], true, true),
            (vec![status(Applied), status(Pending)], false, false),
            (vec![status(Pending), status(Paused)], false, false),
            (vec![blocking(FailedFatal), status(Pending)], true, true),
            (vec![status(Paused), status(Applied), waiting()], true, true),
            // The engine has not visited the second one yet.
            (vec![status(Paused), status(Pending)], false, false),
            (vec![status(RolledBack), status(RolledBack)], true, true),
            (vec![status(FailedFatal), status(Running)], false, false),
            (vec![status(FailedFatal), status(Verifying)], false, false),
            (vec![status(WaitingDependency), waiting()], false, true),
            (vec![blocking(WaitingDependency), status(Pending)], false, true),
            (vec![status(FailedRetryable), status(Applied)], false, true),
        ] {
            let states: Vec<_> = statuses.iter().map(|status| status.state).collect();
            assert_eq!(all_settled_or_stuck(&statuses, true), at_first, "{states:?}");
            assert_eq!(all_settled_or_stuck(&statuses, false), after_a_while, "{states:?}");
        }
    }
}
