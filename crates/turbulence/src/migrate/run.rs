//! `up`.

use migrations::{Engine, MigrationReport, State, Status, WaitPolicy};
use tokio_util::sync::CancellationToken;

use super::{engines::Engines, inspect::prevents_run};
use crate::{cli::MigrateUp, error::Error, lines::Lines, output::Output, progress, render};

/// Applies the pending migrations.
pub(super) async fn up(
    engines: &Engines,
    arguments: &MigrateUp,
    output: &mut Output,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let last = arguments.to.as_deref().map(|id| engines.find(id)).transpose()?;
    let mut selected: Vec<_> = engines.selected().collect();
    if let Some(last) = last {
        let place = selected.iter().position(|engine| engine.service() == last.engine.service());
        selected.truncate(place.map_or(0, |place| place + 1));
    }
    let last_of = |engine: &Engine| {
        last.filter(|last| last.engine.service() == engine.service()).map(|last| last.id)
    };
    // Checked before anything runs, so that no migration is applied if a later one is refused.
    for engine in &selected {
        refuse_drift(engine, last_of(engine), output).await?;
    }
    let (mut quarantined, mut all) = (0, Vec::new());
    for engine in selected {
        let run = async {
            match last_of(engine) {
                Some(last) => engine.run_to(last, WaitPolicy::Bounded, shutdown).await,
                None => engine.run(WaitPolicy::Bounded, shutdown).await,
            }
        };
        let service = engine.service();
        let result = progress::show_while(service, engine.statuses(), run).await;
        let statuses = visited(engine);
        let mut text = render::outcomes(service, &statuses, true);
        let aside = render::quarantined(statuses.iter().flat_map(|status| &status.quarantined));
        text.append_with_margin("  quarantined:", &aside);
        text.append(&render::skipped(statuses.iter().flat_map(|status| &status.skipped)));
        output.add(service, &text, &statuses);
        if let Err(error) = result {
            all.extend(statuses);
            output.add_text(&render::total_applied(all.iter()));
            return Err(error.into());
        }
        quarantined += statuses.iter().map(|status| status.quarantined.len()).sum::<usize>();
        all.extend(statuses);
    }
    output.add_text(&render::total_applied(all.iter()));
    if quarantined == 0 { Ok(()) } else { Err(Error::Quarantined(quarantined)) }
}

/// Returns an error if the ledger does not match this program in one of the migrations to run. Warns
/// about entries of a newer program.
async fn refuse_drift(
    engine: &Engine,
    last: Option<&str>,
    output: &mut Output,
) -> Result<(), Error> {
    let report = engine.report().await?;
    let end = report.migrations.iter().position(|one| Some(one.id) == last);
    let count = end.map_or(report.migrations.len(), |end| end + 1);
    let has_drifted = |one: &&MigrationReport| one.problem.as_ref().is_some_and(prevents_run);
    let drifted = report.migrations.iter().take(count).filter(has_drifted).collect::<Vec<_>>();
    if let [first, ..] = drifted[..]
        && let Some(problem) = &first.problem
    {
        // For a person, the error contains the problem.
        output.add(report.service, &Lines::default(), &drifted);
        let problem = render::problem(problem);
        return Err(Error::Refused(format!("{} {}: {problem}", report.service, first.id)));
    }
    for id in &report.unknown {
        tracing::warn!(
            service = report.service,
            migration = id,
            "the migration is unknown to this program and is not run"
        );
    }
    output.add_text(&render::unknown(&report));
    Ok(())
}

/// Returns the statuses of the migrations that the run reached. This process does not know the state
/// of the others.
fn visited(engine: &Engine) -> Vec<Status> {
    let is_visited = |status: &Status| {
        status.state != State::Pending || status.is_settled || status.message.is_some()
    };
    let statuses = engine.statuses();
    let statuses = statuses.borrow();
    statuses.iter().filter(|status| is_visited(status)).cloned().collect()
}
