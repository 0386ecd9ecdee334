//! Tests on a real MongoDB.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod feed;
