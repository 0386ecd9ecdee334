//! What every process of the system does in the same way: reading its settings, telling what it
//! does, serving HTTP and stopping cleanly, saying how it is, checking tokens, answering errors.
//!
//! A service adds its routes and its state; see `startup.rs` of any service for how.

pub mod auth;
pub mod body;
pub mod clock;
pub mod conditional;
pub mod error;
pub mod extract;
pub mod health;
pub mod http;
mod observe;
pub mod openapi;
pub mod printable;
pub mod process;
pub mod rate_limit;
mod routing;
mod security;
pub mod server;
pub mod settings;
pub mod telemetry;

pub use error::ApiError;
pub use settings::Settings;
