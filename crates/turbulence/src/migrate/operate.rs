//! What operators do about migrations besides running them.

use migrations::{Engine, OperateError, lease::Holder};
use serde_json::json;

use super::{Answer, Engines, engines::Target};
use crate::{cli::ForceUnlock, failure::Failure, lines::Lines, report};

/// Lets no further batch happen.
pub(super) async fn pause(engines: &Engines, id: &str, answer: &mut Answer) -> Result<(), Failure> {
    let target = engines.find(id)?;
    target.engine.pause(target.id).await?;
    let id = target.id;
    let text =
        format_args!("{id} is paused: `turbulence migrate resume {id}` lets it go on").into();
    say(target, &text, answer).await
}

/// Lets it go on.
pub(super) async fn resume(
    engines: &Engines,
    id: &str,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let target = engines.find(id)?;
    target.engine.resume(target.id).await?;
    let text = format_args!("{} goes on: {NEXT}", target.id).into();
    say(target, &text, answer).await
}

/// Lets it be tried again.
pub(super) async fn retry(engines: &Engines, id: &str, answer: &mut Answer) -> Result<(), Failure> {
    let target = engines.find(id)?;
    target.engine.retry(target.id).await?;
    let text = format_args!("{} is tried again: {NEXT}", target.id).into();
    say(target, &text, answer).await
}

/// Who does what an operator let go on.
const NEXT: &str = "by a service that has not finished its migrations, by the next start of \
                    one, or by `turbulence migrate up`";

async fn say(target: Target<'_>, text: &Lines, answer: &mut Answer) -> Result<(), Failure> {
    let report = target.engine.report().await?;
    let one = report.migrations.iter().find(|one| one.id == target.id);
    answer.add(report.service, text, one);
    Ok(())
}

/// Makes ledgers and program agree.
pub(super) async fn repair(engines: &Engines, answer: &mut Answer) -> Result<(), Failure> {
    for engine in engines.wanted() {
        let repaired = engine.repair().await?;
        let text = report::repaired(engine.service(), &repaired);
        answer.add(engine.service(), &text, &repaired);
    }
    Ok(())
}

/// Takes the lease away from its holder.
pub(super) async fn force_unlock(
    engines: &Engines,
    arguments: &ForceUnlock,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let (engine, holder) = held(engines).await?;
    let service = engine.service();
    let about = format!("{service}: {}, {}", report::holder(&holder), report::remaining(&holder));
    let unlocked = engine.force_unlock(arguments.fence, arguments.yes).await;
    let what = match &unlocked {
        Ok(_) => "the lease is taken away, its next batch is refused",
        Err(_) => "it keeps the lease",
    };
    let value = json!({ "lease": holder, "unlocked": unlocked.is_ok() });
    answer.add(service, &format_args!("{about}: {what}").into(), value);
    match unlocked {
        Ok(_) => Ok(()),
        Err(error @ OperateError::Live { .. }) => Err(Failure::Live(error)),
        Err(error) => Err(error.into()),
    }
}

/// The one lease that is held among those that are wanted.
async fn held(engines: &Engines) -> Result<(&Engine, Holder), Failure> {
    let mut held = Vec::new();
    for engine in engines.wanted() {
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
                format!("that of {} by {}", engine.service(), report::holder(holder))
            });
            let all = all.collect::<Vec<_>>().join(", ");
            Err(Failure::Usage(format!("two leases are held, {all}: say which, with `--service`")))
        }
    }
}
