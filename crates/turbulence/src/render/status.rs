//! The state of the migrations according to the ledger.

use migrations::{Entry, LedgerReport, MigrationReport, Part, Problem, State};
use mongo_kit::UnsuitableCollection;
use mongodb::bson::DateTime;

use super::{
    format::{counted, without_id},
    lease::{holder, remaining},
    outcomes::{quarantined, skipped},
    progress::{position, speed},
};
use crate::lines::Lines;

/// Number of characters of a checksum that are shown: enough to distinguish two.
const CHECKSUM_CHARS: usize = 12;

/// Returns the state of every migration of a service.
pub(crate) fn status(report: &LedgerReport) -> Lines {
    let LedgerReport { service, lease, migrations, .. } = report;
    let applied = migrations.iter().filter(|one| is_applied(one)).count();
    let migrating = match lease {
        Some(lease) if lease.is_live() => {
            format!("{} is migrating, its lease {}", holder(lease), remaining(lease))
        }
        Some(lease) if lease.owner.is_some() => {
            format!(
                "no process is migrating; {} did not release its lease, which {}",
                holder(lease),
                remaining(lease)
            )
        }
        _ => "no process is migrating".to_owned(),
    };
    let count = migrations.len();
    let mut text =
        Lines::from(format_args!("{service}: {applied} of {count} applied; {migrating}"));
    for one in migrations {
        _ = writeln!(text, "  {:<28}{}", one.id, summary(one, report));
        text.append(&details(one));
    }
    text.append(&unknown(report));
    text
}

/// Returns the line with the number of applied migrations of all services.
pub(crate) fn total_status(reports: &[LedgerReport]) -> Lines {
    let all: Vec<_> = reports.iter().flat_map(|report| &report.migrations).collect();
    let applied = all.iter().filter(|one| is_applied(one)).count();
    let all = counted(all.len(), "migration", "migrations");
    format_args!("Total: {applied} of {all} applied").into()
}

/// Returns a line for each ledger entry that this program does not know.
pub(crate) fn unknown(report: &LedgerReport) -> Lines {
    let mut text = Lines::default();
    for id in &report.unknown {
        _ = writeln!(
            text,
            "  {id:<28}not run: unknown to this program, written by a newer version"
        );
    }
    text
}

/// Returns a line for each collection that prevents the migrations from running.
pub(crate) fn unsuitable(collections: &[UnsuitableCollection]) -> Lines {
    let mut text = Lines::default();
    for one in collections {
        _ = writeln!(text, "  {one}");
    }
    text
}

/// Returns the difference between a ledger entry and this program.
pub(crate) fn problem(problem: &Problem) -> String {
    let short = |checksum: &str| checksum.chars().take(CHECKSUM_CHARS).collect::<String>();
    match problem {
        Problem::Drift { found, expected } => format!(
            "its definition differs from the one that was applied: the ledger has the checksum {}, \
             this program {}; run the matching version of the program, or accept this one with \
             `turbulence migrate repair`",
            short(found),
            short(expected)
        ),
        Problem::Unreadable { reason } => format!(
            "its ledger entry cannot be read: {reason}; correct the entry, or reset it with \
             `turbulence migrate repair`"
        ),
        Problem::Newer { revision, app_version } => {
            format!(
                "revision {revision} was applied by a newer version of the program, {app_version}"
            )
        }
    }
}

fn is_applied(one: &MigrationReport) -> bool {
    one.state == State::Applied && one.problem.is_none()
}

/// Returns the state of one migration in a line.
fn summary(one: &MigrationReport, report: &LedgerReport) -> String {
    match &one.problem {
        Some(it @ Problem::Drift { .. }) => return format!("DRIFTED: {}", problem(it)),
        Some(it @ Problem::Unreadable { .. }) => return format!("UNREADABLE: {}", problem(it)),
        Some(it @ Problem::Newer { .. }) => return format!("not run: {}", problem(it)),
        None => {}
    }
    let id = one.id;
    let Some(entry) = &one.entry else { return pending(one, report) };
    let (since, at) = (time(" since ", entry.started_at), time(" at ", entry.finished_at));
    let owner = entry.owner.as_deref().unwrap_or("unknown");
    match one.state {
        State::Pending => pending(one, report),
        State::RollingBack if one.is_interrupted && entry.error.is_some() => {
            format!("ROLLBACK FAILED{at}: remove the cause, then run the same `down` again")
        }
        State::RollingBack if one.is_interrupted => {
            "ROLLBACK INTERRUPTED: the same `down` continues it, `up` applies it again".to_owned()
        }
        State::Running | State::Verifying if one.is_interrupted => {
            "interrupted: the next run continues from the last checkpoint".to_owned()
        }
        State::Running => format!("RUNNING{since}, by process {owner}"),
        State::Verifying => format!("RUNNING{since}, by process {owner}: checking the data"),
        State::RollingBack => format!("ROLLING BACK{since}, by process {owner}"),
        State::Paused => format!("PAUSED: continue it with `turbulence migrate resume {id}`"),
        State::WaitingDependency => "WAITING: a running service retries automatically".to_owned(),
        State::FailedRetryable => format!("FAILED{at}: a running service retries automatically"),
        State::FailedFatal => {
            format!(
                "FAILED{at}: remove the cause, then run `turbulence migrate retry {id}` or `up`"
            )
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
            format!("pending: only its earlier revision {} is applied", entry.revision)
        }
        (None, None) => "pending".to_owned(),
    }
}

/// Returns the error, the progress and the results of a migration.
fn details(one: &MigrationReport) -> Lines {
    let mut text = Lines::default();
    let Some(entry) = &one.entry else { return text };
    let Entry { error, progress, parts, skipped: others, quarantined: failed, .. } = entry;
    if let Some(error) = error {
        _ = writeln!(text, "      {}", without_id(one.id, &error.message));
    }
    for Part { step: what, modified } in parts {
        _ = writeln!(text, "      {what}: {modified}");
    }
    if let Some(progress) = progress {
        let is_running = matches!(one.state, State::Running) && !one.is_interrupted;
        let speed = if is_running { speed(progress) } else { String::new() };
        let separator = if speed.is_empty() { "" } else { ", " };
        _ = writeln!(text, "      {}{separator}{speed}", position(progress));
    }
    text.append_with_margin("    quarantined:", &quarantined(failed));
    text.append_with_margin("    skipped:", &skipped(others));
    text
}

/// Returns a time with a prefix, or nothing if there is none.
fn time(prefix: &str, at: Option<DateTime>) -> String {
    let at = at.and_then(|at| at.try_to_rfc3339_string().ok());
    at.map(|at| format!("{prefix}{at}")).unwrap_or_default()
}
