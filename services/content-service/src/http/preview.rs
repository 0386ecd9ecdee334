//! Preview links: one item, draft or not, for a person without an account.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, REFERRER_POLICY},
    },
    web::Data,
};
use chrono::{DateTime, TimeDelta, Utc};
use data_service::{changes::Answer, database_error};
use models::{Body, ContentType, ErrorCode, FieldError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    web::{
        body::JsonBody,
        error::ApiError,
        extract::{NoQuery, Query},
    },
};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        KnownFormat, OpenApi, Ref, RefOr, Schema, SchemaFormat,
        schema::{Discriminator, ObjectBuilder, OneOfBuilder, Type},
    },
};

use super::{
    error_sets::{LookUpErrors, PreviewErrors},
    resolution::{capitalised, constant},
    sections::Sections,
};
use crate::{
    domain::preview::{Preview, PreviewKey},
    kinds::Collections,
    store::kind::Kind,
};

/// The path of the routes.
const PATH: &str = "/preview";

/// The time for which a link works unless a request says otherwise: until the next day.
const USUAL_SECONDS: u32 = 86_400;

/// The shortest and the longest time: a minute, and a week, after which a draft is another text.
const MIN_SECONDS: u32 = 60;
const MAX_SECONDS: u32 = 7 * 86_400;

/// The key of the previews; `None` if no secret is set.
#[derive(Debug, Clone)]
pub(crate) struct Previews(pub(crate) Option<PreviewKey>);

impl Previews {
    fn key(&self) -> Result<&PreviewKey, ApiError> {
        let detail = "Preview links need `internal.secret` (TURBULENCE__INTERNAL__SECRET) to be set \
                      in all processes.";
        self.0.as_ref().ok_or_else(|| ApiError::new(ErrorCode::Conflict, detail))
    }
}

/// An item of which a link is made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"content_type": "story", "id": "626e3e0035b0bc65bb5e1545"})))]
pub(super) struct PreviewCreate {
    /// The kind of the item.
    content_type: ContentType,
    /// The id of the item.
    id: String,
    /// The number of seconds for which the link works; a day unless it is given.
    #[serde(default = "usual_seconds")]
    #[schema(minimum = 60, maximum = 604800, default = 86400, required = false)]
    expires_in: u32,
}

const fn usual_seconds() -> u32 {
    USUAL_SECONDS
}

impl Body for PreviewCreate {}

/// A link to one item.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PreviewLink {
    /// The path and query of the link at the gateway.
    path: String,
    /// The token in it, for a frontend that shows the item itself.
    token: String,
    /// The moment from which it does not work any more.
    #[serde(serialize_with = "date")]
    expires_at: DateTime<Utc>,
}

/// The item of a link.
#[derive(Debug, Serialize)]
pub(super) struct Previewed {
    /// The kind of the item.
    content_type: ContentType,
    /// The item as it is now, published or not.
    item: Box<RawValue>,
    /// The moment from which the link does not work any more.
    #[serde(serialize_with = "date")]
    expires_at: DateTime<Utc>,
}

/// Returns the name of the schema of an answer with an item of a kind.
fn schema_name(content_type: ContentType) -> String {
    format!("Previewed{}", capitalised(content_type.as_str()))
}

// `content_type` tells the type of `item`, so that generated clients narrow an answer by it.
impl PartialSchema for Previewed {
    fn schema() -> RefOr<Schema> {
        let variants = ContentType::ALL.iter().map(|kind| {
            let reference = Ref::from_schema_name(schema_name(*kind));
            (kind.as_str(), reference)
        });
        let mapping = variants.clone().map(|(kind, reference)| (kind, reference.ref_location));
        let one_of = OneOfBuilder::new()
            .description(Some("The item of a link; `content_type` names its type."))
            .discriminator(Some(Discriminator::with_mapping("content_type", mapping)));
        variants.map(|(_, reference)| reference).fold(one_of, OneOfBuilder::item).into()
    }
}

impl ToSchema for Previewed {}

