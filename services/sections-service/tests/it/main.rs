//! Tests of sections-service on a real MongoDB and a real port.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod http;
mod integrity;
mod links;
mod migrations;
mod openapi;
mod plain_shapes;
mod races;
mod resolve;
mod revisions;
mod support;
mod write;
