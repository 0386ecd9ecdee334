//! `turbulence`: the whole system in one process, each of its services, and the operator's commands.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "`lines` escapes what is printed")]

mod archive;
mod cli;
mod collections;
mod database;
mod doctor;
mod embedded;
mod error;
mod export;
mod import;
mod lines;
mod media;
mod migrate;
mod openapi;
mod output;
mod progress;
mod prompt;
mod removal;
mod render;
mod sections_server;
mod service;
mod uninstall;
mod up;
mod wait;

use std::process::ExitCode;

use cli::{Cli, Command, Media, MediaAction, OperatorCommand};
use error::Error;
use lines::Lines;
use service_kit::runtime::{
    error_chain::error_chain,
    process::{Signals, block_on, parse_arguments},
    resources::raise_descriptor_limit,
    settings::{Metrics, Sources},
    telemetry::Telemetry,
};

fn main() -> ExitCode {
    let Cli { command } = parse_arguments();
    block_on("turbulence", run(command))
}

async fn run(command: Command) -> ExitCode {
    match command {
        Command::Sections(options) => service::sections(options).await,
        Command::Content(options) => service::content(options).await,
        Command::Media(Media { action: Some(MediaAction::Import(arguments)), .. }) => {
            run_operator(OperatorCommand::MediaImport(arguments)).await
        }
        Command::Media(Media { action: None, options }) => service::media(options).await,
        Command::Gateway(options) => service::gateway(options).await,
        Command::Console(options) => service::console(options).await,
        Command::Operator(command) => run_operator(command).await,
    }
}

async fn run_operator(command: OperatorCommand) -> ExitCode {
    let telemetry = match start_telemetry(&command) {
        Ok(telemetry) => telemetry,
        Err(error) => return print_error(&error),
    };
    raise_descriptor_limit();
    for warning in Sources::from_environment().unknown_variables() {
        lines::warn(format_args!("{warning}"));
    }
    let signals = Signals::handle();
    let shutdown = signals.shutdown.clone();
    let result = match &command {
        OperatorCommand::Up(arguments) => up::run(arguments, &signals).await,
        OperatorCommand::Import(arguments) => import::run(arguments, shutdown).await,
        OperatorCommand::Export(arguments) => export::run(arguments, shutdown).await,
        OperatorCommand::MediaImport(arguments) => media::import(arguments, shutdown).await,
        OperatorCommand::Migrate(arguments) => migrate::run(arguments, shutdown).await,
        OperatorCommand::Openapi => openapi::print(),
        OperatorCommand::Doctor(arguments) => doctor::run(arguments, shutdown).await,
        OperatorCommand::Uninstall(arguments) => uninstall::run(arguments, shutdown).await,
    };
    let exit_code = result.unwrap_or_else(|error| print_error(&error));
    telemetry.flush().await;
    exit_code
}

/// Starts the telemetry of a command. Only `up` runs for so long that its metrics are served.
fn start_telemetry(command: &OperatorCommand) -> Result<Telemetry, Error> {
    let metrics = match command {
        OperatorCommand::Up(arguments) => arguments.settings()?.metrics,
        _ => Metrics::default(),
    };
    Ok(Telemetry::start("turbulence", command.default_log_filter(), &metrics)?)
}

fn print_error(error: &Error) -> ExitCode {
    let error_line = error_chain(error);
    Lines::from(format_args!("turbulence: {error_line}")).print_error();
    error.exit_code()
}
