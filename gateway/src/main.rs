//! The process `gateway`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service_kit::runtime::process::run(gateway::NAME, gateway::DEFAULT_PORT, gateway::run).await
}
