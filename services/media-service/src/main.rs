//! The process of media-service.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::runtime::process::run(
        media_service::NAME,
        media_service::DEFAULT_PORT,
        media_service::run,
    )
}
