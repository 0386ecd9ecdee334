//! The trash: the deleted items of all kinds.

use std::collections::{HashMap, HashSet};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use data_service::{changes::Answer, database_error};
use futures_util::future::try_join_all;
use models::{ContentType, ErrorCode, ObjectId, Role, section_paths::Below};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use service_kit::{
    auth::{
        caller::Caller,
        extract::{Admin, Authenticated},
    },
    web::{
        conditional::{ETag, IfMatch, json_response},
        error::ApiError,
        extract::{NoQuery, Query},
    },
};
use utoipa::{IntoParams, ToSchema};

use super::{
    error_sets::{TrashDeleteErrors, TrashListErrors},
    errors::slug_taken,
    sections::{Sections, require_free_path_below},
};
use crate::{
    domain::{
        audience::Directory,
        list::Limit,
        trash::{TrashCursor, TrashStart},
    },
    kinds::Collections,
    store::{indexes::is_missing_index, kind::Kind, trash::Trashed},
};

/// The query of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TrashQuery {
    /// The largest number of items of a page.
    #[serde(default)]
    #[param(value_type = Limit, required = false)]
    limit: Limit,
    /// A `next_cursor` of an earlier answer.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<CursorText>,
    /// Only items of this kind.
    #[param(value_type = ContentType, required = false)]
    content_type: Option<ContentType>,
}

/// A place in the list, as the API gives it to clients.
#[derive(Debug)]
struct CursorText(TrashCursor);

impl<'de> Deserialize<'de> for CursorText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let message = "must be a `next_cursor` of an earlier answer";
        TrashCursor::from_text(&text).map(Self).ok_or_else(|| D::Error::custom(message))
    }
}

/// A page of the trash, what was deleted last first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrashList {
    /// The items of this page.
    items: Vec<TrashItem>,
    /// The largest number of items of a page.
    limit: u32,
    /// The value of `cursor` that returns the next page; null on the last one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// An item in the trash.
#[derive(Debug, Serialize, ToSchema)]
struct TrashItem {
    /// The kind of the item.
    content_type: ContentType,
    /// The id of the item.
    id: String,
    /// The title of the item, of which a very long one is cut.
    title: String,
    /// The slug of the item; empty if it has none.
    slug: String,
    /// The id of its section.
    #[schema(required = true)]
    section_id: Option<String>,
    /// The id of the user that it belongs to.
    #[schema(required = true)]
    user_id: Option<String>,
    /// `true` if it is published once it is restored.
    is_published: bool,
    /// The time of the deletion; null if it is unknown, as for items that the former site deleted.
    #[serde(serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    deleted_at: Option<DateTime<Utc>>,
    /// The user who deleted it; null if that is unknown, or was the holder of the static token.
    #[schema(required = true)]
    deleted_by: Option<TrashUser>,
    /// The reasons why restoring it would fail, or would not show it to the public.
    obstacles: Vec<RestoreObstacle>,
    /// The state of the item, for `If-Match`.
    etag: String,
}

/// A user who deleted an item.
#[derive(Debug, Serialize, ToSchema)]
struct TrashUser {
    /// The id of the user.
    id: String,
    /// The name; null if the user is unknown or has none.
    #[schema(required = true)]
    name: Option<String>,
}

/// Something that stands in the way of restoring an item.
#[derive(Debug, Serialize, ToSchema)]
struct RestoreObstacle {
    /// The stable name of the obstacle.
    code: ObstacleCode,
    /// The explanation for a person, with the remedy.
    detail: String,
    /// `true` if the item cannot be restored because of it; otherwise it comes back, but the public
    /// does not find it in its section.
    is_blocking: bool,
}

/// The stable name of something that stands in the way of restoring an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ObstacleCode {
    /// Another item has its slug, or something else is at its path.
    SlugTaken,
    /// Its section does not exist.
    SectionMissing,
    /// Its section is in the trash.
    SectionDeleted,
    /// Its section is for content of another kind.
    SectionOfOtherKind,
    /// The public does not see its section.
    SectionHidden,
}

