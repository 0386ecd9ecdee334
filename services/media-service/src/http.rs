//! The routes of media-service.

mod error_sets;
mod media;
mod openapi;
mod receive;
pub(crate) mod serve;
pub(crate) mod upload;

pub use openapi::openapi;

use actix_web::web::ServiceConfig;
use service_kit::web::{
    routing::{read, route},
    time_limit::TimeLimit,
};

/// Registers the routes.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        // Each part of an upload has a limit of its own.
        .service(route("/uploads").post(upload::upload).build().app_data(TimeLimit(None)))
        .service(read("/uploads/{path:.*}", serve::file))
        .service(read("/media", media::list))
        .service(
            route("/media/{id}")
                .get(media::by_id)
                .patch(media::patch)
                .delete(media::delete)
                .build(),
        )
        // The gateway does not forward this route.
        .service(read("/internal/openapi.json", openapi::document));
}
