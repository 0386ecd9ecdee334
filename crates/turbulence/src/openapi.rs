//! `turbulence openapi`: the description of the API, made from the code of all parts.

use std::process::ExitCode;

use crate::{failure::Failure, lines};

/// Prints the document that `docs/openapi.json` has to be.
pub(crate) fn print() -> Result<ExitCode, Failure> {
    let services = [sections_service::openapi(), content_service::openapi()];
    let document = serde_json::to_string_pretty(&gateway::openapi(services))?;
    lines::print_json(&document);
    Ok(ExitCode::SUCCESS)
}
