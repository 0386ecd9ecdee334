//! What is wrong with the data.

use models::IntegrityFinding;

use super::number;
use crate::lines::Lines;

/// How many documents of a finding are named: each is somebody's task, a page has an end.
const NAMED: usize = 10;

/// Everything that is wrong with what a service has stored, and what to do about it.
pub(crate) fn findings(service: &str, all: &[IntegrityFinding]) -> Lines {
    if all.is_empty() {
        return format_args!("{service}: nothing is wrong").into();
    }
    let mut text = Lines::from(format_args!("{service}"));
    for finding in all {
        _ = writeln!(text, "  {}", headline(finding));
        for (place, id) in finding.ids.iter().take(NAMED).enumerate() {
            let reason = finding.reasons.get(place).map(|reason| format!(": {reason}"));
            _ = writeln!(text, "      {id}{}", reason.unwrap_or_default());
        }
        if let rest @ 1.. = finding.count.saturating_sub(NAMED as u64) {
            let where_else = if finding.ids.len() > NAMED { " (`--json` names more)" } else { "" };
            _ = writeln!(text, "      and {} more{where_else}", shown(rest));
        }
        _ = writeln!(text, "    {}", finding.message);
    }
    text
}

/// What a repair did, or would do: those findings that it is for.
pub(crate) fn repairs<'a>(all: impl IntoIterator<Item = &'a IntegrityFinding>) -> Lines {
    let mut text = Lines::default();
    for finding in all.into_iter().filter(|finding| finding.repairable) {
        _ = writeln!(text, "  {}", headline(finding));
    }
    text
}

fn headline(finding: &IntegrityFinding) -> String {
    let IntegrityFinding { kind, collection, count, .. } = finding;
    format!("{collection}: {} {}", shown(*count), kind.title())
}

fn shown(count: u64) -> String {
    number(i64::try_from(count).unwrap_or(i64::MAX))
}
