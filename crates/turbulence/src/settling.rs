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

/// Whether nothing gets on by itself. While we are patient, what waits or is tried again still may.
fn is_over(statuses: &[Status], is_patient: bool) -> bool {
    let mut is_held_up = false;
    statuses.iter().all(|status| {
        let is_stuck = match status.state {
            _ if status.is_settled => return true,
            State::FailedFatal | State::Paused | State::RolledBack => true,
            State::WaitingDependency | State::FailedRetryable => !is_patient,
            // It waits for one that does not get on, or was not tried because of it.
            State::Pending => is_held_up,
            State::Applied | State::Running | State::Verifying | State::RollingBack => false,
        };
        is_held_up |= is_stuck;
        is_stuck
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(states: &[State]) -> Vec<Status> {
        let status = |state: &State| Status {
            id: "0001_first",
            summary: "",
            blocking: false,
            state: *state,
            is_settled: *state == State::Applied,
            message: None,
            progress: None,
            parts: Vec::new(),
            left_out: Vec::new(),
            set_aside: Vec::new(),
        };
        states.iter().map(status).collect()
    }

    #[test]
    fn what_somebody_has_to_do_something_about_is_over_and_what_comes_after_it_too() {
        use State::{
            Applied, FailedFatal, FailedRetryable, Paused, Pending, RolledBack, Running, Verifying,
            WaitingDependency,
        };
        for (states, while_patient, at_last) in [
            (&[Applied, Applied][..], true, true),
            (&[Applied, Pending], false, false),
            (&[Pending, Paused], false, false),
            (&[FailedFatal, Pending], true, true),
            (&[Paused, Applied, Pending], true, true),
            (&[RolledBack, RolledBack], true, true),
            (&[FailedFatal, Running], false, false),
            (&[FailedFatal, Verifying], false, false),
            (&[WaitingDependency, Pending], false, true),
            (&[FailedRetryable, Applied], false, true),
        ] {
            assert_eq!(is_over(&statuses(states), true), while_patient, "{states:?}");
            assert_eq!(is_over(&statuses(states), false), at_last, "{states:?}");
        }
    }
}
