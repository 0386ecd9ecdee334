//! The routes of content-service, the same for every kind of content.

mod item;
mod list;
mod section_slugs;

pub(crate) use section_slugs::SectionSlugs;

use actix_web::web::ServiceConfig;
use service_kit::server::resource;

use crate::store::{Kind, Pages, Projects, Stories};

pub(crate) fn routes(config: &mut ServiceConfig) {
    with_slugs::<Stories>(config, "stories");
    with_slugs::<Projects>(config, "projects");
    config.service(resource("/pages/type/{page_type}").get(item::page_by_type));
    reads::<Pages>(config, "pages");
}

fn with_slugs<K: Kind>(config: &mut ServiceConfig, path: &str) {
    config.service(resource(&format!("/{path}/slug/{{slug}}")).get(item::by_slug::<K>));
    reads::<K>(config, path);
}

fn reads<K: Kind>(config: &mut ServiceConfig, path: &str) {
    config
        .service(resource(&format!("/{path}")).get(list::list::<K>))
        .service(resource(&format!("/{path}/{{id}}")).get(item::by_id::<K>));
}
