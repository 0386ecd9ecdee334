//! The description of the routes (OpenAPI 3.1), made from their code.
//!
//! What the kinds of content have in common is handled by the same functions; what describes them
//! is written once here and filled in for each kind.

use std::collections::BTreeMap;

use actix_web::web::Json;
use models::{
    ContentMove, ContentMoved, ErrorCode, FieldError, IntegrityRepair, IntegrityReport, Limit,
    List, ObjectId, Offset, Page, PageCreate, PagePatch, PageReplace, Problem, Project,
    ProjectCard, ProjectCreate, ProjectPatch, ProjectReplace, ReadOnlyMembers, Resolution, Story,
    StoryCreate, StoryPatch, StoryReplace, User,
};
use service_kit::extract::NoQuery;
use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, RefOr, Response, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{internal, list::Parameters, resolve::Where};

/// Describes the routes of a kind of content.
macro_rules! kind {
    (
        $module:ident, $tag:literal, $list:literal, $item:literal, $restore:literal,
        $card:ty, $thing:ty, $create:ty, $replace:ty, $patch:ty
    ) => {
        mod $module {
            use super::*;

            /// A page of the list, newest first.
            #[utoipa::path(
                get, path = $list, tag = $tag, operation_id = concat!($tag, "_list"),
                params(
                    Parameters,
                    ("If-None-Match" = Option<String>, Header, description = "What the caller has.")
                ),
                responses(
                    (status = 200, description = "The page.", body = List<$card>,
                        headers(("ETag", description = "The state of the page."))),
                    (status = 304, description = "All is as it was."),
                    ReadListErrors
                ),
                security((), ("bearer" = []))
            )]
            #[expect(dead_code, reason = "a description")]
            pub(super) fn list() {}

            /// One item, drafts too.
            #[utoipa::path(
                get, path = $item, tag = $tag, operation_id = concat!($tag, "_by_id"),
                params(
                    ("id" = ObjectId, Path, description = "Its id."),
                    ("If-None-Match" = Option<String>, Header, description = "What the caller has.")
                ),
                responses(
                    (status = 200, description = "The item.", body = $thing,
                        headers(("ETag", description = "Its state, for `If-Match`."))),
                    (status = 304, description = "It is as it was."),
                    ReadErrors
                ),
                security(("bearer" = []))
            )]
            #[expect(dead_code, reason = "a description")]
            pub(super) fn by_id() {}

            /// Adds an item.
            #[utoipa::path(
                post, path = $list, tag = $tag, operation_id = concat!($tag, "_create"),
                params(("Idempotency-Key" = Option<String>, Header, description = "With the same \
                    key, the same request adds one item however often it is sent.")),
                request_body = $create,
                responses(
                    (status = 201, description = "The new item.", body = $thing, headers(
                        ("Location", description = "Its address."),
                        ("ETag", description = "Its state, for `If-Match`.")
                    )),
                    CreateErrors
                ),
                security(("bearer" = []))
            )]
            #[expect(dead_code, reason = "a description")]
            pub(super) fn create() {}

            /// Replaces an item. What the body leaves out stays as it is.
            #[utoipa::path(
                put, path = $item, tag = $tag, operation_id = concat!($tag, "_replace"),
                params(
                    ("id" = ObjectId, Path, description = "Its id."),
                    ("If-Match" = Option<String>, Header, description = "The state that is to be changed.")
                ),
                request_body = $replace,
                responses(
                    (status = 200, description = "The item as it is now.", body = $thing,
                        headers(("ETag", description = "Its state, for `If-Match`."))),
                    ChangeErrors
                ),
                security(("bearer" = []))
            )]
            #[expect(dead_code, reason = "a description")]
            pub(super) fn replace() {}

            /// Changes some fields of an item.
            #[utoipa::path(
                patch, path = $item, tag = $tag, operation_id = concat!($tag, "_patch"),
                params(
                    ("id" = ObjectId, Path, description = "Its id."),
                    ("If-Match" = Option<String>, Header, description = "The state that is to be changed.")
                ),
                request_body = $patch,
                responses(
                    (status = 200, description = "The item as it is now.", body = $thing,
                        headers(("ETag", description = "Its state, for `If-Match`."))),
                    ChangeErrors
                ),
                security(("bearer" = []))
            )]
            #[expect(dead_code, reason = "a description")]
            pub(super) fn patch() {}

            /// Puts an item into the trash.
            #[utoipa::path(
                delete, path = $item, tag = $tag, operation_id = concat!($tag, "_delete"),
                params(
                    ("id" = ObjectId, Path, description = "Its id."),
                    ("If-Match" = Option<String>, Header, description = "The state that is to be deleted.")
                ),
                responses((status = 204, description = "It is in the trash."), DeleteErrors),
                security(("bearer" = []))
            )]
            #[expect(dead_code, reason = "a description")]
            pub(super) fn delete() {}

            /// Takes an item out of the trash.
            #[utoipa::path(
                post, path = $restore, tag = $tag, operation_id = concat!($tag, "_restore"),
                params(("id" = ObjectId, Path, description = "Its id.")),
                responses(
                    (status = 200, description = "The item as it is now.", body = $thing,
                        headers(("ETag", description = "Its state, for `If-Match`."))),
                    RestoreErrors
                ),
                security(("bearer" = []))
            )]
            #[expect(dead_code, reason = "a description")]
            pub(super) fn restore() {}
        }
    };
}

