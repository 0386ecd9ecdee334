//! The process of media-service.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service_kit::runtime::process::run(
        media_service::NAME,
        media_service::DEFAULT_PORT,
        media_service::run,
    )
    .await
}
