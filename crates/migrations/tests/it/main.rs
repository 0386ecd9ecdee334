//! Tests of the engine on a real MongoDB.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod aside;
mod down;
mod example;
mod faults;
mod fencing;
mod fill;
mod foreground;
mod indexes;
mod insert;
mod inspect;
mod lease;
mod ledger;
mod obstacles;
mod pause;
mod plan;
mod requires;
mod support;
mod throttle;
mod unlock;
mod verify;
