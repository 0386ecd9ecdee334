//! The results of `plan` and `verify`.

use migrations::{Plan, PlannedStep, Verification, Violation, ViolationKind};

use super::{
    format::{counted, documents, duration},
    outcomes::{quarantined, skipped},
    status::problem,
};
use crate::lines::Lines;

/// Returns the changes that a run would make.
pub(crate) fn plan(service: &str, plans: &[Plan]) -> Lines {
    let mut text = Lines::from(format_args!("{service}"));
    for Plan { id, summary, steps, waits_for, ignored, quarantined: documents, .. } in plans {
        if let Some(reason) = ignored {
            _ = writeln!(text, "  {id:<28}not run: {reason}");
            continue;
        }
        let state = planned_state(waits_for.is_some(), steps);
        _ = writeln!(text, "  {id:<28}{state} ({summary})");
        if let Some(reason) = waits_for {
            _ = writeln!(text, "      waits for {reason}");
        }
        for step in steps.iter().filter(|step| step.changes > 0) {
            _ = writeln!(text, "      {}: {}{}", step.step, step.changes, effort(step));
            for obstacle in &step.obstacles {
                text.append(&render_violation(obstacle, "    obstacle: "));
            }
        }
        text.append_with_margin("    quarantined:", &quarantined(documents));
        let documents = steps.iter().filter_map(|step| step.skipped.as_ref());
        text.append_with_margin("    skipped:", &skipped(documents));
    }
    text
}

fn planned_state(waits: bool, steps: &[PlannedStep]) -> &'static str {
    let is_pending = steps.iter().any(|step| step.changes > 0);
    let is_stopped = steps.iter().any(|step| !step.obstacles.is_empty());
    match (waits, is_pending) {
        (true, _) => "would wait",
        _ if is_stopped => "would fail",
        (false, true) => "would run",
        (false, false) => "nothing to do",
    }
}

/// Returns the line with the number of migrations in each state of a plan.
pub(crate) fn total_plan(all: &[Plan]) -> Lines {
    let states = all.iter().filter(|plan| plan.ignored.is_none());
    let states: Vec<_> =
        states.map(|plan| planned_state(plan.waits_for.is_some(), &plan.steps)).collect();
    let count = |state: &str| states.iter().filter(|one| **one == state).count();
    let mut line = format!(
        "{} of {} would run",
        count("would run"),
        counted(all.len(), "migration", "migrations")
    );
    for state in ["would wait", "would fail"] {
        if let count @ 1.. = count(state) {
            line += &format!(", {count} {state}");
        }
    }
    format_args!("Total: {line}").into()
}

/// Returns the line with the number of migrations whose data is as expected.
pub(crate) fn total_verification(all: &[Verification]) -> Lines {
    let ok = all.iter().filter(|one| one.ok).count();
    format_args!("Total: {ok} of {} ok", counted(all.len(), "migration", "migrations")).into()
}

/// Returns the way in which the documents of a step are found, and the estimated time.
fn effort(step: &PlannedStep) -> String {
    let Some(seconds) = step.estimate_seconds else { return String::new() };
    let found = match &step.index {
        Some(index) => format!("uses the index {index}"),
        None => "scans the whole collection".to_owned(),
    };
    format!(" ({found}; {})", duration(seconds))
}

/// Returns the result of checking the data.
pub(crate) fn verification(service: &str, verifications: &[Verification]) -> Lines {
    let mut text = Lines::from(format_args!("{service}"));
    for Verification { id, ok, violations, problem: of_ledger } in verifications {
        _ = writeln!(text, "  {id:<28}{}", if *ok { "ok" } else { "NOT OK" });
        if let Some(of_ledger) = of_ledger {
            _ = writeln!(text, "      ledger: {}", problem(of_ledger));
        }
        for violation in violations {
            let margin = match violation.kind {
                ViolationKind::Skipped => "    skipped: ",
                ViolationKind::Unreachable => "    unreachable: ",
                _ => "      ",
            };
            text.append(&render_violation(violation, margin));
        }
    }
    text
}

/// Returns a violation with some of its documents.
fn render_violation(violation: &Violation, margin: &str) -> Lines {
    let Violation { kind, step: what, count, documents: some, remedy } = violation;
    let line = match kind {
        ViolationKind::Remaining => format!("{what}: {count} to change; {remedy}"),
        ViolationKind::Quarantined => format!("{what}: {count} quarantined; {remedy}"),
        ViolationKind::NotInserted => format!("{what}: {count} missing; {remedy}"),
        ViolationKind::MissingIndex => format!("{what}: missing; {remedy}"),
        ViolationKind::OtherIndex => format!("{what}: a different index has this name; {remedy}"),
        ViolationKind::Duplicates => {
            format!(
                "{what}: {} with the key of another document; {remedy}",
                counted(*count, "document", "documents")
            )
        }
        ViolationKind::ParallelArrays => {
            format!(
                "{what}: {} with arrays in two of its fields; {remedy}",
                counted(*count, "document", "documents")
            )
        }
        ViolationKind::UniqueIndex => format!(
            "{what}: {} with values that it excludes; {remedy}",
            counted(*count, "document", "documents")
        ),
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
