//! What a look at the data found.

use migrations::{Plan, PlannedStep, Verification, Violation, ViolationKind};

use super::{documents, duration, left_out, problem, set_aside};
use crate::lines::Lines;

/// What a run would do.
pub(crate) fn plan(service: &str, plans: &[Plan]) -> Lines {
    let mut text = Lines::from(format_args!("{service}"));
    for Plan { id, summary, steps, waits_for, ignored, quarantined: aside, .. } in plans {
        if let Some(why) = ignored {
            _ = writeln!(text, "  {id:<28}left alone: {why}");
            continue;
        }
        let is_pending = steps.iter().any(|step| step.changes > 0);
        let is_stopped = steps.iter().any(|step| !step.obstacles.is_empty());
        let state = match (waits_for, is_pending) {
            (Some(_), _) => "would wait",
            _ if is_stopped => "would fail",
            (None, true) => "would run",
            (None, false) => "nothing to do",
        };
        _ = writeln!(text, "  {id:<28}{state} ({summary})");
        if let Some(reason) = waits_for {
            _ = writeln!(text, "      for {reason}");
        }
        for step in steps.iter().filter(|step| step.changes > 0) {
            _ = writeln!(text, "      {}: {}{}", step.step, step.changes, effort(step));
            for obstacle in &step.obstacles {
                text.append(&finding(obstacle, "    stop:  "));
            }
        }
        text.append_with_margin("    aside:", &set_aside(aside));
        let left = steps.iter().filter_map(|step| step.skipped.as_ref());
        text.append_with_margin("    leave:", &left_out(left));
    }
    text
}

/// How documents are found and how long they take.
fn effort(step: &PlannedStep) -> String {
    let Some(seconds) = step.estimate_seconds else { return String::new() };
    let found = match &step.index {
        Some(index) => format!("by the index {index}"),
        None => "reads the whole collection".to_owned(),
    };
    format!(" ({found}; {})", duration(seconds))
}

/// Whether what has to hold holds.
pub(crate) fn verification(service: &str, verifications: &[Verification]) -> Lines {
    let mut text = Lines::from(format_args!("{service}"));
    for Verification { id, ok, violations, problem: of_ledger } in verifications {
        _ = writeln!(text, "  {id:<28}{}", if *ok { "ok" } else { "NOT OK" });
        if let Some(of_ledger) = of_ledger {
            _ = writeln!(text, "      ledger: {}", problem(of_ledger));
        }
        for found in violations {
            let margin = match found.kind {
                ViolationKind::Skipped => "    left:  ",
                ViolationKind::Unreachable => "    lost:  ",
                _ => "      ",
            };
            text.append(&finding(found, margin));
        }
    }
    text
}

/// What is wrong or to be known, with some of the documents that it is about.
fn finding(found: &Violation, margin: &str) -> Lines {
    let Violation { kind, step: what, count, documents: some, remedy } = found;
    let line = match kind {
        ViolationKind::Remaining => format!("{what}: {count} left to change; {remedy}"),
        ViolationKind::Quarantined => format!("{what}: {count} set aside; {remedy}"),
        ViolationKind::NotInserted => format!("{what}: {count} not there; {remedy}"),
        ViolationKind::MissingIndex => format!("{what}: not there; {remedy}"),
        ViolationKind::OtherIndex => format!("{what}: another index has this name; {remedy}"),
        ViolationKind::Duplicates => {
            format!("{what}: {count} documents have the same key as others; {remedy}")
        }
        ViolationKind::ParallelArrays => {
            format!("{what}: {count} documents have lists in two of its fields; {remedy}")
        }
        ViolationKind::UniqueIndex => format!("{what}: {count} documents are refused; {remedy}"),
        ViolationKind::EquivalentIndex | ViolationKind::TooManyIndexes => {
            format!("{what}: {remedy}")
        }
        ViolationKind::Skipped if some.is_empty() => format!("{what}: {remedy}"),
        ViolationKind::Skipped | ViolationKind::Unreachable => {
            format!("{what}: {count} ({remedy})")
        }
    };
    let mut text = Lines::from(format_args!("{margin}{line}"));
    if !some.is_empty() {
        _ = writeln!(text, "{margin}    {}", documents(some, *count));
    }
    text
}
