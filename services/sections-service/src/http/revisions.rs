//! The earlier states of sections, for admins.

use std::collections::BTreeSet;

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use content_client::ContentClient;
use data_service::{
    changes::Answer,
    database_error,
    revisions::{
        ComparedState, RevertQuery, RevisionInfo, RevisionList, RevisionQuery, RevisionView,
        RevisionsQuery, members, parse_number,
    },
};
use models::{FieldError, ObjectId, Section};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use service_kit::{
    auth::extract::{Admin, Authenticated},
    web::{
        conditional::{ETag, IfMatch, write_response},
        error::ApiError,
        extract::Query,
    },
};

use super::{
    answers::changed,
    error_sets::{RevertErrors, RevisionErrors},
    section_id::section_id,
    write::{change_sections, check_precondition},
};
use crate::{
    domain::section_body::SectionPatch,
    store::{
        SectionStore,
        revisions::{Comparison, restorable_members},
        write::Maker,
    },
};

/// Lists the changes of a section, newest first.
///
/// Each of them has kept the section as it was before. Old revisions are removed as the settings say. A
/// change of the position among the siblings alone makes none.
#[utoipa::path(
    get,
    operation_id = "sections_revisions",
    path = "/sections/{id}/revisions",
    tag = "sections",
    params(("id" = ObjectId, Path, description = "The id of the section."), RevisionsQuery),
    responses((status = 200, description = "The page.", body = RevisionList), RevisionErrors),
    security(("bearer" = []))
)]
pub(super) async fn list(
    Authenticated(_, Query(query)): Authenticated<Admin, Query<RevisionsQuery>>,
    id: Path<String>,
    store: Data<SectionStore>,
) -> Result<HttpResponse, ApiError> {
    let id = section_id(&id, &store).await?;
    let page = store.revisions(id, query.before(), query.limit()).await.map_err(database_error)?;
    let (page, has_more) = page.ok_or_else(|| ApiError::not_found("Section"))?;
    let items = page.into_iter().map(|one| RevisionInfo::new(one, |_| None)).collect();
    Ok(RevisionList::new(items, query, has_more).respond())
}

/// Returns a section as it was before a change, and the difference.
///
/// Its `path` is null.
#[utoipa::path(
    get,
    operation_id = "sections_revision",
    path = "/sections/{id}/revisions/{number}",
    tag = "sections",
    params(
        ("id" = ObjectId, Path, description = "The id of the section."),
        ("number" = i64, Path, minimum = 1, maximum = 2147483647, description = "The number of the change."),
        RevisionQuery
    ),
    responses(
        (status = 200, description = "The section as it was, and the difference.", body = RevisionView<Section>),
        RevisionErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn read(
    Authenticated(_, Query(query)): Authenticated<Admin, Query<RevisionQuery>>,
    path: Path<(String, String)>,
    store: Data<SectionStore>,
) -> Result<HttpResponse, ApiError> {
    let (id, number) = path.into_inner();
    let number = parse_number(&number)?;
    let id = section_id(&id, &store).await?;
    let compared = compare(&store, id, number, query.compare_with).await?;
    let Comparison { revision, before, after } = compared;
    let revision = RevisionInfo::new(revision, |_| None);
    Ok(RevisionView::new(revision, before, &after, query.compare_with).await?.respond())
}

/// Gives a section the values that it had before a change.
///
/// That is a change as any other, which has a revision itself. The section stays published or a draft as
/// it is, and keeps its position among its siblings.
#[utoipa::path(
    post,
    operation_id = "sections_revert",
    path = "/sections/{id}/revisions/{number}/restore",
    tag = "sections",
    params(
        ("id" = ObjectId, Path, description = "The id of the section."),
        ("number" = i64, Path, minimum = 1, maximum = 2147483647, description = "The number of the change."),
        RevertQuery,
        ("If-Match" = Option<String>, Header, nullable = false, description = "The entity tag of the section to change.")
    ),
    responses(
        (status = 200, description = "The section after the change.", body = Section,
            headers(("ETag", description = "The entity tag of the section, for `If-Match`."))),
        RevertErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn restore(
    signed: Authenticated<Admin, (IfMatch, Query<RevertQuery>)>,
    path: Path<(String, String)>,
    store: Data<SectionStore>,
    content: Data<ContentClient>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(Admin(caller), (if_match, Query(query))) = signed;
    let (id, number) = path.into_inner();
    let number = parse_number(&number)?;
    let id = section_id(&id, &store).await?;
    let earlier = compare(&store, id, number, ComparedState::Present).await?.before;
    let chosen = query.chosen(restorable_members(&earlier)?)?;
    let maker = Maker { user_id: caller.signed_in_user(), reverted: Some(id) };
    let section = change_sections(&store, &content, maker, |tree, now| {
        check_precondition(tree, id, &if_match)?;
        let current = tree.answered(id).ok_or_else(|| ApiError::not_found("Section"))?;
        let patch = patch(&members(&current)?, members(&earlier)?, &chosen)?;
        Ok(tree.change(id, &patch, now)?)
    })
    .await?;
    changed(&answer);
    write_response(StatusCode::OK, &ETag::of_json(&section)?, &section)
}

async fn compare(
    store: &SectionStore,
    id: ObjectId,
    number: i64,
    with: ComparedState,
) -> Result<Comparison, ApiError> {
    let compared = store.compare(id, number, with).await.map_err(database_error)?;
    let compared = compared.ok_or_else(|| ApiError::not_found("Section"))?;
    compared.ok_or_else(|| ApiError::not_found("Revision"))
}

/// Returns the changes that give the chosen members their earlier values.
fn patch(
    current: &Map<String, Value>,
    earlier: Map<String, Value>,
    chosen: &BTreeSet<String>,
) -> Result<SectionPatch, ApiError> {
    let differs = |name: &str, value: &Value| current.get(name) != Some(value);
    let differing =
        earlier.into_iter().filter(|(name, value)| chosen.contains(name) && differs(name, value));
    let differing: Map<_, _> = differing.collect();
    for (name, value) in &differing {
        // An old value may be older than the rules.
        let one = SectionPatch::deserialize(json!({ name: value }));
        one.map_err(|error| {
            let message =
                format!("cannot be restored ({error}): name the other members in `fields`");
            ApiError::invalid(FieldError::invalid(name, message))
        })?;
    }
    SectionPatch::deserialize(Value::Object(differing)).map_err(ApiError::internal)
}
