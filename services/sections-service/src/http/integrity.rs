//! What is wrong with what is stored, for operators.

use actix_web::web::{Data, Json};
use data_service::database_error;
use models::{IntegrityRepair, IntegrityReport};
use serde::Deserialize;
use service_kit::{
    ApiError,
    auth::Admin,
    extract::{NoQuery, Query},
};
use utoipa::IntoParams;

use super::openapi::OperatorErrors;
use crate::store::SectionStore;

/// Everything that is wrong with sections and redirects.
#[utoipa::path(
    get,
    operation_id = "section_integrity",
    path = "/internal/integrity",
    tag = "internal",
    responses((status = 200, description = "What was found.", body = IntegrityReport), OperatorErrors),
    security(("bearer" = []))
)]
pub(super) async fn report(
    _: Admin,
    _: NoQuery,
    store: Data<SectionStore>,
) -> Result<Json<IntegrityReport>, ApiError> {
    let findings = store.inspect().await.map_err(database_error)?;
    Ok(Json(IntegrityReport { findings }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Repair {
    /// Whether to say only what would be repaired.
    dry_run: bool,
}

impl Default for Repair {
    fn default() -> Self {
        Self { dry_run: true }
    }
}

/// Repairs what can be repaired without losing anything.
#[utoipa::path(
    post,
    operation_id = "repair_sections",
    path = "/internal/integrity/repair",
    tag = "internal",
    params(Repair),
    responses((status = 200, description = "What is or would be repaired.", body = IntegrityRepair), OperatorErrors),
    security(("bearer" = []))
)]
pub(super) async fn repair(
    _: Admin,
    query: Query<Repair>,
    store: Data<SectionStore>,
) -> Result<Json<IntegrityRepair>, ApiError> {
    let dry_run = query.0.dry_run;
    let mut repaired = if dry_run { store.inspect().await } else { store.repair().await }
        .map_err(database_error)?;
    repaired.retain(|finding| finding.repairable);
    Ok(Json(IntegrityRepair { dry_run, repaired }))
}
