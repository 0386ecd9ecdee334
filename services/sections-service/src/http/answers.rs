//! Reading for an answer, which says what it depends on.

use std::sync::Arc;

use data_service::{
    changes::{Answer, Read},
    database_error,
};
use models::{changes::SECTIONS_KEY, section_paths::Redirects};
use service_kit::web::error::ApiError;

use crate::store::{SectionStore, snapshot::Snapshot};

/// Returns all sections.
pub(super) async fn snapshot(
    answer: &Answer,
    store: &SectionStore,
) -> Result<Arc<Snapshot>, ApiError> {
    Ok(record(answer, store.snapshot().await.map_err(database_error)?))
}

/// Returns all redirects.
pub(super) async fn redirects(
    answer: &Answer,
    store: &SectionStore,
) -> Result<Arc<Redirects>, ApiError> {
    Ok(record(answer, store.redirects().await.map_err(database_error)?))
}

/// Records that a request has changed sections.
pub(super) fn changed(answer: &Answer) {
    answer.add_keys([SECTIONS_KEY.to_owned()]);
}

fn record<T>(answer: &Answer, Read { value, revision }: Read<T>) -> T {
    answer.add_keys([SECTIONS_KEY.to_owned()]);
    answer.limit(revision);
    value
}
