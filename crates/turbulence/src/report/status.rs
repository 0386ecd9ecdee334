//! Where migrations stand, as the ledger has it.

use migrations::{Entry, LedgerReport, MigrationReport, Part, Problem, State};
use mongo_kit::UnsuitableCollection;
use mongodb::bson::DateTime;

use super::{holder, left_out, remaining, set_aside, so_far, speed, without};
use crate::lines::Lines;

/// How many characters of a checksum tell it from others.
const SHORT: usize = 12;

/// The ledger of a service.
pub(crate) fn status(report: &LedgerReport) -> Lines {
    let LedgerReport { service, lease, migrations, .. } = report;
    let applied = migrations.iter().filter(|one| is_applied(one)).count();
    let migrating = match lease {
        Some(lease) if lease.is_live() => {
            format!("{} is migrating, {}", holder(lease), remaining(lease))
        }
        Some(lease) if lease.owner.is_some() => {
            format!(
                "nobody is migrating: {} ended without a word, {}",
                holder(lease),
                remaining(lease)
            )
        }
        _ => "nobody is migrating".to_owned(),
    };
    let count = migrations.len();
    let mut text =
        Lines::from(format_args!("{service}: {applied} of {count} applied; {migrating}"));
    for one in migrations {
        _ = writeln!(text, "  {:<28}{}", one.id, standing(one, report));
        text.append(&details(one));
    }
    text.append(&unknown(report));
    text
}

/// Entries that this program does not know.
pub(crate) fn unknown(report: &LedgerReport) -> Lines {
    let mut text = Lines::default();
    for id in &report.unknown {
        _ = writeln!(text, "  {id:<28}left alone: not known to this program, but to a newer one");
    }
    text
}

/// Returns a line for each collection that keeps the migrations from running.
pub(crate) fn unsuitable(collections: &[UnsuitableCollection]) -> Lines {
    let mut text = Lines::default();
    for one in collections {
        _ = writeln!(text, "  {one}");
    }
    text
}

/// Why ledger and program do not agree.
pub(crate) fn problem(problem: &Problem) -> String {
    let short = |checksum: &str| checksum.chars().take(SHORT).collect::<String>();
    match problem {
        Problem::Drift { found, expected } => format!(
            "it is not what was applied: the ledger has the checksum {}, this program {}; run the \
             program that fits, or accept this one's with `turbulence migrate repair`",
            short(found),
            short(expected)
        ),
        Problem::Unreadable { reason } => format!(
            "its entry in the ledger cannot be read: {reason}; correct it, or begin it anew with \
             `turbulence migrate repair`"
        ),
        Problem::Newer { revision, app_version } => {
            format!("a newer program, {app_version}, has run its revision {revision}")
        }
    }
}

fn is_applied(one: &MigrationReport) -> bool {
    one.state == State::Applied && one.problem.is_none()
}

/// Where one migration stands, in a line.
fn standing(one: &MigrationReport, report: &LedgerReport) -> String {
    match &one.problem {
        Some(it @ Problem::Drift { .. }) => return format!("DRIFTED: {}", problem(it)),
        Some(it @ Problem::Unreadable { .. }) => return format!("UNREADABLE: {}", problem(it)),
        Some(it @ Problem::Newer { .. }) => return format!("left alone: {}", problem(it)),
        None => {}
    }
    let id = one.id;
    let Some(entry) = &one.entry else { return pending(one, report) };
    let (since, at) = (said(" since ", entry.started_at), said(" at ", entry.finished_at));
    let owner = entry.owner.as_deref().unwrap_or("?");
    match one.state {
        State::Pending => pending(one, report),
        State::RollingBack if one.is_interrupted && entry.error.is_some() => {
            format!("ROLL-BACK FAILED{at}: remove the cause, then the same `down` goes on")
        }
        State::RollingBack if one.is_interrupted => {
            "ROLL-BACK INTERRUPTED: the same `down` goes on, `up` applies it again".to_owned()
        }
        State::Running | State::Verifying if one.is_interrupted => {
            "interrupted: the next run goes on where it stopped".to_owned()
        }
        State::Running => format!("RUNNING{since}, by process {owner}"),
        State::Verifying => format!("RUNNING{since}, by process {owner}: checks the data"),
        State::RollingBack => format!("ROLLING BACK{since}, by process {owner}"),
        State::Paused => format!("PAUSED: `turbulence migrate resume {id}` lets it go on"),
        State::WaitingDependency => "WAITING: a running service tries again by itself".to_owned(),
        State::FailedRetryable => format!("FAILED{at}: a running service tries again by itself"),
        State::FailedFatal => {
            format!("FAILED{at}: remove the cause, then `turbulence migrate retry {id}` or `up`")
        }
        State::RolledBack => format!("rolled back{at}: `up` applies it again"),
        State::Applied => {
            let runs = match entry.attempts {
                0 | 1 => String::new(),
                attempts => format!(", {attempts} runs"),
            };
            format!("applied{at}{runs}")
        }
    }
}

fn pending(one: &MigrationReport, report: &LedgerReport) -> String {
    let is_applied = |id: &&&str| {
        report.migrations.iter().any(|other| other.id == **id && other.state == State::Applied)
    };
    let earlier = one.entry.as_ref().filter(|entry| entry.state == State::Applied);
    match (one.requires.iter().find(|id| !is_applied(id)), earlier) {
        (Some(requires), _) => format!("pending, after {requires}"),
        (None, Some(entry)) => {
            format!("pending: of an earlier revision, {}, it is applied", entry.revision)
        }
        (None, None) => "pending".to_owned(),
    }
}

/// What there is to know beyond that.
fn details(one: &MigrationReport) -> Lines {
    let mut text = Lines::default();
    let Some(entry) = &one.entry else { return text };
    let Entry { error, progress, parts, skipped: left, quarantined: aside, .. } = entry;
    if let Some(error) = error {
        _ = writeln!(text, "      {}", without(one.id, &error.message));
    }
    for Part { step: what, modified } in parts {
        _ = writeln!(text, "      {what}: {modified}");
    }
    if let Some(progress) = progress {
        let is_running = matches!(one.state, State::Running) && !one.is_interrupted;
        let speed = if is_running { speed(progress) } else { String::new() };
        let separator = if speed.is_empty() { "" } else { ", " };
        _ = writeln!(text, "      {}{separator}{speed}", so_far(progress));
    }
    text.append_with_margin("    aside:", &set_aside(aside));
    text.append_with_margin("    left:", &left_out(left));
    text
}

/// A time with the words before it, if there is one.
fn said(words: &str, at: Option<DateTime>) -> String {
    let at = at.and_then(|at| at.try_to_rfc3339_string().ok());
    at.map(|at| format!("{words}{at}")).unwrap_or_default()
}
