//! `Idempotency-Key`: a POST that is sent again gets the same response, and creates nothing more.
//!
//! The response is stored in the transaction that creates, so that neither exists without the other.
//! It is stored as the bytes that were sent, so that a later version of the program sends the same
//! ones. A refused request is not stored: nothing was created.

use std::{
    fmt::Debug,
    future::{Ready, ready},
    sync::Arc,
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::{
        StatusCode,
        header::{ETAG, HeaderName, HeaderValue, LOCATION},
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use models::{ErrorCode, FieldError};
use mongo_kit::{Connection, Writers, with_time_limit};
use mongodb::{
    ClientSession, Collection, IndexModel,
    bson::{self, Document, doc},
    error::Error,
    options::{IndexOptions, ReadConcern},
};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use service_kit::{
    auth::caller::Caller,
    runtime::clock::Clock,
    web::{
        conditional::{ETag, write_response},
        error::ApiError,
    },
};
use tokio::sync::OnceCell;

use crate::{
    server_clock,
    transaction::{Abort, transact},
};

/// The header (draft-ietf-httpapi-idempotency-key-header).
const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// The most characters of a key. Clients send UUIDs.
const KEY_MAX_LENGTH: usize = 255;

/// The time for which a response is stored: longer than clients repeat a request.
const STORED_FOR: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// The time limit for creating the index, for which the first request with a key waits.
const PREPARATION_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// The caller with the static token, whether or not its user can be looked up.
const OPERATOR: &str = "operator";

/// The status of stored responses.
const CREATED: i32 = 201;

/// The key of a request, if it has one. The extractor rejects an invalid key with 422.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(Option<String>);

impl FromRequest for IdempotencyKey {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

impl IdempotencyKey {
    fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let mut values = request.headers().get_all(HEADER);
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let key = value.to_str().unwrap_or_default().trim();
        let is_plain = key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if key.is_empty() || key.len() > KEY_MAX_LENGTH || !is_plain || values.next().is_some() {
            let message =
                format!("must be once from 1 to {KEY_MAX_LENGTH} visible ASCII characters");
            return Err(ApiError::invalid(FieldError::invalid("Idempotency-Key", message)));
        }
        Ok(Self(Some(key.to_owned())))
    }

    /// Returns the key together with its request, or `None` if the request has no key.
    pub fn with(
        self,
        caller: &Caller,
        request: &HttpRequest,
        body: &impl Serialize,
    ) -> Result<Option<KeyedRequest>, ApiError> {
        let Some(key) = self.0 else { return Ok(None) };
        // The parsed body: white space and the order of members do not make another request.
        let body = serde_json::to_vec(body).map_err(ApiError::internal)?;
        let parts = [request.method().as_str().as_bytes(), request.path().as_bytes(), &body];
        let caller = match caller {
            Caller::Operator { .. } => OPERATOR,
            Caller::User { id, .. } => id,
        };
        Ok(Some(KeyedRequest {
            caller: caller.to_owned(),
            key,
            path: request.path().to_owned(),
            fingerprint: fingerprint(&parts),
        }))
    }
}

/// Returns a digest of the parts of a request.
fn fingerprint(parts: &[&[u8]]) -> String {
    let mut digest = Context::new(&SHA256);
    for part in parts {
        // With their lengths, so that "a", "bc" is not "ab", "c".
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    URL_SAFE_NO_PAD.encode(digest.finish())
}

/// A request with a key, and its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRequest {
    caller: String,
    key: String,
    path: String,
    fingerprint: String,
}

impl KeyedRequest {
    /// Returns the `_id` of the stored response. The same key of two callers is two keys.
    fn id(&self) -> Document {
        doc! { "caller": &self.caller, "key": &self.key }
    }

    /// Returns the stored response, unless its key was used for another request.
    fn replay<E: From<KeyReused>>(
        &self,
        found: Option<StoredResponse>,
    ) -> Result<Option<Created>, Abort<E>> {
        let Some(stored) = found else { return Ok(None) };
        if stored.fingerprint != self.fingerprint {
            return Err(Abort::Refused(KeyReused.into()));
        }
        let StoredResponse { body, etag, location, .. } = stored;
        // Responses of earlier versions have neither tag nor location. Their body is the new item.
        let is_item_alone = etag.is_none();
        let etag = etag.unwrap_or_else(|| ETag::of(body.as_bytes()).to_string());
        let location = match location {
            Some(location) => location,
            None => {
                let Item { id } = serde_json::from_str(&body).map_err(Error::custom)?;
                format!("{}/{id}", self.path)
            }
        };
        Ok(Some(Created { body, etag, location, is_item_alone }))
    }
}

/// The member of an item that its address contains.
#[derive(Deserialize)]
struct Item {
    id: String,
}

/// The response to a request that created something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The JSON text.
    body: String,
    etag: String,
    location: String,
    /// `true` if an earlier version stored the response.
    is_item_alone: bool,
}

impl Created {
    /// Returns the response with this value, the tag of the new item and its address.
    pub fn new(value: &impl Serialize, tag: &ETag, location: String) -> Result<Self, ApiError> {
        let body = serde_json::to_string(value).map_err(ApiError::internal)?;
        Ok(Self { body, etag: tag.to_string(), location, is_item_alone: false })
    }

    /// Adds a member to a response that an earlier version stored: it stored the item alone. Other
    /// responses are complete.
    pub fn complete(self, member: &str, value: &impl Serialize) -> Result<Self, ApiError> {
        let Some(item) = self.body.strip_suffix('}').filter(|_| self.is_item_alone) else {
            return Ok(self);
        };
        let value = serde_json::to_string(value).map_err(ApiError::internal)?;
        let body = format!("{item},\"{member}\":{value}}}");
        Ok(Self { body, is_item_alone: false, ..self })
    }
}

impl TryFrom<Created> for HttpResponse {
    type Error = ApiError;

    fn try_from(created: Created) -> Result<Self, ApiError> {
        let Created { body, etag, location, .. } = created;
        let tag = ETag::of(body.as_bytes());
        let body = RawValue::from_string(body).map_err(ApiError::internal)?;
        let mut response = write_response(StatusCode::CREATED, &tag, &body)?;
        let value = |text| HeaderValue::try_from(text).map_err(ApiError::internal);
        response.headers_mut().insert(ETAG, value(etag)?);
        response.headers_mut().insert(LOCATION, value(location)?);
        Ok(response)
    }
}

/// The key was used for another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the idempotency key was used for another request")]
pub struct KeyReused;

impl From<KeyReused> for ApiError {
    fn from(_: KeyReused) -> Self {
        let detail = "This `Idempotency-Key` was used for another request. Use a new key for a new \
                      request.";
        Self::new(ErrorCode::IdempotencyKeyReused, detail)
    }
}

/// The stored responses to requests with a key.
#[derive(Debug, Clone)]
pub struct Idempotency {
    responses: Collection<StoredResponse>,
    /// The clock of the server, which deletes old responses by it.
    clock: Clock,
    /// Set once this process has created the index that deletes old responses.
    expiry: Arc<OnceCell<()>>,
}

/// A response in the database.
#[derive(Debug, Serialize, Deserialize)]
struct StoredResponse {
    #[serde(rename = "_id")]
    id: Document,
    fingerprint: String,
    status: i32,
    /// The JSON text. BSON would change numbers and the order of members.
    body: String,
    #[serde(default)]
    etag: Option<String>,
    #[serde(default)]
    location: Option<String>,
    #[serde(rename = "createdDate")]
    created_date: bson::DateTime,
}

impl Idempotency {
    /// Returns the stored responses of a service. The name is that of its ledger: `sections`,
    /// `content`.
    pub fn new(connection: &Connection, service: &str) -> Self {
        let responses = connection.database().collection(&collection(service));
        Self { responses, clock: server_clock(connection), expiry: Arc::default() }
    }

    /// Creates the index that deletes old responses, before the first response: a site without
    /// writes needs none.
    async fn prepare(&self) {
        let responses = self.responses.clone();
        let create = async move { responses.create_index(expiry()).await.map(drop) };
        let created = self.expiry.get_or_try_init(|| with_time_limit(PREPARATION_TIMEOUT, create));
        if let Err(error) = created.await {
            // Responses are stored all the same; old ones stay until this succeeds.
            let error = mongo_kit::DatabaseError::from(error);
            tracing::warn!(%error, "the index that deletes old idempotency keys cannot be created");
        }
    }

    /// Does the work in a transaction, once for each keyed request. A repeated request gets the
    /// response of the first one. See [`transact`] for the limits of the work.
    pub async fn once<E: From<KeyReused>>(
        &self,
        writers: &Writers,
        request: Option<&KeyedRequest>,
        mut work: impl AsyncFnMut(&mut ClientSession) -> Result<Created, Abort<E>>,
    ) -> Result<Created, Abort<E>> {
        if request.is_some() {
            self.prepare().await;
        }
        transact(writers, async |session: &mut ClientSession| {
            let Some(request) = request else { return work(session).await };
            let found = self.responses.find_one(doc! { "_id": request.id() });
            if let Some(earlier) = request.replay(found.session(&mut *session).await?)? {
                return Ok(earlier);
            }
            let created = work(session).await?;
            // A concurrent request with the same key conflicts here, and finds this response then.
            self.store(request, &created, session).await?;
            Ok(created)
        })
        .await
    }

    /// Returns the response to an earlier request with the same key. A handler that needs another
    /// service calls it first: a response that is stored needs none.
    pub async fn earlier<E: From<KeyReused>>(
        &self,
        request: &KeyedRequest,
    ) -> Result<Option<Created>, Abort<E>> {
        let found = self.responses.find_one(doc! { "_id": request.id() });
        // With the concern of `transact`: a response that an election undoes was never sent.
        request.replay(found.read_concern(ReadConcern::majority()).await?)
    }

    async fn store(
        &self,
        request: &KeyedRequest,
        created: &Created,
        session: &mut ClientSession,
    ) -> Result<(), Error> {
        let now = self.clock.now().timestamp_millis();
        let response = StoredResponse {
            id: request.id(),
            fingerprint: request.fingerprint.clone(),
            status: CREATED,
            body: created.body.clone(),
            etag: Some(created.etag.clone()),
            location: Some(created.location.clone()),
            created_date: bson::DateTime::from_millis(now),
        };
        self.responses.insert_one(response).session(session).await.map(drop)
    }
}

/// Returns the name of the collection of the stored responses of a service.
pub(crate) fn collection(service: &str) -> String {
    format!("{service}_idempotency_keys")
}

/// Returns the index that deletes old responses.
fn expiry() -> IndexModel {
    let options = IndexOptions::builder()
        .name("createdDate_1_expiry".to_owned())
        .expire_after(STORED_FOR)
        .build();
    IndexModel::builder().keys(doc! { "createdDate": 1 }).options(options).build()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn key(headers: &[&str]) -> Result<IdempotencyKey, ErrorCode> {
        let request = headers
            .iter()
            .fold(TestRequest::post(), |request, header| request.append_header((HEADER, *header)));
        IdempotencyKey::of(&request.to_http_request()).map_err(|error| error.code())
    }

    #[test]
    fn a_key_is_a_line_of_visible_characters() {
        assert_eq!(key(&[]), Ok(IdempotencyKey(None)));
        assert_eq!(
            key(&["8e03978e-40d5-43e8-bc93-6894a57f9324"]).map(|key| key.0.is_some()),
            Ok(true)
        );
        let long = "k".repeat(256);
        for headers in [&[""][..], &["  "], &[&long], &["a\tb"], &["a", "a"]] {
            assert_eq!(key(headers), Err(ErrorCode::ValidationFailed), "{headers:?}");
        }
    }

    #[test]
    fn a_fingerprint_tells_its_parts_apart() {
        assert_eq!(fingerprint(&[b"a", b"b"]), fingerprint(&[b"a", b"b"]));
        assert_ne!(fingerprint(&[b"a", b"bc"]), fingerprint(&[b"ab", b"c"]));
    }
}
