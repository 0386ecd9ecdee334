//! The pages.

mod content;
mod health;
mod item;
mod media;
mod navigation;
mod redirects;
mod section;
mod sign_in;
mod site;
mod trash;
mod webhooks;

use actix_web::{
    HttpRequest, HttpResponse, Resource, Route, guard,
    http::header::ALLOW,
    middleware::from_fn,
    web::{self, ServiceConfig},
};
use models::{ObjectId, Section};

use crate::{
    api::{Caller, Failure, Problem},
    assets,
    fields::Errors,
    guard::{Visit, refused, state},
    layout, texts,
};

/// The route of all sections, hidden ones too.
const ALL_SECTIONS: &str = "/sections?include_drafts=true";

/// The largest form of a sign-in, in bytes: several times the longest token. Anyone may send one.
const MAX_SIGN_IN_BYTES: usize = 16 * 1024;

/// Registers the pages.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(page("/console").route(get().to(home)))
        .service(page("/console/assets/{file}").route(get().to(assets::file)))
        .service(
            page("/console/sign-in")
                .app_data(web::PayloadConfig::new(MAX_SIGN_IN_BYTES))
                .route(get().to(sign_in::show))
                .route(web::post().to(sign_in::send).wrap(from_fn(sign_in::limit))),
        )
        .service(page("/console/sign-out").route(web::post().to(sign_in::sign_out)))
        .service(
            page("/console/navigation")
                .route(get().to(navigation::show))
                .route(web::post().to(navigation::change)),
        )
        .service(
            page("/console/sections/new")
                .route(get().to(section::new))
                .route(web::post().to(section::create)),
        )
        .service(
            page("/console/sections/{id}")
                .route(get().to(section::show))
                .route(web::post().to(section::save)),
        )
        .service(page("/console/sections/{id}/move").route(web::post().to(section::relocate)))
        .service(
            page("/console/sections/{id}/delete")
                .route(get().to(section::confirm))
                .route(web::post().to(section::delete)),
        )
        .service(page("/console/content").route(get().to(content::home)))
        .service(page("/console/content/{kind}").route(get().to(content::show)))
        .service(page("/console/content/{kind}/selected").route(web::post().to(content::act)))
        .service(
            page("/console/content/{kind}/new")
                .route(get().to(item::new))
                .route(web::post().to(item::create)),
        )
        .service(
            page("/console/content/{kind}/item")
                .route(get().to(item::show))
                .route(web::post().to(item::save)),
        )
        .service(page("/console/content/{kind}/text").route(get().to(item::text)))
        .service(page("/console/content/{kind}/link").route(web::post().to(item::link)))
        .service(
            page("/console/trash").route(get().to(trash::show)).route(web::post().to(trash::act)),
        )
        .service(page("/console/health").route(get().to(health::show)))
        .service(page("/console/sections/{id}/restore").route(web::post().to(section::restore)))
        .service(
            page("/console/redirects")
                .route(get().to(redirects::show))
                .route(web::post().to(redirects::act)),
        )
        .service(
            page("/console/redirects/new")
                .route(get().to(redirects::new))
                .route(web::post().to(redirects::create)),
        )
        .service(
            page("/console/redirects/file")
                .route(get().to(redirects::file))
                .route(web::post().to(redirects::upload)),
        )
        .service(
            page("/console/site").route(get().to(site::show)).route(web::post().to(site::save)),
        )
        .service(
            page("/console/media")
                .route(get().to(media::list))
                .route(web::post().to(media::upload)),
        )
        .service(
            page("/console/media/{id}")
                .route(get().to(media::show))
                .route(web::post().to(media::act)),
        )
        .service(page("/console/webhooks").route(get().to(webhooks::list)))
        .service(
            page("/console/webhooks/new")
                .route(get().to(webhooks::new))
                .route(web::post().to(webhooks::create)),
        )
        .service(
            page("/console/webhooks/{id}")
                .route(get().to(webhooks::show))
                .route(web::post().to(webhooks::act)),
        )
        .service(
            page("/console/webhooks/{id}/delete")
                .route(get().to(webhooks::confirm))
                .route(web::post().to(webhooks::delete)),
        );
}

/// Returns a route for GET, and for HEAD, which is the same without a body (RFC 9110 §9.3.2).
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Returns an address that answers 405 with a page to methods that it does not have.
fn page(path: &str) -> Resource {
    web::resource(path).default_service(web::to(|request: HttpRequest| async move {
        let mut response = refused(&request, 405, texts::error::METHOD);
        layout::add_header(&mut response, ALLOW, "GET, HEAD, POST");
        response
    }))
}

/// Leads to the first page.
async fn home(_: Visit) -> HttpResponse {
    layout::redirect("/console/navigation")
}

/// Returns the page for an address that does not exist.
pub(crate) async fn not_found(request: HttpRequest) -> HttpResponse {
    let visit = state(&request).and_then(|state| {
        let session = state.keys.session(request.headers(), state.clock.now())?;
        Some(Visit { request: request.clone(), state, session })
    });
    match visit {
        Some(visit) => missing(&visit),
        None => refused(&request, 404, texts::error::NOT_FOUND),
    }
}

/// Returns the page for something that does not exist.
fn missing(visit: &Visit) -> HttpResponse {
    let notice = layout::Notice::error(404, texts::error::NOT_FOUND);
    let main = maud::html! {
        h1 { (texts::error::NOT_FOUND_TITLE) }
        (layout::notice(&notice))
        p { a href="/console" { (texts::error::BACK) } }
    };
    layout::page(visit, notice.status(), texts::error::NOT_FOUND_TITLE, &main)
}

/// Returns the page of a failure to read what a page is about.
fn unread(visit: &Visit, failure: &Failure) -> HttpResponse {
    match failure {
        Failure::Refused(Problem { status: 400 | 404, .. }) => missing(visit),
        failure => visit.failed(failure),
    }
}

/// Reads all sections.
async fn sections(api: Caller<'_>) -> Result<Vec<Section>, Failure> {
    Ok(api.get(ALL_SECTIONS).await?.value)
}

/// Reads all sections for a form. A form with an error is shown without them, too: what was typed is in it.
async fn sections_of_form(
    visit: &Visit,
    errors: &Errors,
) -> Result<Vec<Section>, Box<HttpResponse>> {
    match sections(visit.api()).await {
        Ok(all) => Ok(all),
        Err(failure) if matches!(failure, Failure::SignedOut) || errors.notice.is_none() => {
            Err(Box::new(visit.failed(&failure)))
        }
        Err(_) => Ok(Vec::new()),
    }
}

/// Returns the failure for a section that does not exist.
fn no_section() -> Failure {
    Failure::Refused(Problem {
        status: 404,
        code: "not_found".to_owned(),
        detail: texts::navigation::GONE.to_owned(),
        errors: Vec::new(),
    })
}

/// Returns the id that a field has; `None` if it is empty. An odd one is an error.
fn id_of(text: &str) -> Result<Option<ObjectId>, Failure> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| no_section()),
    }
}
