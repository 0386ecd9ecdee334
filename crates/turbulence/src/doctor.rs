//! `turbulence doctor`: what is wrong with the data, without running services, and mending what
//! can be mended without losing anything.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    sync::Arc,
};

use data_service::integrity::Inspect;
use models::{IntegrityFinding, IntegrityRepair, IntegrityReport};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    answer::Answer,
    cli::Doctor,
    database::{Database, collections},
    failure::Failure,
    lines::Lines,
    report,
    sections::Sections,
};

/// Who looks at the data of a service.
type Inspector = (&'static str, Arc<dyn Inspect>);

/// What is wrong with the data of each service.
type Found = Vec<(&'static str, Vec<IntegrityFinding>)>;

/// The answer about a service.
#[derive(Serialize)]
struct OfService<'a> {
    #[serde(flatten)]
    report: IntegrityReport,
    /// Only where a repair was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<&'a IntegrityRepair>,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: &Doctor,
    shutdown: CancellationToken,
) -> Result<ExitCode, Failure> {
    let database = Database::open(&arguments.database, &shutdown).await?;
    let mut answer = Answer::default();
    let result = with_database(arguments, &database, &mut answer, &shutdown).await;
    answer.print(arguments.json);
    let closed = database.close().await;
    result?;
    closed?;
    Ok(ExitCode::SUCCESS)
}

async fn with_database(
    arguments: &Doctor,
    database: &Database,
    answer: &mut Answer,
    shutdown: &CancellationToken,
) -> Result<(), Failure> {
    database.check_collections(&collections(None)).await?;
    let sections = sections_service::bind(&database.settings.on_loopback()).await?;
    let sections = Sections::start(sections);
    let result = async {
        let client = content_service::sections_client(sections.url())?;
        let inspectors = [
            ("sections", sections_service::inspector(&database.connection)),
            ("content", content_service::inspector(&database.connection, &client)),
        ];
        examine(arguments, &inspectors, answer, shutdown).await
    };
    let result = result.await;
    sections.stop().await;
    result
}

async fn examine(
    arguments: &Doctor,
    inspectors: &[Inspector],
    answer: &mut Answer,
    shutdown: &CancellationToken,
) -> Result<(), Failure> {
    let mut found = look(inspectors, shutdown).await?;
    let mut repairs = Vec::new();
    if arguments.repair {
        let dry_run = !(arguments.yes || is_agreed(arguments, &found, shutdown).await?);
        repairs = mend(inspectors, &found, dry_run).await?;
        if !dry_run {
            // Not to be interrupted: what was done is said.
            found = look(inspectors, &CancellationToken::new()).await?;
        }
    }
    let is_sound = found.iter().all(|(_, findings)| findings.is_empty());
    let (before, after) = said_of(&repairs, is_sound);
    answer.say(&before);
    for (place, (service, findings)) in found.into_iter().enumerate() {
        let text = report::findings(service, &findings);
        let report = IntegrityReport { findings };
        answer.add(service, &text, OfService { report, repair: repairs.get(place) });
    }
    answer.say(&after);
    if is_sound { Ok(()) } else { Err(Failure::Unsound) }
}

/// Repairs what can be repaired, or says what that would be. It ends by itself, and what it has
/// begun it ends.
async fn mend(
    inspectors: &[Inspector],
    found: &Found,
    dry_run: bool,
) -> Result<Vec<IntegrityRepair>, Failure> {
    let mut repairs = Vec::new();
    for ((_, inspector), (_, findings)) in inspectors.iter().zip(found) {
        let mut repaired = if dry_run { findings.clone() } else { inspector.repair().await? };
        repaired.retain(|finding| finding.repairable);
        repairs.push(IntegrityRepair { dry_run, repaired });
    }
    Ok(repairs)
}

async fn look(inspectors: &[Inspector], shutdown: &CancellationToken) -> Result<Found, Failure> {
    let looking = async {
        let mut found = Vec::new();
        for (service, inspector) in inspectors {
            found.push((*service, inspector.inspect().await?));
        }
        Ok(found)
    };
    tokio::select! {
        found = looking => found,
        () = shutdown.cancelled() => Err(Failure::Interrupted),
    }
}

/// What is said of repairs before and after what is wrong: what was done, or what would be and how
/// to have it done.
fn said_of(repairs: &[IntegrityRepair], is_sound: bool) -> (Lines, Lines) {
    let lines = report::repairs(repairs.iter().flat_map(|repair| &repair.repaired));
    match (repairs.first(), lines.is_empty()) {
        (Some(IntegrityRepair { dry_run: false, .. }), false) => {
            let mut text = Lines::default();
            _ = writeln!(text, "Repaired; what was there is in `section_repairs`:");
            text.append(&lines);
            text.blank();
            (text, Lines::default())
        }
        (Some(IntegrityRepair { dry_run: true, .. }), true) if !is_sound => {
            let mut text = Lines::default();
            text.blank();
            _ = writeln!(text, "Nothing of it can be repaired without losing something.");
            (Lines::default(), text)
        }
        (Some(IntegrityRepair { dry_run: true, .. }), false) => {
            let mut text = Lines::default();
            text.blank();
            _ = writeln!(text, "Nothing was changed. `--repair --yes` repairs:");
            text.append(&lines);
            (Lines::default(), text)
        }
        _ => Default::default(),
    }
}

/// Whether a person at a terminal says that it is to be repaired.
async fn is_agreed(
    arguments: &Doctor,
    found: &Found,
    shutdown: &CancellationToken,
) -> Result<bool, Failure> {
    let repairs = report::repairs(found.iter().flat_map(|(_, findings)| findings));
    let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    if repairs.is_empty() || arguments.json || !is_terminal {
        return Ok(false);
    }
    let mut text = Lines::from(format_args!("What can be repaired:"));
    text.append(&repairs);
    text.ask("Repair that? [y/N] ");
    let mut line = String::new();
    let reading =
        tokio::task::spawn_blocking(move || io::stdin().read_line(&mut line).map(|_| line));
    let said = tokio::select! {
        said = reading => said,
        () = shutdown.cancelled() => return Err(Failure::Interrupted),
    };
    let said = said.ok().and_then(Result::ok).unwrap_or_default();
    Ok(matches!(said.trim(), "y" | "Y" | "yes"))
}
