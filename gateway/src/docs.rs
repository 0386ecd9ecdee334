//! `/openapi.json`, Swagger UI at `/docs`, which shows it, and `/`, which leads to both.
//!
//! Everything is part of the program and available while the services are down. The page loads
//! nothing from other hosts; its content security policy forbids it.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CONTENT_SECURITY_POLICY, HeaderValue},
    web,
};
use models::ErrorCode;
use service_kit::web::{
    conditional::{ETag, static_response},
    error::ApiError,
    extract::NoQuery,
    openapi::{Responses, add_errors},
    routing::{read, route_not_found},
};
use utoipa::IntoResponses;

/// A static file.
struct File {
    name: &'static str,
    content_type: &'static str,
    body: &'static [u8],
    tag: ETag,
}

fn file(name: &'static str, content_type: &'static str, body: &'static [u8]) -> File {
    File { name, content_type, body, tag: ETag::of(body) }
}

/// Includes a file that `build.rs` extracted from the archive of Swagger UI.
macro_rules! swagger_ui {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui/", $name))
    };
}

/// The description, written by `just openapi`. A test of `turbulence` compares it with the code.
static DOCUMENT: LazyLock<File> = LazyLock::new(|| {
    file("openapi.json", "application/json", include_bytes!("../../docs/openapi.json"))
});

/// The page.
static PAGE: LazyLock<File> =
    LazyLock::new(|| file("docs", "text/html; charset=utf-8", include_bytes!("docs/page.html")));

/// The page for a person who opens the address of the gateway.
static HOME: LazyLock<File> =
    LazyLock::new(|| file("", "text/html; charset=utf-8", include_bytes!("docs/home.html")));

/// The files that the pages load.
static ASSETS: LazyLock<[File; 6]> = LazyLock::new(|| {
    let script = "text/javascript; charset=utf-8";
    [
        file("LICENSE", "text/plain; charset=utf-8", swagger_ui!("LICENSE")),
        file("favicon-32x32.png", "image/png", swagger_ui!("favicon-32x32.png")),
        file("home.css", "text/css; charset=utf-8", include_bytes!("docs/home.css")),
        file("initializer.js", script, include_bytes!("docs/initializer.js")),
        file("swagger-ui-bundle.js", script, swagger_ui!("swagger-ui-bundle.js")),
        file("swagger-ui.css", "text/css; charset=utf-8", swagger_ui!("swagger-ui.css")),
    ]
});

/// The permissions of the pages: to run and show its own files, and to send requests to this gateway.
/// The images of Swagger UI are in its style sheet.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Returns the description of the API.
pub(crate) fn description() -> &'static [u8] {
    DOCUMENT.body
}

impl File {
    fn respond(&self, request: &HttpRequest) -> HttpResponse {
        static_response(request, &self.tag, self.content_type, self.body)
    }
}

/// The errors of an unknown query parameter, and of the rate limit.
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
        .service(read("/", home))
        .service(read("/openapi.json", document))
        .service(read("/docs", page))
        // Relative, for a gateway that is mounted below a path of another server.
        .service(web::redirect("/docs/", "../docs"))
        .service(read("/docs/{file}", asset));
}

/// Returns this description of the API.
///
/// Every caller gets the same file. It is available while the services are down, too.
#[utoipa::path(
    get,
    operation_id = "openapi",
    path = "/openapi.json",
    tag = "description",
    params(("If-None-Match" = Option<String>, Header, nullable = false,
        description = "The `ETag` of the version that the caller has.")),
    responses(
        (status = 200, description = "The OpenAPI document.", body = serde_json::Map<String, serde_json::Value>,
            headers(("ETag", description = "The state of the document."))),
        (status = 304, description = "The document has not changed."),
        OwnErrors
    )
)]
pub(crate) async fn document(request: HttpRequest, _: NoQuery) -> HttpResponse {
    DOCUMENT.respond(&request)
}

/// Returns a page that shows the description and sends requests for trial.
///
/// The requests go to this gateway, with the token that is entered in the page. The page loads
/// nothing from other hosts.
#[utoipa::path(
    get,
    operation_id = "docs",
    path = "/docs",
    tag = "description",
    params(("If-None-Match" = Option<String>, Header, nullable = false,
        description = "The `ETag` of the version that the caller has.")),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html",
            headers(("ETag", description = "The state of the page."))),
        (status = 304, description = "The page has not changed."),
        OwnErrors
    )
)]
pub(crate) async fn page(request: HttpRequest, _: NoQuery) -> HttpResponse {
    respond_with_page(&PAGE, &request)
}

async fn home(request: HttpRequest, _: NoQuery) -> HttpResponse {
    respond_with_page(&HOME, &request)
}

fn respond_with_page(page: &File, request: &HttpRequest) -> HttpResponse {
    let mut response = page.respond(request);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
    response
}

async fn asset(
    request: HttpRequest,
    name: web::Path<String>,
    _: NoQuery,
) -> Result<HttpResponse, ApiError> {
    match ASSETS.iter().find(|file| file.name == *name) {
        Some(file) => Ok(file.respond(&request)),
        None => route_not_found(request).await,
    }
}
