//! The process: arguments, settings, telemetry, clock and exit code.

pub mod clock;
pub mod error_chain;
pub mod offload;
pub mod printable;
pub mod process;
pub mod settings;
pub mod telemetry;
