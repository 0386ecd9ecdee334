//! The process of sections-service.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service_kit::runtime::process::run(
        sections_service::NAME,
        sections_service::DEFAULT_PORT,
        sections_service::run,
    )
    .await
}
