//! `turbulence migrate`: looking at the migrations of a database, and running them.

use std::process::ExitCode;

use data_service::Migrate as MigrateAt;
use migrations::{Engine, Patience};
use serde_json::{Value, json};
use service_kit::{clock::Clock, settings::HttpUrl};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Migrate, MigrateAction, MigrateOptions, Service},
    database::Database,
    failure::Failure,
    progress, report,
};

/// Runs the command.
pub(crate) async fn run(
    arguments: &Migrate,
    shutdown: CancellationToken,
) -> Result<ExitCode, Failure> {
    let database = Database::open(&arguments.options.database, &shutdown).await?;
    let result = with_sections(&database, &arguments.options, arguments.action, &shutdown).await;
    let closed = database.close().await;
    let exit_code = result?;
    closed?;
    Ok(exit_code)
}

/// content-service asks sections-service for slugs, so one runs for as long as the command. It
/// migrates nothing by itself.
async fn with_sections(
    database: &Database,
    options: &MigrateOptions,
    action: MigrateAction,
    shutdown: &CancellationToken,
) -> Result<ExitCode, Failure> {
    let settings = database.settings.on_loopback();
    let sections = match action {
        // What content would be linked to after the sections' own migrations.
        MigrateAction::Plan => sections_service::bind_preview(&settings).await?,
        _ => sections_service::bind(&settings).await?,
    };
    let url = HttpUrl::from(sections.address());
    let stop = CancellationToken::new();
    let serving = tokio::spawn(sections.run(MigrateAt::Never, stop.clone()));

    let client = content_service::sections_client(&url)?;
    let (connection, clock) = (&database.connection, Clock::system());
    let engines = [
        (Service::Sections, "sections", sections_service::engine(connection, clock.clone())),
        (
            Service::Content,
            "content",
            content_service::engine(connection, clock, &settings.admin, &client),
        ),
    ];
    let is_wanted = |service| options.service.is_none_or(|wanted| wanted == service);
    let engines: Vec<_> = engines
        .into_iter()
        .filter(|(service, ..)| is_wanted(*service))
        .map(|(_, name, engine)| (name, engine))
        .collect();
    let result = act(action, &engines, options.json, shutdown).await;

    stop.cancel();
    // What went wrong with it has been seen by its caller.
    let _ = serving.await;
    result
}

async fn act(
    action: MigrateAction,
    engines: &[(&'static str, Engine)],
    is_json: bool,
    shutdown: &CancellationToken,
) -> Result<ExitCode, Failure> {
    let mut answer = serde_json::Map::new();
    let mut text = String::new();
    let mut is_settled = true;
    for (service, engine) in engines {
        let value = match action {
            MigrateAction::Status => {
                let entries = engine.entries().await?;
                let ids: Vec<_> = engine.statuses().borrow().iter().map(|s| s.id).collect();
                let of = |id: &str| entries.iter().find(|entry| entry.id == id);
                let rows: Vec<_> = ids.iter().map(|id| (*id, of(id))).collect();
                text += &report::ledger(service, &rows);
                json!(entries)
            }
            MigrateAction::Plan | MigrateAction::Verify => {
                let plans = engine.plan().await?;
                is_settled &= !plans.iter().any(migrations::Plan::is_pending);
                text += &report::plan(service, &plans);
                json!(plans)
            }
            MigrateAction::Up => {
                let run = engine.run(Patience::Command, shutdown);
                let mut followed = [(*service, engine.statuses())];
                let follow = progress::follow(&mut followed);
                tokio::pin!(follow, run);
                let result = tokio::select! {
                    result = &mut run => result,
                    () = &mut follow => run.await,
                };
                let statuses = engine.statuses().borrow().clone();
                text += &report::done(service, &statuses);
                text += &report::left_out(statuses.iter().flat_map(|status| &status.left_out));
                if let Err(error) = result {
                    if !is_json {
                        print!("{text}");
                    }
                    return Err(error.into());
                }
                json!(statuses)
            }
        };
        answer.insert((*service).to_owned(), value);
    }
    if is_json {
        println!("{:#}", Value::Object(answer));
    } else {
        print!("{text}");
    }
    match action {
        MigrateAction::Verify if !is_settled => Err(Failure::Unverified),
        _ => Ok(ExitCode::SUCCESS),
    }
}
