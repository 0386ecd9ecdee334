//! The integrity report for operators. There is no repair: an editor decides to which section an item
//! belongs, and which of two items keeps an address.

use async_trait::async_trait;
use data_service::{database_error, integrity::Inspect};
use models::IntegrityFinding;
use mongodb::Database;
use sections_client::SectionsClient;
use service_kit::web::error::ApiError;

use super::sections::unavailable;
use crate::{domain::audience::Directory, kinds::Collections, report::DataReport};

/// Inspects all content. The sections that it belongs to come from sections-service.
pub(crate) struct Inspector {
    sections: SectionsClient,
    data: DataReport,
}

impl Inspector {
    pub(crate) fn new(
        database: &Database,
        collections: Collections,
        sections: &SectionsClient,
    ) -> Self {
        let data = DataReport::new(database, collections);
        Self { sections: sections.clone(), data }
    }
}

#[async_trait(?Send)]
impl Inspect for Inspector {
    async fn inspect(&self) -> Result<Vec<IntegrityFinding>, ApiError> {
        let sections = Directory::new(self.sections.entries().await.map_err(unavailable)?);
        self.data.findings(&sections).await.map_err(database_error)
    }
}
