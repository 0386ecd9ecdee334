//! `down`, and the part of `uninstall` that it shares.

use migrations::{Engine, MigrationReport, RollBackError, RolledBack};
use tokio_util::sync::CancellationToken;

use super::engines::Engines;
use crate::{
    cli::{MigrateDown, Service},
    collections::collections,
    error::Error,
    lines::Lines,
    output::Output,
    progress,
    removal::{self, Removed},
    render,
};

/// An engine with the migration that stays applied, or none.
type Target<'a> = (&'a Engine, Option<&'static str>);

/// Returns the roll-back of everything, content first.
pub(crate) fn all(engines: &Engines) -> Vec<Target<'_>> {
    engines.selected_last_first().map(|engine| (engine, None)).collect()
}

/// Undoes the changes of migrations.
pub(super) async fn down(
    engines: &Engines,
    arguments: &MigrateDown,
    output: &mut Output,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let targets = match &arguments.to {
        Some(id) => {
            let target = engines.find(id)?;
            vec![(target.engine, Some(target.id))]
        }
        None => all(engines),
    };
    check_down(engines, &targets).await?;
    let (mut undone, mut kept) = (0, 0);
    for (engine, to) in targets {
        let (text, done, result) = roll_back(engines, engine, to, shutdown).await;
        // If nothing was rolled back, the error is the whole result.
        if result.is_ok() || !done.is_empty() {
            output.add(engine.service(), &text, &done);
        }
        result?;
        undone += done.iter().map(|one| one.undone).sum::<i64>();
        kept += done.iter().map(|one| one.kept).sum::<i64>();
        if to.is_none() {
            let removed = remove_auxiliary(engines, engine).await?;
            output.add_text(&render::removed(engine.service(), &removed));
        }
    }
    let undone = render::counted(undone, "change", "changes");
    output.add_text(&format_args!("Total: {undone} undone, {kept} kept").into());
    Ok(())
}

/// Removes the collections whose documents have no meaning without the migrations. The ledger and
/// copies of old documents stay.
async fn remove_auxiliary(engines: &Engines, engine: &Engine) -> Result<Vec<Removed>, Error> {
    let mut removed = Vec::new();
    for one in collections(Service::from_name(engine.service())) {
        let database = engines.connection.database();
        let names = removal::without_earlier(database, one, one.auxiliary()).await?;
        removed.extend(removal::drop_existing(database, names).await?);
    }
    Ok(removed)
}

/// Returns an error if the changes of one of the targets cannot be undone. Checked before anything is
/// undone.
pub(crate) async fn check_down(engines: &Engines, targets: &[Target<'_>]) -> Result<(), Error> {
    let is_of_content = |target: &Target<'_>| target.0.service() == Service::Content.name();
    let undoes_links = targets.iter().any(|target| is_of_content(target) && target.1.is_none());
    for (engine, to) in targets {
        refuse_sections_in_use(engines, engine, *to, undoes_links).await?;
        engine.check_down(*to).await?;
    }
    Ok(())
}

/// Rolls back a service. Returns the text about what was done, also if the rest failed.
pub(crate) async fn roll_back(
    engines: &Engines,
    engine: &Engine,
    to: Option<&str>,
    shutdown: &CancellationToken,
) -> (Lines, Vec<RolledBack>, Result<(), Error>) {
    if let Err(error) = refuse_sections_in_use(engines, engine, to, false).await {
        // The roll-back of content keeps links that were changed since.
        let error = match error {
            Error::SectionsInUse { count, remedy } => Error::SectionsStillInUse { count, remedy },
            error => error,
        };
        return (Lines::default(), Vec::new(), Err(error));
    }
    let rolling_back = engine.down(to, shutdown);
    let ended = progress::show_while(engine.service(), engine.statuses(), rolling_back).await;
    let (done, result) = match ended {
        Ok(done) => (done, Ok(())),
        Err(RollBackError { done, cause }) => (done, Err(cause.into())),
    };
    (render::rolled_back(engine.service(), &done), done, result)
}

/// Returns an error if content belongs to sections that the rollback would delete. Its references
/// would become invalid, and the next run would not repair them. Decided by the data and not by the
/// ledger, since content may have been written after the migrations. With `undoes_links`, the links
/// of the migrations do not count.
async fn refuse_sections_in_use(
    engines: &Engines,
    engine: &Engine,
    to: Option<&str>,
    undoes_links: bool,
) -> Result<(), Error> {
    let Some(content) = engines.of(Service::Content) else { return Ok(()) };
    if engine.service() == content.service() {
        return Ok(());
    }
    let sections = engine.inserted_after(to).await?;
    let count = content_service::count_linked(&engines.connection, &sections).await?;
    if count == 0 {
        return Ok(());
    }
    let report = content.report().await?;
    let linked = |one: &MigrationReport| {
        let entry = one.entry.as_ref().filter(|_| one.id == content_service::SECTION_BACKFILL)?;
        u64::try_from(entry.journaled).ok().filter(|links| *links > 0)
    };
    let links = report.migrations.iter().find_map(linked).unwrap_or_default();
    let count = if undoes_links { count.saturating_sub(links) } else { count };
    if count == 0 {
        return Ok(());
    }
    let place = report.migrations.iter().position(|one| linked(one).is_some());
    let before = place.and_then(|place| Some(report.migrations.get(place.checked_sub(1)?)?.id));
    let remedy = match before {
        Some(before) if !undoes_links => {
            format!("undo the links first with `turbulence migrate down --to {before}`")
        }
        _ => "move that content to other sections first".to_owned(),
    };
    Err(Error::SectionsInUse { count, remedy })
}
