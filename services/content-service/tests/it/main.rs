//! Tests of content-service on a real MongoDB and real ports, with a real sections-service.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod http;
mod lists;
mod migrations;
mod odd_shapes;
mod replicas;
mod sections_service;
mod support;
