//! `robots.txt` (RFC 9309).

use actix_web::{HttpRequest, HttpResponse, web::Data};
use data_service::changes::Answer;
use service_kit::web::{conditional::text_response, extract::NoQuery};

use super::error_sets::SiteReadErrors;
use crate::store::site::{SITE_KEY, SiteStore};

/// Tells crawlers that they may read everything, and where the sitemap is.
///
/// The sitemap is left out unless the setting `site.url` names the address of the site.
#[utoipa::path(
    get,
    operation_id = "robots",
    path = "/robots.txt",
    tag = "site",
    responses(
        (status = 200, description = "The rules.", body = String, content_type = "text/plain"),
        SiteReadErrors
    )
)]
pub(super) async fn robots(
    request: HttpRequest,
    _: NoQuery,
    site: Data<SiteStore>,
    answer: Answer,
) -> HttpResponse {
    answer.add_keys([SITE_KEY.to_owned()]);
    let mut text = "User-agent: *\nAllow: /\n".to_owned();
    if let Some(url) = site.url() {
        text.push_str(&format!("\nSitemap: {url}/sitemap.xml\n"));
    }
    text_response(&request, "text/plain; charset=utf-8", text.into_bytes())
}
