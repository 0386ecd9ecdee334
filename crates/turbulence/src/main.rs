//! `turbulence`: the whole system in one process, and the operator's commands.

mod cli;
mod database;
mod failure;
mod import;
mod migrate;
mod progress;
mod report;
mod up;

use std::process::ExitCode;

use clap::Parser;
use service_kit::{
    process::{fail, shutdown_on_signal},
    telemetry::Telemetry,
};

use cli::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let telemetry = match Telemetry::start("turbulence", command.default_log_filter()) {
        Ok(telemetry) => telemetry,
        Err(error) => return fail("turbulence", &error),
    };
    let shutdown = shutdown_on_signal();
    let result = match &command {
        Command::Up(arguments) => up::run(arguments, shutdown).await,
        Command::Import(arguments) => import::run(arguments).await,
        Command::Migrate(arguments) => migrate::run(arguments, shutdown).await,
    };
    let exit_code = result.unwrap_or_else(|failure| {
        fail("turbulence", &failure);
        failure.exit_code()
    });
    telemetry.flush().await;
    exit_code
}
