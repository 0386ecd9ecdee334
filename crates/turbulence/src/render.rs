//! The text that the commands print for a person.

mod format;
mod inspect;
mod integrity;
mod lease;
mod outcomes;
mod progress;
mod status;

pub(crate) use format::counted;
pub(crate) use inspect::{plan, verification};
pub(crate) use integrity::{findings, repairs};
pub(crate) use lease::{holder, remaining};
pub(crate) use outcomes::{outcomes, quarantined, removed, repaired, rolled_back, skipped};
pub(crate) use progress::speed;
pub(crate) use status::{problem, status, unknown, unsuitable};
