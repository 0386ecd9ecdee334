//! Routes that change sections. All of them are for admins.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use content_client::ContentClient;
use data_service::{
    changes::Answer,
    database_error,
    idempotency::{Created, IdempotencyKey},
};
use models::{Body, ErrorCode, ObjectId, PlacedItem, Section};
use mongodb::bson::oid;
use serde::Deserialize;
use service_kit::{
    auth::{
        caller::Caller,
        extract::{Admin, Authenticated},
    },
    web::{
        body::{JsonBody, PatchBody},
        conditional::{ETag, IfMatch, write_response},
        error::ApiError,
        extract::{NoQuery, Query},
    },
};
use utoipa::IntoParams;

use super::{
    answers::changed,
    error_sets::{ChangeErrors, CreateErrors, DeleteErrors, OrderErrors, RestoreErrors},
    errors::count_phrase,
    section_id::section_id,
};
use crate::{
    domain::{
        section_body::{SectionCreate, SectionOrder, SectionPatch, SectionReplace},
        tree::{OnChildren, Place, Tree},
    },
    store::{
        SectionStore,
        write::{ChangeOutcome, Checked, Maker, Unchecked},
    },
};

/// Maximum number of attempts at a change while other sections appear below the ones that it checked.
const MAX_ATTEMPTS: usize = 4;

/// Maximum number of slugs that are tried for a new section: more items of one title in a section are
/// rare, and each attempt is a request to content-service.
const MAX_SLUGS: usize = 40;

