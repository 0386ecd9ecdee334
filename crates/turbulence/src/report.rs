//! What the commands say to a person.

mod findings;
mod look;
mod status;

use std::fmt::Write;

use indicatif::HumanCount;
use migrations::{
    Part, Progress, Quarantined, Repaired, RolledBack, Skipped, State, Status, lease::Holder,
};
use mongo_kit::lenient::id_text;
use mongodb::bson::Bson;

use crate::lines::Lines;

pub(crate) use findings::{findings, repairs};
pub(crate) use look::{plan, verification};
pub(crate) use status::{problem, status, unknown, unsuitable};

/// How many of the documents that something is about are named.
const EXAMPLES: usize = 3;

/// A state in the words of the command line.
pub(crate) fn state(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Running => "running",
        State::Paused => "paused",
        State::WaitingDependency => "waiting",
        State::Verifying => "checking the data",
        State::Applied => "applied",
        State::FailedRetryable => "failed, is tried again",
        State::FailedFatal => "failed",
        State::RollingBack => "rolling back",
        State::RolledBack => "rolled back",
    }
}

/// What the migrations of a service did in this process. `is_over` says that nothing of it runs
/// any more.
pub(crate) fn done(service: &str, statuses: &[Status], is_over: bool) -> Lines {
    let mut text = Lines::default();
    for status in statuses {
        let Status { id, parts, message, progress, .. } = status;
        let mut others: &[Part] = &[];
        let what = match (status.state, message) {
            (_, Some(message)) if status.is_settled => format!("left alone: {message}"),
            // Which says that itself.
            (State::Paused | State::RolledBack, Some(message)) => without(id, message).to_owned(),
            (State::Applied, _) => match parts.split_first() {
                None => "nothing was changed".to_owned(),
                Some((first, rest)) => {
                    others = rest;
                    part(first)
                }
            },
            (state, Some(message)) => format!("{}: {}", self::state(state), without(id, message)),
            (State::Running | State::Verifying, None) if is_over => match progress {
                Some(progress) => format!("interrupted: {}", so_far(progress)),
                None => "interrupted".to_owned(),
            },
            (state, None) => self::state(state).to_owned(),
        };
        _ = writeln!(text, "  {service:<9}{id:<28}{what}");
        for other in others {
            _ = writeln!(text, "{:39}{}", "", part(other));
        }
    }
    text
}

/// A message about a migration where its id stands already.
fn without<'a>(id: &str, message: &'a str) -> &'a str {
    let rest = message.strip_prefix(id).unwrap_or(message);
    rest.trim_start_matches(':').trim_start()
}

fn part(Part { step: what, modified }: &Part) -> String {
    format!("{what}: {modified}")
}

/// What was left as it is, and why.
pub(crate) fn left_out<'a>(all: impl IntoIterator<Item = &'a Skipped>) -> Lines {
    let mut text = Lines::default();
    for Skipped { step: what, reason, count, examples, unreachable: _ } in all {
        if examples.is_empty() {
            _ = writeln!(text, "  {what}: {reason}");
            continue;
        }
        _ = writeln!(text, "  {what}: {count} ({reason})");
        _ = writeln!(text, "      {}", documents(examples, *count));
    }
    text
}

/// The documents that could not be changed, and why: each of them, since each is somebody's task.
pub(crate) fn set_aside<'a>(all: impl IntoIterator<Item = &'a Quarantined>) -> Lines {
    let mut text = Lines::default();
    for Quarantined { step: what, document, reason } in all {
        _ = writeln!(text, "  {}: {what}: {reason}", id_text(document));
    }
    text
}

/// Some of the documents that something is about.
fn documents(some: &[Bson], count: i64) -> String {
    let mut shown: Vec<_> = some.iter().take(EXAMPLES).map(id_text).collect();
    if count > i64::try_from(shown.len()).unwrap_or(i64::MAX) {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

/// How far a step has come.
fn so_far(progress: &Progress) -> String {
    let Progress { step: what, modified, total, failed, .. } = progress;
    let mut text = format!("{what}: {} of {} documents", number(*modified), number(*total));
    if *failed > 0 {
        _ = write!(text, ", {} set aside", number(*failed));
    }
    text
}

/// How fast a step is, how long it takes, and what keeps it from being faster.
pub(crate) fn speed(progress: &Progress) -> String {
    let mut text = String::new();
    if let Some(seconds) = progress.eta_seconds() {
        #[expect(clippy::cast_possible_truncation, reason = "documents a second")]
        let rate = progress.rate.round() as i64;
        _ = write!(text, "{}/s, {} left", number(rate), duration(seconds));
    }
    if let Some(by) = progress.throttled_by {
        let separator = if text.is_empty() { "" } else { ", " };
        _ = write!(text, "{separator}slowed down: {}", by.as_str());
    }
    text
}

/// A whole number that a person can read.
fn number(number: i64) -> String {
    HumanCount(number.max(0).unsigned_abs()).to_string()
}

/// A time that a person can read, from seconds.
fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "more than an i64 of seconds is for ever")]
    let seconds = seconds.round() as i64;
    match seconds {
        ..1 => "less than 1 s".to_owned(),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

/// Who holds a lease.
pub(crate) fn holder(holder: &Holder) -> String {
    let owner = holder.owner.as_deref().unwrap_or("nobody");
    format!("process {owner} (fence {})", holder.fence)
}

/// Until when a lease holds.
pub(crate) fn remaining(holder: &Holder) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded to seconds")]
    let seconds = holder.remaining_ms as f64 / 1_000.0;
    if seconds > 0.0 {
        format!("its lease has {} left", duration(seconds))
    } else {
        format!("its lease ended {} ago", duration(-seconds))
    }
}

/// What a roll-back did.
pub(crate) fn rolled_back(service: &str, all: &[RolledBack]) -> Lines {
    let mut text = Lines::default();
    for RolledBack { id, undone, kept } in all {
        let kept = match kept {
            0 => String::new(),
            kept => format!(", {kept} left as they are: somebody has changed them since"),
        };
        _ = writeln!(text, "  {service:<9}{id:<28}rolled back, {undone} undone{kept}");
    }
    if all.is_empty() {
        _ = writeln!(text, "  {service:<9}nothing was to roll back");
    }
    text
}

/// What a repair did.
pub(crate) fn repaired(service: &str, all: &[Repaired]) -> Lines {
    let mut text = Lines::default();
    for Repaired { id, what } in all {
        _ = writeln!(text, "  {service:<9}{id:<28}{what}");
    }
    if all.is_empty() {
        _ = writeln!(text, "  {service:<9}nothing was to repair");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_the_unit_that_fits() {
        for (seconds, expected) in [
            (0.3, "less than 1 s"),
            (1.4, "1 s"),
            (119.4, "119 s"),
            (120.0, "2 min"),
            (7_199.0, "119 min"),
            (7_200.0, "2 h"),
            (f64::INFINITY, "2562047788015215 h"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn what_slows_a_step_down_is_said() {
        let mut progress = Progress {
            step: "a step".into(),
            cursor: Bson::Null,
            upper_id: Bson::Null,
            matched: 0,
            modified: 12_000,
            raced: 0,
            failed: 2,
            total: 1_000_002,
            rate: 0.0,
            throttled_by: Some(migrations::ThrottledBy::RateLimit),
            updated_at: None,
        };
        assert_eq!(speed(&progress), "slowed down: rate limit");
        progress.rate = 1_000.0;
        assert_eq!(speed(&progress), "1,000/s, 16 min left, slowed down: rate limit");
        assert_eq!(so_far(&progress), "a step: 12,000 of 1,000,002 documents, 2 set aside");
    }
}
