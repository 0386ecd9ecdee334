//! `turbulence sections`, `content`, `media`, `gateway` and `console`: one service in this process,
//! exactly as its own binary runs it.

use std::process::ExitCode;

use service_kit::runtime::process::{self, ServiceOptions};

/// Runs sections-service until a signal stops it.
pub(crate) async fn sections(options: ServiceOptions) -> ExitCode {
    process::serve(
        sections_service::NAME,
        sections_service::DEFAULT_PORT,
        options,
        sections_service::run,
    )
    .await
}

/// Runs content-service until a signal stops it.
pub(crate) async fn content(options: ServiceOptions) -> ExitCode {
    process::serve(
        content_service::NAME,
        content_service::DEFAULT_PORT,
        options,
        content_service::run,
    )
    .await
}

/// Runs media-service until a signal stops it.
pub(crate) async fn media(options: ServiceOptions) -> ExitCode {
    process::serve(media_service::NAME, media_service::DEFAULT_PORT, options, media_service::run)
        .await
}

/// Runs the gateway until a signal stops it.
pub(crate) async fn gateway(options: ServiceOptions) -> ExitCode {
    process::serve(gateway::NAME, gateway::DEFAULT_PORT, options, gateway::run).await
}

/// Runs the console until a signal stops it.
pub(crate) async fn console(options: ServiceOptions) -> ExitCode {
    let (name, port) = (console_service::NAME, console_service::DEFAULT_PORT);
    process::serve(name, port, options, console_service::run).await
}
