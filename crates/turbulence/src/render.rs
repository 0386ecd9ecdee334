//! The text that the commands print for a person.

mod format;
mod inspect;
mod integrity;
mod lease;
mod outcomes;
mod progress;
mod status;

pub(crate) use format::{counted, noun};
pub(crate) use inspect::{plan, total_plan, total_verification, verification};
pub(crate) use integrity::{actions, findings, repairs, total_findings};
pub(crate) use lease::{holder, remaining};
pub(crate) use outcomes::{
    outcomes, quarantined, reached, removed, repaired, rolled_back, skipped, total_applied,
};
pub(crate) use progress::speed;
pub(crate) use status::{problem, status, total_status, unknown, unsuitable};
