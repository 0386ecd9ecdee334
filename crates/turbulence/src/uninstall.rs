//! `turbulence uninstall`: undoes all migrations and removes every collection that the services
//! created, after a dry run.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Service, Uninstall},
    collections::collections,
    database::{Database, NewSite},
    error::Error,
    lines::Lines,
    migrate::{engines::Engines, roll_back},
    output::Output,
    removal::{self, Removed},
    render,
};

/// The changes of a migration that are undone.
#[derive(Serialize)]
struct Undone {
    id: &'static str,
    changes: i64,
}

/// Runs `turbulence uninstall`.
pub(crate) async fn run(
    arguments: &Uninstall,
    shutdown: CancellationToken,
) -> Result<ExitCode, Error> {
    let database = Database::open(&arguments.database, NewSite::Refuse, &shutdown).await?;
    let title = match arguments.yes {
        true => "Removal of Turbulence",
        false => "Changes of a removal of Turbulence",
    };
    let command = async |database: &Database, output: &mut Output| {
        with_database(arguments, database, output, &shutdown).await
    };
    database.run(Some(title), arguments.json, command).await
}

async fn with_database(
    arguments: &Uninstall,
    database: &Database,
    output: &mut Output,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let (connection, settings) = (&database.connection, &database.settings);
    let engines = Engines::new(connection, settings, &settings.sections.url, None)?;
    roll_back::check_down(&engines, &roll_back::all(&engines)).await?;
    if arguments.yes {
        if connection.writers().have_others().await? {
            return Err(Error::InUse);
        }
        remove(database, &engines, output, shutdown).await
    } else {
        preview(database, &engines, output).await
    }
}

/// Shows what would be undone and removed.
async fn preview(database: &Database, engines: &Engines, output: &mut Output) -> Result<(), Error> {
    let mut is_clean = true;
    for (engine, _) in roll_back::all(engines) {
        let service = engine.service();
        let report = engine.report().await?;
        let undone = report.migrations.iter().filter_map(|one| {
            let changes = one.entry.as_ref().map_or(0, |entry| entry.journaled);
            (changes > 0).then_some(Undone { id: one.id, changes })
        });
        let undone: Vec<_> = undone.collect();
        let (mut removed, mut began) = (Vec::new(), Vec::new());
        for one in collections(Service::from_name(service)) {
            let database = database.connection.database();
            let names = removal::without_earlier(database, one, one.created()).await?;
            removed.extend(removal::existing(database, names).await?);
            let names = removal::began(database, one).await?;
            began.extend(removal::existing(database, names).await?);
        }
        is_clean &= undone.is_empty() && removed.is_empty();
        let mut text = Lines::from(format_args!("{service}"));
        for Undone { id, changes } in &undone {
            let changes = render::counted(*changes, "change", "changes");
            _ = writeln!(text, "  roll back {id:<28}{changes}");
        }
        text.append(&names_of("  remove    ", &removed));
        text.append(&names_of("  remove, if it is empty then: ", &began));
        if undone.is_empty() && removed.is_empty() {
            _ = writeln!(text, "  nothing to remove");
        }
        let value = json!({
            "dry_run": true, "roll_back": undone, "remove": removed, "remove_if_empty": began,
        });
        output.add(service, &text, value);
    }
    if !is_clean {
        output.add_text(&Lines::from(format_args!(
            "Nothing was changed. Stop the services, then run `turbulence uninstall --yes`."
        )));
    }
    Ok(())
}

/// Undoes all migrations, and removes what the services created.
async fn remove(
    database: &Database,
    engines: &Engines,
    output: &mut Output,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let (mut results, mut kept) = (Vec::new(), 0);
    for (engine, to) in roll_back::all(engines) {
        let (text, done, result) = roll_back::roll_back(engines, engine, to, shutdown).await;
        output.add(engine.service(), &text, json!({ "dry_run": false, "roll_back": done }));
        result?;
        kept += done.iter().map(|one| one.kept).sum::<i64>();
        results.push((engine.service(), done));
    }
    // A heartbeat would create the collection again.
    database.connection.writers().unregister().await;
    // Only after all roll-backs: the ledgers record how far they are.
    for (service, done) in results {
        let mut removed = Vec::new();
        for one in collections(Service::from_name(service)) {
            removed.extend(removal::drop_created(database.connection.database(), one).await?);
        }
        let text = render::removed(service, &removed);
        output.add(
            service,
            &text,
            json!({ "dry_run": false, "roll_back": done, "remove": removed }),
        );
    }
    output.add_text(&left(kept));
    Ok(())
}

/// Describes what is left after the removal.
fn left(kept: i64) -> Lines {
    if kept == 0 {
        return Lines::from(format_args!("Nothing of Turbulence is left in the database."));
    }
    let kept = render::counted(kept, "change stays", "changes stay");
    Lines::from(format_args!(
        "{kept}, because the values were changed again since. Nothing else of Turbulence is left in \
         the database."
    ))
}

fn names_of(label: &str, removed: &[Removed]) -> Lines {
    let mut text = Lines::default();
    for Removed { collection, documents } in removed {
        let documents = render::counted(*documents, "document", "documents");
        _ = writeln!(text, "{label}{collection} ({documents})");
    }
    text
}
