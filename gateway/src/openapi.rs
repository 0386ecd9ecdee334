//! The description of the API: the services' descriptions without their internal routes, and the
//! routes of the gateway itself.
//!
//! The gateway is not built from the services' code. `turbulence openapi`, which is built from all of
//! them, generates the document; `just openapi` writes it to `docs/openapi.json`, and the gateway
//! serves that file.

use std::collections::BTreeSet;

use models::{ErrorCode, FieldError, IntegrityReport, Problem};
use serde_json::Value;
use service_kit::web::{
    health,
    openapi::{Bearer, add_errors, codes_of, operations},
};
use utoipa::{
    Modify,
    openapi::{OpenApi, Ref, RefOr},
};

use crate::{
    aggregate::integrity,
    docs,
    routing::{is_routed, path::first_segment},
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Turbulence",
        description = "The content backend of a site whose navigation is data: sections, and the \
            stories, projects and pages that belong to them.\n\nEvery route with `GET` answers \
            `HEAD` too. Every response has the header `x-request-id`. All errors have the one shape \
            `Problem` with a stable `code`; its media type is `application/problem+json` if `Accept` \
            names that type, else `application/json`."
    ),
    components(schemas(ErrorCode, FieldError, IntegrityReport, Problem)),
    servers(
        (url = "/", description = "The gateway that answers this document."),
        (url = "http://127.0.0.1:5001", description = "A gateway on this machine, as `turbulence up` starts it.")
    )
)]
struct Frame;

#[derive(utoipa::OpenApi)]
#[openapi(
    paths(docs::document, docs::page, integrity::report),
    tags((name = "description", description = "This description."))
)]
struct Own;

/// The errors of forwarding a request.
const FORWARDING_ERRORS: [ErrorCode; 3] =
    [ErrorCode::UpstreamBroken, ErrorCode::UpstreamUnavailable, ErrorCode::UpstreamTimeout];

/// Returns the description of the gateway in front of services with these descriptions.
pub fn openapi(services: impl IntoIterator<Item = OpenApi>) -> OpenApi {
    let mut document = <Frame as utoipa::OpenApi>::openapi();
    for mut service in services {
        service.paths.paths.retain(|path, _| first_segment(path).is_some_and(is_routed));
        for (path, item) in &mut service.paths.paths {
            let is_open = path.contains('{');
            for operation in operations(item) {
                let responses = &mut operation.responses.responses;
                add_errors(responses, FORWARDING_ERRORS);
                add_errors(responses, is_open.then_some(ErrorCode::InvalidPath));
            }
        }
        document.merge(service);
    }
    document.merge(health::openapi());
    document.merge(<Own as utoipa::OpenApi>::openapi());
    Bearer.modify(&mut document);
    share_errors(&mut document);
    drop_unused(&mut document);
    document
}

/// Moves the error responses to the components, each once, with a name of its status and codes.
fn share_errors(document: &mut OpenApi) {
    let OpenApi { paths, components, .. } = document;
    let shared = &mut components.get_or_insert_default().responses;
    for operation in paths.paths.values_mut().flat_map(operations) {
        for (status, response) in &mut operation.responses.responses {
            let codes = codes_of(response);
            if !codes.is_empty() {
                let codes: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
                let name = format!("{status}-{}", codes.join("-"));
                let reference = RefOr::Ref(Ref::from_response_name(&name));
                shared.insert(name, std::mem::replace(response, reference));
            }
        }
    }
}

/// Removes the tags and schemas that nothing refers to: those of internal routes.
fn drop_unused(document: &mut OpenApi) {
    let items = document.paths.paths.values_mut();
    let tags: BTreeSet<String> = items
        .flat_map(operations)
        .filter_map(|operation| operation.tags.clone())
        .flatten()
        .collect();
    if let Some(described) = &mut document.tags {
        described.retain(|tag| tags.contains(&tag.name));
    }
    let Some(components) = &mut document.components else { return };
    let mut used = BTreeSet::new();
    let mut found = references(&serde_json::to_value(&document.paths).unwrap_or_default());
    found.extend(references(&serde_json::to_value(&components.responses).unwrap_or_default()));
    while let Some(name) = found.pop() {
        if let Some(schema) = components.schemas.get(&name)
            && used.insert(name)
        {
            found.extend(references(&serde_json::to_value(schema).unwrap_or_default()));
        }
    }
    components.schemas.retain(|name, _| used.contains(name));
}

/// Returns the names of the schemas that the value refers to.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(target) if name == "$ref" => {
                    target.rsplit('/').next().map(str::to_owned).into_iter().collect()
                }
                _ => references(value),
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
