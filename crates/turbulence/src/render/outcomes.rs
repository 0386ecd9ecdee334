//! The results of running migrations, of rolling them back, and of repairs.

use migrations::{Part, Quarantined, Repaired, RolledBack, Skipped, State, Status};
use mongo_kit::lenient::id_text;

use super::{
    format::{counted, documents, without_id},
    progress::position,
};
use crate::{lines::Lines, removal::Removed};

/// Returns the outcome of the migrations of a service in this process. With `is_over`, a migration
/// that still has a running state was interrupted.
pub(crate) fn outcomes(service: &str, statuses: &[Status], is_over: bool) -> Lines {
    let mut text = Lines::default();
    for status in statuses {
        let Status { id, parts, message, progress, .. } = status;
        let mut others: &[Part] = &[];
        let outcome = match (status.state, message) {
            (_, Some(message)) if status.is_settled => format!("not run: {message}"),
            // The message includes the state.
            (State::Paused | State::RolledBack, Some(message)) => {
                without_id(id, message).to_owned()
            }
            (State::Applied, _) => match parts.split_first() {
                None => "nothing to change".to_owned(),
                Some((first, rest)) => {
                    others = rest;
                    part(first)
                }
            },
            (state, Some(message)) => format!("{}: {}", state_name(state), without_id(id, message)),
            (State::Running | State::Verifying, None) if is_over => match progress {
                Some(progress) => format!("interrupted: {}", position(progress)),
                None => "interrupted".to_owned(),
            },
            (state, None) => state_name(state).to_owned(),
        };
        _ = writeln!(text, "  {service:<9}{id:<28}{outcome}");
        for other in others {
            _ = writeln!(text, "{:39}{}", "", part(other));
        }
    }
    text
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Running => "running",
        State::Paused => "paused",
        State::WaitingDependency => "waiting",
        State::Verifying => "checking the data",
        State::Applied => "applied",
        State::FailedRetryable => "failed, will be retried",
        State::FailedFatal => "failed",
        State::RollingBack => "rolling back",
        State::RolledBack => "rolled back",
    }
}

fn part(Part { step: what, modified }: &Part) -> String {
    format!("{what}: {modified}")
}

/// Returns the documents that were not changed on purpose, with the reason.
pub(crate) fn skipped<'a>(all: impl IntoIterator<Item = &'a Skipped>) -> Lines {
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

/// Returns every document that could not be changed, with the reason. All are listed, since each
/// has to be corrected.
pub(crate) fn quarantined<'a>(all: impl IntoIterator<Item = &'a Quarantined>) -> Lines {
    let mut text = Lines::default();
    for Quarantined { step: what, document, reason } in all {
        _ = writeln!(text, "  {}: {what}: {reason}", id_text(document));
    }
    text
}

/// Returns the line with the number of migrations that are applied, of all.
pub(crate) fn total_applied<'a>(all: impl Iterator<Item = &'a Status>) -> Lines {
    let all: Vec<_> = all.collect();
    let applied = all.iter().filter(|status| status.state == State::Applied).count();
    format_args!("Total: {applied} of {} applied", counted(all.len(), "migration", "migrations"))
        .into()
}

/// Returns the progress of a service whose migrations were interrupted, or `None` if they are
/// complete.
pub(crate) fn reached(service: &str, statuses: &[Status]) -> Option<String> {
    let unsettled = || statuses.iter().filter(|status| !status.is_settled);
    let is_running = |status: &&Status| status.progress.is_some() || status.state == State::Running;
    let next = unsettled().find(is_running).or_else(|| unsettled().next())?;
    let settled = statuses.iter().filter(|status| status.is_settled).count();
    let place = match &next.progress {
        Some(progress) => position(progress),
        None => state_name(next.state).to_owned(),
    };
    Some(format!("{service} {settled} of {}, {} ({place})", statuses.len(), next.id))
}

/// Returns the result of a rollback.
pub(crate) fn rolled_back(service: &str, all: &[RolledBack]) -> Lines {
    let mut text = Lines::default();
    for RolledBack { id, undone, kept } in all {
        let kept = match kept {
            0 => String::new(),
            kept => format!(", not undone because of later changes: {kept}"),
        };
        _ = writeln!(text, "  {service:<9}{id:<28}rolled back; undone changes: {undone}{kept}");
    }
    if all.is_empty() {
        _ = writeln!(text, "  {service:<9}nothing to roll back");
    }
    text
}

/// Returns the collections that a service does not need any more.
pub(crate) fn removed(service: &str, all: &[Removed]) -> Lines {
    let mut text = Lines::default();
    for Removed { collection, documents } in all {
        let documents = counted(*documents, "document", "documents");
        _ = writeln!(text, "  {service:<9}{collection:<28}removed ({documents})");
    }
    text
}

/// Returns the result of a repair.
pub(crate) fn repaired(service: &str, all: &[Repaired]) -> Lines {
    let mut text = Lines::default();
    for Repaired { id, what } in all {
        _ = writeln!(text, "  {service:<9}{id:<28}{what}");
    }
    if all.is_empty() {
        _ = writeln!(text, "  {service:<9}nothing to repair");
    }
    text
}
