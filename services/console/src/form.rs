//! The fields of a form, as a browser sent them.

use std::{future::Future, pin::Pin};

use actix_multipart::Multipart;
use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    error::PayloadError,
    http::header::HeaderMap,
    web::{self, Bytes},
};
use futures_util::{StreamExt, stream};
use service_kit::web::body::media_type;

use crate::{guard::refused, texts};

/// The fields of a form. A name may be there several times. A file is its text; what is not UTF-8 in it
/// is U+FFFD, as in other fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Returns a form with one field.
    pub(crate) fn with(name: &str, value: &str) -> Self {
        Self(vec![(name.to_owned(), value.to_owned())])
    }

    /// Returns the first value with a name, or an empty text.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Returns all values with a name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Returns `true` if a box with this name is ticked.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }
}

impl FromRequest for Form {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // Limited by the `PayloadConfig` of the routes.
        let bytes = web::Bytes::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let refuse = |status, text| -> actix_web::Error {
                let response: HttpResponse = refused(&request, status, text);
                actix_web::error::InternalError::from_response("form", response).into()
            };
            let bytes = bytes.await.map_err(|error| match error.as_error() {
                Some(PayloadError::Overflow) => refuse(413, texts::error::TOO_LARGE),
                _ => refuse(400, texts::error::UNREADABLE_FORM),
            })?;
            let fields = match media_type(&request).as_str() {
                "multipart/form-data" => fields_of_parts(request.headers(), bytes).await,
                _ => serde_urlencoded::from_bytes(&bytes).ok(),
            };
            fields.map(Self).ok_or_else(|| refuse(400, texts::error::UNREADABLE_FORM))
        })
    }
}

/// Returns the fields of a form with files, or `None` if it is incomplete.
async fn fields_of_parts(headers: &HeaderMap, body: Bytes) -> Option<Vec<(String, String)>> {
    let mut parts = Multipart::new(headers, stream::iter([Ok(body)]));
    let mut fields = Vec::new();
    while let Some(part) = parts.next().await {
        let mut part = part.ok()?;
        let name = part.name()?.to_owned();
        let mut value = Vec::new();
        while let Some(chunk) = part.next().await {
            value.extend_from_slice(&chunk.ok()?);
        }
        fields.push((name, String::from_utf8_lossy(&value).into_owned()));
    }
    Some(fields)
}