/// Adds the schema of the answers with an item of a kind.
pub(super) fn describe<K: Kind>(document: &mut OpenApi) {
    let expires_at = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("The moment from which the link does not work any more."));
    let schema = ObjectBuilder::new()
        .description(Some(format!("A {} of a preview link.", K::NAME.to_lowercase())))
        .property("content_type", constant(K::TYPE.as_str()))
        .required("content_type")
        .property("item", Ref::from_schema_name(K::name()))
        .required("item")
        .property("expires_at", expires_at)
        .required("expires_at");
    let schemas = &mut document.components.get_or_insert_default().schemas;
    schemas.insert(schema_name(K::TYPE), schema.into());
}

fn date<S: serde::Serializer>(date: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    models::rfc3339::serialize(&Some(*date), serializer)
}

/// Makes a link to one item, draft or not.
///
/// The link lets a person without an account read the item until it expires. It ends before that if the
/// item is deleted, or if the secret of the installation is changed. Whoever has the link can read the
/// item.
#[utoipa::path(
    post,
    path = "/preview",
    tag = "content",
    operation_id = "preview_create",
    request_body = PreviewCreate,
    responses((status = 201, description = "The link.", body = PreviewLink), PreviewErrors),
    security(("bearer" = []))
)]
pub(super) async fn create(
    signed: Authenticated<Caller, (JsonBody<PreviewCreate>, NoQuery)>,
    previews: Data<Previews>,
    sections: Data<Sections>,
    collections: Data<Collections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(_, (JsonBody(body), NoQuery)) = signed;
    let PreviewCreate { content_type, id, expires_in } = body;
    let key = previews.key()?;
    if !(MIN_SECONDS..=MAX_SECONDS).contains(&expires_in) {
        let message = format!("must be from {MIN_SECONDS} to {MAX_SECONDS} seconds");
        return Err(ApiError::invalid(FieldError::invalid("expires_in", message)));
    }
    let collection = collections.of(content_type);
    let name = collection.kind().name();
    let paths = sections.paths_uncached(collection, &answer).await?;
    let item = collection.by_id(&id, &paths).await.map_err(database_error)?;
    let item = item.ok_or_else(|| ApiError::not_found(name))?;
    let now = collection.now();
    let expires_at = now + TimeDelta::seconds(expires_in.into());
    let expires_at = DateTime::from_timestamp(expires_at.timestamp(), 0).unwrap_or(now);
    let preview = Preview { content_type, id: item.id, expires_at };
    let too_long = || ApiError::invalid(FieldError::invalid("id", "is too long for an address"));
    let token = key.sign(&preview).ok_or_else(too_long)?;
    let path = format!("{PATH}?token={token}");
    Ok(private(StatusCode::CREATED, &PreviewLink { path, token, expires_at }))
}

/// The query of a link.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PreviewQuery {
    /// The token of the link.
    #[param(pattern = r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")]
    token: String,
}

/// The item of a preview link, published or not.
///
/// It needs no other token. A link that has expired, that was changed, or whose item was deleted is a 404.
#[utoipa::path(
    get,
    path = "/preview",
    tag = "content",
    operation_id = "preview",
    params(PreviewQuery),
    responses((status = 200, description = "The item.", body = Previewed), LookUpErrors)
)]
pub(super) async fn read(
    query: Query<PreviewQuery>,
    previews: Data<Previews>,
    sections: Data<Sections>,
    collections: Data<Collections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let gone = || {
        let detail = "The preview link does not work: it has expired, is incomplete, or its item was \
                      deleted. Ask for a new one.";
        ApiError::new(ErrorCode::NotFound, detail)
    };
    let key = previews.0.as_ref().ok_or_else(gone)?;
    let now = collections.of(ContentType::ALL[0]).now();
    let preview = key.verify(&query.0.token, now).map_err(|_| gone())?;
    let collection = collections.of(preview.content_type);
    let paths = sections.paths_uncached(collection, &answer).await?;
    let item = collection.by_id(&preview.id, &paths).await.map_err(database_error)?;
    let item = item.ok_or_else(gone)?;
    let Preview { content_type, expires_at, .. } = preview;
    Ok(private(StatusCode::OK, &Previewed { content_type, item: item.json, expires_at }))
}

/// Responds with a value that no cache, no search engine and no other site is to get.
fn private(status: StatusCode, value: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CACHE_CONTROL, "private, no-store"))
        // The address has the token, and the text may have links to other sites.
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header(("x-robots-tag", "noindex, nofollow"))
        .json(value)
}
