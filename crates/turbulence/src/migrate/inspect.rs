//! `status`, `plan` and `verify`, which write nothing.

use migrations::{LedgerReport, MigrationReport, Problem, Verification};
use mongo_kit::{UnsuitableCollection, unsuitable_collections};
use serde::Serialize;

use super::engines::Engines;
use crate::{cli::Service, collections::all_names, error::Error, output::Output, render};

/// The output of `status` for a service.
#[derive(Serialize)]
struct ServiceStatus<'a> {
    #[serde(flatten)]
    report: &'a LedgerReport,
    /// The collections that prevent the migrations from running.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unsuitable_collections: Vec<UnsuitableCollection>,
}

/// Shows the ledgers, whatever their state.
pub(super) async fn status(
    engines: &Engines,
    is_check: bool,
    output: &mut Output,
) -> Result<(), Error> {
    let mut reports = Vec::new();
    for engine in engines.selected() {
        let report = engine.report().await?;
        let database = engines.connection.database();
        let names = all_names(Service::from_name(engine.service()));
        let unsuitable = unsuitable_collections(database, &names).await?;
        let mut text = render::status(&report);
        text.append(&render::unsuitable(&unsuitable));
        let shown = ServiceStatus { report: &report, unsuitable_collections: unsuitable };
        output.add(report.service, &text, &shown);
        reports.push(report);
    }
    output.add_text(&render::total_status(&reports));
    if is_check { check(&reports) } else { Ok(()) }
}

/// Returns the most severe reason for which the state of the migrations needs attention.
fn check(reports: &[LedgerReport]) -> Result<(), Error> {
    let ids = |filter: fn(&MigrationReport) -> bool| {
        let all = reports.iter().flat_map(|report| {
            let matching = report.migrations.iter().filter(|one| filter(one));
            matching.map(|one| format!("{} {}", report.service, one.id))
        });
        let all: Vec<_> = all.collect();
        (!all.is_empty()).then(|| all.join(", "))
    };
    if let Some(ids) = ids(|one| one.problem.as_ref().is_some_and(prevents_run)) {
        return Err(Error::Drifted(ids));
    }
    if let Some(ids) = ids(MigrationReport::is_pending) {
        return Err(Error::Pending(ids));
    }
    let entries = reports.iter().flat_map(|report| &report.migrations);
    let entries = entries.filter_map(|one| one.entry.as_ref());
    match entries.map(|entry| entry.quarantined.len()).sum() {
        0 => Ok(()),
        count => Err(Error::Quarantined(count)),
    }
}

/// Returns `true` if the engine refuses to run a migration with this problem. One that a newer program
/// has run is not refused but ignored.
pub(super) fn prevents_run(problem: &Problem) -> bool {
    !matches!(problem, Problem::Newer { .. })
}

/// Shows the changes that a run would make.
pub(super) async fn plan(engines: &Engines, output: &mut Output) -> Result<(), Error> {
    let mut all = Vec::new();
    for engine in engines.selected() {
        let plans = engine.plan().await?;
        let unknown = render::unknown(&engine.report().await?);
        let mut text = render::plan(engine.service(), &plans);
        text.append(&unknown);
        output.add(engine.service(), &text, &plans);
        all.extend(plans);
    }
    output.add_text(&render::total_plan(&all));
    Ok(())
}

/// Checks that the data has the expected state. A problem of the ledger takes precedence.
pub(super) async fn verify(engines: &Engines, output: &mut Output) -> Result<(), Error> {
    let (mut all, mut drifted) = (Vec::new(), Vec::new());
    for engine in engines.selected() {
        let service = engine.service();
        let verifications = engine.verify().await?;
        let has_drifted = |one: &&Verification| one.problem.as_ref().is_some_and(prevents_run);
        let with_drift = verifications.iter().filter(has_drifted);
        drifted.extend(with_drift.map(|one| format!("{service} {}", one.id)));
        output.add(service, &render::verification(service, &verifications), &verifications);
        all.extend(verifications);
    }
    output.add_text(&render::total_verification(&all));
    match (drifted.is_empty(), all.iter().all(|one| one.ok)) {
        (false, _) => Err(Error::Drifted(drifted.join(", "))),
        (true, false) => Err(Error::Unverified),
        (true, true) => Ok(()),
    }
}
