//! What the commands say to a person.

use std::fmt::Write;

use migrations::{Entry, LeftOut, Part, Plan, State, Status};
use mongo_kit::lenient::id_text;

/// How many of the documents that were left are named.
const EXAMPLES: usize = 3;

/// A state in the words of the command line.
pub(crate) fn state(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Running => "running",
        State::WaitingDependency => "waiting",
        State::Verifying => "verifying",
        State::Applied => "applied",
        State::FailedRetryable => "failed, can be tried again",
        State::FailedFatal => "failed",
    }
}

/// What the migrations of a service did in this process.
pub(crate) fn done(service: &str, statuses: &[Status]) -> String {
    let mut text = String::new();
    for Status { id, state: at, parts, message, .. } in statuses {
        let what = match (at, message) {
            (State::Applied, _) if parts.is_empty() => "nothing was changed".to_owned(),
            (State::Applied, _) => parts_text(parts),
            (at, Some(message)) => format!("{}: {message}", state(*at)),
            (at, None) => state(*at).to_owned(),
        };
        _ = writeln!(text, "  {service:<9}{id:<28}{what}");
    }
    text
}

fn parts_text(parts: &[Part]) -> String {
    let texts: Vec<_> =
        parts.iter().map(|Part { what, modified }| format!("{what}: {modified}")).collect();
    let separator = format!("\n{:39}", "");
    texts.join(&separator)
}

/// What was left as it is, and why.
pub(crate) fn left_out<'a>(all: impl IntoIterator<Item = &'a LeftOut>) -> String {
    let mut text = String::new();
    for LeftOut { what, reason, count, examples } in all {
        if examples.is_empty() {
            _ = writeln!(text, "  {what}: {reason}");
            continue;
        }
        _ = writeln!(text, "  {what}: {count} ({reason})");
        let mut shown: Vec<_> = examples.iter().take(EXAMPLES).map(id_text).collect();
        if *count > i64::try_from(EXAMPLES).unwrap_or(i64::MAX) {
            shown.push("…".to_owned());
        }
        _ = writeln!(text, "      {}", shown.join(", "));
    }
    text
}

/// The ledger of a service.
pub(crate) fn ledger(service: &str, entries: &[(&str, Option<&Entry>)]) -> String {
    let mut text = format!("{service}\n");
    for (id, entry) in entries {
        let Some(entry) = entry else {
            _ = writeln!(text, "  {id:<28}pending");
            continue;
        };
        let finished = entry.finished_at.and_then(|at| at.try_to_rfc3339_string().ok());
        let finished = finished.map(|at| format!(" at {at}")).unwrap_or_default();
        let attempts = match entry.attempts {
            0 | 1 => String::new(),
            attempts => format!(", {attempts} runs"),
        };
        _ = writeln!(text, "  {id:<28}{}{finished}{attempts}", state(entry.state));
        if let Some(error) = &entry.error {
            _ = writeln!(text, "      {}", error.message);
        }
        for Part { what, modified } in &entry.parts {
            _ = writeln!(text, "      {what}: {modified}");
        }
        for line in left_out(&entry.left_out).lines() {
            _ = writeln!(text, "    left:{line}");
        }
    }
    text
}

/// What a run would do.
pub(crate) fn plan(service: &str, plans: &[Plan]) -> String {
    let mut text = format!("{service}\n");
    for Plan { id, summary, steps, waits_for } in plans {
        let is_pending = steps.iter().any(|step| step.changes > 0);
        let state = match (waits_for, is_pending) {
            (Some(_), _) => "would wait",
            (None, true) => "would run",
            (None, false) => "nothing to do",
        };
        _ = writeln!(text, "  {id:<28}{state} ({summary})");
        if let Some(reason) = waits_for {
            _ = writeln!(text, "      for {reason}");
        }
        for step in steps.iter().filter(|step| step.changes > 0) {
            _ = writeln!(text, "      {}: {}", step.what, step.changes);
        }
        let left = steps.iter().filter_map(|step| step.left_out.as_ref());
        for line in left_out(left).lines() {
            _ = writeln!(text, "    leave:{line}");
        }
    }
    text
}
