//! Tests of media-service on a real MongoDB and a real port.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod files;
mod media;
mod support;
mod uploads;
