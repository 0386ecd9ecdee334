//! The id of a request, which all services log and pass on.

use actix_web::http::header::HeaderMap;
use uuid::Uuid;

/// The header that carries the id of a request through all services.
pub const REQUEST_ID: &str = "x-request-id";

/// The longest request id that is accepted from a client, in bytes; a longer one is replaced.
const MAX_LENGTH: usize = 128;

/// The id of a request, sent by the client or made on arrival. It is among the request's extensions.
#[derive(Debug, Clone)]
pub struct RequestId(String);

impl RequestId {
    /// Returns the id that the client sent, or a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self::sent(headers).unwrap_or_else(|| Self(Uuid::new_v4().to_string()))
    }

    /// Returns the id that the client sent if it is short and printable, as it goes into logs and
    /// headers.
    fn sent(headers: &HeaderMap) -> Option<Self> {
        let id = headers.get(REQUEST_ID)?.to_str().ok()?;
        let is_acceptable =
            (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        is_acceptable.then(|| Self(id.to_owned()))
    }

    /// Returns the id: printable ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
