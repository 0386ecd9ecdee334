//! The parts that the descriptions of all processes share (OpenAPI 3.1): authentication and errors.

use std::collections::BTreeMap;

use models::ErrorCode;
use utoipa::{
    Modify,
    openapi::{
        ContentBuilder, HeaderBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Response,
        ResponseBuilder, Type,
        extensions::ExtensionsBuilder,
        path::{Operation, PathItem},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

/// The responses of an operation by their statuses.
pub type Responses = BTreeMap<String, RefOr<Response>>;

/// The extension that lists the codes of an error response, for programs.
const CODES: &str = "x-error-codes";

/// The errors of every route: those of the system, and of the rate limit.
const COMMON_ERRORS: [ErrorCode; 4] = [
    ErrorCode::TooManyRequests,
    ErrorCode::Internal,
    ErrorCode::DatabaseUnavailable,
    ErrorCode::NotReady,
];

/// Adds the security scheme to a document. An operation that declares no security needs no token.
#[derive(Debug, Clone, Copy)]
pub struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "The token of `auth.static_token`, or one of the identity provider (`auth.mode`).",
            ))
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
        for operation in openapi.paths.paths.values_mut().flat_map(operations) {
            operation.security.get_or_insert_default();
        }
    }
}

/// Returns the operations of a path.
pub fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten()
}

/// Declares sets of errors for the `responses` of `#[utoipa::path]`. Each includes the errors of every
/// route.
///
/// ```
/// service_kit::error_responses! {
///     /// The errors of a look-up.
///     LookUpErrors = NotFound | ValidationFailed;
/// }
/// # use utoipa::IntoResponses;
/// assert!(LookUpErrors::responses().contains_key("404"));
/// assert!(LookUpErrors::responses().contains_key("503"));
/// ```
#[macro_export]
macro_rules! error_responses {
    ($($(#[$doc:meta])+ $name:ident = $($code:ident)|+;)+) => {
        $(
            $(#[$doc])+
            pub(crate) struct $name;

            impl ::utoipa::IntoResponses for $name {
                fn responses() -> $crate::web::openapi::Responses {
                    $crate::web::openapi::error_responses([$(::models::ErrorCode::$code),+])
                }
            }
        )+
    };
}

/// Returns the responses for these errors and those of every route.
pub fn error_responses(codes: impl IntoIterator<Item = ErrorCode>) -> Responses {
    let mut responses = Responses::new();
    add_errors(&mut responses, codes.into_iter().chain(COMMON_ERRORS));
    responses
}

/// Adds errors to the responses of an operation.
pub fn add_errors(responses: &mut Responses, codes: impl IntoIterator<Item = ErrorCode>) {
    for code in codes {
        let status = code.status();
        let mut all = responses.get(&status.to_string()).map(codes_of).unwrap_or_default();
        if !all.contains(&code) {
            all.push(code);
        }
        all.sort_by_key(|code| ErrorCode::ALL.iter().position(|known| known == code));
        responses.insert(status.to_string(), RefOr::T(problem(status, &all)));
    }
}

/// Returns the codes of an error response, or none for another response.
pub fn codes_of(response: &RefOr<Response>) -> Vec<ErrorCode> {
    let RefOr::T(response) = response else { return Vec::new() };
    let codes = response.extensions.as_ref().and_then(|extensions| extensions.get(CODES));
    codes.and_then(|codes| serde_json::from_value(codes.clone()).ok()).unwrap_or_default()
}

fn problem(status: u16, codes: &[ErrorCode]) -> Response {
    let names: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
    let content = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new()
        .description(format!("An error, with the code `{}`.", names.join("` or `")))
        .content("application/json", content())
        .content("application/problem+json", content())
        .extensions(Some(ExtensionsBuilder::new().add(CODES, names).build()));
    let (name, kind, description) = match status {
        401 => ("WWW-Authenticate", Type::String, "`Bearer`."),
        429 | 503 => {
            ("Retry-After", Type::Integer, "The number of seconds after which to try again.")
        }
        _ => return response.build(),
    };
    let header = HeaderBuilder::new().schema(ObjectBuilder::new().schema_type(kind));
    response.header(name, header.description(Some(description)).build()).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_status_are_one_response_with_the_codes_in_the_order_of_the_catalogue() {
        let mut responses = error_responses([ErrorCode::InvalidId]);
        add_errors(&mut responses, [ErrorCode::InvalidPath, ErrorCode::InvalidPath]);
        let statuses: Vec<_> = responses.keys().map(String::as_str).collect();
        assert_eq!(statuses, ["400", "429", "500", "503"]);
        let response = serde_json::to_value(&responses["400"]).unwrap();
        assert_eq!(response[CODES], serde_json::json!(["invalid_path", "invalid_id"]));
        let description = "An error, with the code `invalid_path` or `invalid_id`.";
        assert_eq!(response["description"], description);
        let unavailable = serde_json::to_value(&responses["503"]).unwrap();
        assert_eq!(unavailable["headers"]["Retry-After"]["schema"]["type"], "integer");
    }
}
