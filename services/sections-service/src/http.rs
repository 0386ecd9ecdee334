//! The routes of sections-service.

mod answers;
mod error_sets;
mod errors;
mod integrity;
mod internal;
mod openapi;
mod read;
mod revisions;
mod section_id;
mod write;

pub use openapi::openapi;

use actix_web::web::ServiceConfig;
use service_kit::web::routing::{read, route};

/// Registers the routes.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(route("/sections").get(read::list).post(write::create).build())
        .service(read("/sections/tree", read::tree))
        .service(route("/sections/order").put(write::order).build())
        .service(read("/sections/slug/{slug}", read::by_slug))
        .service(
            route("/sections/{id}")
                .get(read::by_id)
                .put(write::replace)
                .patch(write::patch)
                .delete(write::delete)
                .build(),
        )
        .service(route("/sections/{id}/restore").post(write::restore).build())
        .service(read("/sections/{id}/revisions", revisions::list))
        .service(read("/sections/{id}/revisions/{number}", revisions::read))
        .service(
            route("/sections/{id}/revisions/{number}/restore").post(revisions::restore).build(),
        )
        // For the other services and for operators. The gateway does not forward these routes.
        .service(read("/internal/sections", internal::entries))
        .service(read("/internal/resolve", internal::resolve))
        .service(read("/internal/openapi.json", openapi::document))
        .configure(data_service::integrity::routes);
}
