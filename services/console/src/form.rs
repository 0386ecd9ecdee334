//! The fields of a form, as a browser sent them.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, HttpResponse, dev::Payload, web};

use crate::{guard::refused, startup::State, texts};

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
        let limit = request.app_data::<web::Data<State>>().map_or(0, |state| state.max_body_bytes);
        let bytes = web::Bytes::from_request(request, payload);
        let request = request.clone();
        let limited = request.headers().get("content-length").and_then(|length| {
            let length: usize = length.to_str().ok()?.parse().ok()?;
            (length > limit).then_some(())
        });
        Box::pin(async move {
            let refuse = |status, text| {
                let response: HttpResponse = refused(&request, status, text);
                actix_web::error::InternalError::from_response("form", response).into()
            };
            if limited.is_some() {
                return Err(refuse(413, texts::error::TOO_LARGE));
            }
            let bytes = bytes.await.map_err(|_| refuse(413, texts::error::TOO_LARGE))?;
            let fields: Vec<(String, String)> = serde_urlencoded::from_bytes(&bytes)
                .map_err(|_| refuse(400, texts::error::UNREADABLE_FORM))?;
            Ok(Self(fields))
        })
    }
}
