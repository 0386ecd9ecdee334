//! Maps paths to services.
//!
//! The first segment decides, letter for letter. Paths whose first segment is in no table cannot be
//! reached from outside; the services' `/internal` paths are among them.

pub(crate) mod cors;
pub(crate) mod path;

use std::sync::{Arc, LazyLock};

use actix_web::{
    Error, HttpRequest, Scope,
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
    rate_limit::RateLimit,
    routing::route_not_found,
};
use tokio_util::sync::CancellationToken;

use self::{
    cors::CorsPolicy,
    path::{CONSOLE, MEDIA, SECTIONS},
};
use crate::{
    aggregate::integrity,
    cache::Cache,
    docs,
    proxy::{Proxy, cached::forward, upstream::Upstreams},
    timeouts::Timeouts,
};

/// The first segments that content-service owns, besides those of the kinds of content.
const CONTENT: [&str; 13] = [
    "changes",
    "content",
    "feeds",
    "preview",
    "redirects",
    "resolve",
    "robots.txt",
    "search",
    "site",
    "sitemap.xml",
    "tags",
    "trash",
    "webhooks",
];

/// The first segment of the report of all services.
const INTEGRITY: &str = "integrity";

/// Returns the first segments that content-service owns.
fn content_segments() -> impl Iterator<Item = &'static str> {
    ContentType::ALL.into_iter().map(ContentType::collection).chain(CONTENT)
}

/// A service behind the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Sections,
    Content,
    Media,
    Console,
}

/// The paths with a first segment, which a service owns.
#[derive(Debug)]
struct ForwardedPaths {
    segment: &'static str,
    /// The name of their route in logs, traces and metrics.
    route: String,
    owner: Owner,
}

static FORWARDED: LazyLock<Vec<ForwardedPaths>> = LazyLock::new(|| {
    let of_sections = SECTIONS.into_iter().map(|segment| (segment, Owner::Sections));
    let of_content = content_segments().map(|segment| (segment, Owner::Content));
    let of_media = MEDIA.into_iter().map(|segment| (segment, Owner::Media));
    let of_console = [(CONSOLE, Owner::Console)];
    let all = of_sections.chain(of_content).chain(of_media).chain(of_console);
    let paths = all.map(|(segment, owner)| ForwardedPaths {
        segment,
        route: format!("/{segment}/{{rest}}*"),
        owner,
    });
    paths.collect()
});

/// Returns the entry of a path that is forwarded to a service.
fn forwarded(path: &str) -> Option<&'static ForwardedPaths> {
    let segment = path::first_segment(path)?;
    FORWARDED.iter().find(|paths| paths.segment == segment)
}

/// Returns `true` if a service owns the paths with this first segment.
pub(crate) fn is_routed(segment: &str) -> bool {
    FORWARDED.iter().any(|paths| paths.segment == segment)
}

/// Returns the name of the route if a path has to stay as the client sent it: it is forwarded to a
/// service, or it is `/docs/`, which redirects to the page at `/docs`, so that the page finds its files.
pub(crate) fn forwarded_route(path: &str) -> Option<&'static str> {
    const DOCS: &str = "/docs/";
    if path == DOCS { Some(DOCS) } else { forwarded(path).map(|paths| paths.route.as_str()) }
}

/// The limits of requests in flight: one for each service, so that a service that is slow does not
/// keep readers from the other one.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoadLimits {
    sections: LoadLimit,
    content: LoadLimit,
    media: LoadLimit,
    console: LoadLimit,
}

