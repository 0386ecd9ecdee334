//! Problems in the data, and their repair.

use models::IntegrityFinding;

use super::format::number;
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
    format!("{collection}: {} {}", count_text(*count), kind.title())
}

fn count_text(count: u64) -> String {
    number(i64::try_from(count).unwrap_or(i64::MAX))
}