/// Lists the trash.
///
/// It has the deleted items of all kinds, the last deleted one first. Items whose time of deletion is
/// unknown come last, kind by kind: those that the former site or another program deleted. Authors see
/// what is theirs, admins everything. `POST` to the path of the item followed by `/restore` restores one.
#[utoipa::path(
    get,
    operation_id = "trash_list",
    path = "/trash",
    tag = "trash",
    params(
        TrashQuery,
        ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "The state that the caller has.")
    ),
    responses(
        (status = 200, description = "The page.", body = TrashList,
            headers(("ETag", description = "The state of the page."))),
        (status = 304, description = "The page has not changed."),
        TrashListErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn list(
    request: HttpRequest,
    signed: Authenticated<Caller, Query<TrashQuery>>,
    sections: Data<Sections>,
    collections: Data<Collections>,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(caller, Query(TrashQuery { limit, cursor, content_type })) = signed;
    let owner = match caller.role() {
        Role::Admin => None,
        Role::Author => Some(caller.user_id().unwrap_or_default()),
    };
    let cursor = cursor.map(|CursorText(cursor)| cursor);
    let count = limit.get() as usize;
    let kinds = ContentType::ALL.into_iter();
    let kinds = kinds.filter(|kind| content_type.is_none_or(|wanted| wanted == *kind));
    let read = kinds.map(async |kind| {
        let start = cursor.as_ref().map_or(TrashStart::FIRST, |cursor| cursor.start_of(kind));
        let found = collections.of(kind).trash(&start, owner, count + 1).await?;
        Ok(found.into_iter().map(move |item| (kind, item)))
    });
    let found = try_join_all(read).await.map_err(not_listed)?;
    let mut found: Vec<_> = found.into_iter().flatten().collect();
    // Stable: the items of a kind are in order, and the kinds too.
    found.sort_by_key(|(_, item)| item.place.key());
    let has_more = found.len() > count;
    found.truncate(count);
    let next = found.last().filter(|_| has_more).map(|(content_type, item)| TrashCursor {
        content_type: *content_type,
        place: item.place.clone(),
    });
    // For a person: items are listed without their sections rather than not at all.
    let directory = sections.latest(&Answer::default()).await.ok();
    let taken = taken_slugs(&collections, &found).await?;
    let mut restoring = Restoring {
        collections: &collections,
        directory: directory.as_deref(),
        taken,
        below: HashMap::new(),
    };
    let items = found.into_iter().map(|(kind, item)| {
        let obstacles = restoring.obstacles(kind, &item);
        answered(kind, item, obstacles)
    });
    let items = items.collect();
    let next_cursor = next.and_then(|cursor| cursor.to_text());
    json_response(&request, &TrashList { items, limit: limit.get(), next_cursor })
}

/// Deletes an item for good.
///
/// Only admins can do that, and only with an item in the trash. It is removed with its former slugs and
/// everything else that is kept about it, and cannot be restored.
#[utoipa::path(
    delete,
    operation_id = "trash_delete",
    path = "/trash/{content_type}/{id}",
    tag = "trash",
    params(
        ("content_type" = ContentType, Path, description = "The kind of the item."),
        ("id" = ObjectId, Path, description = "The id of the item. An item of an existing site that is \
            listed with another id is addressed by that one."),
        ("If-Match" = Option<String>, Header, nullable = false,
            description = "The `etag` of the item in the list.")
    ),
    responses(
        (status = 204, description = "The item does not exist any more."),
        TrashDeleteErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn delete(
    signed: Authenticated<Admin, (IfMatch, NoQuery)>,
    path: Path<(String, String)>,
    collections: Data<Collections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(_, (if_match, NoQuery)) = signed;
    let (word, id) = path.into_inner();
    let kind = ContentType::ALL.into_iter().find(|kind| kind.as_str() == word);
    let kind = kind.ok_or_else(|| unknown_kind(&word))?;
    let keys = collections.of(kind).purge(&id, &if_match).await?;
    answer.add_keys(keys);
    Ok(HttpResponse::NoContent().finish())
}

/// Requires that an item is in the trash, in the state that a caller expects.
pub(super) fn require_trashed<K: Kind>(item: &K, if_match: &IfMatch) -> Result<(), ApiError> {
    let meta = item.meta();
    if !meta.deleted {
        let detail = format!(
            "The {} is not in the trash. Delete it first: `DELETE /{}/{}`.",
            K::NAME.to_lowercase(),
            K::TYPE.collection(),
            meta.id
        );
        return Err(ApiError::new(ErrorCode::Conflict, detail));
    }
    let tag = state(K::TYPE, meta.id.as_str(), meta.updated_date);
    if_match.check_tag(&tag, || serde_json::to_value(item).map_err(ApiError::internal))
}

/// Returns the tag of an item in the trash. Whatever changes an item changes its date.
fn state(kind: ContentType, id: &str, updated: Option<DateTime<Utc>>) -> ETag {
    let updated = updated.map(|date| date.timestamp_millis().to_be_bytes());
    let updated = updated.as_ref().map_or(&[][..], |bytes| bytes);
    ETag::of_parts([kind.as_str().as_bytes(), id.as_bytes(), updated])
}

/// Returns the slugs of some items that others which are not deleted have, by their kind.
async fn taken_slugs(
    collections: &Collections,
    items: &[(ContentType, Trashed)],
) -> Result<HashMap<ContentType, HashSet<String>>, ApiError> {
    let read = ContentType::ALL.into_iter().map(async |kind| {
        let of_kind = items.iter().filter(|(one, _)| *one == kind);
        let slugs: Vec<_> = of_kind.map(|(_, item)| item.slug.as_str()).collect();
        Ok((kind, collections.of(kind).taken_slugs(&slugs).await?))
    });
    let taken = try_join_all(read).await.map_err(database_error)?;
    Ok(taken.into_iter().collect())
}

/// Everything that decides whether the items of a page can be restored.
struct Restoring<'a> {
    collections: &'a Collections,
    /// The sections, if they are known.
    directory: Option<&'a Directory>,
    /// The slugs of other items.
    taken: HashMap<ContentType, HashSet<String>>,
    /// The paths below the sections of earlier items.
    below: HashMap<ObjectId, Below<'a>>,
}

impl Restoring<'_> {
    /// Returns what stands in the way of restoring an item: the reasons for which
    /// [`restore`](super::write::restore) refuses it, in the order in which they are checked there, and
    /// those for which the public would not see it.
    fn obstacles(&mut self, kind: ContentType, item: &Trashed) -> Vec<RestoreObstacle> {
        let section = item.section.as_deref().zip(self.directory);
        let at_its_path = section.and_then(|(section, directory)| {
            let id = section.parse().ok()?;
            let below = self.below.entry(id).or_insert_with(|| directory.below(id));
            require_free_path_below(below, &item.slug).err()
        });
        let is_taken = self.taken.get(&kind).is_some_and(|slugs| slugs.contains(&item.slug));
        let name = self.collections.of(kind).kind().name();
        let of_another = is_taken.then(|| slug_taken(name, &item.slug));
        let refusals = at_its_path.into_iter().chain(of_another).map(|refusal| RestoreObstacle {
            code: ObstacleCode::SlugTaken,
            detail: refusal.detail().to_owned(),
            is_blocking: true,
        });
        let note = section.and_then(|(id, directory)| section_note(directory, id, kind));
        let note = note.map(|(code, detail)| RestoreObstacle { code, detail, is_blocking: false });
        refusals.chain(note).collect()
    }
}

