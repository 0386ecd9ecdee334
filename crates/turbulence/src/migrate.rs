//! `turbulence migrate`: shows, runs and undoes the migrations of a database.

pub(crate) mod engines;
mod inspect;
mod operate;
pub(crate) mod roll_back;
mod run;

use std::process::ExitCode;

use service_kit::runtime::settings::Settings;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Migrate, MigrateAction},
    database::{Database, NewSite},
    error::Error,
    output::Output,
    sections_server::SectionsServer,
};
use engines::Engines;

/// Runs `turbulence migrate`.
pub(crate) async fn run(
    arguments: &Migrate,
    shutdown: CancellationToken,
) -> Result<ExitCode, Error> {
    let new_site = match arguments.action {
        MigrateAction::Up(_) => NewSite::Ask,
        _ => NewSite::Refuse,
    };
    let (options, sources) = (&arguments.options.database, arguments.sources());
    let mut database = Database::open_with(options, sources, new_site, &shutdown).await?;
    if arguments.is_unlimited() {
        database.settings.migrations.documents_per_second = None;
    }
    let command = async |database: &Database, output: &mut Output| {
        with_database(database, arguments, output, &shutdown).await
    };
    database.run(arguments.action.title(), arguments.options.json, command).await
}

async fn with_database(
    database: &Database,
    arguments: &Migrate,
    output: &mut Output,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let service = arguments.options.service;
    if matches!(
        arguments.action,
        MigrateAction::Plan | MigrateAction::Verify | MigrateAction::Up(_)
    ) {
        database.check_collections(service).await?;
    }
    let settings = database.settings.on_loopback();
    let sections = start_sections(&settings, &arguments.action).await?;
    let url = sections.as_ref().map_or(&settings.sections.url, SectionsServer::url);
    let engines = Engines::new(&database.connection, &settings, url, service)?;
    let result = act(&arguments.action, &engines, output, shutdown).await;
    if let Some(sections) = sections {
        sections.stop().await;
    }
    result
}

async fn act(
    action: &MigrateAction,
    engines: &Engines,
    output: &mut Output,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let acting = async {
        match action {
            MigrateAction::Status { check } => inspect::status(engines, *check, output).await,
            MigrateAction::Plan => inspect::plan(engines, output).await,
            MigrateAction::Verify => inspect::verify(engines, output).await,
            MigrateAction::Up(up) => run::up(engines, up, output, shutdown).await,
            MigrateAction::Down(down) => roll_back::down(engines, down, output, shutdown).await,
            MigrateAction::Pause(it) => operate::pause(engines, &it.id, output).await,
            MigrateAction::Resume(it) => operate::resume(engines, &it.id, output).await,
            MigrateAction::Retry(it) => operate::retry(engines, &it.id, output).await,
            MigrateAction::Repair => operate::repair(engines, output).await,
            MigrateAction::ForceUnlock(it) => operate::force_unlock(engines, it, output).await,
        }
    };
    match action {
        // They only read, so that they can be interrupted at any time.
        MigrateAction::Status { .. } | MigrateAction::Plan | MigrateAction::Verify => {
            tokio::select! {
                result = acting => result,
                () = shutdown.cancelled() => Err(Error::Interrupted),
            }
        }
        // `up` and `down` stop at a checkpoint, and the others are short.
        _ => acting.await,
    }
}

/// Starts a sections-service if the action needs one.
async fn start_sections(
    settings: &Settings,
    action: &MigrateAction,
) -> Result<Option<SectionsServer>, Error> {
    let service = match action {
        // A plan of content depends on the sections that the migrations of sections would create.
        MigrateAction::Plan => sections_service::bind_preview(settings).await?,
        MigrateAction::Up(_) | MigrateAction::Verify => sections_service::bind(settings).await?,
        _ => return Ok(None),
    };
    Ok(Some(SectionsServer::start(service)))
}
