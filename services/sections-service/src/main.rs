//! The process of sections-service.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service_kit::runtime::process::run(sections_service::NAME, 5002, sections_service::run).await
}
