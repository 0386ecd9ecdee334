//! The routes of content-service, the same for every kind of content.

mod item;
mod list;
mod section_slugs;

pub(crate) use section_slugs::SectionSlugs;

use actix_web::web::ServiceConfig;
use service_kit::server::read;

use crate::store::{Kind, Pages, Projects, Stories};

pub(crate) fn routes(config: &mut ServiceConfig) {
    with_slugs::<Stories>(config, "stories");
    with_slugs::<Projects>(config, "projects");
    config.service(read("/pages/type/{page_type}", item::page_by_type));
    reads::<Pages>(config, "pages");
}

fn with_slugs<K: Kind>(config: &mut ServiceConfig, path: &str) {
    config.service(read(&format!("/{path}/slug/{{slug}}"), item::by_slug::<K>));
    reads::<K>(config, path);
}

fn reads<K: Kind>(config: &mut ServiceConfig, path: &str) {
    config
        .service(read(&format!("/{path}"), list::list::<K>))
        .service(read(&format!("/{path}/{{id}}"), item::by_id::<K>));
}
