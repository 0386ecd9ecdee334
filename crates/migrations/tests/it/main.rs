//! Tests of the engine on a real MongoDB.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod fencing;
mod fill;
mod lease;
mod ledger;
mod steps;
mod support;