impl LoadLimits {
    /// Returns the limit of a path. The paths that the gateway answers itself have none; the report of
    /// all services has the one of content-service.
    fn of(&self, path: &str) -> Option<LoadLimit> {
        let owner = match forwarded(path) {
            Some(paths) => paths.owner,
            None if path::first_segment(path) == Some(INTEGRITY) => Owner::Content,
            None => return None,
        };
        let limit = match owner {
            Owner::Sections => &self.sections,
            Owner::Content => &self.content,
            Owner::Media => &self.media,
            Owner::Console => &self.console,
        };
        Some(limit.clone())
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
    /// Cancelled at the beginning of the shutdown.
    pub(crate) shutdown: CancellationToken,
}

impl Routes {
    /// Adds the routes to a worker of the server.
    pub(crate) fn configure(&self, config: &mut web::ServiceConfig) {
        let proxy = Arc::new(Proxy::new(self));
        let policy = Arc::new(self.cors.clone());
        let (limits, load_limits) = (self.limits.clone(), self.load_limits.clone());
        // The last middleware sees a request first. CORS comes before those that refuse requests, so
        // that scripts in a browser can read the refusals.
        let scope = web::scope("")
            .wrap(from_fn(move |request, next: Next<_>| {
                admit(limits.clone(), load_limits.clone(), request, next)
            }))
            .wrap(self.cors.middleware())
            .wrap(from_fn(move |request, next: Next<_>| {
                cors::explain_refusals(Arc::clone(&policy), request, next)
            }))
            .configure(|config| self.health.routes(config))
            .configure(docs::routes)
            .configure(|config| integrity::routes(config, &proxy, &self.upstreams))
            // Last: the names of routes are looked up in this order, and this one matches every path.
            .service(self.forwarding(&proxy))
            .default_service(web::to(route_not_found));
        config.service(scope);
    }

    /// Returns the routes of all paths that are forwarded. The guard compares the first segment as the
    /// client sent it, which patterns would see decoded.
    fn forwarding(&self, proxy: &Arc<Proxy>) -> Scope {
        // Files are in the caches of browsers and CDNs, and would displace pages here.
        let timeouts = self.timeouts.of_media();
        let of_media = Self { timeouts, cache: None, surrogate_keys: false, ..self.clone() };
        let media_proxy = Arc::new(Proxy::new(&of_media));
        // Its pages are for one person each.
        let of_console = Self { cache: None, surrogate_keys: false, ..self.clone() };
        let console_proxy = Arc::new(Proxy::new(&of_console));
        let (proxy, upstreams) = (Arc::clone(proxy), self.upstreams.clone());
        web::scope("")
            .guard(fn_guard(|context| forwarded(context.head().uri.path()).is_some()))
            .default_service(web::to(move |request: HttpRequest, payload: web::Payload| {
                let owner = forwarded(request.uri().path()).map(|paths| paths.owner);
                let Upstreams { sections, content, media, console } = &upstreams;
                let (proxy, upstream) = match owner {
                    Some(Owner::Sections) => (&proxy, sections),
                    Some(Owner::Media) => (&media_proxy, media),
                    Some(Owner::Console) => (&console_proxy, console),
                    Some(Owner::Content) | None => (&proxy, content),
                };
                let (proxy, upstream) = (Arc::clone(proxy), Arc::clone(upstream));
                async move { forward(&proxy, &request, payload, &upstream).await }
            }))
    }
}

/// Passes on a request whose path is valid, within the limits.
async fn admit(
    limits: RateLimit,
    load_limits: LoadLimits,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let path = request.uri().path();
    let checked = limits.check(&request).and_then(|()| {
        path::check(path)
            .map_err(|reason| ApiError::new(ErrorCode::InvalidPath, format!("{reason}.")))
    });
    if let Err(error) = checked {
        return Ok(request.error_response(error).map_into_right_body());
    }
    let load_limit = load_limits.of(path);
    Ok(limit_load_to(load_limit, request, |request| next.call(request)).await?.map_into_left_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_has_a_limit_of_its_own() {
        let limits = LoadLimits::default();
        let has = |path: &str, of: &LoadLimit| limits.of(path).is_some_and(|one| one.is(of));
        assert!(has("/sections", &limits.sections) && has("/sections/x", &limits.sections));
        for path in [
            "/stories/x",
            "/content",
            "/resolve",
            "/changes",
            "/integrity/",
            "/site",
            "/feeds/a.rss",
            "/trash/story/x",
        ] {
            assert!(has(path, &limits.content), "{path}");
        }
        for path in ["/uploads", "/uploads/x", "/media/x"] {
            assert!(has(path, &limits.media), "{path}");
        }
        for path in ["/console", "/console/sections/x"] {
            assert!(has(path, &limits.console), "{path}");
        }
        for path in ["/docs", "/openapi.json", "/elsewhere"] {
            assert!(limits.of(path).is_none(), "{path}");
        }
    }
}
