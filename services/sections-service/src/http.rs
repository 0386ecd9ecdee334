//! The routes of sections-service.

mod errors;
mod integrity;
mod internal;
mod openapi;
mod read;
mod write;

pub use openapi::openapi;

use actix_web::web::ServiceConfig;
use data_service::database_error;
use models::{ErrorCode, ObjectId};
use service_kit::{
    ApiError,
    extract::object_id,
    server::{read, route},
};

use crate::store::SectionStore;

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
        // For the other services and for operators; the gateway does not know these routes.
        .service(read("/internal/sections", internal::entries))
        .service(read("/internal/resolve", internal::resolve))
        .service(read("/internal/openapi.json", openapi::document))
        .configure(data_service::integrity::routes);
}

/// Reads the id of a section in a path, for an editor. One that is the `_id` of a document that
/// cannot be read is told from one that no document has.
async fn section_id(text: &str, store: &SectionStore) -> Result<ObjectId, ApiError> {
    match object_id(text, "Section") {
        Err(_) if store.all().await.map_err(database_error)?.is_unreadable(text) => {
            let detail = "The stored section is in a shape that cannot be read. The log says what is \
                          wrong with it.";
            Err(ApiError::new(ErrorCode::UnreadableDocument, detail))
        }
        result => result,
    }
}
