//! What is wrong with what a service has stored, for operators: the same two routes in each service.
//!
//! A service says what it finds and what it can mend ([`Inspect`]) and adds [`routes`]. The gateway
//! knows neither of them; it joins the reports of the services.

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
    },
};
use utoipa::IntoParams;

/// Who looks at everything that a service has stored. On one thread: transactions stay where they
/// began.
#[async_trait(?Send)]
pub trait Inspect: Send + Sync {
    /// Everything that is wrong. Changes nothing.
    async fn inspect(&self) -> Result<Vec<IntegrityFinding>, ApiError>;

    /// Mends what can be mended without losing anything, and says what that was. Nothing, unless
    /// the service knows better.
    async fn repair(&self) -> Result<Vec<IntegrityFinding>, ApiError> {
        Ok(Vec::new())
    }
}

service_kit::error_responses! {
    /// Of both routes.
    IntegrityErrors = Unauthorized | Forbidden | ValidationFailed | UpstreamUnavailable
        | AuthUnavailable;
}

/// Adds the routes. They need a `Data<dyn Inspect>` among the data of the app.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(read("/internal/integrity", report))
        .service(route("/internal/integrity/repair").post(repair).build());
}

/// Everything that is wrong with what the service has stored.
///
/// Reads all collections but the texts. Nothing is changed.
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

/// What a repair is to do.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct Repair {
    /// Whether to say only what would be repaired.
    dry_run: bool,
}

impl Default for Repair {
    fn default() -> Self {
        Self { dry_run: true }
    }
}

/// Repairs what can be repaired without losing anything.
///
/// Documents are kept as they were before a repair changed or removed them.
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
