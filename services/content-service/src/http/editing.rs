//! Reports of editors that they have an item open.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use data_service::database_error;
use models::schema::{schema, text};
use serde::{Deserialize, Serialize};
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    web::{error::ApiError, extract::Query},
};
use utoipa::{IntoParams, ToSchema};

use super::errors::no_item;
use crate::store::{content::ContentStore, dates::from_bson, kind::Kind};

/// The name of an editor who is no user.
const OPERATOR: &str = "An administrator";

/// The query of a report.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct EditingQuery {
    /// The session of the editor, such as a UUID for each open page: it tells two of the same person
    /// apart.
    #[param(value_type = EditingSession, required = false)]
    session: EditingSession,
}

/// A session of an editor: up to 64 letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct EditingSession(String);

schema!(EditingSession, text("^[A-Za-z0-9_-]+$", EditingSession::MAX_LENGTH));

/// The text is no session of an editor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to {} letters, digits, `-` and `_`", EditingSession::MAX_LENGTH)]
pub(super) struct InvalidSession;

impl EditingSession {
    /// More than a UUID has.
    const MAX_LENGTH: usize = 64;
}

impl TryFrom<String> for EditingSession {
    type Error = InvalidSession;

    fn try_from(session: String) -> Result<Self, InvalidSession> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let is_valid = (1..=Self::MAX_LENGTH).contains(&session.len());
        if is_valid && session.bytes().all(is_allowed) {
            Ok(Self(session))
        } else {
            Err(InvalidSession)
        }
    }
}

/// The others who have an item open.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Editing {
    /// The others, those who reported last first.
    editors: Vec<OtherEditor>,
    /// The present time on the clock of the database, from which `since` counts.
    #[serde(serialize_with = "date")]
    now: DateTime<Utc>,
}

/// Another one who has an item open.
#[derive(Debug, Serialize, ToSchema)]
struct OtherEditor {
    /// The id of the user; null for the static token without a user.
    #[schema(required = true)]
    user_id: Option<String>,
    /// The name; null if the user has none.
    #[schema(required = true)]
    name: Option<String>,
    /// The time since which they have it open.
    #[serde(serialize_with = "date")]
    since: DateTime<Utc>,
    /// The time of their last report.
    #[serde(serialize_with = "date")]
    seen_at: DateTime<Utc>,
}

fn date<S: serde::Serializer>(date: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    models::rfc3339::serialize(&Some(*date), serializer)
}

/// `PUT /{kind}/{id}/editing`: records that the caller has an item open, and answers with the others who
/// have.
pub(super) async fn report<K: Kind>(
    Authenticated(caller, Query(query)): Authenticated<Caller, Query<EditingQuery>>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
) -> Result<HttpResponse, ApiError> {
    let item = store.by_id(&id).await.map_err(database_error)?.map_err(no_item::<K>)?;
    caller.require_owner(item.meta().user_id.as_deref())?;
    let names = store.names().await.map_err(database_error)?.value;
    let own = key(&caller, &query.session);
    let id = item.meta().id.as_str();
    let found = store.editing().report(K::TYPE, id, &own, caller.user_id()).await;
    let found = found.map_err(database_error)?;
    let now = found.as_ref().map_or_else(|| store.now(), |found| from_bson(found.seen_at));
    let others = found.map(|found| found.editors).unwrap_or_default();
    let others = others.into_iter().filter(|editor| editor.key != own).map(|editor| OtherEditor {
        name: match &editor.user_id {
            Some(id) => names.of(id).map(|author| author.name),
            None => Some(OPERATOR.to_owned()),
        },
        user_id: editor.user_id,
        since: from_bson(editor.since),
        seen_at: from_bson(editor.seen_at),
    });
    Ok(HttpResponse::Ok().json(Editing { editors: others.collect(), now }))
}

/// `DELETE /{kind}/{id}/editing`: records that the caller has closed an item.
pub(super) async fn leave<K: Kind>(
    Authenticated(caller, Query(query)): Authenticated<Caller, Query<EditingQuery>>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
) -> Result<HttpResponse, ApiError> {
    let item = store.by_id(&id).await.map_err(database_error)?.map_err(no_item::<K>)?;
    let own = key(&caller, &query.session);
    let left = store.editing().leave(K::TYPE, item.meta().id.as_str(), &own).await;
    left.map_err(database_error)?;
    Ok(HttpResponse::NoContent().finish())
}

/// Returns the key of a session of an editor. The user of the static token can differ between two
/// requests.
fn key(caller: &Caller, session: &EditingSession) -> String {
    match caller {
        Caller::Operator { .. } => format!("operator {}", session.0),
        Caller::User { id, .. } => format!("user {id} {}", session.0),
    }
}
