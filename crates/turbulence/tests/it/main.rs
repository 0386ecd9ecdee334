//! Tests of the operator's program: the real binary, as a process, on a real MongoDB.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod collector;
mod databases;
mod doctor;
mod drafts;
mod embedded;
mod export;
mod front;
mod frontend;
mod help;
mod hostile;
mod import;
mod leaks;
mod legacy;
mod limits;
mod media;
mod media_import;
mod metrics;
mod migrate;
mod openapi;
mod page_types;
mod permalinks;
mod printed;
mod sections_away;
mod services;
mod shutdown;
mod start_errors;
mod statuses;
mod support;
mod telemetry;
mod terminal;
mod tls;
mod truth;
mod uninstall;
mod up;
mod webhooks;
