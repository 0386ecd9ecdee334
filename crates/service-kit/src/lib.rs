//! The parts that every process of the system has in common.
//!
//! - [`runtime`]: the process itself: arguments, settings, telemetry, clock, exit code
//! - [`web`]: the HTTP server and clients, extractors, errors, conditional requests, health
//! - [`auth`]: tokens, callers and their roles
//!
//! A service adds its routes and its state; `startup.rs` of each service shows how.

pub mod auth;
pub mod runtime;
pub mod web;
