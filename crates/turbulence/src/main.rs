//! `turbulence`: the whole system in one process, and the operator's commands.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "`lines` escapes what is printed")]

mod answer;
mod cli;
mod database;
mod doctor;
mod failure;
mod import;
mod lines;
mod migrate;
mod openapi;
mod progress;
mod report;
mod sections;
mod settling;
mod up;

use std::process::ExitCode;

use service_kit::runtime::{
    process::{fail, parse_arguments, shutdown_on_signal},
    telemetry::Telemetry,
};
use tokio::runtime::Runtime;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let Cli { command } = parse_arguments();
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail("turbulence", &error),
    };
    let exit_code = runtime.block_on(run(command));
    // The runtime would drop its tasks one after the other, and a task of the MongoDB driver panics
    // when another one that it needs is gone. The end of the process takes all of them at once.
    std::mem::forget(runtime);
    exit_code
}

async fn run(command: Command) -> ExitCode {
    let telemetry = match Telemetry::start("turbulence", command.default_log_filter()) {
        Ok(telemetry) => telemetry,
        Err(error) => return fail("turbulence", &error),
    };
    let shutdown = shutdown_on_signal();
    let result = match &command {
        Command::Up(arguments) => up::run(arguments, shutdown).await,
        Command::Import(arguments) => import::run(arguments, shutdown).await,
        Command::Migrate(arguments) => migrate::run(arguments, shutdown).await,
        Command::Openapi => openapi::print(),
        Command::Doctor(arguments) => doctor::run(arguments, shutdown).await,
    };
    let exit_code = result.unwrap_or_else(|failure| {
        fail("turbulence", &failure);
        failure.exit_code()
    });
    telemetry.flush().await;
    exit_code
}
