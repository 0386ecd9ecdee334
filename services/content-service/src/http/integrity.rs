//! What is wrong with the stored content, for operators. A repair would do nothing about it: to
//! which section an item belongs, and which of two keeps an address, an editor decides.

use async_trait::async_trait;
use data_service::{database_error, integrity::Inspect};
use models::IntegrityFinding;
use mongo_kit::Connection;
use sections_client::SectionsClient;
use service_kit::web::error::ApiError;

use super::Sections;
use crate::store::DataReport;

/// Reads all content, and asks sections-service for the sections that it belongs to.
pub(crate) struct Inspector {
    sections: Sections,
    data: DataReport,
}

impl Inspector {
    pub(crate) fn new(connection: &Connection, sections: &SectionsClient) -> Self {
        Self { sections: Sections::new(sections.clone()), data: DataReport::new(connection) }
    }
}

#[async_trait(?Send)]
impl Inspect for Inspector {
    async fn inspect(&self) -> Result<Vec<IntegrityFinding>, ApiError> {
        let sections = self.sections.now().await?;
        self.data.findings(&sections).await.map_err(database_error)
    }
}
