//! The integrity report for operators.

use async_trait::async_trait;
use data_service::{database_error, integrity::Inspect};
use models::IntegrityFinding;
use service_kit::web::error::ApiError;

use crate::store::SectionStore;

#[async_trait(?Send)]
impl Inspect for SectionStore {
    async fn inspect(&self) -> Result<Vec<IntegrityFinding>, ApiError> {
        self.check_integrity().await.map_err(database_error)
    }

    async fn repair(&self) -> Result<Vec<IntegrityFinding>, ApiError> {
        self.repair_faults().await.map_err(database_error)
    }
}
