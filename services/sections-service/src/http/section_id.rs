//! The id of a section in a path.

use data_service::database_error;
use models::{ErrorCode, ObjectId};
use service_kit::web::{error::ApiError, extract::object_id};

use crate::store::SectionStore;

/// Parses the id of a section for an editor. Reports the `_id` of a document that cannot be read
/// differently from an id that no document has.
pub(super) async fn section_id(text: &str, store: &SectionStore) -> Result<ObjectId, ApiError> {
    match object_id(text, "Section") {
        Err(_) if store.snapshot().await.map_err(database_error)?.value.is_unreadable(text) => {
            let detail = "The stored section cannot be read. The log has the reason.";
            Err(ApiError::new(ErrorCode::UnreadableDocument, detail))
        }
        result => result,
    }
}
