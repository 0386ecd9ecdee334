//! When a start can say what became of its migrations, although a service never gives them up.

use std::time::Duration;

use migrations::{State, Status};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::progress;

/// How long a migration may wait for another service, or be tried again and again, before whoever
/// started the system is told so. The other service starts within the same process, and the engine
/// tries four times in so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until the migrations of all services are settled or do not get on, and shows meanwhile how
/// far they are.
pub(crate) async fn follow(services: &[(&'static str, watch::Receiver<Vec<Status>>)]) {
    for (service, statuses) in services {
        progress::beside(service, statuses.clone(), over(statuses.clone())).await;
    }
}

async fn over(mut statuses: watch::Receiver<Vec<Status>>) {
    let (mut states, mut moved) = (Vec::new(), Instant::now());
    loop {
        let all = statuses.borrow_and_update().clone();
        let now: Vec<_> = all.iter().map(|status| (status.state, status.is_settled)).collect();
        if now != states {
            (states, moved) = (now, Instant::now());
        }
        let is_patient = moved.elapsed() < PATIENCE;
        if is_over(&all, is_patient) {
            return;
        }
        tokio::select! {
            changed = statuses.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = sleep_until(moved + PATIENCE), if is_patient => {}
        }
    }
}

/// Returns whether nothing gets on by itself. While we are patient, what waits or is tried again
/// still may.
fn is_over(statuses: &[Status], is_patient: bool) -> bool {
    let (mut is_held_up, mut is_blocked) = (false, false);
    statuses.iter().all(|status| {
        let is_stuck = match status.state {
            _ if status.is_settled => return true,
            State::FailedFatal | State::Paused | State::RolledBack => true,
            State::WaitingDependency | State::FailedRetryable => !is_patient,
            // The engine tries nothing after a blocking migration that failed. After another one it
            // comes to each, and tells what those wait for that require it.
            State::Pending => is_blocked || is_held_up && status.message.is_some(),
            State::Applied | State::Running | State::Verifying | State::RollingBack => false,
        };
        is_held_up |= is_stuck;
        is_blocked |= is_stuck && status.blocking;
        is_stuck
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: State) -> Status {
        Status {
            id: "0001_first",
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
    fn what_somebody_has_to_do_something_about_is_over_and_what_comes_after_it_too() {
        use State::{
            Applied, FailedFatal, FailedRetryable, Paused, Pending, RolledBack, Running, Verifying,
            WaitingDependency,
        };
        for (statuses, while_patient, at_last) in [
            (vec![status(Applied), status(Applied)], true, true),
            (vec![status(Applied), status(Pending)], false, false),
            (vec![status(Pending), status(Paused)], false, false),
            (vec![blocking(FailedFatal), status(Pending)], true, true),
            (vec![status(Paused), status(Applied), waiting()], true, true),
            // The engine has not come to the second yet.
            (vec![status(Paused), status(Pending)], false, false),
            (vec![status(RolledBack), status(RolledBack)], true, true),
            (vec![status(FailedFatal), status(Running)], false, false),
            (vec![status(FailedFatal), status(Verifying)], false, false),
            (vec![status(WaitingDependency), waiting()], false, true),
            (vec![blocking(WaitingDependency), status(Pending)], false, true),
            (vec![status(FailedRetryable), status(Applied)], false, true),
        ] {
            let states: Vec<_> = statuses.iter().map(|status| status.state).collect();
            assert_eq!(is_over(&statuses, true), while_patient, "{states:?}");
            assert_eq!(is_over(&statuses, false), at_last, "{states:?}");
        }
    }
}
