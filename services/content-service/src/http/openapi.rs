//! The description of the routes (OpenAPI 3.1), made from their code.
//!
//! What the kinds of content have in common is handled by the same functions; what describes them
//! is written once here and filled in for each kind.

use actix_web::web::Json;
use data_service::integrity;
use models::{
    ContentMove, ContentMoved, ErrorCode, FieldError, IntegrityRepair, IntegrityReport, Limit,
    List, ObjectId, Offset, Page, PageCreate, PagePatch, PageReplace, Problem, Project,
    ProjectCard, ProjectCreate, ProjectPatch, ProjectReplace, ReadOnlyMembers, Resolution, Story,
    StoryCreate, StoryPatch, StoryReplace, User,
};
use service_kit::{
    error_responses,
    web::{extract::NoQuery, openapi::Bearer},
};
use utoipa::OpenApi;

use super::{internal, list::Parameters, resolve::Where, write::Written};

/// Describes the routes of a kind of content.
macro_rules! kind {
    (
        $module:ident, $tag:literal, $list:literal, $item:literal, $restore:literal,
        $card:ty, $thing:ty, $create:ty, $replace:ty, $patch:ty
    ) => {
        mod $module {
            use super::*;

            /// A page of the list, newest first.
            ///
            /// Follow `next_cursor` with the other parameters unchanged to read the whole list.
            /// Without a token it has what the public sees; with `include_drafts` and a token also
            /// what is not published.
            #[utoipa::path(
                get, path = $list, tag = $tag, operation_id = concat!($tag, "_list"),
                params(
                    Parameters,
                    ("If-None-Match" = Option<String>, Header, nullable = false, description = "What the caller has.")
                ),
                responses(
                    (status = 200, description = "The page.", body = List<$card>,
                        headers(("ETag", description = "The state of the page."))),
                    (status = 304, description = "All is as it was."),
                    ListErrors
                ),
                security((), ("bearer" = []))
            )]
            #[expect(dead_code, reason = "a description")]
            pub(super) fn list() {}

            /// One item, drafts too.
            ///
            /// For editors: it needs a token, and finds what is not published as well. What is in
            /// the trash is not found.
            #[utoipa::path(
                get, path = $item, tag = $tag, operation_id = concat!($tag, "_by_id"),
                params(
                    ("id" = ObjectId, Path, description = "Its id. An item of an existing site that is listed with another id is addressed by that one."),
                    ("If-None-Match" = Option<String>, Header, nullable = false, description = "What the caller has.")
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
            ///
            /// Without `section_id` it belongs to the default section of its kind. The HTML is
            /// sanitised, a slug is made from the title.
            #[utoipa::path(
                post, path = $list, tag = $tag, operation_id = concat!($tag, "_create"),
                params(("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1,
                    max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$", description = "With the same \
                    key, the same request adds one item however often it is sent.")),
                request_body = $create,
                responses(
                    (status = 201, description = "The new item.", body = Written<$thing>, headers(
                        ("Location", description = "Its address."),
                        ("ETag", description = "Its state, for `If-Match`.")
                    )),
                    CreateErrors
                ),
                security(("bearer" = []))
            )]
            #[expect(dead_code, reason = "a description")]
            pub(super) fn create() {}

            /// Replaces an item.
            ///
            /// Members that the body leaves out stay as they are. A body that was read with `GET`
            /// can be sent back; `If-Match` keeps it from overwriting what somebody else wrote since.
            #[utoipa::path(
                put, path = $item, tag = $tag, operation_id = concat!($tag, "_replace"),
                params(
                    ("id" = ObjectId, Path, description = "Its id. An item of an existing site that is listed with another id is addressed by that one."),
                    ("If-Match" = Option<String>, Header, nullable = false, description = "The state that is to be changed.")
                ),
                request_body = $replace,
                responses(
                    (status = 200, description = "The item as it is now.", body = Written<$thing>,
                        headers(("ETag", description = "Its state, for `If-Match`."))),
                    ChangeErrors
                ),
                security(("bearer" = []))
            )]
            #[expect(dead_code, reason = "a description")]
            pub(super) fn replace() {}

            /// Changes some fields of an item.
            ///
            /// Members that the body leaves out stay as they are; null empties those that can be
            /// empty.
            #[utoipa::path(
                patch, path = $item, tag = $tag, operation_id = concat!($tag, "_patch"),
                params(
                    ("id" = ObjectId, Path, description = "Its id. An item of an existing site that is listed with another id is addressed by that one."),
                    ("If-Match" = Option<String>, Header, nullable = false, description = "The state that is to be changed.")
                ),
                request_body = $patch,
                responses(
                    (status = 200, description = "The item as it is now.", body = Written<$thing>,
                        headers(("ETag", description = "Its state, for `If-Match`."))),
                    ChangeErrors
                ),
                security(("bearer" = []))
            )]
            #[expect(dead_code, reason = "a description")]
            pub(super) fn patch() {}

            /// Puts an item into the trash.
            ///
            /// It is found by no other route then, and keeps its slug. Restoring it brings it back.
            #[utoipa::path(
                delete, path = $item, tag = $tag, operation_id = concat!($tag, "_delete"),
                params(
                    ("id" = ObjectId, Path, description = "Its id. An item of an existing site that is listed with another id is addressed by that one."),
                    ("If-Match" = Option<String>, Header, nullable = false, description = "The state that is to be deleted.")
                ),
                responses((status = 204, description = "It is in the trash."), DeleteErrors),
                security(("bearer" = []))
            )]
            #[expect(dead_code, reason = "a description")]
            pub(super) fn delete() {}

            /// Takes an item out of the trash.
            ///
            /// It comes back as it was, in the section in which it was.
            #[utoipa::path(
                post, path = $restore, tag = $tag, operation_id = concat!($tag, "_restore"),
                params(("id" = ObjectId, Path, description = "Its id. An item of an existing site that is listed with another id is addressed by that one.")),
                responses(
                    (status = 200, description = "The item as it is now.", body = Written<$thing>,
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
        ///
        /// What is not published, deleted or in a section that the public does not see is not found.
        /// A text with slashes or other characters that an address cannot have is percent-encoded,
        /// such as `2015%2F02%2Fhello-world`; it is decoded once.
        #[utoipa::path(
            get, path = $path, tag = $tag, operation_id = stringify!($name),
            params(
                ($parameter = String, Path, pattern = "^[^\\u0000-\\u001F\\u007F]+$",
                    description = "What it is found by, percent-encoded."),
                ("If-None-Match" = Option<String>, Header, nullable = false, description = "What the caller has.")
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
    stories_by_slug,
    "stories",
    "/stories/slug/{slug}",
    "slug",
    Story,
    "The published story with this slug."
);
look_up!(
    projects_by_slug,
    "projects",
    "/projects/slug/{slug}",
    "slug",
    Project,
    "The published project with this slug."
);
look_up!(
    pages_by_type,
    "pages",
    "/pages/type/{page_type}",
    "page_type",
    Page,
    "The published page of this type."
);

/// Moves content to a section, all of it or none.
///
/// The content is named by its ids or by the section that it belongs to. The section that it is
/// moved to has to be for content of this kind.
#[utoipa::path(
    post, path = "/content/move", tag = "content", operation_id = "content_move",
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
///
/// One request for all that a page of the site shows: the section with the longest path that `path`
/// begins with, the way to it, and the first page of its content; or, where the rest of `path` is the
/// slug of an item of it, the item. A path that something had before it was moved answers where it
/// is now. `kind` says which of these the answer is.
#[utoipa::path(
    get, path = "/resolve", tag = "content",
    params(Where, ("If-None-Match" = Option<String>, Header, nullable = false, description = "What the caller has.")),
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
        stories::delete, stories::restore, stories_by_slug,
        projects::list, projects::by_id, projects::create, projects::replace, projects::patch,
        projects::delete, projects::restore, projects_by_slug,
        pages::list, pages::by_id, pages::create, pages::replace, pages::patch,
        pages::delete, pages::restore, pages_by_type,
        move_content, resolve,
        internal::user, internal::counts, integrity::report, integrity::repair
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

/// The description of the service.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Answers the document.
pub(super) async fn document(_: NoQuery) -> Json<utoipa::openapi::OpenApi> {
    Json(openapi())
}

error_responses! {
    /// Of what the other services and operators ask.
    InternalErrors = Unauthorized | Forbidden | ValidationFailed | AuthUnavailable;
    /// Of a list.
    ListErrors = Unauthorized | Forbidden | NotFound | ValidationFailed | UpstreamUnavailable
        | AuthUnavailable;
    /// Of one item by its id.
    ReadErrors = InvalidId | Unauthorized | Forbidden | NotFound | ValidationFailed
        | UnreadableDocument | AuthUnavailable;
    /// Of what the public looks up.
    LookUpErrors = NotFound | ValidationFailed | UnreadableDocument | UpstreamUnavailable;
    /// Of adding.
    CreateErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | PayloadTooLarge
        | UnsupportedMediaType | IdempotencyKeyReused | ValidationFailed | UpstreamUnavailable
        | AuthUnavailable;
    /// Of changing.
    ChangeErrors = InvalidId | MalformedJson | BadRequest | Unauthorized | Forbidden | NotFound
        | PreconditionFailed | PayloadTooLarge | UnsupportedMediaType | ValidationFailed
        | PreconditionRequired | UnreadableDocument | UpstreamUnavailable | AuthUnavailable;
    /// Of deleting.
    DeleteErrors = InvalidId | Unauthorized | Forbidden | NotFound | PreconditionFailed
        | ValidationFailed | PreconditionRequired | UnreadableDocument | AuthUnavailable;
    /// Of restoring.
    RestoreErrors = InvalidId | Unauthorized | Forbidden | NotFound | SlugTaken | ValidationFailed
        | UnreadableDocument | AuthUnavailable;
    /// Of moving.
    MoveErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | PayloadTooLarge
        | UnsupportedMediaType | ValidationFailed | UpstreamUnavailable | AuthUnavailable;
}