/// Describes the look-up of a public item by a text.
macro_rules! look_up {
    ($name:ident, $tag:literal, $path:literal, $parameter:literal, $thing:ty, $doc:literal) => {
        #[doc = $doc]
        #[utoipa::path(
            get, path = $path, tag = $tag, operation_id = stringify!($name),
            params(
                ($parameter = String, Path, description = "What it is found by."),
                ("If-None-Match" = Option<String>, Header, description = "What the caller has.")
            ),
            responses(
                (status = 200, description = "The item.", body = $thing,
                    headers(("ETag", description = "Its state, for `If-Match`."))),
                (status = 304, description = "It is as it was."),
                LookUpErrors
            )
        )]
        #[expect(dead_code, reason = "a description")]
        fn $name() {}
    };
}

kind!(
    stories,
    "stories",
    "/stories",
    "/stories/{id}",
    "/stories/{id}/restore",
    Story,
    Story,
    StoryCreate,
    StoryReplace,
    StoryPatch
);
kind!(
    projects,
    "projects",
    "/projects",
    "/projects/{id}",
    "/projects/{id}/restore",
    ProjectCard,
    Project,
    ProjectCreate,
    ProjectReplace,
    ProjectPatch
);
kind!(
    pages,
    "pages",
    "/pages",
    "/pages/{id}",
    "/pages/{id}/restore",
    Page,
    Page,
    PageCreate,
    PageReplace,
    PagePatch
);
look_up!(
    story_by_slug,
    "stories",
    "/stories/slug/{slug}",
    "slug",
    Story,
    "The published story with this slug."
);
look_up!(
    project_by_slug,
    "projects",
    "/projects/slug/{slug}",
    "slug",
    Project,
    "The published project with this slug."
);
look_up!(
    page_by_type,
    "pages",
    "/pages/type/{page_type}",
    "page_type",
    Page,
    "The published page of this type."
);

/// Moves content to a section, all of it or none.
#[utoipa::path(
    post, path = "/content/move", tag = "content",
    request_body = ContentMove,
    responses(
        (status = 200, description = "It is moved.", body = ContentMoved),
        MoveErrors
    ),
    security(("bearer" = []))
)]
#[expect(dead_code, reason = "a description")]
fn move_content() {}

