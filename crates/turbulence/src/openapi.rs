//! `turbulence openapi`: the description of the API, generated from the code of all services.

use std::process::ExitCode;

use crate::{error::Error, lines};

/// Prints the document that is committed as `docs/openapi.json`.
pub(crate) fn print() -> Result<ExitCode, Error> {
    let services =
        [sections_service::openapi(), content_service::openapi(), media_service::openapi()];
    let document = serde_json::to_string_pretty(&gateway::openapi(services))?;
    lines::print_json(&document);
    Ok(ExitCode::SUCCESS)
}
