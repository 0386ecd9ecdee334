//! Maps paths to services.
//!
//! The first segment decides, letter for letter. Paths whose first segment is in no table cannot be
//! reached from outside; the services' `/internal` paths are among them.

pub(crate) mod cors;
pub(crate) mod path;

use std::sync::Arc;

use actix_web::{
    Error, HttpRequest, Resource,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    guard::fn_guard,
    middleware::{Next, from_fn},
    web,
};
use models::{ContentType, ErrorCode};
use service_kit::web::{
    error::ApiError,
    health::Health,
    internal::InternalSecret,
    overload::{LoadLimit, limit_load_to},
    rate_limit::{RateLimit, rate_limit},
    routing::route_not_found,
    upstream::Upstream,
};

use self::{
    cors::CorsPolicy,
    path::{MEDIA, SECTIONS},
};
use crate::{
    aggregate::integrity,
    cache::Cache,
    docs,
    proxy::{Proxy, cached::forward, upstream::Upstreams},
    timeouts::Timeouts,
};

/// The first segments that content-service owns, besides those of the kinds of content.
const CONTENT: [&str; 2] = ["content", "resolve"];

/// The first segment of the report of all services.
const INTEGRITY: &str = "integrity";

/// Returns the first segments that content-service owns.
fn content_segments() -> impl Iterator<Item = &'static str> {
    ContentType::ALL.into_iter().map(ContentType::collection).chain(CONTENT)
}

/// Returns `true` if a service owns the paths with this first segment.
pub(crate) fn is_routed(segment: &str) -> bool {
    SECTIONS.contains(&segment)
        || MEDIA.contains(&segment)
        || content_segments().any(|one| one == segment)
}

/// Returns `true` if a path has to stay as the client sent it: it is forwarded to a service, or it is
/// `/docs/`, which redirects to the page at `/docs`, so that the page finds its files.
pub(crate) fn is_forwarded(path: &str) -> bool {
    path == "/docs/" || path::first_segment(path).is_some_and(is_routed)
}

/// The limits of requests in flight: one for each service, so that a service that is slow does not
/// keep readers from the other one.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoadLimits {
    sections: LoadLimit,
    content: LoadLimit,
    media: LoadLimit,
}

impl LoadLimits {
    /// Returns the limit of a path. The paths that the gateway answers itself have none; the report of
    /// all services has the one of content-service.
    fn of(&self, path: &str) -> Option<LoadLimit> {
        let segment = path::first_segment(path)?;
        if SECTIONS.contains(&segment) {
            return Some(self.sections.clone());
        }
        if MEDIA.contains(&segment) {
            return Some(self.media.clone());
        }
        let is_content = segment == INTEGRITY || content_segments().any(|one| one == segment);
        is_content.then(|| self.content.clone())
    }
}

/// The state behind the routes, shared by all workers.
#[derive(Clone)]
pub(crate) struct Routes {
    pub(crate) health: Health,
    pub(crate) cors: CorsPolicy,
    pub(crate) limits: RateLimit,
    pub(crate) load_limits: LoadLimits,
    pub(crate) secret: InternalSecret,
    pub(crate) timeouts: Timeouts,
    pub(crate) upstreams: Upstreams,
    pub(crate) cache: Option<Arc<Cache>>,
    pub(crate) surrogate_keys: bool,
}

impl Routes {
    /// Adds the routes to a worker of the server.
    pub(crate) fn configure(&self, config: &mut web::ServiceConfig) {
        let (secret, cache) = (self.secret.clone(), self.cache.clone());
        let timeouts = self.timeouts;
        // Files are in the caches of browsers and CDNs, and would displace pages here.
        let media_proxy = Arc::new(Proxy::new(secret.clone(), timeouts.of_media(), None, false));
        let proxy = Arc::new(Proxy::new(secret, timeouts, cache, self.surrogate_keys));
        let Upstreams { sections, content, media } = &self.upstreams;
        let of_sections = SECTIONS.into_iter().map(|segment| (segment, &proxy, sections));
        let of_content = content_segments().map(|segment| (segment, &proxy, content));
        let of_media = MEDIA.into_iter().map(|segment| (segment, &media_proxy, media));
        let policy = Arc::new(self.cors.clone());
        let load_limits = self.load_limits.clone();
        // The last middleware sees a request first. CORS comes before those that refuse requests, so
        // that scripts in a browser can read the refusals.
        let mut scope = web::scope("")
            .app_data(web::Data::new(self.limits.clone()))
            .wrap(from_fn(refuse_invalid_paths))
            .wrap(from_fn(move |request: ServiceRequest, next: Next<_>| {
                limit_load_to(load_limits.of(request.uri().path()), request, next)
            }))
            .wrap(from_fn(rate_limit))
            .wrap(self.cors.middleware())
            .wrap(from_fn(move |request, next: Next<_>| {
                cors::explain_refusals(Arc::clone(&policy), request, next)
            }))
            .configure(|config| self.health.routes(config))
            .configure(docs::routes)
            .configure(|config| integrity::routes(config, &proxy, &self.upstreams))
            .default_service(web::to(route_not_found));
        for (segment, proxy, upstream) in of_sections.chain(of_content).chain(of_media) {
            scope = scope.service(route(segment, proxy, upstream));
        }
        config.service(scope);
    }
}

/// Returns the route of all paths with a first segment. The patterns name it in logs and traces; the
/// guard compares the segment as the client sent it, which patterns see decoded.
fn route(segment: &'static str, proxy: &Arc<Proxy>, upstream: &Arc<Upstream>) -> Resource {
    let (proxy, upstream) = (Arc::clone(proxy), Arc::clone(upstream));
    web::resource([format!("/{segment}/{{rest}}*"), format!("/{segment}")])
        .guard(fn_guard(move |context| {
            path::first_segment(context.head().uri.path()) == Some(segment)
        }))
        .to(move |request: HttpRequest, payload: web::Payload| {
            let (proxy, upstream) = (Arc::clone(&proxy), Arc::clone(&upstream));
            async move { forward(&proxy, &request, payload, &upstream).await }
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_has_a_limit_of_its_own() {
        let limits = LoadLimits::default();
        let has = |path: &str, of: &LoadLimit| limits.of(path).is_some_and(|one| one.is(of));
        assert!(has("/sections", &limits.sections) && has("/sections/x", &limits.sections));
        for path in ["/stories/x", "/content", "/resolve", "/integrity/"] {
            assert!(has(path, &limits.content), "{path}");
        }
        for path in ["/uploads", "/uploads/x", "/media/x"] {
            assert!(has(path, &limits.media), "{path}");
        }
        for path in ["/docs", "/openapi.json", "/elsewhere"] {
            assert!(limits.of(path).is_none(), "{path}");
        }
    }
}
