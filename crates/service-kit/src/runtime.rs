//! The process: arguments, settings, telemetry, clock and exit code.

pub mod clock;
pub mod error_chain;
pub(crate) mod json_log;
pub mod listen;
pub mod offload;
pub mod printable;
pub mod process;
pub(crate) mod prometheus;
pub mod resources;
pub mod settings;
pub mod telemetry;
pub mod trace;
