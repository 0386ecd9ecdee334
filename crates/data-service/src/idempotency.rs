//! `Idempotency-Key`: a POST that is sent again is answered again, and creates nothing more.
//!
//! What was answered is stored in the transaction that creates, so that there is never the one
//! without the other. A request that was refused is not remembered: nothing came of it.

use std::{
    fmt::Debug,
    future::{Ready, ready},
    sync::Arc,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::HeaderName};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use models::{ErrorCode, FieldError};
use mongodb::{
    Client, ClientSession, Collection, Database, IndexModel,
    bson::{self, Document, doc},
    error::Error,
    options::{IndexOptions, ReadConcern},
};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use service_kit::{auth::caller::Caller, runtime::clock::Clock, web::error::ApiError};
use tokio::sync::OnceCell;

use crate::transaction::{Abort, transact};

/// The header (draft-ietf-httpapi-idempotency-key-header).
const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key. Clients send UUIDs.
const KEY_MAX_LENGTH: usize = 255;

/// How long an answer is remembered: longer than anybody goes on trying.
const REMEMBERED: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Who calls with the static token, whether or not it can be looked up which user that is.
const OPERATOR: &str = "operator";

/// The status of what is remembered: something was created.
const CREATED: i32 = 201;

/// The key of a request, if it has one. As an extractor it answers 422 to one that cannot be used.
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

    /// The key together with what it is used for; none where the request has no key.
    pub fn with(
        self,
        caller: &Caller,
        request: &HttpRequest,
        body: &impl Serialize,
    ) -> Result<Option<KeyedRequest>, ApiError> {
        let Some(key) = self.0 else { return Ok(None) };
        // As it was understood: white space and the order of members make no other request.
        let body = serde_json::to_vec(body).map_err(ApiError::internal)?;
        let parts = [request.method().as_str().as_bytes(), request.path().as_bytes(), &body];
        let caller = match caller {
            Caller::Operator { .. } => OPERATOR,
            Caller::User { id, .. } => id,
        };
        Ok(Some(KeyedRequest { caller: caller.to_owned(), key, fingerprint: fingerprint(&parts) }))
    }
}

fn fingerprint(parts: &[&[u8]]) -> String {
    let mut digest = Context::new(&SHA256);
    for part in parts {
        // With their lengths, so that "a", "bc" is not "ab", "c".
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    URL_SAFE_NO_PAD.encode(digest.finish())
}

/// A request that has a key, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRequest {
    caller: String,
    key: String,
    fingerprint: String,
}

impl KeyedRequest {
    /// The same key of two callers is two keys.
    fn id(&self) -> Document {
        doc! { "caller": &self.caller, "key": &self.key }
    }

    /// What was answered to it, unless its key stands for another request.
    fn answered<T: DeserializeOwned, E: From<KeyReused>>(
        &self,
        found: Option<Remembered>,
    ) -> Result<Option<T>, Abort<E>> {
        let Some(answer) = found else { return Ok(None) };
        if answer.fingerprint != self.fingerprint {
            return Err(Abort::Refused(KeyReused.into()));
        }
        let output = serde_json::from_str(&answer.body).map_err(Error::custom)?;
        Ok(Some(output))
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

/// The answers that were given to requests with a key.
#[derive(Debug, Clone)]
pub struct Idempotency {
    answers: Collection<Remembered>,
    clock: Clock,
    /// Whether the index that forgets old answers is there, as far as this process knows.
    forgets: Arc<OnceCell<()>>,
}

/// An answer as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    #[serde(rename = "_id")]
    id: Document,
    fingerprint: String,
    status: i32,
    /// As text: BSON would change numbers and the order of members.
    body: String,
    #[serde(rename = "createdDate")]
    created_date: bson::DateTime,
}

impl Idempotency {
    /// The answers of a service, whose name is that of its ledger: `sections`, `content`.
    pub fn new(database: &Database, service: &str, clock: Clock) -> Self {
        let answers = database.collection(&collection(service));
        Self { answers, clock, forgets: Arc::default() }
    }

    /// Makes the index that forgets old answers, before the first of them: a site that never
    /// writes needs none.
    async fn prepare(&self) {
        let made = self
            .forgets
            .get_or_try_init(async || self.answers.create_index(expiry()).await.map(drop));
        if let Err(error) = made.await {
            // Answers are stored all the same; old ones stay until this succeeds.
            let error = mongo_kit::DatabaseError::from(error);
            tracing::warn!(%error, "the index that forgets idempotency keys cannot be made");
        }
    }

    /// Does the work in a transaction, once for each keyed request: when it comes again, what the
    /// work gave the first time is given again. See [`transact`] for what the work may do.
    pub async fn once<T, E>(
        &self,
        client: &Client,
        request: Option<&KeyedRequest>,
        mut work: impl AsyncFnMut(&mut ClientSession) -> Result<T, Abort<E>>,
    ) -> Result<T, Abort<E>>
    where
        T: Serialize + DeserializeOwned,
        E: From<KeyReused>,
    {
        if request.is_some() {
            self.prepare().await;
        }
        transact(client, async |session: &mut ClientSession| {
            let Some(request) = request else { return work(session).await };
            let found = self.answers.find_one(doc! { "_id": request.id() });
            if let Some(earlier) = request.answered(found.session(&mut *session).await?)? {
                return Ok(earlier);
            }
            let output = work(session).await?;
            // Whoever else came with the key meanwhile conflicts here, and finds this answer then.
            self.remember(request, &output, session).await?;
            Ok(output)
        })
        .await
    }

    /// What was given to this request when it came before, for work that needs more than the
    /// database: once it is done, it needs nobody any more.
    pub async fn earlier<T: DeserializeOwned, E: From<KeyReused>>(
        &self,
        request: &KeyedRequest,
    ) -> Result<Option<T>, Abort<E>> {
        let found = self.answers.find_one(doc! { "_id": request.id() });
        // As `transact` writes it: what an election undoes was never answered.
        request.answered(found.read_concern(ReadConcern::majority()).await?)
    }

    async fn remember<T: Serialize>(
        &self,
        request: &KeyedRequest,
        output: &T,
        session: &mut ClientSession,
    ) -> Result<(), Error> {
        let now = self.clock.now().timestamp_millis();
        let answer = Remembered {
            id: request.id(),
            fingerprint: request.fingerprint.clone(),
            status: CREATED,
            body: serde_json::to_string(output).map_err(Error::custom)?,
            created_date: bson::DateTime::from_millis(now),
        };
        self.answers.insert_one(answer).session(session).await.map(drop)
    }
}

fn collection(service: &str) -> String {
    format!("{service}_idempotency_keys")
}

/// The index that forgets old answers.
fn expiry() -> IndexModel {
    let options = IndexOptions::builder()
        .name("createdDate_1_expiry".to_owned())
        .expire_after(REMEMBERED)
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
