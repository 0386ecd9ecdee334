//! `/openapi.json`, and `/docs`: Swagger UI, which shows it.
//!
//! Everything is in the program and is answered while the services are down. The page asks no other
//! host for anything; its content security policy would not let it.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CONTENT_SECURITY_POLICY, HeaderValue},
    web,
};
use models::ErrorCode;
use service_kit::{
    ApiError,
    conditional::{ETag, fixed},
    error::route_not_found,
    extract::NoQuery,
    openapi::{Responses, add_errors},
    server::read,
};
use utoipa::IntoResponses;

/// A file that is answered as it is.
struct File {
    name: &'static str,
    content_type: &'static str,
    body: &'static [u8],
    tag: ETag,
}

fn file(name: &'static str, content_type: &'static str, body: &'static [u8]) -> File {
    File { name, content_type, body, tag: ETag::of(body) }
}

/// What `build.rs` took out of the archive of Swagger UI.
macro_rules! swagger_ui {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui/", $name))
    };
}

/// Written by `just openapi`; a test of `turbulence` compares it with the code.
static DOCUMENT: LazyLock<File> = LazyLock::new(|| {
    file("openapi.json", "application/json", include_bytes!("../../docs/openapi.json"))
});

static PAGE: LazyLock<File> =
    LazyLock::new(|| file("docs", "text/html; charset=utf-8", include_bytes!("docs/page.html")));

/// What the page loads.
static ASSETS: LazyLock<[File; 5]> = LazyLock::new(|| {
    let script = "text/javascript; charset=utf-8";
    [
        file("LICENSE", "text/plain; charset=utf-8", swagger_ui!("LICENSE")),
        file("favicon-32x32.png", "image/png", swagger_ui!("favicon-32x32.png")),
        file("initializer.js", script, include_bytes!("docs/initializer.js")),
        file("swagger-ui-bundle.js", script, swagger_ui!("swagger-ui-bundle.js")),
        file("swagger-ui.css", "text/css; charset=utf-8", swagger_ui!("swagger-ui.css")),
    ]
});

/// What the page may do: run and show its own files, and send requests to this gateway. The pictures
/// of Swagger UI are in its style sheet.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

impl File {
    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        fixed(request, &self.tag, self.content_type, self.body)
    }
}

/// What is answered to a query, and to whoever asks too often.
struct OwnErrors;

impl IntoResponses for OwnErrors {
    fn responses() -> Responses {
        let mut responses = Responses::new();
        add_errors(&mut responses, [ErrorCode::ValidationFailed, ErrorCode::TooManyRequests]);
        responses
    }
}

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(read("/openapi.json", document))
        .service(read("/docs", page))
        // Relative, for a gateway that is mounted below a path of another server.
        .service(web::redirect("/docs/", "../docs"))
        .service(read("/docs/{file}", asset));
}

/// This description of the API.
///
/// The same file for every caller. It is answered while the services are away, too.
#[utoipa::path(
    get,
    operation_id = "openapi",
    path = "/openapi.json",
    tag = "description",
    params(("If-None-Match" = Option<String>, Header, nullable = false,
        description = "What the caller has.")),
    responses(
        (status = 200, description = "The OpenAPI document.", body = serde_json::Map<String, serde_json::Value>,
            headers(("ETag", description = "The state of the document."))),
        (status = 304, description = "The document is as it was."),
        OwnErrors
    )
)]
pub(crate) async fn document(request: HttpRequest, _: NoQuery) -> HttpResponse {
    DOCUMENT.answer(&request)
}

/// The description as a page to browse and to try.
///
/// Sends requests to this gateway, with the token that is entered there. It loads nothing from other
/// hosts.
#[utoipa::path(
    get,
    operation_id = "docs",
    path = "/docs",
    tag = "description",
    params(("If-None-Match" = Option<String>, Header, nullable = false,
        description = "What the caller has.")),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html",
            headers(("ETag", description = "The state of the page."))),
        (status = 304, description = "The page is as it was."),
        OwnErrors
    )
)]
pub(crate) async fn page(request: HttpRequest, _: NoQuery) -> HttpResponse {
    let mut response = PAGE.answer(&request);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
    response
}

async fn asset(
    request: HttpRequest,
    name: web::Path<String>,
    _: NoQuery,
) -> Result<HttpResponse, ApiError> {
    match ASSETS.iter().find(|file| file.name == *name) {
        Some(file) => Ok(file.answer(&request)),
        None => route_not_found(request).await,
    }
}