/// Adds a section.
///
/// By default, its slug is made from the title, and it is the last section at the top.
#[utoipa::path(
    post,
    operation_id = "sections_create",
    path = "/sections",
    tag = "sections",
    params(("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1, max_length = 255,
        pattern = "^[!-~]([ -~]*[!-~])?$",
        description = "Repeated requests with the same key add one section.")),
    request_body = SectionCreate,
    responses(
        (status = 201, description = "The new section.", body = Section, headers(
            ("Location", description = "The path of the section in the API."),
            ("ETag", description = "The entity tag of the section, for `If-Match`.")
        )),
        CreateErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn create(
    request: HttpRequest,
    signed: Authenticated<Admin, (JsonBody<SectionCreate>, IdempotencyKey, NoQuery)>,
    store: Data<SectionStore>,
    content: Data<ContentClient>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(Admin(caller), (JsonBody(body), key, NoQuery)) = signed;
    let keyed = key.with(&caller, &request, &body)?;
    let respond = |section: &Section| {
        let location = format!("/sections/{}", section.id);
        Created::new(section, &ETag::of_json(section)?, location)
    };
    let mut checked = Checked::default();
    for _ in 0..MAX_SLUGS {
        let created = store
            .create::<ApiError>(keyed.as_ref(), &body, &checked, maker(&caller), respond)
            .await?;
        let unchecked = match created {
            ChangeOutcome::Done(created) => {
                changed(&answer);
                return created.try_into();
            }
            ChangeOutcome::Unchecked(unchecked) => unchecked,
        };
        for place in unchecked.free {
            match content.item_at(place.parent, &place.slug).await? {
                None => drop(checked.free.insert(place)),
                // Another slug is made from the title.
                Some(_) if body.slug.is_none() => drop(checked.taken.insert(place.slug)),
                Some(item) => return Err(hides(&place, &item)),
            }
        }
    }
    let detail = "Too many slugs of the title are taken below this section. Choose one yourself.";
    Err(ApiError::new(ErrorCode::SlugTaken, detail))
}

/// Replaces a section.
///
/// Members that are absent from the body stay as they are. A new slug or parent leaves a redirect at
/// the former path.
#[utoipa::path(
    put,
    operation_id = "sections_replace",
    path = "/sections/{id}",
    tag = "sections",
    params(
        ("id" = ObjectId, Path, description = "The id of the section."),
        ("If-Match" = Option<String>, Header, nullable = false, description = "The entity tag of the section to change.")
    ),
    request_body = SectionReplace,
    responses(
        (status = 200, description = "The section after the change.", body = Section,
            headers(("ETag", description = "The entity tag of the section, for `If-Match`."))),
        ChangeErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn replace(
    signed: Change<SectionReplace>,
    id: Path<String>,
    store: Data<SectionStore>,
    content: Data<ContentClient>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    change(signed, &id, &store, &content, &answer).await
}

/// Changes some fields of a section.
///
/// Members that are absent from the body stay as they are. A new slug or parent leaves a redirect at
/// the former path.
#[utoipa::path(
    patch,
    operation_id = "sections_patch",
    path = "/sections/{id}",
    tag = "sections",
    params(
        ("id" = ObjectId, Path, description = "The id of the section."),
        ("If-Match" = Option<String>, Header, nullable = false, description = "The entity tag of the section to change.")
    ),
    request_body = SectionPatch,
    responses(
        (status = 200, description = "The section after the change.", body = Section,
            headers(("ETag", description = "The entity tag of the section, for `If-Match`."))),
        ChangeErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn patch(
    signed: Change<SectionPatch>,
    id: Path<String>,
    store: Data<SectionStore>,
    content: Data<ContentClient>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    change(signed, &id, &store, &content, &answer).await
}

/// A request of an admin to change a section.
type Change<T> = Authenticated<Admin, (PatchBody<T>, IfMatch, NoQuery)>;

async fn change<T: Body + Into<SectionPatch>>(
    Authenticated(Admin(caller), (members, if_match, NoQuery)): Change<T>,
    id: &str,
    store: &SectionStore,
    content: &ContentClient,
    answer: &Answer,
) -> Result<HttpResponse, ApiError> {
    let id = section_id(id, store).await?;
    let section = change_sections(store, content, maker(&caller), |tree, now| {
        check_precondition(tree, id, &if_match)?;
        let current = serde_json::to_value(tree.answered(id)).map_err(ApiError::internal)?;
        let patch = members.changes_of(&current)?.into();
        Ok(tree.change(id, &patch, now)?)
    })
    .await?;
    changed(answer);
    write_response(StatusCode::OK, &ETag::of_json(&section)?, &section)
}

/// The query of a deletion.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteQuery {
    /// The treatment of the sections below the deleted one.
    #[param(inline)]
    on_children: OnChildren,
}

/// Moves a section to the trash.
///
/// A section with content cannot be deleted. `on_children` decides about the sections below it.
#[utoipa::path(
    delete,
    operation_id = "sections_delete",
    path = "/sections/{id}",
    tag = "sections",
    params(
        ("id" = ObjectId, Path, description = "The id of the section."),
        DeleteQuery,
        ("If-Match" = Option<String>, Header, nullable = false, description = "The entity tag of the section to delete.")
    ),
    responses((status = 204, description = "The section is deleted."), DeleteErrors),
    security(("bearer" = []))
)]
pub(super) async fn delete(
    signed: Authenticated<Admin, (IfMatch, Query<DeleteQuery>)>,
    id: Path<String>,
    store: Data<SectionStore>,
    content: Data<ContentClient>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let id = section_id(&id, &store).await?;
    let Authenticated(Admin(caller), (if_match, query)) = signed;
    let deletion = ObjectId::from_bytes(oid::ObjectId::new().bytes());
    change_sections(&store, &content, maker(&caller), |tree, now| {
        check_precondition(tree, id, &if_match)?;
        Ok(tree.delete(id, query.0.on_children, deletion, now)?)
    })
    .await?;
    changed(&answer);
    Ok(HttpResponse::NoContent().finish())
}

