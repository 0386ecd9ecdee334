//! Applying migrations and rolling them back.

use migrations::{Engine, Kind, Patience, State, Status};
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Engines,
    engines::{Target, ids},
    look::is_refused,
};
use crate::{
    cli::{MigrateDown, MigrateUp, Service},
    failure::Failure,
    progress, report,
};

/// The migration of content that refers to what those of sections have inserted.
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
                Some(last) => engine.run_to(last, Patience::Command, shutdown).await,
                None => engine.run(Patience::Command, shutdown).await,
            }
        };
        let service = engine.service();
        let result = progress::beside(service, engine.statuses(), run).await;
        let statuses = looked_at(engine);
        let mut text = report::done(service, &statuses, true);
        let aside = report::set_aside(statuses.iter().flat_map(|status| &status.set_aside));
        text.extend(aside.lines().map(|line| format!("  set aside:{line}\n")));
        text += &report::left_out(statuses.iter().flat_map(|status| &status.left_out));
        answer.add(service, &text, &statuses);
        result?;
        set_aside += statuses.iter().map(|status| status.set_aside.len()).sum::<usize>();
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
    for one in report.migrations.iter().take(count) {
        if let Some(problem) = one.problem.as_ref().filter(|problem| is_refused(problem)) {
            let why = report::problem(problem);
            return Err(Failure::Refused(format!("{} {}: {why}", report.service, one.id)));
        }
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
    let rolled_back = progress::beside(engine.service(), engine.statuses(), rolling_back).await?;
    let text = report::rolled_back(engine.service(), &rolled_back);
    answer.add(engine.service(), &text, &rolled_back);
    Ok(())
}

/// Content that was linked to sections would point nowhere without them, and the next run would
/// leave it so: it is rolled back first.
async fn refuse_links(engines: &Engines, engine: &Engine, to: Option<&str>) -> Result<(), Failure> {
    let Some(content) = engines.of(Service::Content) else { return Ok(()) };
    if engine.service() == content.service() {
        return Ok(());
    }
    let report = engine.report().await?;
    let first = report.migrations.iter().position(|one| Some(one.id) == to);
    let first = first.map_or(0, |place| place + 1);
    let has_written = |one: &migrations::MigrationReport| {
        one.entry.as_ref().is_some_and(|entry| entry.journaled > 0)
    };
    let mut seeds = report.migrations.iter().skip(first).filter(|one| one.kind == Kind::Seed);
    let Some(seed) = seeds.find(|one| has_written(one)) else { return Ok(()) };
    let report = content.report().await?;
    if !report.migrations.iter().any(|one| one.id == LINKS && has_written(one)) {
        return Ok(());
    }
    let ids = ids(content);
    let place = ids.iter().position(|id| *id == LINKS).unwrap_or_default();
    let before = match place.checked_sub(1).and_then(|place| ids.get(place)) {
        Some(id) => format!("--to {id}"),
        None => "--all --service content".to_owned(),
    };
    Err(Failure::Linked(
        seed.id,
        format!(
            "content is linked to what it inserted, by {LINKS}; roll that back first, with \
             `turbulence migrate down {before}`"
        ),
    ))
}