/// What stands at a path of the site.
#[utoipa::path(
    get, path = "/resolve", tag = "content",
    params(Where, ("If-None-Match" = Option<String>, Header, description = "What the caller has.")),
    responses(
        (status = 200, description = "The section, the item, or where it is now.", body = Resolution,
            headers(("ETag", description = "The state of the answer."))),
        (status = 304, description = "All is as it was."),
        LookUpErrors
    )
)]
#[expect(dead_code, reason = "a description")]
fn resolve() {}

#[derive(OpenApi)]
#[openapi(
    info(title = "content-service", description = "Stories, projects and pages."),
    paths(
        stories::list, stories::by_id, stories::create, stories::replace, stories::patch,
        stories::delete, stories::restore, story_by_slug,
        projects::list, projects::by_id, projects::create, projects::replace, projects::patch,
        projects::delete, projects::restore, project_by_slug,
        pages::list, pages::by_id, pages::create, pages::replace, pages::patch,
        pages::delete, pages::restore, page_by_type,
        move_content, resolve,
        internal::user, internal::counts, internal::integrity, internal::repair
    ),
    components(schemas(
        ContentMove, ContentMoved, ErrorCode, FieldError, IntegrityRepair, IntegrityReport, Limit, ObjectId, Offset, Page,
        PageCreate, PagePatch, PageReplace, Problem, Project, ProjectCard, ProjectCreate,
        ProjectPatch, ProjectReplace, Resolution, Story, StoryCreate, StoryPatch, StoryReplace, User
    )),
    tags(
        (name = "stories", description = "Stories."),
        (name = "projects", description = "Projects."),
        (name = "pages", description = "Pages."),
        (name = "content", description = "Content of every kind."),
        (name = "internal", description = "For the other services and for operators.")
    ),
    modifiers(&ReadOnlyMembers, &Bearer)
)]
struct Document;

/// Answers the document.
pub(super) async fn document(_: NoQuery) -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

/// How callers say who they are.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Declares which errors a route answers besides those of every route.
macro_rules! errors {
    ($($(#[$doc:meta])+ $name:ident = $statuses:expr;)+) => {
        $(
            $(#[$doc])+
            pub(super) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    responses(&$statuses)
                }
            }
        )+
    };
}

errors! {
    /// Of what has no name in its path.
    ListErrors = [401, 403, 422];
    /// Of a list that can be one of a section.
    ReadListErrors = [401, 403, 404, 422];
    /// Of one item by its id.
    ReadErrors = [400, 401, 403, 404, 422];
    /// Of what the public looks up.
    LookUpErrors = [404, 422];
    /// Of adding.
    CreateErrors = [400, 401, 403, 413, 415, 422];
    /// Of changing.
    ChangeErrors = [400, 401, 403, 404, 412, 413, 415, 422, 428];
    /// Of deleting.
    DeleteErrors = [400, 401, 403, 404, 412, 422, 428];
    /// Of restoring.
    RestoreErrors = [400, 401, 403, 404, 409, 422];
    /// Of moving.
    MoveErrors = [400, 401, 403, 413, 415, 422];
}

/// What any route answers when something is wrong with the system or its callers send too much.
const ALWAYS: [u16; 3] = [429, 500, 503];

fn responses(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    let statuses = statuses.iter().chain(&ALWAYS);
    statuses.map(|status| (status.to_string(), RefOr::T(problem(*status)))).collect()
}

fn problem(status: u16) -> Response {
    let schema = Some(Ref::from_schema_name("Problem"));
    let codes = ErrorCode::ALL.iter().filter(|code| code.status() == status);
    let codes: Vec<_> = codes.map(|code| format!("`{}`", code.as_str())).collect();
    let content = || ContentBuilder::new().schema(schema.clone()).build();
    ResponseBuilder::new()
        .description(format!("An error; `code` is one of {}.", codes.join(", ")))
        .content("application/json", content())
        .content("application/problem+json", content())
        .build()
}
