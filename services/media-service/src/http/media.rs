//! The files as a list: finding, describing and deleting them.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat, Utc};
use content_client::ContentClient;
use data_service::database_error;
use models::{
    Body, ErrorCode, ObjectId, Patch,
    media::{MediaPlace, MediaUses},
    schema::{number, schema},
};
use mongodb::bson::{Bson, doc, oid};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    runtime::printable::printable,
    web::{
        body::PatchBody,
        conditional::{ETag, IfMatch, write_response},
        error::ApiError,
        extract::{NoQuery, Query, object_id},
    },
};
use utoipa::{IntoParams, ToSchema};

use super::{
    error_sets::{DeleteErrors, ListErrors, PatchErrors, ReadErrors},
    upload::Uploads,
};
use crate::store::{
    document::StoredMedia,
    media::{Position, Search},
};

/// The most places of a file that are answered.
const MAX_PLACES: usize = 20;

/// The most places that an error names.
const MAX_NAMED: usize = 5;

/// The most files that are looked at for a page of files without a place.
const MAX_EXAMINED: usize = 500;

models::text! {
    /// The title of a file.
    pub(crate) MediaTitle = line, 200, "The lighthouse at dawn"
}
models::text! {
    /// The text for readers who do not see a picture.
    pub(crate) MediaAlt = line, 1000, "A white lighthouse before an orange sky"
}
models::text! {
    /// A part of a name, title or text.
    pub(crate) SearchText = line, 100, "lighthouse"
}

/// A file.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Media)]
pub(super) struct MediaItem {
    /// The id.
    id: String,
    /// The address.
    url: String,
    /// The value for `srcset`; empty for videos.
    srcset: String,
    /// The media type, such as `image/webp`.
    media_type: String,
    /// The size in bytes, of the largest version.
    bytes: i64,
    /// The width in pixels; null for videos.
    width: Option<i64>,
    /// The height in pixels; null for videos.
    height: Option<i64>,
    /// The name that the file had where it came from.
    original_name: Option<String>,
    /// The title.
    title: Option<String>,
    /// The text for readers who do not see the picture.
    alt: Option<String>,
    /// The id of the user who uploaded it.
    user_id: Option<String>,
    /// The date of the upload.
    #[serde(rename = "createdDate")]
    created_date: String,
    /// The date of the last change.
    #[serde(rename = "updatedDate")]
    updated_date: String,
}

/// A file, and the items that show it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MediaDetail {
    #[serde(flatten)]
    media: MediaItem,
    /// The items, the sections and the site that show it, in the trash too; at most 20.
    used_in: Vec<MediaPlace>,
}

/// One page of the list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MediaList {
    /// The files of this page.
    items: Vec<MediaItem>,
    /// The number of files of the whole list; null for `unused`.
    total: Option<u64>,
    /// The largest number of files of a page.
    limit: u32,
    /// The value of `cursor` that returns the next page; null on the last one.
    next_cursor: Option<String>,
}

/// The largest number of files of a page: 1 to 50, by default 10.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct PageLimit(u32);

schema!(PageLimit, number(1, PageLimit::MAX, PageLimit::default().0));

impl PageLimit {
    const MAX: u32 = 50;
}

impl Default for PageLimit {
    fn default() -> Self {
        Self(10)
    }
}

impl TryFrom<u64> for PageLimit {
    type Error = String;

    fn try_from(limit: u64) -> Result<Self, String> {
        let limit = u32::try_from(limit).ok().filter(|limit| (1..=Self::MAX).contains(limit));
        limit.map(Self).ok_or_else(|| format!("must be from 1 to {}", Self::MAX))
    }
}

/// The query of the list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct MediaQuery {
    /// The largest number of files of a page.
    #[param(value_type = PageLimit, required = false)]
    limit: PageLimit,
    /// A `next_cursor` of an earlier answer.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<Cursor>,
    /// A part of the name, the title or the text of the files. Upper and lower case are the same.
    #[param(value_type = SearchText, required = false)]
    q: Option<SearchText>,
    /// `true` for the files that no item shows.
    unused: bool,
}

#[derive(Debug)]
struct Cursor(Position);

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let position = || {
            let bytes = URL_SAFE_NO_PAD.decode(&text).ok()?;
            let (date, id) = bytes.split_first_chunk::<8>()?;
            let id = oid::ObjectId::from_bytes(id.try_into().ok()?);
            Some(Position { millis: i64::from_be_bytes(*date), id })
        };
        position()
            .map(Self)
            .ok_or_else(|| D::Error::custom("must be a `next_cursor` of an earlier answer"))
    }
}

