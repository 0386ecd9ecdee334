//! Applying migrations and rolling them back.

use migrations::{Engine, MigrationReport, RollBackError, State, Status, WaitPolicy};
use tokio_util::sync::CancellationToken;

use super::{Answer, Engines, engines::Target, look::is_refused};
use crate::{
    cli::{MigrateDown, MigrateUp, Service},
    failure::Failure,
    lines::Lines,
    progress, report,
};

/// The migration of content that links it to sections.
const LINKS: &str = "0006_backfill_section_id";

/// Applies what is not applied.
pub(super) async fn up(
    engines: &Engines,
    arguments: &MigrateUp,
    answer: &mut Answer,
    shutdown: &CancellationToken,
) -> Result<(), Failure> {
    let last = arguments.to.as_deref().map(|id| engines.find(id)).transpose()?;
    let mut wanted: Vec<_> = engines.wanted().collect();
    if let Some(last) = last {
        let place = wanted.iter().position(|engine| engine.service() == last.engine.service());
        wanted.truncate(place.map_or(0, |place| place + 1));
    }
    let last_of = |engine: &Engine| {
        last.filter(|last| last.engine.service() == engine.service()).map(|last| last.id)
    };
    // Before anything is run: what comes first should not be applied where the rest cannot be.
    for engine in &wanted {
        refuse_drift(engine, last_of(engine), answer).await?;
    }
    let mut set_aside = 0;
    for engine in wanted {
        let run = async {
            match last_of(engine) {
                Some(last) => engine.run_to(last, WaitPolicy::Bounded, shutdown).await,
                None => engine.run(WaitPolicy::Bounded, shutdown).await,
            }
        };
        let service = engine.service();
        let result = progress::beside(service, engine.statuses(), run).await;
        let statuses = looked_at(engine);
        let mut text = report::done(service, &statuses, true);
        let aside = report::set_aside(statuses.iter().flat_map(|status| &status.quarantined));
        text.append_with_margin("  set aside:", &aside);
        text.append(&report::left_out(statuses.iter().flat_map(|status| &status.skipped)));
        answer.add(service, &text, &statuses);
        result?;
        set_aside += statuses.iter().map(|status| status.quarantined.len()).sum::<usize>();
    }
    if set_aside == 0 { Ok(()) } else { Err(Failure::SetAside(set_aside)) }
}

/// Refuses to run where ledger and program do not agree about what is to run; warns of what a newer
/// program has done.
async fn refuse_drift(
    engine: &Engine,
    last: Option<&str>,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let report = engine.report().await?;
    let end = report.migrations.iter().position(|one| Some(one.id) == last);
    let count = end.map_or(report.migrations.len(), |end| end + 1);
    let has_drifted = |one: &&MigrationReport| one.problem.as_ref().is_some_and(is_refused);
    let drifted = report.migrations.iter().take(count).filter(has_drifted).collect::<Vec<_>>();
    if let [first, ..] = drifted[..]
        && let Some(problem) = &first.problem
    {
        // To a person the error says it.
        answer.add(report.service, &Lines::default(), &drifted);
        let why = report::problem(problem);
        return Err(Failure::Refused(format!("{} {}: {why}", report.service, first.id)));
    }
    for id in &report.unknown {
        tracing::warn!(
            service = report.service,
            migration = id,
            "not known to this program: left alone"
        );
    }
    answer.say(&report::unknown(&report));
    Ok(())
}

/// What became of the migrations that the run came to. About the others this process knows nothing.
fn looked_at(engine: &Engine) -> Vec<Status> {
    let was_looked_at = |status: &Status| {
        status.state != State::Pending || status.is_settled || status.message.is_some()
    };
    let statuses = engine.statuses();
    let statuses = statuses.borrow();
    statuses.iter().filter(|status| was_looked_at(status)).cloned().collect()
}

/// Undoes what migrations wrote.
pub(super) async fn down(
    engines: &Engines,
    arguments: &MigrateDown,
    answer: &mut Answer,
    shutdown: &CancellationToken,
) -> Result<(), Failure> {
    let (engine, to) = match &arguments.to {
        Some(id) => {
            let Target { engine, id } = engines.find(id)?;
            (engine, Some(id))
        }
        None => match engines.only() {
            Some(engine) => (engine, None),
            None => {
                let usage = "`--all` is about one service: give `--service sections` or \
                             `--service content`";
                return Err(Failure::Usage(usage.to_owned()));
            }
        },
    };
    refuse_links(engines, engine, to).await?;
    let rolling_back = engine.down(to, shutdown);
    let ended = progress::beside(engine.service(), engine.statuses(), rolling_back).await;
    let (done, result) = match ended {
        Ok(done) => (done, Ok(())),
        Err(RollBackError { done, cause }) => (done, Err(cause.into())),
    };
    // Where it was refused, the error says all that there is to say.
    if result.is_ok() || !done.is_empty() {
        let text = report::rolled_back(engine.service(), &done);
        answer.add(engine.service(), &text, &done);
    }
    result
}

/// Content that belongs to sections would point nowhere without them, and the next run would leave
/// it so. The data is asked, not the ledger: somebody may have written it since.
async fn refuse_links(engines: &Engines, engine: &Engine, to: Option<&str>) -> Result<(), Failure> {
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
    let has_linked = |one: &MigrationReport| {
        one.id == LINKS && one.entry.as_ref().is_some_and(|entry| entry.journaled > 0)
    };
    let place = report.migrations.iter().position(has_linked);
    let way = match place.and_then(|place| Some(report.migrations.get(place.checked_sub(1)?)?.id)) {
        Some(before) => {
            format!("roll that back first, with `turbulence migrate down --to {before}`")
        }
        None => "move it elsewhere first".to_owned(),
    };
    Err(Failure::Linked { count, way })
}