/// Takes a section out of the trash.
///
/// Sections that were deleted together with it are restored too.
#[utoipa::path(
    post,
    operation_id = "sections_restore",
    path = "/sections/{id}/restore",
    tag = "sections",
    params(("id" = ObjectId, Path, description = "The id of the section.")),
    responses(
        (status = 200, description = "The section after the change.", body = Section,
            headers(("ETag", description = "The entity tag of the section, for `If-Match`."))),
        RestoreErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn restore(
    Authenticated(Admin(caller), NoQuery): Authenticated<Admin, NoQuery>,
    id: Path<String>,
    store: Data<SectionStore>,
    content: Data<ContentClient>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let id = section_id(&id, &store).await?;
    let maker = maker(&caller);
    let restored = change_sections(&store, &content, maker, |tree, now| Ok(tree.restore(id, now)?));
    let section = restored.await?;
    changed(&answer);
    write_response(StatusCode::OK, &ETag::of_json(&section)?, &section)
}

/// Orders the sections below one.
///
/// The ids must be those of all sections there, each once.
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
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(Admin(caller), (JsonBody(order), NoQuery)) = signed;
    let (checked, maker) = (Checked::default(), maker(&caller));
    let ordered = store.change(&checked, maker, |tree, _| Ok::<_, ApiError>(tree.order(&order)?));
    match ordered.await? {
        ChangeOutcome::Done(sections) => {
            changed(&answer);
            Ok(HttpResponse::Ok().json(sections))
        }
        ChangeOutcome::Unchecked(_) => Err(ApiError::internal("an order changes no content")),
    }
}

/// Returns the maker of a change that a request makes.
fn maker(caller: &Caller) -> Maker<'_> {
    Maker { user_id: caller.signed_in_user(), reverted: None }
}

/// Checks that the section has the entity tag that the caller expects.
pub(super) fn check_precondition(
    tree: &Tree,
    id: ObjectId,
    if_match: &IfMatch,
) -> Result<(), ApiError> {
    let section = tree.answered(id).ok_or_else(|| ApiError::not_found("Section"))?;
    if if_match.is_given() {
        if_match.check(&section)?;
    }
    Ok(())
}

/// Makes a change. Checks first that the sections which must have no content have none, and that no
/// section takes the place of content.
pub(super) async fn change_sections<T>(
    store: &SectionStore,
    content: &ContentClient,
    maker: Maker<'_>,
    mut work: impl FnMut(&mut Tree, DateTime<Utc>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let mut checked = Checked::default();
    for _ in 0..MAX_ATTEMPTS {
        match store.change(&checked, maker, &mut work).await.map_err(ApiError::from) {
            Ok(ChangeOutcome::Done(output)) => return Ok(output),
            Ok(ChangeOutcome::Unchecked(Unchecked { empty, free })) => {
                if !empty.is_empty() {
                    require_empty(&empty, store, content).await?;
                }
                for place in &free {
                    if let Some(item) = content.item_at(place.parent, &place.slug).await? {
                        return Err(hides(place, &item));
                    }
                }
                checked.empty.extend(empty);
                checked.free.extend(free);
            }
            Err(error) => return Err(error),
        }
    }
    let detail = "The sections below were changed at the same time. Read them again.";
    Err(ApiError::new(ErrorCode::Conflict, detail))
}

/// Refuses a section that would hide an item.
fn hides(place: &Place, item: &PlacedItem) -> ApiError {
    let PlacedItem { kind, title, slug } = item;
    let detail = format!(
        "The section would take the path of the {} {title:?} with the slug `{slug}`: choose another \
         slug than `{}`, or change that of the {0}.",
        kind.to_lowercase(),
        place.slug,
    );
    ApiError::new(ErrorCode::SlugTaken, detail)
}

/// Fails with 409 if one of the sections has content.
async fn require_empty(
    sections: &[ObjectId],
    store: &SectionStore,
    content: &ContentClient,
) -> Result<(), ApiError> {
    let counts = content.counts(sections).await?;
    if counts.is_empty() {
        return Ok(());
    }
    let snapshot = store.snapshot().await.map_err(database_error)?.value;
    let mut each: Vec<_> = counts
        .iter()
        .map(|(id, count)| {
            let section = snapshot.navigation.all().iter().find(|section| section.id == *id);
            let slug = section.map_or_else(|| id.to_string(), |section| section.slug.clone());
            format!("{count} to `{slug}`")
        })
        .collect();
    each.sort_unstable();
    let total: u64 = counts.values().sum();
    let detail = format!(
        "{} here: {}. Move or delete them first.",
        count_phrase(total, "item of content belongs", "items of content belong"),
        each.join(", ")
    );
    Err(ApiError::new(ErrorCode::HasContent, detail))
}
