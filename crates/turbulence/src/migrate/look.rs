//! Looking: status, plan, verify. Nothing is written.

use migrations::{LedgerReport, MigrationReport, Problem, Verification};
use mongo_kit::{UnsuitableCollection, unsuitable_collections};
use serde::Serialize;

use super::{Answer, Engines};
use crate::{cli::Service, database::collections, failure::Failure, report};

/// The answer of `status` about a service.
#[derive(Serialize)]
struct StatusReport<'a> {
    #[serde(flatten)]
    report: &'a LedgerReport,
    /// Collections that keep the migrations from running.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unsuitable_collections: Vec<UnsuitableCollection>,
}

/// What the ledgers say, whatever state they are in.
pub(super) async fn status(
    engines: &Engines,
    is_check: bool,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let mut reports = Vec::new();
    for engine in engines.wanted() {
        let report = engine.report().await?;
        let database = engines.connection.database();
        let names = collections(Service::of(engine.service()));
        let unsuitable = unsuitable_collections(database, &names).await?;
        let mut text = report::status(&report);
        text.append(&report::unsuitable(&unsuitable));
        let shown = StatusReport { report: &report, unsuitable_collections: unsuitable };
        answer.add(report.service, &text, &shown);
        reports.push(report);
    }
    if is_check { check(&reports) } else { Ok(()) }
}

/// Whether nothing is left to do for anybody; what is worst comes first.
fn check(reports: &[LedgerReport]) -> Result<(), Failure> {
    let ids = |is_wanted: fn(&MigrationReport) -> bool| {
        let all = reports.iter().flat_map(|report| {
            let wanted = report.migrations.iter().filter(|one| is_wanted(one));
            wanted.map(|one| format!("{} {}", report.service, one.id))
        });
        let all: Vec<_> = all.collect();
        (!all.is_empty()).then(|| all.join(", "))
    };
    if let Some(ids) = ids(|one| one.problem.as_ref().is_some_and(is_refused)) {
        return Err(Failure::Drifted(ids));
    }
    if let Some(ids) = ids(MigrationReport::is_pending) {
        return Err(Failure::Pending(ids));
    }
    let entries = reports.iter().flat_map(|report| &report.migrations);
    let entries = entries.filter_map(|one| one.entry.as_ref());
    match entries.map(|entry| entry.quarantined.len()).sum() {
        0 => Ok(()),
        count => Err(Failure::SetAside(count)),
    }
}

/// Whether the engine refuses to run a migration with this problem. What a newer program has done
/// is none: it is left alone.
pub(super) fn is_refused(problem: &Problem) -> bool {
    !matches!(problem, Problem::Newer { .. })
}

/// What a run would do.
pub(super) async fn plan(engines: &Engines, answer: &mut Answer) -> Result<(), Failure> {
    for engine in engines.wanted() {
        let plans = engine.plan().await?;
        let unknown = report::unknown(&engine.report().await?);
        let mut text = report::plan(engine.service(), &plans);
        text.append(&unknown);
        answer.add(engine.service(), &text, &plans);
    }
    Ok(())
}

/// Whether what has to hold holds. Where the ledger is wrong, that comes first.
pub(super) async fn verify(engines: &Engines, answer: &mut Answer) -> Result<(), Failure> {
    let (mut is_ok, mut wrong) = (true, Vec::new());
    for engine in engines.wanted() {
        let service = engine.service();
        let verifications = engine.verify().await?;
        is_ok &= verifications.iter().all(|one| one.ok);
        let has_drifted = |one: &&Verification| one.problem.as_ref().is_some_and(is_refused);
        let drifted = verifications.iter().filter(has_drifted);
        wrong.extend(drifted.map(|one| format!("{service} {}", one.id)));
        answer.add(service, &report::verification(service, &verifications), &verifications);
    }
    match (wrong.is_empty(), is_ok) {
        (false, _) => Err(Failure::Drifted(wrong.join(", "))),
        (true, false) => Err(Failure::Unverified),
        (true, true) => Ok(()),
    }
}
