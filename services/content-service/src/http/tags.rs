//! Entity tags of responses, kept until the content behind them changes.
//!
//! A tag is made from the response, so that all replicas return the same one. As long as the content has
//! not changed since, a client that has the response gets 304 without any read.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CONTENT_LOCATION, HeaderValue, IF_NONE_MATCH},
};
use data_service::changes::{Answer, Changes, Knowledge, Validity};
use moka::sync::Cache;
use serde::Serialize;
use service_kit::web::{
    conditional::{ETag, json_response, not_modified, tagged_json_response},
    error::ApiError,
};

/// The number of responses whose tag is kept.
const CAPACITY: u64 = 10_000;

/// The tags of a process.
///
/// The name of a response is everything that determines it besides the content: the route, its
/// parameters and the audience. Only its hash is stored. A collision does no harm: the client's tag is
/// compared with the kept one, which is made from the response.
pub(crate) struct Tags {
    cache: Cache<u64, Arc<Tagged>>,
    hasher: RandomState,
    changes: Changes,
}

struct Tagged {
    keys: Vec<String>,
    validity: Validity,
    tag: ETag,
    /// The address of the answered item, if the request has another one.
    location: Option<String>,
}

/// Returns `true` if the client has a response and wants to know if it is still current.
fn is_conditional(request: &HttpRequest) -> bool {
    request.headers().contains_key(IF_NONE_MATCH)
}

impl Tags {
    pub(crate) fn new(changes: &Changes) -> Self {
        let (cache, hasher) = (Cache::new(CAPACITY), RandomState::new());
        Self { cache, hasher, changes: changes.clone() }
    }

    /// Returns 304 if it is known, without a read, that the client has the current response.
    pub(super) fn not_modified(
        &self,
        request: &HttpRequest,
        answer: &Answer,
        name: &impl Hash,
    ) -> Option<HttpResponse> {
        if !is_conditional(request) {
            return None;
        }
        let name = self.hasher.hash_one(name);
        let tagged = self.cache.get(&name)?;
        match self.changes.knowledge(&tagged.validity) {
            Knowledge::Current(revision) => {
                let mut response = not_modified(request, &tagged.tag)?;
                add_location(&mut response, tagged.location.as_deref());
                answer.add_keys(tagged.keys.iter().cloned());
                answer.limit(revision);
                Some(response)
            }
            Knowledge::Changed => {
                self.cache.invalidate(&name);
                None
            }
            Knowledge::Unknown => None,
        }
    }

    /// Responds with a value that depends on the keys of the answer. `location` is the address of the
    /// value if it is not that of the request.
    pub(super) fn respond(
        &self,
        request: &HttpRequest,
        answer: &Answer,
        name: &impl Hash,
        value: &impl Serialize,
        location: Option<String>,
    ) -> Result<HttpResponse, ApiError> {
        if !is_conditional(request) {
            let mut response = json_response(request, value)?;
            add_location(&mut response, location.as_deref());
            return Ok(response);
        }
        let tag = ETag::of_json(value)?;
        let mut response = tagged_json_response(request, &tag, value)?;
        add_location(&mut response, location.as_deref());
        if let Some((keys, validity)) = answer.validity(&self.changes) {
            let tagged = Arc::new(Tagged { keys, validity, tag, location });
            self.cache.insert(self.hasher.hash_one(name), tagged);
        }
        Ok(response)
    }
}

fn add_location(response: &mut HttpResponse, location: Option<&str>) {
    if let Some(location) = location.and_then(|location| HeaderValue::from_str(location).ok()) {
        response.headers_mut().insert(CONTENT_LOCATION, location);
    }
}
