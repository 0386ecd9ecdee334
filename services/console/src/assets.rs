//! The files that pages load: part of the program, under names that contain their hash, so that browsers
//! keep them until they change.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, VARY},
    web,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use service_kit::web::{
    coding::{CODINGS, Coding},
    conditional::ETag,
};

use crate::pages;

/// The characters of a hash in a name: 72 bits, more than any two versions need to differ.
const HASH_LENGTH: usize = 12;

/// A file of the program.
pub(crate) struct Asset {
    /// The path in an address.
    pub(crate) path: String,
    content_type: &'static str,
    body: &'static [u8],
    tag: ETag,
    /// The body in each of [`CODINGS`] that makes it smaller.
    encoded: [Option<web::Bytes>; CODINGS.len()],
}

fn asset(stem: &str, extension: &str, content_type: &'static str, body: &'static [u8]) -> Asset {
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, body));
    Asset {
        path: format!("/console/assets/{stem}-{}.{extension}", &hash[..HASH_LENGTH]),
        content_type,
        body,
        tag: ETag::of(body),
        encoded: CODINGS.map(|coding| coding.encode(body)),
    }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The style of all pages.
pub(crate) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let body = include_bytes!("../static/console.css");
    asset("console", "css", "text/css; charset=utf-8", body)
});

/// The script of all pages.
pub(crate) static SCRIPTS: LazyLock<Asset> =
    LazyLock::new(|| asset("console", "js", SCRIPT, include_bytes!("../static/console.js")));

/// htmx, which sends forms in the background: see `static/vendor.json`.
pub(crate) static HTMX: LazyLock<Asset> =
    LazyLock::new(|| asset("htmx", "js", SCRIPT, include_bytes!("../static/vendor/htmx.min.js")));

/// The icon.
pub(crate) static ICON: LazyLock<Asset> =
    LazyLock::new(|| asset("icon", "svg", "image/svg+xml", include_bytes!("../static/icon.svg")));

/// Returns all files.
fn all() -> [&'static Asset; 4] {
    [&STYLE, &SCRIPTS, &HTMX, &ICON]
}

/// Answers a file.
pub(crate) async fn file(request: HttpRequest) -> HttpResponse {
    let Some(asset) = all().into_iter().find(|asset| asset.path == request.path()) else {
        return pages::not_found(request).await;
    };
    let coding = accepted(&request);
    let encoded = CODINGS.iter().position(|one| *one == coding);
    let encoded = encoded.and_then(|index| asset.encoded[index].clone());
    let tag = match &encoded {
        Some(_) => asset.tag.of_coding(coding.name()),
        None => asset.tag.to_string(),
    };
    let mut response = match asset.tag.is_known(&request) {
        true => HttpResponse::NotModified(),
        false => HttpResponse::Ok(),
    };
    response
        .insert_header((ETAG, tag))
        .insert_header((VARY, "accept-encoding"))
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"));
    if asset.tag.is_known(&request) {
        return response.finish();
    }
    response.insert_header((CONTENT_TYPE, asset.content_type));
    match encoded {
        Some(body) => response.insert_header((CONTENT_ENCODING, coding.name())).body(body),
        None => response.body(asset.body),
    }
}

/// Returns the best coding that the client accepts.
pub(crate) fn accepted(request: &HttpRequest) -> Coding {
    let headers = request.headers().get_all(ACCEPT_ENCODING);
    Coding::accepted(headers.filter_map(|value| value.to_str().ok()))
}
