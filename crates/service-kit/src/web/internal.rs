//! The routes below `/internal`, by which the processes of an installation talk to each other.
//!
//! They show unpublished and deleted entities without a token, so that a request has to carry the
//! secret `internal.secret`, which all processes share. Without that setting they answer to clients on
//! the same machine only.

use std::net::IpAddr;

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Data,
};
use models::ErrorCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::error::ApiError;
use crate::runtime::settings::{self, secret::Secret};

/// The header with the secret.
pub const INTERNAL_SECRET: &str = "x-internal-secret";

/// The path below which all internal routes are.
const INTERNAL: &str = "/internal";

/// The secret of an installation, or none.
#[derive(Debug, Clone, Default)]
pub struct InternalSecret(Option<Secret>);

/// The mark of a request to an internal route that was let in. It is among the request's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IsInternal;

impl InternalSecret {
    /// Returns the secret of the settings.
    pub fn new(settings: &settings::Internal) -> Self {
        Self(settings.secret.clone())
    }

    /// Adds the secret to the headers of a request to another process.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        let value = self.0.as_ref().map(|secret| HeaderValue::from_str(secret.expose()));
        if let Some(Ok(mut value)) = value {
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(INTERNAL_SECRET), value);
        }
    }

    fn check(&self, peer: Option<IpAddr>, sent: Option<&str>) -> Result<(), ApiError> {
        let detail = match (&self.0, sent) {
            (Some(secret), Some(sent)) if secret.is(sent) => return Ok(()),
            (Some(_), Some(_)) => {
                "The secret is another one than this process has: set `internal.secret` \
                 (TURBULENCE__INTERNAL__SECRET) to the same value in all processes."
            }
            (Some(_), None) => {
                "Routes below /internal need the header `x-internal-secret` with the value of \
                 `internal.secret` (TURBULENCE__INTERNAL__SECRET), which all processes share."
            }
            (None, _) if peer.is_some_and(|peer| peer.to_canonical().is_loopback()) => {
                return Ok(());
            }
            (None, _) => {
                "Routes below /internal answer to this machine only, because `internal.secret` is \
                 not set: set TURBULENCE__INTERNAL__SECRET to the same value in all processes."
            }
        };
        Err(ApiError::new(ErrorCode::Forbidden, detail))
    }
}

/// Returns `true` if a request is for an internal route: by its path as routes are matched, in which
/// percent-encoded characters are decoded.
fn is_internal(request: &ServiceRequest) -> bool {
    let rest = request.match_info().as_str().strip_prefix(INTERNAL);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The middleware: answers 403 to requests for internal routes from elsewhere. The app needs a
/// `web::Data<InternalSecret>`; without one, it is as if no secret were set.
pub async fn refuse_strangers(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if is_internal(&request) {
        let secret = request.app_data::<Data<InternalSecret>>();
        let secret = secret.map_or_else(InternalSecret::default, |secret| (***secret).clone());
        let peer = request.peer_addr().map(|peer| peer.ip());
        let sent = request.headers().get(INTERNAL_SECRET).and_then(|sent| sent.to_str().ok());
        if let Err(error) = secret.check(peer, sent) {
            return Ok(request.error_response(error).map_into_right_body());
        }
        request.extensions_mut().insert(IsInternal);
    }
    Ok(next.call(request).await?.map_into_left_body())
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App, HttpResponse,
        body::to_bytes,
        middleware::from_fn,
        test::{TestRequest, call_service, init_service},
        web,
    };
    use serde_json::Value;

    use super::*;

    const SECRET: &str = "a secret of the tests";

    /// Returns the status of a request, and the detail of the error.
    async fn sent(
        secret: Option<&str>,
        peer: &str,
        path: &str,
        header: Option<&str>,
    ) -> (u16, String) {
        let secret = InternalSecret(secret.map(|secret| secret.parse().unwrap()));
        let ok = || async { HttpResponse::Ok().finish() };
        let scope = web::scope("")
            .wrap(from_fn(refuse_strangers))
            .route("/internal/{rest}*", web::get().to(ok))
            .route("/internal", web::get().to(ok))
            .default_service(web::to(ok));
        let app = init_service(App::new().app_data(Data::new(secret)).service(scope)).await;
        let mut request = TestRequest::with_uri(path)
            .peer_addr(std::net::SocketAddr::new(peer.parse().unwrap(), 1));
        if let Some(header) = header {
            request = request.insert_header((INTERNAL_SECRET, header));
        }
        let response = call_service(&app, request.to_request()).await;
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body()).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        (status, body["detail"].as_str().unwrap_or_default().to_owned())
    }

    #[actix_web::test]
    async fn without_a_secret_only_this_machine_is_let_in() {
        for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(sent(None, peer, "/internal/sections", None).await.0, 200, "{peer}");
        }
        for peer in ["10.0.0.1", "172.18.0.3", "192.168.1.1", "203.0.113.5", "fd00::1"] {
            let (status, detail) = sent(None, peer, "/internal/sections", Some(SECRET)).await;
            assert_eq!(status, 403, "{peer}");
            assert!(detail.contains("TURBULENCE__INTERNAL__SECRET"), "{detail}");
        }
    }

    #[actix_web::test]
    async fn a_secret_is_needed_from_everywhere_once_it_is_set() {
        for peer in ["127.0.0.1", "203.0.113.5"] {
            let path = "/internal/sections";
            assert_eq!(sent(Some(SECRET), peer, path, Some(SECRET)).await.0, 200);
            for wrong in
                [None, Some(""), Some("a secret of the test"), Some("A secret of the tests")]
            {
                let (status, detail) = sent(Some(SECRET), peer, path, wrong).await;
                assert_eq!(status, 403, "{wrong:?}");
                assert!(detail.contains("internal.secret") && !detail.contains(SECRET), "{detail}");
            }
        }
    }

    #[actix_web::test]
    async fn another_spelling_of_the_path_needs_the_secret_too() {
        for path in
            ["/internal", "/internal/", "/%69nternal/x", "/%69%6E%74ernal/x", "/internal%2Fx"]
        {
            let (status, _) = sent(None, "203.0.113.5", path, None).await;
            // An encoded slash is part of a segment: no internal route has such a path.
            assert_eq!(status, if path.contains("%2F") { 200 } else { 403 }, "{path}");
        }
        for path in ["/", "/sections/internal", "/internals/x"] {
            assert_eq!(sent(None, "203.0.113.5", path, None).await.0, 200, "{path}");
        }
    }
}
