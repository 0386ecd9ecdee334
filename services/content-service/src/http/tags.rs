//! Entity tags of responses, cached until the content behind them changes.
//!
//! A tag is made from the response, so that all replicas return the same one. It is cached together
//! with the stamp of the content: as long as the content has not changed since, a client that has the
//! response gets 304 without any read.

use std::hash::{BuildHasher, Hash, RandomState};

use actix_web::{HttpRequest, HttpResponse, http::header::IF_NONE_MATCH};
use data_service::database_error;
use moka::sync::Cache;
use mongo_kit::Stamp;
use serde::Serialize;
use service_kit::web::{
    conditional::{ETag, json_response, not_modified, tagged_json_response},
    error::ApiError,
};

use crate::kinds::ContentCollection;

/// The number of responses whose tag is cached.
const CAPACITY: u64 = 10_000;

/// The tags of a process.
///
/// The key of a response is everything that determines it besides the content: the route, its
/// parameters, the audience, and the number of writes by this process. Only its hash is stored. A
/// collision does no harm: the client's tag is compared with the cached one, which is made from the
/// response.
pub(crate) struct Tags {
    cache: Cache<u64, (Stamp, ETag)>,
    hasher: RandomState,
}

impl Default for Tags {
    fn default() -> Self {
        Self { cache: Cache::new(CAPACITY), hasher: RandomState::new() }
    }
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

/// Returns `true` if the client has a response and wants to know if it is still current.
fn is_conditional(request: &HttpRequest) -> bool {
    request.headers().contains_key(IF_NONE_MATCH)
}

impl Tags {
    /// Returns 304 if the cache shows, without a read, that the client has the current response.
    pub(super) fn not_modified(
        &self,
        request: &HttpRequest,
        key: &impl Hash,
    ) -> Option<HttpResponse> {
        if !is_conditional(request) {
            return None;
        }
        let key = self.hasher.hash_one(key);
        let (stamp, tag) = self.cache.get(&key)?;
        if stamp.changed_at().is_some() {
            self.cache.invalidate(&key);
            return None;
        }
        not_modified(request, &tag)
    }

    /// Responds with a value that was read after the stamp was taken.
    pub(super) fn respond(
        &self,
        request: &HttpRequest,
        key: &impl Hash,
        stamp: Option<Stamp>,
        value: &impl Serialize,
    ) -> Result<HttpResponse, ApiError> {
        let Some(stamp) = stamp.filter(|_| is_conditional(request)) else {
            return json_response(request, value);
        };
        let tag = ETag::of_json(value)?;
        let response = tagged_json_response(request, &tag, value);
        if stamp.changed_at().is_none() {
            self.cache.insert(self.hasher.hash_one(key), (stamp, tag));
        }
        response
    }
}
