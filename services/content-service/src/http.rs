//! The routes of content-service, the same for every kind of content.

mod errors;
mod integrity;
mod internal;
mod item;
mod list;
mod moves;
mod openapi;
mod resolve;
mod sections;
mod tags;
mod write;

pub(crate) use integrity::Inspector;
pub use openapi::openapi;
pub(crate) use sections::Sections;
pub(crate) use tags::Tags;

use actix_web::web::ServiceConfig;
use service_kit::web::routing::{read, route};

use crate::store::{Kind, Pages, Projects, Stories};

pub(crate) fn routes(config: &mut ServiceConfig) {
    with_slugs::<Stories>(config, "stories");
    with_slugs::<Projects>(config, "projects");
    config.service(read("/pages/type/{page_type}", item::page_by_type));
    of_kind::<Pages>(config, "pages");
    config
        .service(route("/content/move").post(moves::move_content).build())
        .service(read("/resolve", resolve::resolve))
        // For the other services and for operators; the gateway does not know these routes.
        .service(read("/internal/users", internal::user))
        .service(read("/internal/content/counts", internal::counts))
        .service(read("/internal/openapi.json", openapi::document))
        .configure(data_service::integrity::routes);
}

fn with_slugs<K: Kind>(config: &mut ServiceConfig, path: &str) {
    config.service(read(&format!("/{path}/slug/{{slug}}"), item::by_slug::<K>));
    of_kind::<K>(config, path);
}

fn of_kind<K: Kind>(config: &mut ServiceConfig, path: &str) {
    let all = route(&format!("/{path}")).get(list::list::<K>).post(write::create::<K>);
    let one = route(&format!("/{path}/{{id}}"))
        .get(item::by_id::<K>)
        .put(write::replace::<K>)
        .patch(write::patch::<K>)
        .delete(write::delete::<K>);
    let restore = route(&format!("/{path}/{{id}}/restore")).post(write::restore::<K>);
    config.service(all.build()).service(one.build()).service(restore.build());
}
