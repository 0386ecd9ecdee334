//! The life of a process: arguments, settings, telemetry, signals, exit code.

use std::{
    error::Error,
    ffi::OsString,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::{Args, Command, CommandFactory, Parser};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::{
    error_chain::error_chain,
    printable::{is_unprintable, printable},
    resources::raise_descriptor_limit,
    settings::{Settings, SettingsError, Sources},
    telemetry::Telemetry,
};

/// The time for which a service that is a process of its own accepts connections after SIGTERM, in
/// seconds, unless it is configured: a gateway probes its services every second, Kubernetes takes an
/// address out of a Service within about three, and names are resolved every two.
const DRAIN_SECONDS: u32 = 5;

/// The command line of a service's own binary.
#[derive(Debug, Parser)]
#[command(version, about = "A part of Turbulence, the content backend of a site")]
struct Arguments {
    #[command(flatten)]
    options: ServiceOptions,
}

/// The options of a service on the command line.
#[derive(Debug, Args)]
pub struct ServiceOptions {
    /// Settings file in TOML; environment variables and options take precedence
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "ADDR")]
    host: Option<String>,
    /// Port to listen on
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

/// An error that ends a service.
pub trait ServiceError: Error {
    /// Returns `true` if a setting is wrong, which has an exit code of its own.
    fn is_wrong_setting(&self) -> bool {
        false
    }
}

/// Runs the future of a whole process, on threads of its own. Called while the process has one thread.
pub fn block_on(name: &str, process: impl Future<Output = ExitCode>) -> ExitCode {
    allocator::limit_kept_memory();
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(name, &error),
    };
    let exit_code = runtime.block_on(process);
    // Dropping the runtime would drop its tasks one by one, and a task of the MongoDB driver panics
    // if another one that it needs is gone. The end of the process drops all of them at once.
    std::mem::forget(runtime);
    exit_code
}

/// Parses the command line and runs a service: the whole `main` of its binary. See [`serve`].
pub fn run<F, R, E>(name: &'static str, default_port: u16, service: F) -> ExitCode
where
    F: FnOnce(Settings, CancellationToken) -> R,
    R: Future<Output = Result<(), E>>,
    E: ServiceError,
{
    let Arguments { options } = parse(&Arguments::command().name(name));
    block_on(name, serve(name, default_port, options, service))
}

/// Runs a service with the given options until SIGTERM or SIGINT cancels its token. A second signal
/// ends the process at once.
pub async fn serve<F, R, E>(
    name: &'static str,
    default_port: u16,
    options: ServiceOptions,
    service: F,
) -> ExitCode
where
    F: FnOnce(Settings, CancellationToken) -> R,
    R: Future<Output = Result<(), E>>,
    E: ServiceError,
{
    let ServiceOptions { config, host, port } = options;
    let mut sources = Sources { file: config, ..Sources::from_environment() };
    sources.command_line.extend(host.map(|host| ("server.host", host)));
    sources.command_line.extend(port.map(|port| ("server.port", port.to_string())));
    let settings = match load(default_port, &sources) {
        Ok(settings) => settings,
        Err(error) => return refuse(name, &error),
    };
    let telemetry = match Telemetry::start(name, "info", &settings.metrics) {
        Ok(telemetry) => telemetry,
        Err(error) => return fail(name, &error),
    };
    raise_descriptor_limit();
    for warning in sources.unknown_variables() {
        tracing::warn!("{warning}");
    }
    let exit_code = match service(settings, Signals::handle().shutdown).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_wrong_setting() => refuse(name, &error),
        Err(error) => fail(name, &error),
    };
    telemetry.flush().await;
    exit_code
}

/// Loads the settings of a service that is a process of its own: others send requests to it, and need
/// time to notice that it stops.
fn load(default_port: u16, sources: &Sources) -> Result<Settings, SettingsError> {
    let mut settings = Settings::load(default_port, sources)?;
    if !sources.set("server.drain_seconds")? {
        settings.server.drain_seconds = DRAIN_SECONDS;
    }
    Ok(settings)
}

/// Parses the command line of this process, or ends the process with a message. Arguments in the
/// message are escaped.
pub fn parse_arguments<P: Parser>() -> P {
    parse(&P::command())
}

fn parse<P: Parser>(command: &Command) -> P {
    let arguments: Vec<_> = std::env::args_os().collect();
    let error = match try_parse(command, &arguments) {
        Ok(parsed) => return parsed,
        Err(error) => error,
    };
    let texts: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    if !texts.iter().any(|text| text.chars().any(is_unprintable)) {
        error.exit();
    }
    // Parses again with printable arguments, for a message that can be printed.
    match try_parse::<P>(command, texts.iter().map(|text| printable(text).into_owned())) {
        Err(error) => error.exit(),
        Ok(_) => {
            eprintln!("error: the command line has characters that cannot be printed");
            std::process::exit(2);
        }
    }
}

fn try_parse<P: Parser>(
    command: &Command,
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> clap::error::Result<P> {
    let mut command = command.clone();
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    P::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// The signals that stop a process.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// Cancelled by the first SIGTERM or SIGINT. A second signal ends the process.
    pub shutdown: CancellationToken,
    is_interrupt: Arc<AtomicBool>,
}

impl Signals {
    /// Handles SIGTERM and SIGINT from now on.
    pub fn handle() -> Self {
        let signals = Self::default();
        tokio::spawn(signals.clone().listen());
        signals
    }

    /// Returns `true` if the signal was SIGINT: a person at a terminal sent it.
    pub fn is_interrupt(&self) -> bool {
        self.is_interrupt.load(Ordering::Relaxed)
    }

    async fn listen(self) {
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return tracing::error!("signals cannot be handled");
        };
        loop {
            let is_interrupt = tokio::select! {
                _ = terminate.recv() => false,
                _ = interrupt.recv() => true,
            };
            if self.shutdown.is_cancelled() {
                std::process::exit(130);
            }
            tracing::info!("stopping");
            self.is_interrupt.store(is_interrupt, Ordering::Relaxed);
            self.shutdown.cancel();
        }
    }
}

/// Prints an error of the settings or the command line in one line. Returns exit code 2, as an
/// invalid command line has.
pub fn refuse(name: &str, error: &dyn Error) -> ExitCode {
    fail(name, error);
    ExitCode::from(2)
}

/// Prints an error and its sources in one line for the person who started the process.
pub fn fail(name: &str, error: &dyn Error) -> ExitCode {
    eprintln!("{name}: {}", printable(&error_chain(error)));
    ExitCode::FAILURE
}
