//! `pause`, `resume`, `retry`, `repair` and `force-unlock`.

use migrations::{Engine, OperateError, lease::Holder};
use serde_json::json;

use super::engines::{Engines, Target};
use crate::{cli::ForceUnlock, error::Error, lines::Lines, output::Output, render};

/// The processes that continue a migration after `resume` or `retry`.
const RUNS_NEXT: &str = "a running service whose migrations are not complete, the next start of a \
                         service, or `turbulence migrate up`";

/// Pauses a migration before its next batch.
pub(super) async fn pause(engines: &Engines, id: &str, output: &mut Output) -> Result<(), Error> {
    let target = engines.find(id)?;
    target.engine.pause(target.id).await?;
    let id = target.id;
    let text = format_args!("{id} is paused: continue it with `turbulence migrate resume {id}`");
    add_result(target, &text.into(), output).await
}

/// Resumes a paused migration.
pub(super) async fn resume(engines: &Engines, id: &str, output: &mut Output) -> Result<(), Error> {
    let target = engines.find(id)?;
    target.engine.resume(target.id).await?;
    let text = format_args!("{} is resumed; it is run by {RUNS_NEXT}", target.id);
    add_result(target, &text.into(), output).await
}

/// Makes a failed migration, or the documents that one quarantined, run again.
pub(super) async fn retry(engines: &Engines, id: &str, output: &mut Output) -> Result<(), Error> {
    let target = engines.find(id)?;
    target.engine.retry(target.id).await?;
    let text = format_args!("{} will be retried; it is run by {RUNS_NEXT}", target.id);
    add_result(target, &text.into(), output).await
}

async fn add_result(target: Target<'_>, text: &Lines, output: &mut Output) -> Result<(), Error> {
    let report = target.engine.report().await?;
    let one = report.migrations.iter().find(|one| one.id == target.id);
    output.add(report.service, text, one);
    Ok(())
}

/// Makes the ledgers match this program.
pub(super) async fn repair(engines: &Engines, output: &mut Output) -> Result<(), Error> {
    for engine in engines.selected() {
        let repaired = engine.repair().await?;
        let text = render::repaired(engine.service(), &repaired);
        output.add(engine.service(), &text, &repaired);
    }
    Ok(())
}

/// Revokes the lease of its holder.
pub(super) async fn force_unlock(
    engines: &Engines,
    arguments: &ForceUnlock,
    output: &mut Output,
) -> Result<(), Error> {
    let (engine, holder) = held_lease(engines).await?;
    let service = engine.service();
    let unlocked = engine.force_unlock(arguments.fence, arguments.yes).await;
    let outcome = match &unlocked {
        Ok(_) => "the lease was revoked, and the next batch of the process will be rejected",
        Err(_) => "the lease was not revoked",
    };
    let (process, remaining) = (render::holder(&holder), render::remaining(&holder));
    let text = format_args!("{service}: {process}, whose lease {remaining}: {outcome}").into();
    output.add(service, &text, json!({ "lease": holder, "unlocked": unlocked.is_ok() }));
    match unlocked {
        Ok(_) => Ok(()),
        Err(error @ OperateError::Live { .. }) => Err(Error::LeaseIsLive(error)),
        Err(error) => Err(error.into()),
    }
}

/// Returns the one lease that is held among the selected services.
async fn held_lease(engines: &Engines) -> Result<(&Engine, Holder), Error> {
    let mut held = Vec::new();
    for engine in engines.selected() {
        let holder = engine.report().await?.lease.filter(|holder| holder.owner.is_some());
        held.extend(holder.map(|holder| (engine, holder)));
    }
    match <[_; 1]>::try_from(held) {
        Ok([one]) => Ok(one),
        Err(held) if held.is_empty() => {
            let service = engines.only().map_or("sections or content", Engine::service);
            Err(OperateError::NotHeld(service).into())
        }
        Err(held) => {
            let all = held.iter().map(|(engine, holder)| {
                format!("the lease of {} by {}", engine.service(), render::holder(holder))
            });
            let all = all.collect::<Vec<_>>().join(", ");
            Err(Error::Usage(format!("two leases are held, {all}: choose one with `--service`")))
        }
    }
}
