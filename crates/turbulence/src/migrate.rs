//! `turbulence migrate`: looking at the migrations of a database, running them, and what else
//! operators do about them.

mod engines;
mod look;
mod operate;
mod run;

use std::process::ExitCode;

use service_kit::runtime::settings::Settings;
use tokio_util::sync::CancellationToken;

use crate::{
    answer::Answer,
    cli::{Migrate, MigrateAction},
    database::{Database, collections},
    failure::Failure,
    sections::Sections,
};
use engines::Engines;

/// Runs the command.
pub(crate) async fn run(
    arguments: &Migrate,
    shutdown: CancellationToken,
) -> Result<ExitCode, Failure> {
    let data_dir = &arguments.options.database.data_dir;
    let mut database = Database::open_with(data_dir, arguments.sources(), &shutdown).await?;
    if arguments.is_unlimited() {
        database.settings.migrations.documents_per_second = None;
    }
    let mut answer = Answer::default();
    let result = with_database(&database, arguments, &mut answer, &shutdown).await;
    // What was found out is said, however the command ends.
    answer.print(arguments.options.json);
    let closed = database.close().await;
    result?;
    closed?;
    Ok(ExitCode::SUCCESS)
}

async fn with_database(
    database: &Database,
    arguments: &Migrate,
    answer: &mut Answer,
    shutdown: &CancellationToken,
) -> Result<(), Failure> {
    let names = collections(arguments.options.service);
    if matches!(
        arguments.action,
        MigrateAction::Plan | MigrateAction::Verify | MigrateAction::Up(_)
    ) {
        database.check_collections(&names).await?;
    }
    let settings = database.settings.on_loopback();
    let sections = sections(&settings, &arguments.action).await?;
    let url = sections.as_ref().map_or(&settings.sections.url, Sections::url);
    let engines = Engines::new(&database.connection, &settings, url, arguments.options.service)?;
    let result = act(&arguments.action, &engines, answer, shutdown).await;
    if let Some(sections) = sections {
        sections.stop().await;
    }
    result
}

async fn act(
    action: &MigrateAction,
    engines: &Engines,
    answer: &mut Answer,
    shutdown: &CancellationToken,
) -> Result<(), Failure> {
    let acting = async {
        match action {
            MigrateAction::Status { check } => look::status(engines, *check, answer).await,
            MigrateAction::Plan => look::plan(engines, answer).await,
            MigrateAction::Verify => look::verify(engines, answer).await,
            MigrateAction::Up(up) => run::up(engines, up, answer, shutdown).await,
            MigrateAction::Down(down) => run::down(engines, down, answer, shutdown).await,
            MigrateAction::Pause(it) => operate::pause(engines, &it.id, answer).await,
            MigrateAction::Resume(it) => operate::resume(engines, &it.id, answer).await,
            MigrateAction::Retry(it) => operate::retry(engines, &it.id, answer).await,
            MigrateAction::Repair => operate::repair(engines, answer).await,
            MigrateAction::ForceUnlock(it) => operate::force_unlock(engines, it, answer).await,
        }
    };
    match action {
        // Nothing is lost with it.
        MigrateAction::Status { .. } | MigrateAction::Plan | MigrateAction::Verify => {
            tokio::select! {
                result = acting => result,
                () = shutdown.cancelled() => Err(Failure::Interrupted),
            }
        }
        // They end by themselves: at a checkpoint, or at once.
        _ => acting.await,
    }
}

/// A sections-service, if the command needs one.
async fn sections(
    settings: &Settings,
    action: &MigrateAction,
) -> Result<Option<Sections>, Failure> {
    let service = match action {
        // What content would be linked to after the sections' own migrations.
        MigrateAction::Plan => sections_service::bind_preview(settings).await?,
        MigrateAction::Up(_) | MigrateAction::Verify => sections_service::bind(settings).await?,
        _ => return Ok(None),
    };
    Ok(Some(Sections::start(service)))
}