fn to_cursor(position: &Position) -> String {
    URL_SAFE_NO_PAD.encode([&position.millis.to_be_bytes()[..], &position.id.bytes()].concat())
}

/// The changes of a file.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"alt": "A white lighthouse before an orange sky"})))]
pub(super) struct MediaPatch {
    /// The title, or null for none.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<MediaTitle>)]
    title: Patch<MediaTitle>,
    /// The text for readers who do not see the picture, or null for none.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<MediaAlt>)]
    alt: Patch<MediaAlt>,
}

impl Body for MediaPatch {
    const READ_ONLY: &'static [&'static str] = &[
        "id",
        "url",
        "srcset",
        "media_type",
        "bytes",
        "width",
        "height",
        "original_name",
        "user_id",
        "createdDate",
        "updatedDate",
        "used_in",
    ];
    const IGNORED: &'static [&'static str] = &["updatedDate", "used_in"];
}

impl From<&StoredMedia> for MediaItem {
    fn from(media: &StoredMedia) -> Self {
        let date = |date: mongodb::bson::DateTime| {
            let date = DateTime::<Utc>::from_timestamp_millis(date.timestamp_millis());
            date.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
        };
        Self {
            id: media.id.to_hex(),
            url: media.address(),
            srcset: media.srcset(),
            media_type: media.media_type.clone(),
            bytes: media.bytes,
            width: media.width,
            height: media.height,
            original_name: media.original_name.clone(),
            title: media.title.clone(),
            alt: media.alt.clone(),
            user_id: media.user_id.clone(),
            created_date: date(media.created_date),
            updated_date: date(media.updated_date),
        }
    }
}

/// Lists the files, newest first.
///
/// `unused` looks at up to 500 files for a page, so that a page may have fewer than `limit` and still a
/// `next_cursor`.
#[utoipa::path(
    get,
    operation_id = "media_list",
    path = "/media",
    tag = "media",
    params(MediaQuery),
    responses((status = 200, description = "The files.", body = MediaList), ListErrors),
    security(("bearer" = []))
)]
pub(super) async fn list(
    Authenticated(_, query): Authenticated<Caller, Query<MediaQuery>>,
    uploads: Data<Uploads>,
    content: Data<ContentClient>,
) -> Result<HttpResponse, ApiError> {
    let MediaQuery { limit: PageLimit(limit), cursor, q, unused } = query.0;
    let search = Search { text: q.map(String::from) };
    let wanted = usize::try_from(limit).map_err(ApiError::internal)?;
    let mut after = cursor.map(|Cursor(position)| position);
    let (mut items, mut examined, mut has_more) = (Vec::new(), 0, true);
    while has_more && items.len() < wanted && examined < MAX_EXAMINED {
        let size = if unused { PageLimit::MAX } else { limit };
        // One more tells if there is another page.
        let page = uploads.media.page(&search, after.as_ref(), size + 1).await;
        let mut page = page.map_err(database_error)?;
        let size = usize::try_from(size).map_err(ApiError::internal)?;
        has_more = page.len() > size;
        page.truncate(size);
        let uses = match unused && !page.is_empty() {
            true => content.media_uses(page.iter().map(|media| &*media.name), 1).await?,
            false => MediaUses::new(),
        };
        for media in &page {
            if items.len() == wanted {
                has_more = true;
                break;
            }
            after = Some(Position::of(media));
            examined += 1;
            if !uses.contains_key(&media.name) {
                items.push(MediaItem::from(media));
            }
        }
    }
    let total = match unused {
        true => None,
        false => Some(uploads.media.count(&search).await.map_err(database_error)?),
    };
    let next_cursor = after.filter(|_| has_more).as_ref().map(to_cursor);
    Ok(HttpResponse::Ok().json(MediaList { items, total, limit, next_cursor }))
}

