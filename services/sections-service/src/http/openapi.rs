//! The description of the routes (OpenAPI 3.1), made from their code.

use std::collections::BTreeMap;

use actix_web::web::Json;
use models::{
    ErrorCode, FieldError, IntegrityRepair, IntegrityReport, PathResolution, Problem,
    ReadOnlyMembers, Section, SectionCreate, SectionEntry, SectionNode, SectionOrder, SectionPatch,
    SectionReplace,
};
use service_kit::extract::NoQuery;
use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, RefOr, Response, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{integrity, internal, read, write};

#[derive(OpenApi)]
#[openapi(
    info(title = "sections-service", description = "The site's navigation as data."),
    paths(
        read::list,
        read::tree,
        read::by_slug,
        read::by_id,
        write::create,
        write::replace,
        write::patch,
        write::delete,
        write::restore,
        write::order,
        internal::entries,
        internal::resolve,
        integrity::report,
        integrity::repair
    ),
    components(schemas(
        ErrorCode, FieldError, IntegrityRepair, IntegrityReport, PathResolution, Problem, Section,
        SectionCreate, SectionEntry, SectionNode, SectionOrder, SectionPatch, SectionReplace
    )),
    tags(
        (name = "sections", description = "The entries of the navigation."),
        (name = "internal", description = "For the other services and for operators.")
    ),
    modifiers(&ReadOnlyMembers, &Bearer)
)]
struct Document;

/// Answers the document.
pub(super) async fn document(_: NoQuery) -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

/// How callers say who they are.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Declares which errors a route answers besides those of every route.
macro_rules! errors {
    ($($(#[$doc:meta])+ $name:ident = $($code:ident)|+;)+) => {
        $(
            $(#[$doc])+
            pub(super) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    responses(&[$(ErrorCode::$code),+])
                }
            }
        )+
    };
}

errors! {
    /// Of a list.
    ListErrors = Unauthorized | Forbidden | ValidationFailed | AuthUnavailable;
    /// Of a section by its slug.
    SlugErrors = Unauthorized | Forbidden | NotFound | ValidationFailed | AuthUnavailable;
    /// Of a section by its id.
    ReadErrors = InvalidId | Unauthorized | Forbidden | NotFound | ValidationFailed
        | UnreadableDocument | AuthUnavailable;
    /// Of all sections, for the other services.
    EntryErrors = ValidationFailed;
    /// Of a path.
    ResolveErrors = NotFound | ValidationFailed;
    /// Of what operators ask.
    OperatorErrors = Unauthorized | Forbidden | ValidationFailed | AuthUnavailable;
    /// Of adding.
    CreateErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | SlugTaken
        | PayloadTooLarge | UnsupportedMediaType | TooDeep | IdempotencyKeyReused
        | ValidationFailed | AuthUnavailable;
    /// Of changing.
    ChangeErrors = InvalidId | MalformedJson | BadRequest | Unauthorized | Forbidden | NotFound
        | SlugTaken | HasContent | Conflict | PreconditionFailed | PayloadTooLarge
        | UnsupportedMediaType | Cycle | TooDeep | ValidationFailed | PreconditionRequired
        | UnreadableDocument | UpstreamUnavailable | AuthUnavailable;
    /// Of deleting.
    DeleteErrors = InvalidId | Unauthorized | Forbidden | NotFound | HasChildren | HasContent
        | Conflict | PreconditionFailed | ValidationFailed | PreconditionRequired
        | UnreadableDocument | UpstreamUnavailable | AuthUnavailable;
    /// Of restoring.
    RestoreErrors = InvalidId | Unauthorized | Forbidden | NotFound | SlugTaken | Conflict
        | TooDeep | ValidationFailed | UnreadableDocument | AuthUnavailable;
    /// Of ordering.
    OrderErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | OrderMismatch
        | PayloadTooLarge | UnsupportedMediaType | ValidationFailed | AuthUnavailable;
}

/// What any route answers when something is wrong with the system or its callers send too much.
const ALWAYS: [ErrorCode; 4] = [
    ErrorCode::TooManyRequests,
    ErrorCode::Internal,
    ErrorCode::DatabaseUnavailable,
    ErrorCode::NotReady,
];

fn responses(codes: &[ErrorCode]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for code in codes.iter().chain(&ALWAYS) {
        by_status.entry(code.status()).or_default().push(format!("`{}`", code.as_str()));
    }
    let responses = by_status.into_iter();
    responses.map(|(status, codes)| (status.to_string(), RefOr::T(problem(&codes)))).collect()
}

fn problem(codes: &[String]) -> Response {
    let schema = Some(Ref::from_schema_name("Problem"));
    let content = || ContentBuilder::new().schema(schema.clone()).build();
    ResponseBuilder::new()
        .description(format!("An error, with the code {}.", codes.join(" or ")))
        .content("application/json", content())
        .content("application/problem+json", content())
        .build()
}
