//! Changing sections. All of it is for admins.

use std::collections::HashSet;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use data_service::{
    database_error,
    idempotency::{Created, IdempotencyKey},
};
use models::{
    Body, ErrorCode, ObjectId, Section, SectionCreate, SectionOrder, SectionPatch, SectionReplace,
};
use mongodb::bson::oid;
use serde::Deserialize;
use service_kit::{
    auth::extract::{Admin, Authenticated},
    web::{
        body::{JsonBody, PatchBody},
        conditional::{ETag, IfMatch, write_response},
        error::ApiError,
        extract::{NoQuery, Query, object_id},
    },
};
use utoipa::IntoParams;

use super::{
    errors::number,
    openapi::{ChangeErrors, CreateErrors, DeleteErrors, OrderErrors, RestoreErrors},
    unreadable,
};
use crate::{
    content_client::ContentClient,
    domain::{OnChildren, Tree},
    store::{SectionStore, Written},
};

/// How often it is asked whether sections are empty while others appear below them.
const ROUNDS: usize = 4;

/// Adds a section.
///
/// Its slug is made from the title unless given. It is the last of its siblings and at the top unless
/// said otherwise.
#[utoipa::path(
    post,
    operation_id = "sections_create",
    path = "/sections",
    tag = "sections",
    params(("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1, max_length = 255,
        pattern = "^[!-~]([ -~]*[!-~])?$",
        description = "With the same key, the same request adds one section however often it is sent.")),
    request_body = SectionCreate,
    responses(
        (status = 201, description = "The new section.", body = Section, headers(
            ("Location", description = "Its address."),
            ("ETag", description = "Its state, for `If-Match`.")
        )),
        CreateErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn create(
    request: HttpRequest,
    signed: Authenticated<Admin, (JsonBody<SectionCreate>, IdempotencyKey, NoQuery)>,
    store: Data<SectionStore>,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(Admin(caller), (JsonBody(body), key, NoQuery)) = signed;
    let keyed = key.with(&caller, &request, &body)?;
    let respond = |section: &Section| {
        let location = format!("/sections/{}", section.id);
        Created::new(section, &ETag::of_json(section)?, location)
    };
    store.create::<ApiError>(keyed.as_ref(), &body, respond).await?.try_into()
}

/// Replaces a section.
///
/// PatchBody that the body leaves out stay as they are. A section that gets another slug or parent
/// leaves a redirect at its old path.
#[utoipa::path(
    put,
    operation_id = "sections_replace",
    path = "/sections/{id}",
    tag = "sections",
    params(
        ("id" = ObjectId, Path, description = "Its id."),
        ("If-Match" = Option<String>, Header, nullable = false, description = "The state that is to be changed.")
    ),
    request_body = SectionReplace,
    responses(
        (status = 200, description = "The section as it is now.", body = Section,
            headers(("ETag", description = "Its state, for `If-Match`."))),
        ChangeErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn replace(
    signed: Change<SectionReplace>,
    id: Path<String>,
    store: Data<SectionStore>,
    content: Data<ContentClient>,
) -> Result<HttpResponse, ApiError> {
    change(signed, &id, &store, &content).await
}

/// Changes some fields of a section.
///
/// PatchBody that the body leaves out stay as they are. A section that gets another slug or parent
/// leaves a redirect at its old path.
#[utoipa::path(
    patch,
    operation_id = "sections_patch",
    path = "/sections/{id}",
    tag = "sections",
    params(
        ("id" = ObjectId, Path, description = "Its id."),
        ("If-Match" = Option<String>, Header, nullable = false, description = "The state that is to be changed.")
    ),
    request_body = SectionPatch,
    responses(
        (status = 200, description = "The section as it is now.", body = Section,
            headers(("ETag", description = "Its state, for `If-Match`."))),
        ChangeErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn patch(
    signed: Change<SectionPatch>,
    id: Path<String>,
    store: Data<SectionStore>,
    content: Data<ContentClient>,
) -> Result<HttpResponse, ApiError> {
    change(signed, &id, &store, &content).await
}

/// What an admin sends to change a section.
type Change<T> = Authenticated<Admin, (PatchBody<T>, IfMatch, NoQuery)>;

async fn change<T: Body + Into<SectionPatch>>(
    Authenticated(_, (members, if_match, NoQuery)): Change<T>,
    id: &str,
    store: &SectionStore,
    content: &ContentClient,
) -> Result<HttpResponse, ApiError> {
    let id = object_id(id, "Section")?;
    let section = changed(id, store, content, |tree, now| {
        check(tree, id, &if_match)?;
        let current = serde_json::to_value(tree.get(id)).map_err(ApiError::internal)?;
        let patch = members.changes_of(&current)?.into();
        Ok(tree.change(id, &patch, now)?)
    })
    .await?;
    write_response(StatusCode::OK, &ETag::of_json(&section)?, &section)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Deletion {
    /// What becomes of the sections below it.
    #[param(inline)]
    on_children: OnChildren,
}

/// Moves a section to the trash.
///
/// One to which content belongs is not deleted; `on_children` says what becomes of the sections below
/// it.
#[utoipa::path(
    delete,
    operation_id = "sections_delete",
    path = "/sections/{id}",
    tag = "sections",
    params(
        ("id" = ObjectId, Path, description = "Its id."),
        Deletion,
        ("If-Match" = Option<String>, Header, nullable = false, description = "The state that is to be deleted.")
    ),
    responses((status = 204, description = "It is deleted."), DeleteErrors),
    security(("bearer" = []))
)]
pub(super) async fn delete(
    Authenticated(_, (if_match, query)): Authenticated<Admin, (IfMatch, Query<Deletion>)>,
    id: Path<String>,
    store: Data<SectionStore>,
    content: Data<ContentClient>,
) -> Result<HttpResponse, ApiError> {
    let id = object_id(&id, "Section")?;
    let deletion = ObjectId::from_bytes(oid::ObjectId::new().bytes());
    changed(id, &store, &content, |tree, now| {
        check(tree, id, &if_match)?;
        Ok(tree.delete(id, query.0.on_children, deletion, now)?)
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Takes a section out of the trash.
///
/// What was deleted together with it comes back too.
#[utoipa::path(
    post,
    operation_id = "sections_restore",
    path = "/sections/{id}/restore",
    tag = "sections",
    params(("id" = ObjectId, Path, description = "Its id.")),
    responses(
        (status = 200, description = "The section as it is now.", body = Section,
            headers(("ETag", description = "Its state, for `If-Match`."))),
        RestoreErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn restore(
    _: Authenticated<Admin, NoQuery>,
    id: Path<String>,
    store: Data<SectionStore>,
    content: Data<ContentClient>,
) -> Result<HttpResponse, ApiError> {
    let id = object_id(&id, "Section")?;
    let restored = changed(id, &store, &content, |tree, now| Ok(tree.restore(id, now)?));
    let section = restored.await?;
    write_response(StatusCode::OK, &ETag::of_json(&section)?, &section)
}

/// Puts all sections below one in order.
///
/// The ids have to be those of all sections there, each once.
#[utoipa::path(
    put,
    operation_id = "sections_order",
    path = "/sections/order",
    tag = "sections",
    request_body = SectionOrder,
    responses(
        (status = 200, description = "The sections in their new order.", body = Vec<Section>),
        OrderErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn order(
    signed: Authenticated<Admin, (JsonBody<SectionOrder>, NoQuery)>,
    store: Data<SectionStore>,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(_, (JsonBody(order), NoQuery)) = signed;
    let needs_nothing = HashSet::new();
    let ordered = store.change(&needs_nothing, |tree, _| Ok::<_, ApiError>(tree.order(&order)?));
    match ordered.await? {
        Written::Done(sections) => Ok(HttpResponse::Ok().json(sections)),
        Written::NeedsEmpty(_) => Err(ApiError::internal("an order needs nothing to be empty")),
    }
}

/// Whether the section is in the state that the caller expects.
fn check(tree: &Tree, id: ObjectId, if_match: &IfMatch) -> Result<(), ApiError> {
    let section = tree.get(id).ok_or_else(|| ApiError::not_found("Section"))?;
    if if_match.is_given() {
        if_match.check(&ETag::of_json(section)?)?;
    }
    Ok(())
}

/// Makes a change about a section, and asks first whether those are empty that have to be.
async fn changed<T>(
    id: ObjectId,
    store: &SectionStore,
    content: &ContentClient,
    mut work: impl FnMut(&mut Tree, DateTime<Utc>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let mut empty = HashSet::new();
    for _ in 0..ROUNDS {
        match store.change(&empty, &mut work).await.map_err(ApiError::from) {
            Ok(Written::Done(output)) => return Ok(output),
            Ok(Written::NeedsEmpty(sections)) => {
                require_empty(&sections, store, content).await?;
                empty.extend(sections);
            }
            Err(error) if error.code() == ErrorCode::NotFound => {
                let snapshot = store.all().await.map_err(database_error)?;
                return Err(if snapshot.is_unreadable(id) { unreadable() } else { error });
            }
            Err(error) => return Err(error),
        }
    }
    let detail = "The sections below were changed at the same time. Read them again.";
    Err(ApiError::new(ErrorCode::Conflict, detail))
}

/// Refuses with 409 where content still belongs to one of the sections, and says how much.
async fn require_empty(
    sections: &[ObjectId],
    store: &SectionStore,
    content: &ContentClient,
) -> Result<(), ApiError> {
    let counts = content.counts(sections).await?;
    if counts.is_empty() {
        return Ok(());
    }
    let snapshot = store.all().await.map_err(database_error)?;
    let mut each: Vec<_> = counts
        .iter()
        .map(|(id, count)| {
            let section = snapshot.sections.all().iter().find(|section| section.id == *id);
            let slug = section.map_or_else(|| id.to_string(), |section| section.slug.clone());
            format!("{count} to `{slug}`")
        })
        .collect();
    each.sort_unstable();
    let total: u64 = counts.values().sum();
    let detail = format!(
        "{} here: {}. Move or delete them first.",
        number(total, "item of content belongs", "items of content belong"),
        each.join(", ")
    );
    Err(ApiError::new(ErrorCode::HasContent, detail))
}
