//! The integrity report of a service, in the form of its migrations.

use migrations::Skipped;
use models::IntegrityFinding;
use mongodb::bson::Bson;

/// Returns the report of an inspection: the findings of the integrity report, so that `plan`, `up`,
/// `verify` and `status` agree with `doctor`, and the published items that cannot be found.
pub fn from_integrity(
    findings: impl IntoIterator<Item = IntegrityFinding>,
    unreachable: impl IntoIterator<Item = Unreachable>,
) -> Vec<Skipped> {
    let findings = findings.into_iter().map(|finding| Skipped {
        step: format!("{} {}", finding.collection, finding.kind.title()).into(),
        reason: finding.message,
        count: i64::try_from(finding.count).unwrap_or(i64::MAX),
        examples: examples(finding.ids),
        unreachable: false,
    });
    let unreachable = unreachable.into_iter().filter(|found| !found.ids.is_empty());
    let unreachable = unreachable.map(|found| Skipped {
        step: format!("unreachable published {}", found.collection).into(),
        reason: "no list and no look-up has them; the other findings say why".to_owned(),
        count: i64::try_from(found.ids.len()).unwrap_or(i64::MAX),
        examples: examples(found.ids),
        unreachable: true,
    });
    findings.chain(unreachable).collect()
}

/// Published items of a collection that neither a list nor a look-up finds.
#[derive(Debug)]
pub struct Unreachable {
    /// The collection.
    pub collection: &'static str,
    /// All their `_id`s, as text.
    pub ids: Vec<String>,
}

/// Returns the first of some ids, in the form of the ledger.
fn examples(ids: Vec<String>) -> Vec<Bson> {
    ids.into_iter().take(Skipped::MAX_EXAMPLES).map(Bson::from).collect()
}
