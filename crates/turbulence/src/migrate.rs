//! `turbulence migrate`: looking at the migrations of a database, running them, and what else
//! operators do about them.

mod engines;
mod look;
mod operate;
mod run;
mod sections;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Migrate, MigrateAction},
    database::Database,
    failure::Failure,
};
use engines::Engines;
use sections::Sections;

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
    let settings = database.settings.on_loopback();
    let sections = Sections::start(&settings, &arguments.action).await?;
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

/// What a command prints: text for a person, or an object with a member for each service.
#[derive(Default)]
struct Answer {
    text: String,
    json: Map<String, Value>,
}

impl Answer {
    fn add(&mut self, service: &str, text: &str, value: impl Serialize) {
        self.text += text;
        self.json.insert(service.to_owned(), json!(value));
    }

    fn print(self, is_json: bool) {
        let text = match (is_json, self.json.is_empty()) {
            (false, _) => self.text,
            (true, false) => format!("{:#}\n", Value::Object(self.json)),
            // It came to nothing that there is anything to say about.
            (true, true) => return,
        };
        // A person may have seen enough and closed the pipe.
        let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    }
}
