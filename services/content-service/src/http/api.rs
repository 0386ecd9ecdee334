//! The routes of the service, and their description (OpenAPI 3.1).
//!
//! Every kind of content brings its own ([`KINDS`]); the routes below are about all of them.

use actix_web::web::{Json, ServiceConfig};
use data_service::integrity;
use models::{
    ErrorCode, FieldError, ObjectId, Problem, PublicKind, Sort, body::add_read_only_members,
};
use service_kit::web::{
    extract::NoQuery,
    openapi::Bearer,
    routing::{read, route},
};
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{RefOr, Schema, schema::AdditionalProperties},
};

use super::{
    changes, editing, feeds, internal, item_tags, moves, preview, redirects, resolve, robots,
    search, site, sitemap, trash, webhooks,
};
use crate::{
    domain::{
        content::MovedContent,
        list::{Limit, Offset},
        redirect::{OldPath, RedirectCreate, RedirectTarget},
        site::{NewSocialLink, SitePatch, SocialLinks},
    },
    kinds::{Collections, KINDS},
};

/// Adds all routes.
pub(crate) fn routes(config: &mut ServiceConfig, collections: &Collections) {
    for collection in collections.iter() {
        collection.clone().configure(config);
    }
    config
        .service(route("/content/move").post(moves::move_content).build())
        .service(read("/resolve", resolve::resolve))
        .service(read("/search", search::search))
        .service(route("/site").get(site::get).patch(site::patch).build())
        .service(
            route("/redirects")
                .get(redirects::list)
                .post(redirects::create)
                .delete(redirects::delete)
                .build(),
        )
        .service(read("/sitemap.xml", sitemap::sitemap))
        .service(read("/robots.txt", robots::robots))
        .service(read("/feeds/{path:.+}", feeds::feed))
        .service(read("/tags", item_tags::tags))
        .service(route("/preview").get(preview::read).post(preview::create).build())
        .service(read("/trash", trash::list))
        .service(route("/trash/{content_type}/{id}").delete(trash::delete).build())
        .service(route("/webhooks").get(webhooks::list).post(webhooks::create).build())
        .service(
            route("/webhooks/{id}")
                .get(webhooks::by_id)
                .patch(webhooks::patch)
                .delete(webhooks::delete)
                .build(),
        )
        .service(route("/webhooks/{id}/test").post(webhooks::test).build())
        .service(read("/webhooks/{id}/deliveries", webhooks::deliveries))
        .service(read("/webhooks/{id}/deliveries/{delivery_id}", webhooks::delivery))
        .service(
            route("/webhooks/{id}/deliveries/{delivery_id}/redeliver")
                .post(webhooks::redeliver)
                .build(),
        )
        .service(read("/changes", changes::changes))
        // For the other services and for operators; the gateway does not route these paths.
        .service(read("/internal/users", internal::user))
        .service(read("/internal/content/counts", internal::counts))
        .service(read("/internal/content/at-path", internal::at_path))
        .service(read("/internal/content/media-places", internal::media_places))
        .service(read("/internal/openapi.json", document))
        .configure(integrity::routes);
}

#[derive(OpenApi)]
#[openapi(
    info(title = "content-service", description = "Stories, projects and pages."),
    paths(
        moves::move_content,
        resolve::resolve,
        search::search,
        site::get,
        site::patch,
        redirects::list,
        redirects::create,
        redirects::delete,
        sitemap::sitemap,
        robots::robots,
        feeds::feed,
        item_tags::tags,
        preview::create,
        preview::read,
        trash::list,
        trash::delete,
        webhooks::create,
        webhooks::list,
        webhooks::by_id,
        webhooks::patch,
        webhooks::delete,
        webhooks::test,
        webhooks::deliveries,
        webhooks::delivery,
        webhooks::redeliver,
        changes::changes,
        internal::user,
        internal::counts,
        internal::at_path,
        internal::media_places,
        integrity::report,
        integrity::repair
    ),
    components(schemas(
        ErrorCode,
        FieldError,
        Limit,
        ObjectId,
        Offset,
        Problem,
        Sort,
        SocialLinks,
        NewSocialLink,
        PublicKind,
        item_tags::TagLimit,
        editing::EditingSession,
        OldPath,
        changes::KindList,
        search::ContentKinds
    )),
    tags(
        (name = "content", description = "Content of every kind."),
        (name = "site", description = "The site as a whole: facts, sitemap, feeds."),
        (name = "trash", description = "Deleted content of every kind."),
        (name = "redirects", description = "Old paths, and what they lead to."),
        (name = "webhooks", description = "Messages about changes, for frontends."),
        (name = "internal", description = "For the other services and for operators.")
    )
)]
struct Common;

/// Returns the description of the service.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Common::openapi();
    let common_tags = document.tags.take();
    for kind in KINDS {
        kind.describe(&mut document);
    }
    document.tags.get_or_insert_default().extend(common_tags.into_iter().flatten());
    close_variants(&mut document, &MovedContent::name());
    close_variants(&mut document, &RedirectTarget::name());
    add_read_only_members::<SitePatch>(&mut document);
    add_read_only_members::<RedirectCreate>(&mut document);
    Bearer.modify(&mut document);
    document
}

/// Allows no other member than that of its variant in a value that is one of several: the derived schema
/// does not mention it.
fn close_variants(document: &mut utoipa::openapi::OpenApi, name: &str) {
    let schemas = &mut document.components.get_or_insert_default().schemas;
    let Some(RefOr::T(Schema::OneOf(variants))) = schemas.get_mut(name) else { return };
    for variant in &mut variants.items {
        if let RefOr::T(Schema::Object(object)) = variant {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

/// Answers with the description.
async fn document(_: NoQuery) -> Json<utoipa::openapi::OpenApi> {
    Json(openapi())
}
