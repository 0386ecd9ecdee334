//! Which service owns which path.
//!
//! The first segment decides, letter for letter. A new route is a line in the table; what is not
//! in it cannot be reached from outside, the services' `/internal` paths among it.

use std::sync::Arc;

use actix_web::{
    Error, HttpRequest, Resource,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    guard::fn_guard,
    middleware::{Next, from_fn},
    web,
};
use models::ErrorCode;
use service_kit::{ApiError, error::route_not_found, health::Health};

use crate::{
    cors::{self, Origins},
    path,
    proxy::Proxy,
    upstream::{Upstream, Upstreams},
};

/// All that the routes need. Made once, shared by all workers.
#[derive(Clone)]
pub(crate) struct Routes {
    pub(crate) health: Health,
    pub(crate) origins: Origins,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) upstreams: Upstreams,
}

impl Routes {
    pub(crate) fn configure(&self, config: &mut web::ServiceConfig) {
        let Upstreams { sections, content } = &self.upstreams;
        let owners = [
            ("sections", sections),
            ("content", content),
            ("pages", content),
            ("projects", content),
            ("resolve", content),
            ("stories", content),
        ];
        // The last one sees a request first. CORS comes before the refusals, so that scripts in a
        // browser can read those too.
        let mut scope = web::scope("")
            .wrap(from_fn(refuse_invalid_paths))
            .wrap(self.origins.middleware())
            .wrap(from_fn(cors::explain_refusals))
            .configure(|config| self.health.routes(config))
            .default_service(web::to(route_not_found));
        for (segment, upstream) in owners {
            scope = scope.service(self.route(segment, Arc::clone(upstream)));
        }
        config.service(scope);
    }

    /// Everything below a first segment. The patterns name it in logs and traces; the guard
    /// insists on the letters that the client sent, which patterns see decoded.
    fn route(&self, segment: &'static str, upstream: Arc<Upstream>) -> Resource {
        let proxy = Arc::clone(&self.proxy);
        web::resource([format!("/{segment}/{{rest}}*"), format!("/{segment}")])
            .guard(fn_guard(move |context| {
                path::first_segment(context.head().uri.path()) == Some(segment)
            }))
            .to(move |request: HttpRequest, payload: web::Payload| {
                let (proxy, upstream) = (Arc::clone(&proxy), Arc::clone(&upstream));
                async move { proxy.forward(&request, payload, &upstream).await }
            })
    }
}

async fn refuse_invalid_paths(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    match path::check(request.uri().path()) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(reason) => {
            let error = ApiError::new(ErrorCode::InvalidPath, format!("{reason}."));
            Ok(request.error_response(error).map_into_right_body())
        }
    }
}
