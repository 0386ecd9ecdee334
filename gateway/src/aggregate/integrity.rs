//! `/integrity`: the findings of all services about their stored data, in one report.
//!
//! Each service checks the caller's token itself. If one service does not answer there is no report,
//! as half a report would be taken for a whole one.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, ServiceConfig},
};
use futures_util::future::join_all;
use http::StatusCode;
use models::{ErrorCode, IntegrityReport};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_kit::web::{error::ApiError, extract::NoQuery, routing::read, upstream::BoxError};

use crate::proxy::{Proxy, upstream::Upstreams};

/// The path of a service's report.
const SERVICE_PATH: &str = "/internal/integrity";

/// The largest report of a service, in bytes: each finding names at most fifty documents.
const REPORT_MAX_BYTES: usize = 1024 * 1024;

/// A report. Findings are not parsed: a newer service may have kinds that the gateway does not know.
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
    /// The errors of the report, those of the services included.
    ReportErrors = Unauthorized | Forbidden | ValidationFailed | UpstreamBroken
        | UpstreamUnavailable | UpstreamTimeout | AuthUnavailable;
}

/// Returns the problems of the stored data, for admins.
///
/// Joins the reports of the services; while one of them is down there is no report. Each finding
/// names the documents and the remedy. Nothing is changed.
#[utoipa::path(
    get,
    operation_id = "integrity",
    path = "/integrity",
    tag = "health",
    responses(
        (status = 200, description = "The findings.", body = IntegrityReport),
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
    let fetched =
        upstreams.essential().map(|upstream| proxy.fetch(&request, SERVICE_PATH, upstream));
    // A service that is down is reported before an error of the other one, which may be its result.
    let responses = join_all(fetched).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut all = Report::default();
    for (fetched, upstream) in responses.into_iter().zip(upstreams.essential()) {
        if fetched.status() != StatusCode::OK {
            return proxy.respond(&request, fetched, upstream);
        }
        let broken = |cause: BoxError| {
            let detail = format!("{} did not give a whole report.", upstream.name());
            ApiError::new(ErrorCode::UpstreamBroken, detail).because(cause)
        };
        let read = fetched.bytes(REPORT_MAX_BYTES, proxy.timeouts.body_idle).await;
        let report: Report =
            serde_json::from_slice(&read.map_err(broken)?).map_err(|error| broken(error.into()))?;
        all.findings.extend(report.findings);
    }
    Ok(HttpResponse::Ok().json(all))
}
