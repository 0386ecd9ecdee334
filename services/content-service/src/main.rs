//! The process of content-service.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::runtime::process::run(
        content_service::NAME,
        content_service::DEFAULT_PORT,
        content_service::run,
    )
}
