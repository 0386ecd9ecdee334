//! The process of sections-service.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::runtime::process::run(
        sections_service::NAME,
        sections_service::DEFAULT_PORT,
        sections_service::run,
    )
}