/// Returns the reason why the public would not find an item of a section there.
fn section_note(
    directory: &Directory,
    id: &str,
    kind: ContentType,
) -> Option<(ObstacleCode, String)> {
    let Some(entry) = directory.referenced(id) else {
        let detail =
            "Its section does not exist any more. Move the item to another one afterwards.";
        return Some((ObstacleCode::SectionMissing, detail.to_owned()));
    };
    let title = &entry.section.title;
    if entry.is_deleted {
        let detail = format!(
            "Its section {title:?} is in the trash. Restore the section, or move the item to another \
             one afterwards."
        );
        return Some((ObstacleCode::SectionDeleted, detail));
    }
    if entry.section.content_type != kind {
        let detail = format!(
            "Its section {title:?} is for other content by now. Move the item to another one afterwards."
        );
        return Some((ObstacleCode::SectionOfOtherKind, detail));
    }
    (!entry.is_public).then(|| {
        let detail = format!("Its section {title:?} is hidden, and the item is hidden with it.");
        (ObstacleCode::SectionHidden, detail)
    })
}

fn answered(
    content_type: ContentType,
    item: Trashed,
    obstacles: Vec<RestoreObstacle>,
) -> TrashItem {
    let etag = state(content_type, &item.id, item.updated_date).to_string();
    let name = item.deleted_by_name;
    TrashItem {
        content_type,
        id: item.id,
        title: item.title,
        slug: item.slug,
        section_id: item.section,
        user_id: item.user_id,
        is_published: item.is_published,
        deleted_at: item.deleted_at,
        deleted_by: item.deleted_by.map(|id| TrashUser { id, name }),
        obstacles,
        etag,
    }
}

fn unknown_kind(word: &str) -> ApiError {
    let all = ContentType::ALL.map(ContentType::as_str).join("`, `");
    let detail = format!("There is no kind of content `{word}`: it is one of `{all}`.");
    ApiError::new(ErrorCode::NotFound, detail)
}

fn not_listed(error: mongodb::error::Error) -> ApiError {
    if is_missing_index(&error) {
        let detail = "The trash is being prepared: its index is built by a migration.";
        return ApiError::new(ErrorCode::NotReady, detail).retry_after_seconds(5);
    }
    database_error(error)
}
