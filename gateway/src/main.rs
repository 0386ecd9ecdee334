//! The process `gateway`.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::runtime::process::run(gateway::NAME, gateway::DEFAULT_PORT, gateway::run)
}