/// Returns a file, and the items that show it.
///
/// Items whose text or `image_url` has its address, in any width. Drafts and items in the trash count.
#[utoipa::path(
    get,
    operation_id = "media_by_id",
    path = "/media/{id}",
    tag = "media",
    params(("id" = ObjectId, Path, description = "The id of the file.")),
    responses(
        (status = 200, description = "The file.", body = MediaDetail,
            headers(("ETag", description = "The entity tag of the file, for `If-Match`."))),
        ReadErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn by_id(
    _: Authenticated<Caller, NoQuery>,
    id: Path<String>,
    uploads: Data<Uploads>,
    content: Data<ContentClient>,
) -> Result<HttpResponse, ApiError> {
    let media = find(&uploads, &id).await?;
    respond(&media, places(&content, &media).await?)
}

/// Changes the title and the text of a file.
///
/// Other members can be sent back as they were read. The file itself never changes.
#[utoipa::path(
    patch,
    operation_id = "media_patch",
    path = "/media/{id}",
    tag = "media",
    params(
        ("id" = ObjectId, Path, description = "The id of the file."),
        ("If-Match" = Option<String>, Header, nullable = false, description = "The entity tag of the file to change.")
    ),
    request_body = MediaPatch,
    responses(
        (status = 200, description = "The file after the change.", body = MediaDetail,
            headers(("ETag", description = "The entity tag of the file, for `If-Match`."))),
        PatchErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn patch(
    Authenticated(caller, (body, if_match, NoQuery)): Authenticated<
        Caller,
        (PatchBody<MediaPatch>, IfMatch, NoQuery),
    >,
    id: Path<String>,
    uploads: Data<Uploads>,
    content: Data<ContentClient>,
) -> Result<HttpResponse, ApiError> {
    let before = find(&uploads, &id).await?;
    caller.require_owner(before.user_id.as_deref())?;
    let item = MediaItem::from(&before);
    if_match.check(&item)?;
    let used_in = places(&content, &before).await?;
    let current = serde_json::to_value(&item).map_err(ApiError::internal)?;
    let MediaPatch { title, alt } = body.changes_of(&current)?;
    let mut changes = doc! {};
    let texts = [("title", title.map(String::from)), ("alt", alt.map(String::from))];
    for (field, text) in texts {
        if let Some(text) = text.into_option() {
            changes.insert(field, text.map_or(Bson::Null, Bson::from));
        }
    }
    let after = match changes.is_empty() {
        true => Some(before),
        false => uploads.media.change(&before, changes).await.map_err(database_error)?,
    };
    let Some(after) = after else {
        let detail = "Another request changed the file at the same time. Send the request again.";
        return Err(ApiError::new(ErrorCode::Conflict, detail));
    };
    respond(&after, used_in)
}

/// Deletes a file that no item shows.
///
/// If an item shows it, the answer is 409 and names the items. Caches may keep the file for a year.
#[utoipa::path(
    delete,
    operation_id = "media_delete",
    path = "/media/{id}",
    tag = "media",
    params(
        ("id" = ObjectId, Path, description = "The id of the file."),
        ("If-Match" = Option<String>, Header, nullable = false, description = "The entity tag of the file to delete.")
    ),
    responses((status = 204, description = "The file is deleted."), DeleteErrors),
    security(("bearer" = []))
)]
pub(super) async fn delete(
    Authenticated(caller, (if_match, NoQuery)): Authenticated<Caller, (IfMatch, NoQuery)>,
    id: Path<String>,
    uploads: Data<Uploads>,
    content: Data<ContentClient>,
) -> Result<HttpResponse, ApiError> {
    let media = find(&uploads, &id).await?;
    caller.require_owner(media.user_id.as_deref())?;
    if_match.check(&MediaItem::from(&media))?;
    let places = places(&content, &media).await?;
    if !places.is_empty() {
        return Err(in_use(&places));
    }
    uploads.media.mark(media.id).await.map_err(database_error)?;
    uploads.discard(&media).await;
    Ok(HttpResponse::NoContent().finish())
}

fn respond(media: &StoredMedia, used_in: Vec<MediaPlace>) -> Result<HttpResponse, ApiError> {
    let media = MediaItem::from(media);
    let tag = ETag::of_json(&media)?;
    write_response(StatusCode::OK, &tag, &MediaDetail { media, used_in })
}

async fn find(uploads: &Uploads, id: &str) -> Result<StoredMedia, ApiError> {
    let id = oid::ObjectId::from_bytes(object_id(id, "File")?.bytes());
    let found = uploads.media.find(id).await.map_err(database_error)?;
    found.ok_or_else(|| ApiError::not_found("File"))
}

async fn places(content: &ContentClient, media: &StoredMedia) -> Result<Vec<MediaPlace>, ApiError> {
    let mut uses = content.media_uses([&*media.name], MAX_PLACES).await?;
    Ok(uses.remove(&media.name).unwrap_or_default())
}

/// Returns the error of deleting a file that is shown.
fn in_use(places: &[MediaPlace]) -> ApiError {
    let named = places.iter().take(MAX_NAMED).map(|place| {
        let MediaPlace { content_type, id, title, deleted } = place;
        let trash = if *deleted { ", in the trash" } else { "" };
        format!("`{}` ({}{trash})", printable(title), content_type.path(id))
    });
    let mut named = named.collect::<Vec<_>>().join(", ");
    if places.len() > MAX_NAMED {
        named += ", …";
    }
    let detail = format!("The file is shown by {named}. Remove it there first.");
    ApiError::new(ErrorCode::Conflict, detail)
}
