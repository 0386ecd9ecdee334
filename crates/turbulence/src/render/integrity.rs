//! Problems in the data, and their repair.

use models::IntegrityFinding;

use super::format::{counted, number};
use crate::lines::Lines;

/// Number of documents of a finding that are named.
const MAX_NAMED: usize = 10;

/// Returns the problems in the data of a service, each with its documents and its remedy.
pub(crate) fn findings(service: &str, all: &[IntegrityFinding]) -> Lines {
    if all.is_empty() {
        return format_args!("{service}: no problems found").into();
    }
    let mut text = Lines::from(format_args!("{service}"));
    for finding in all {
        _ = writeln!(text, "  {}", headline(finding));
        for (place, id) in finding.ids.iter().take(MAX_NAMED).enumerate() {
            let reason = finding.reasons.get(place).map(|reason| format!(": {reason}"));
            _ = writeln!(text, "      {id}{}", reason.unwrap_or_default());
        }
        if let rest @ 1.. = finding.count.saturating_sub(MAX_NAMED as u64) {
            let hint = if finding.ids.len() > MAX_NAMED { " (`--json` lists more)" } else { "" };
            _ = writeln!(text, "      and {} more{hint}", count_text(rest));
        }
        _ = writeln!(text, "    {}", finding.message);
    }
    text
}

/// Returns the line with the number of problems, and of those that can be repaired.
pub(crate) fn total_findings<'a>(all: impl IntoIterator<Item = &'a IntegrityFinding>) -> Lines {
    let all: Vec<_> = all.into_iter().collect();
    let documents: u64 = all.iter().map(|finding| finding.count).sum();
    let repairable = all.iter().filter(|finding| finding.repairable).count();
    let mut line = counted(all.len(), "problem", "problems");
    if documents > 0 {
        line += &format!(" in {}", counted(documents, "document", "documents"));
    }
    if repairable > 0 {
        line += &format!("; {repairable} can be repaired");
    }
    format_args!("Total: {line}").into()
}

/// Returns the actions of a repair, each with its documents.
pub(crate) fn actions<'a>(all: impl IntoIterator<Item = &'a IntegrityFinding>) -> Lines {
    let mut text = Lines::default();
    for finding in all {
        if let Some(action) = finding.kind.repair() {
            _ = writeln!(text, "  {}: each {action}", headline(finding));
        }
    }
    text
}

/// Returns the findings that a repair resolves.
pub(crate) fn repairs<'a>(all: impl IntoIterator<Item = &'a IntegrityFinding>) -> Lines {
    let mut text = Lines::default();
    for finding in all.into_iter().filter(|finding| finding.repairable) {
        _ = writeln!(text, "  {}", headline(finding));
    }
    text
}

fn headline(finding: &IntegrityFinding) -> String {
    let IntegrityFinding { kind, collection, count, .. } = finding;
    let title = if *count == 1 { kind.title_of_one() } else { kind.title() };
    format!("{collection}: {} {title}", count_text(*count))
}

fn count_text(count: u64) -> String {
    number(i64::try_from(count).unwrap_or(i64::MAX))
}
