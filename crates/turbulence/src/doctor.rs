//! `turbulence doctor`: checks the data for problems without running services, and repairs those
//! that can be repaired without losing data.

use std::{process::ExitCode, sync::Arc};

use data_service::integrity::Inspect;
use models::{IntegrityFinding, IntegrityRepair, IntegrityReport};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::Doctor,
    database::{Database, NewSite},
    error::Error,
    lines::Lines,
    output::Output,
    prompt, render,
    sections_server::SectionsServer,
};

/// The inspector of a service's data, with the name of the service.
type Inspector = (&'static str, Arc<dyn Inspect>);

/// The findings of every service.
type Findings = Vec<(&'static str, Vec<IntegrityFinding>)>;

/// The output for a service in JSON.
#[derive(Serialize)]
struct ServiceReport<'a> {
    #[serde(flatten)]
    report: IntegrityReport,
    /// The repair, if `--repair` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<&'a IntegrityRepair>,
}

/// Runs `turbulence doctor`.
pub(crate) async fn run(
    arguments: &Doctor,
    shutdown: CancellationToken,
) -> Result<ExitCode, Error> {
    let database = Database::open(&arguments.database, NewSite::Refuse, &shutdown).await?;
    let command = async |database: &Database, output: &mut Output| {
        with_database(arguments, database, output, &shutdown).await
    };
    database.run(Some("Problems in the data"), arguments.json, command).await
}

async fn with_database(
    arguments: &Doctor,
    database: &Database,
    output: &mut Output,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    database.check_collections(None).await?;
    let sections = sections_service::bind(&database.settings.on_loopback()).await?;
    let sections = SectionsServer::start(sections);
    let result = async {
        let client = content_service::sections_client(sections.url(), &database.settings.internal);
        let inspectors = [
            ("sections", sections_service::inspector(&database.connection)),
            ("content", content_service::inspector(&database.connection, &client)),
        ];
        examine(arguments, &inspectors, output, shutdown).await
    };
    let result = result.await;
    sections.stop().await;
    result
}

async fn examine(
    arguments: &Doctor,
    inspectors: &[Inspector],
    output: &mut Output,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let mut findings = inspect(inspectors, shutdown).await?;
    let mut repairs = Vec::new();
    if arguments.repair {
        let dry_run = !(arguments.yes || is_confirmed(arguments, &findings, shutdown).await?);
        repairs = repair(inspectors, &findings, dry_run).await?;
        if !dry_run {
            // Not interruptible, so that the result of the repair is printed.
            findings = inspect(inspectors, &CancellationToken::new()).await?;
        }
    }
    let is_sound = findings.iter().all(|(_, findings)| findings.is_empty());
    let total = render::total_findings(findings.iter().flat_map(|(_, findings)| findings));
    let (before, after) = repair_text(&repairs, is_sound);
    output.add_text(&before);
    for (place, (service, findings)) in findings.into_iter().enumerate() {
        let text = render::findings(service, &findings);
        let report = IntegrityReport { findings };
        output.add(service, &text, ServiceReport { report, repair: repairs.get(place) });
    }
    output.add_text(&total);
    output.add_text(&after);
    if is_sound { Ok(()) } else { Err(Error::Unsound) }
}

async fn inspect(
    inspectors: &[Inspector],
    shutdown: &CancellationToken,
) -> Result<Findings, Error> {
    let inspecting = async {
        let mut all = Vec::new();
        for (service, inspector) in inspectors {
            all.push((*service, inspector.inspect().await?));
        }
        Ok(all)
    };
    tokio::select! {
        all = inspecting => all,
        () = shutdown.cancelled() => Err(Error::Interrupted),
    }
}

/// Repairs the repairable findings, or returns them unchanged in a dry run. A repair that has begun is
/// not interrupted.
async fn repair(
    inspectors: &[Inspector],
    findings: &Findings,
    dry_run: bool,
) -> Result<Vec<IntegrityRepair>, Error> {
    let mut repairs = Vec::new();
    for ((_, inspector), (_, findings)) in inspectors.iter().zip(findings) {
        let mut repaired = if dry_run { findings.clone() } else { inspector.repair().await? };
        repaired.retain(|finding| finding.repairable);
        repairs.push(IntegrityRepair { dry_run, repaired });
    }
    Ok(repairs)
}

/// Returns the text about the repairs that precedes the remaining findings, and the one that follows
/// them.
fn repair_text(repairs: &[IntegrityRepair], is_sound: bool) -> (Lines, Lines) {
    let all = || repairs.iter().flat_map(|repair| &repair.repaired);
    let (repaired, actions) = (render::repairs(all()), render::actions(all()));
    let (mut before, mut after) = (Lines::default(), Lines::default());
    match (repairs.first().map(|repair| repair.dry_run), repaired.is_empty()) {
        (Some(false), false) => {
            _ = writeln!(before, "Repaired; `section_repairs` has copies of the old documents:");
            before.append(&repaired);
            before.blank();
        }
        (Some(true), true) if !is_sound => {
            after.blank();
            _ = writeln!(after, "None of the problems can be repaired without losing data.");
        }
        (Some(true), false) => {
            after.blank();
            _ = writeln!(
                after,
                "Nothing was changed. `turbulence doctor --repair --yes` copies these documents to \
                 `section_repairs`, and changes them:"
            );
            after.append(&actions);
        }
        _ => {}
    }
    (before, after)
}

/// Asks a person at a terminal to confirm the repair. Returns `false` without a terminal.
async fn is_confirmed(
    arguments: &Doctor,
    findings: &Findings,
    shutdown: &CancellationToken,
) -> Result<bool, Error> {
    let actions = render::actions(findings.iter().flat_map(|(_, findings)| findings));
    if actions.is_empty() || arguments.json {
        return Ok(false);
    }
    let mut text = Lines::from(format_args!(
        "The repair copies these documents to `section_repairs`, and changes them:"
    ));
    text.append(&actions);
    prompt::is_confirmed(&text, "Change them? [y/N] ", shutdown).await
}
