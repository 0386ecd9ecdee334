//! Tests of the console against a real gateway and services.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod content;
mod frame;
mod health;
mod hostile;
mod media;
mod redirects;
mod sections;
mod sign_in;
mod site;
mod support;
mod trash;
mod webhooks;
