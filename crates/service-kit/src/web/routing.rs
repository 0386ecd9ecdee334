//! Routes: a path with a handler for each of its methods.

use std::sync::Arc;

use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, guard, http::Method,
    middleware::from_fn, web,
};
use models::ErrorCode;

use crate::web::{error::ApiError, time_limit::limit_time};

/// A path and its methods. Another method is answered with 405 and the methods that exist.
///
/// ```
/// # use actix_web::{HttpResponse, web::ServiceConfig};
/// # use service_kit::web::routing::route;
/// # async fn list() -> HttpResponse { HttpResponse::Ok().finish() }
/// # async fn create() -> HttpResponse { HttpResponse::Ok().finish() }
/// fn routes(config: &mut ServiceConfig) {
///     config.service(route("/stories").get(list).post(create).build());
/// }
/// ```
pub struct Route {
    resource: Resource,
    methods: Vec<&'static str>,
}

/// Returns a route without methods.
pub fn route(path: &str) -> Route {
    Route { resource: web::resource(path), methods: Vec::new() }
}

/// Returns a route that has GET and HEAD only.
pub fn read<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    route(path).get(handler).build()
}

macro_rules! methods {
    ($($name:ident, $method:ident;)+) => {
        $(
            #[doc = concat!("Handles ", stringify!($method), ".")]
            #[must_use]
            pub fn $name<F, Args>(self, handler: F) -> Self
            where
                F: Handler<Args>,
                Args: FromRequest + 'static,
                F::Output: Responder + 'static,
            {
                let Self { resource, mut methods } = self;
                methods.push(stringify!($method));
                let handled = web::method(Method::$method).to(handler).wrap(from_fn(limit_time));
                let resource = resource.route(handled);
                Self { resource, methods }
            }
        )+
    };
}

impl Route {
    /// Handles GET, and HEAD, which is the same without a body (RFC 9110 §9.3.2).
    #[must_use]
    pub fn get<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let Self { resource, mut methods } = self;
        methods.extend(["GET", "HEAD"]);
        let reading = web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
        let handled = reading.to(handler).wrap(from_fn(limit_time));
        Self { resource: resource.route(handled), methods }
    }

    methods! {
        post, POST;
        put, PUT;
        patch, PATCH;
        delete, DELETE;
    }

    /// Returns the finished route.
    pub fn build(self) -> Resource {
        let allow: Arc<str> = self.methods.join(", ").into();
        self.resource.default_service(web::to(move |request: HttpRequest| {
            let error = ApiError::method_not_allowed(&request, Arc::clone(&allow));
            async move { Err::<HttpResponse, _>(error) }
        }))
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").field("methods", &self.methods).finish_non_exhaustive()
    }
}

/// The handler of paths that no route has: 404.
pub async fn route_not_found(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let detail = format!("There is no route {}", request.path());
    Err(ApiError::new(ErrorCode::RouteNotFound, detail))
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App,
        http::{StatusCode, header::ALLOW},
        test::{TestRequest, call_service, init_service},
    };

    use super::*;

    async fn ok() -> HttpResponse {
        HttpResponse::Ok().finish()
    }

    #[actix_web::test]
    async fn another_method_is_answered_with_those_of_the_route() {
        let app = App::new()
            .service(read("/read", ok))
            .service(route("/things").get(ok).post(ok).build())
            .service(route("/things/{id}").get(ok).put(ok).patch(ok).delete(ok).build())
            .service(route("/order").put(ok).build());
        let app = init_service(app).await;
        for (method, path, allow) in [
            (Method::POST, "/read", "GET, HEAD"),
            (Method::DELETE, "/things", "GET, HEAD, POST"),
            (Method::POST, "/things/1", "GET, HEAD, PUT, PATCH, DELETE"),
            (Method::GET, "/order", "PUT"),
            (Method::OPTIONS, "/order", "PUT"),
        ] {
            let request = TestRequest::with_uri(path).method(method.clone()).to_request();
            let response = call_service(&app, request).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(response.headers().get(ALLOW).unwrap(), allow, "{method} {path}");
        }
        for (method, path) in
            [(Method::HEAD, "/read"), (Method::POST, "/things"), (Method::PATCH, "/things/1")]
        {
            let request = TestRequest::with_uri(path).method(method).to_request();
            assert_eq!(call_service(&app, request).await.status(), StatusCode::OK, "{path}");
        }
    }
}
