//! What is wrong with the data.

use std::fmt::Write;

use models::IntegrityFinding;

use super::number;

/// How many documents of a finding are named: each is somebody's task, a page has an end.
const NAMED: usize = 10;

/// Everything that is wrong with what a service has stored, and what to do about it.
pub(crate) fn findings(service: &str, all: &[IntegrityFinding]) -> String {
    if all.is_empty() {
        return format!("{service}: nothing is wrong\n");
    }
    let mut text = format!("{service}\n");
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
pub(crate) fn repairs<'a>(all: impl IntoIterator<Item = &'a IntegrityFinding>) -> String {
    let repairable = all.into_iter().filter(|finding| finding.repairable);
    repairable.map(|finding| format!("  {}\n", headline(finding))).collect()
}

fn headline(finding: &IntegrityFinding) -> String {
    let IntegrityFinding { kind, collection, count, .. } = finding;
    format!("{collection}: {} {}", shown(*count), kind.title())
}

fn shown(count: u64) -> String {
    number(i64::try_from(count).unwrap_or(i64::MAX))
}
