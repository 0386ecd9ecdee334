//! The process of the console.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::runtime::process::run(
        console_service::NAME,
        console_service::DEFAULT_PORT,
        console_service::run,
    )
}
