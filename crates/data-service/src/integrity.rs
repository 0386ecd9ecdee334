//! The integrity report of a service, for operators: the same two routes in each service.
//!
//! A service implements [`Inspect`] and adds [`routes`]. The gateway does not forward these routes; it
//! joins the reports of the services.

use actix_web::web::{Data, Json, ServiceConfig};
use async_trait::async_trait;
use models::{IntegrityFinding, IntegrityRepair, IntegrityReport};
use serde::Deserialize;
use service_kit::{
    auth::extract::{Admin, Authenticated},
    web::{
        error::ApiError,
        extract::{NoQuery, Query},
        routing::{read, route},
        time_limit::TimeLimit,
    },
};
use utoipa::IntoParams;

/// Checks the integrity of the data of a service. The futures stay on one thread, as those of
/// transactions do.
#[async_trait(?Send)]
pub trait Inspect: Send + Sync {
    /// Returns all findings. Changes nothing.
    async fn inspect(&self) -> Result<Vec<IntegrityFinding>, ApiError>;

    /// Repairs the findings that can be repaired without losing data, and returns them. A service
    /// without repairs keeps this default.
    async fn repair(&self) -> Result<Vec<IntegrityFinding>, ApiError> {
        Ok(Vec::new())
    }
}

service_kit::error_responses! {
    /// The errors of both routes.
    IntegrityErrors = Unauthorized | Forbidden | ValidationFailed | UpstreamUnavailable
        | AuthUnavailable;
}

/// Adds the routes. They need a `Data<dyn Inspect>` in the data of the app.
pub fn routes(config: &mut ServiceConfig) {
    // Everything is read.
    let unlimited = TimeLimit(None);
    let repairs = route("/internal/integrity/repair").post(repair).build();
    config
        .service(read("/internal/integrity", report).app_data(unlimited))
        .service(repairs.app_data(unlimited));
}

/// Returns the findings in the data of the service.
///
/// Reads all collections without the texts. Nothing is changed.
#[utoipa::path(
    get,
    operation_id = "integrity",
    path = "/internal/integrity",
    tag = "internal",
    responses(
        (status = 200, description = "What was found.", body = IntegrityReport),
        IntegrityErrors
    ),
    security(("bearer" = []))
)]
pub async fn report(
    _: Authenticated<Admin, NoQuery>,
    inspector: Data<dyn Inspect>,
) -> Result<Json<IntegrityReport>, ApiError> {
    Ok(Json(IntegrityReport { findings: inspector.inspect().await? }))
}

/// The query of a repair.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct Repair {
    /// `true` to return only what would be repaired.
    dry_run: bool,
}

impl Default for Repair {
    fn default() -> Self {
        Self { dry_run: true }
    }
}

/// Repairs the findings that can be repaired without losing data.
///
/// A copy of each document is kept before it is changed or removed.
#[utoipa::path(
    post,
    operation_id = "repair_integrity",
    path = "/internal/integrity/repair",
    tag = "internal",
    params(Repair),
    responses(
        (status = 200, description = "What is or would be repaired.", body = IntegrityRepair),
        IntegrityErrors
    ),
    security(("bearer" = []))
)]
pub async fn repair(
    Authenticated(_, query): Authenticated<Admin, Query<Repair>>,
    inspector: Data<dyn Inspect>,
) -> Result<Json<IntegrityRepair>, ApiError> {
    let dry_run = query.0.dry_run;
    let mut repaired = if dry_run { inspector.inspect() } else { inspector.repair() }.await?;
    repaired.retain(|finding| finding.repairable);
    Ok(Json(IntegrityRepair { dry_run, repaired }))
}
