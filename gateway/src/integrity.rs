//! What is wrong with what the services have stored, in one report.
//!
//! The gateway decides nothing: each service checks the caller's token itself. Half a report would
//! be taken for a whole one, so that where a service does not answer there is none.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, ServiceConfig},
};
use futures_util::future::join_all;
use models::{ErrorCode, IntegrityReport};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_kit::{ApiError, extract::NoQuery, http::json_within, server::read};

use crate::{proxy::Proxy, upstream::Upstreams};

/// Where each service reports.
const OF_SERVICE: &str = "/internal/integrity";

/// The longest report of a service: each finding names at most fifty documents.
const LONGEST_REPORT: usize = 1024 * 1024;

/// A report. What a finding is, the services know: a newer one may have kinds of its own.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Report {
    findings: Vec<Value>,
}

pub(crate) fn routes(config: &mut ServiceConfig, proxy: &Arc<Proxy>, upstreams: &Upstreams) {
    config
        .app_data(Data::from(Arc::clone(proxy)))
        .app_data(Data::new(upstreams.clone()))
        .service(read("/integrity", report))
        .service(read("/integrity/", report));
}

service_kit::error_responses! {
    /// Of the report, the services' included.
    ReportErrors = Unauthorized | Forbidden | ValidationFailed | UpstreamBroken
        | UpstreamUnavailable | UpstreamTimeout | AuthUnavailable;
}

/// Everything that is wrong with what is stored, for admins.
///
/// Joins the reports of the services; while one of them is away there is none. Each finding names the
/// documents and says what to do about them. Nothing is changed.
#[utoipa::path(
    get,
    operation_id = "integrity",
    path = "/integrity",
    tag = "health",
    responses(
        (status = 200, description = "What was found.", body = IntegrityReport),
        ReportErrors
    ),
    security(("bearer" = []))
)]
pub(crate) async fn report(
    request: HttpRequest,
    _: NoQuery,
    proxy: Data<Proxy>,
    upstreams: Data<Upstreams>,
) -> Result<HttpResponse, ApiError> {
    let asked = upstreams.all().map(|upstream| proxy.ask(&request, OF_SERVICE, upstream));
    // A service that is away is told before what the other one says about that.
    let replies = join_all(asked).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut all = Report::default();
    for (reply, upstream) in replies.into_iter().zip(upstreams.all()) {
        if reply.response.status() != StatusCode::OK.as_u16() {
            return proxy.give_back(&request, reply, upstream);
        }
        let read = json_within::<Report>(reply.response, LONGEST_REPORT);
        let read = tokio::time::timeout(proxy.timeouts.body_idle, read).await;
        let broken = |cause: Box<dyn std::error::Error + Send + Sync>| {
            let detail = format!("{} did not give a whole report.", upstream.name());
            ApiError::new(ErrorCode::UpstreamBroken, detail).because(cause)
        };
        let report = read.map_err(|late| broken(late.into()))?;
        all.findings.extend(report.map_err(|error| broken(error.into()))?.findings);
    }
    Ok(HttpResponse::Ok().json(all))
}
