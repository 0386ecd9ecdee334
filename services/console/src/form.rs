//! The fields of a form, as a browser sent them.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, HttpResponse, dev::Payload, error::PayloadError, web};

use crate::{guard::refused, texts};

/// The fields of a form. A name may be there several times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
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
            let fields: Vec<(String, String)> = serde_urlencoded::from_bytes(&bytes)
                .map_err(|_| refuse(400, texts::error::UNREADABLE_FORM))?;
            Ok(Self(fields))
        })
    }
}
