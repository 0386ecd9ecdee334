//! Tags of answers, remembered until what they name changes.
//!
//! A tag is made from the answer, so that all replicas give the same one. What it was made of is
//! remembered beside the moment since which nothing has changed: as long as that holds, a client
//! that has the answer is told so without reading anything.

use actix_web::{HttpRequest, HttpResponse, http::header::IF_NONE_MATCH};
use data_service::database_error;
use moka::sync::Cache;
use mongo_kit::Stamp;
use serde::Serialize;
use service_kit::{
    ApiError,
    conditional::{ETag, json, json_tagged, not_modified},
};

use crate::kinds::ContentCollection;

/// For how many answers the tag is remembered.
const ANSWERS: u64 = 10_000;

/// The tags of a process.
pub(crate) struct Tags(Cache<String, (Stamp, ETag)>);

impl Default for Tags {
    fn default() -> Self {
        Self(Cache::new(ANSWERS))
    }
}

/// Names an answer by everything that decides it besides the content: route, parameters, what the
/// caller may see, how often this process has written.
pub(super) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    ETag::of_parts(parts).to_string()
}

/// Returns the stamp of a collection, for conditional requests alone.
pub(super) async fn stamp(
    request: &HttpRequest,
    collection: &dyn ContentCollection,
) -> Result<Option<Stamp>, ApiError> {
    if !is_conditional(request) {
        return Ok(None);
    }
    collection.stamp().await.map(Some).map_err(database_error)
}

/// Returns `true` if the client names the state that it has.
fn is_conditional(request: &HttpRequest) -> bool {
    request.headers().contains_key(IF_NONE_MATCH)
}

impl Tags {
    /// 304 where it is known, without reading, that the client has the present answer.
    pub(super) fn not_modified(&self, request: &HttpRequest, key: &str) -> Option<HttpResponse> {
        if !is_conditional(request) {
            return None;
        }
        let (stamp, tag) = self.0.get(key)?;
        if stamp.changed_at().is_some() {
            self.0.invalidate(key);
            return None;
        }
        not_modified(request, &tag)
    }

    /// Answers with a value that was read after the stamp was taken.
    pub(super) fn answer(
        &self,
        request: &HttpRequest,
        key: String,
        stamp: Option<Stamp>,
        value: &impl Serialize,
    ) -> Result<HttpResponse, ApiError> {
        let Some(stamp) = stamp.filter(|_| is_conditional(request)) else {
            return json(request, value);
        };
        let tag = ETag::of_json(value)?;
        let response = json_tagged(request, &tag, value);
        if stamp.changed_at().is_none() {
            self.0.insert(key, (stamp, tag));
        }
        response
    }
}
