//! Webhooks. All of these routes are for admins.

use std::str::FromStr;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::LOCATION,
    web::{Data, Path},
};
use data_service::database_error;
use models::{ErrorCode, FieldError, ObjectId, Patch};
use mongodb::bson::{self, Document, doc, oid};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use service_kit::{
    auth::extract::{Admin, Authenticated},
    web::{
        body::{JsonBody, PatchBody},
        conditional::json_response,
        error::ApiError,
        extract::{NoQuery, Query, object_id},
    },
};
use utoipa::IntoParams;

use super::error_sets::{
    WebhookActionErrors, WebhookChangeErrors, WebhookCreateErrors, WebhookReadErrors,
};
use crate::{
    delivery::{Webhooks, test_message},
    domain::{
        list::Limit,
        webhook::{
            Delivery, DeliveryList, DeliveryState, Webhook, WebhookCreate, WebhookList,
            WebhookPatch, WrittenWebhook,
        },
        webhook_secret::WebhookSecret,
    },
    store::{
        dates::to_bson,
        deliveries::StoredDelivery,
        webhooks::{MAX_WEBHOOKS, StoredWebhook},
    },
};

/// Adds a webhook.
///
/// From now on, its target is told of the changes of public content that it chose, by messages that
/// are signed as [Standard Webhooks](https://www.standardwebhooks.com) says. The answer has the secret,
/// which no other answer has.
#[utoipa::path(
    post,
    operation_id = "webhooks_create",
    path = "/webhooks",
    tag = "webhooks",
    request_body = WebhookCreate,
    responses(
        (status = 201, description = "The new webhook with its secret.", body = WrittenWebhook,
            headers(("Location", description = "The path of the webhook in the API."))),
        WebhookCreateErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn create(
    request: HttpRequest,
    signed: Authenticated<Admin, (JsonBody<WebhookCreate>, NoQuery)>,
    webhooks: Data<Webhooks>,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(_, (JsonBody(body), NoQuery)) = signed;
    let url = String::from(body.url);
    check_target(&webhooks, &url).await?;
    let secret = match body.secret {
        Some(secret) => secret,
        None => WebhookSecret::generate().map_err(ApiError::internal)?,
    };
    let before = webhooks.webhooks.all().await.map_err(database_error)?;
    if before.len() >= MAX_WEBHOOKS {
        let detail = format!("There are {MAX_WEBHOOKS} webhooks already. Delete one first.");
        return Err(ApiError::new(ErrorCode::Conflict, detail));
    }
    webhooks.deliveries.create_indexes().await.map_err(database_error)?;
    if before.is_empty() {
        webhooks.begin().await.map_err(database_error)?;
    }
    let now = to_bson(webhooks.clock.now());
    let webhook = StoredWebhook {
        id: oid::ObjectId::new(),
        url,
        description: body.description.map(Into::into),
        kinds: body.kinds,
        events: body.events,
        secret: secret.clone(),
        former_secret: None,
        former_secret_until: None,
        is_enabled: body.is_enabled,
        failure: None,
        disabled_reason: None,
        missed: Vec::new(),
        version: 1,
        created_date: now,
        updated_date: now,
    };
    webhooks.webhooks.insert(&webhook).await.map_err(database_error)?;
    webhooks.wake();
    let webhook = webhook.to_webhook(0);
    let location = format!("{}/{}", request.path(), webhook.id);
    let written = WrittenWebhook { webhook, secret: Some(secret.into()) };
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(written))
}

/// Lists the webhooks.
///
/// There are at most 20, the oldest first. No answer has their secrets.
#[utoipa::path(
    get,
    operation_id = "webhooks_list",
    path = "/webhooks",
    tag = "webhooks",
    responses(
        (status = 200, description = "The webhooks.", body = WebhookList),
        WebhookReadErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn list(
    request: HttpRequest,
    _: Authenticated<Admin, NoQuery>,
    webhooks: Data<Webhooks>,
) -> Result<HttpResponse, ApiError> {
    let mut items = Vec::new();
    for webhook in webhooks.webhooks.all().await.map_err(database_error)? {
        items.push(answered(&webhooks, &webhook).await?);
    }
    json_response(&request, &WebhookList { items })
}

/// Returns a webhook.
///
/// It has the number of messages that wait, and the last error, but not the secret.
#[utoipa::path(
    get,
    operation_id = "webhooks_by_id",
    path = "/webhooks/{id}",
    tag = "webhooks",
    params(("id" = ObjectId, Path, description = "The id of the webhook.")),
    responses(
        (status = 200, description = "The webhook.", body = Webhook),
        WebhookReadErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn by_id(
    request: HttpRequest,
    _: Authenticated<Admin, NoQuery>,
    id: Path<String>,
    webhooks: Data<Webhooks>,
) -> Result<HttpResponse, ApiError> {
    let webhook = existing(&webhooks, &id).await?;
    json_response(&request, &answered(&webhooks, &webhook).await?)
}

/// Changes some fields of a webhook.
///
/// Members that are absent from the body stay as they are. A webhook that is failing continues, and
/// messages that wait are sent at once. If the secret is replaced, messages are signed with the former
/// one as well for a day.
#[utoipa::path(
    patch,
    operation_id = "webhooks_patch",
    path = "/webhooks/{id}",
    tag = "webhooks",
    params(("id" = ObjectId, Path, description = "The id of the webhook.")),
    request_body = WebhookPatch,
    responses(
        (status = 200, description = "The webhook as it is now, with its secret if that is a new one.",
            body = WrittenWebhook),
        WebhookChangeErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn patch(
    signed: Authenticated<Admin, (PatchBody<WebhookPatch>, NoQuery)>,
    id: Path<String>,
    webhooks: Data<Webhooks>,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(_, (members, NoQuery)) = signed;
    let current = existing(&webhooks, &id).await?;
    let as_answered = answered(&webhooks, &current).await?;
    let as_answered = serde_json::to_value(as_answered).map_err(ApiError::internal)?;
    let body = members.changes_of(&as_answered)?;
    let new_secret = match body.secret.clone().into_option() {
        None => None,
        Some(Some(secret)) => Some(secret),
        Some(None) => Some(WebhookSecret::generate().map_err(ApiError::internal)?),
    };
    let now = webhooks.clock.now();
    let mut fields = set_fields(&webhooks, body).await?;
    let new_secret = new_secret.filter(|secret| *secret != current.secret);
    if !fields.is_empty() || new_secret.is_some() {
        fields.insert("updatedDate", to_bson(now));
    }
    webhooks.deliveries.restart(current.id, now).await.map_err(database_error)?;
    let changed = webhooks.webhooks.change(current.id, fields, new_secret.as_ref(), now).await;
    let changed = changed.map_err(database_error)?.ok_or_else(no_webhook)?;
    webhooks.wake();
    let webhook = answered(&webhooks, &changed).await?;
    let written = WrittenWebhook { webhook, secret: new_secret.map(Into::into) };
    Ok(HttpResponse::Ok().json(written))
}

/// Returns the fields of the document that a body sets.
async fn set_fields(webhooks: &Webhooks, body: WebhookPatch) -> Result<Document, ApiError> {
    let mut fields = Document::new();
    if let Some(url) = body.url.map(String::from) {
        check_target(webhooks, &url).await?;
        fields.insert("url", url);
    }
    let description = body.description.map(String::from);
    set(&mut fields, "description", &description)?;
    set(&mut fields, "kinds", &body.kinds)?;
    set(&mut fields, "events", &body.events)?;
    if let Some(is_enabled) = body.is_enabled {
        fields.extend(doc! { "is_enabled": is_enabled, "disabled_reason": null });
    }
    Ok(fields)
}

fn set<T: Serialize>(fields: &mut Document, name: &str, value: &Patch<T>) -> Result<(), ApiError> {
    if let Some(value) = value.as_ref().into_option() {
        fields.insert(name, bson::serialize_to_bson(&value).map_err(ApiError::internal)?);
    }
    Ok(())
}

/// Deletes a webhook.
///
/// Its deliveries are deleted with it, and messages that wait are not sent.
#[utoipa::path(
    delete,
    operation_id = "webhooks_delete",
    path = "/webhooks/{id}",
    tag = "webhooks",
    params(("id" = ObjectId, Path, description = "The id of the webhook.")),
    responses((status = 204, description = "The webhook is deleted."), WebhookActionErrors),
    security(("bearer" = []))
)]
pub(super) async fn delete(
    _: Authenticated<Admin, NoQuery>,
    id: Path<String>,
    webhooks: Data<Webhooks>,
) -> Result<HttpResponse, ApiError> {
    let id = webhook_id(&id)?;
    if !webhooks.webhooks.delete(id).await.map_err(database_error)? {
        return Err(no_webhook());
    }
    webhooks.deliveries.delete_of(id).await.map_err(database_error)?;
    webhooks.wake();
    Ok(HttpResponse::NoContent().finish())
}

/// Sends a test message.
///
/// It is sent once, though the webhook is failing or disabled. A webhook that is failing continues if
/// the target accepts it. The answer is the delivery; read it again to see the result.
#[utoipa::path(
    post,
    operation_id = "webhooks_test",
    path = "/webhooks/{id}/test",
    tag = "webhooks",
    params(("id" = ObjectId, Path, description = "The id of the webhook.")),
    responses(
        (status = 202, description = "The message is sent.", body = Delivery,
            headers(("Location", description = "The path of the delivery in the API."))),
        WebhookActionErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn test(
    _: Authenticated<Admin, NoQuery>,
    id: Path<String>,
    webhooks: Data<Webhooks>,
) -> Result<HttpResponse, ApiError> {
    let webhook = existing(&webhooks, &id).await?;
    let now = webhooks.clock.now();
    let message = test_message(webhook.id, now);
    let mut delivery = StoredDelivery::new(webhook.id, message, 0, now);
    (delivery.requested, delivery.once) = (true, true);
    let inserted = webhooks.deliveries.insert(&delivery).await;
    inserted.map_err(database_error)?;
    accepted(&webhooks, webhook.id, delivery).await
}

/// The query of a list of deliveries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct DeliveriesQuery {
    /// The largest number of items of a page.
    #[param(value_type = Limit, required = false)]
    limit: Limit,
    /// A `next_cursor` of an earlier answer.
    #[param(value_type = String, required = false, pattern = "^[0-9a-fA-F]{24}$")]
    cursor: Option<Cursor>,
    /// Only the deliveries in this state.
    #[param(value_type = DeliveryState, inline, required = false)]
    state: Option<DeliveryState>,
}

/// The position in a list of deliveries: the id of the last one.
#[derive(Debug)]
struct Cursor(oid::ObjectId);

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = ObjectId::from_str(&String::deserialize(deserializer)?);
        let id =
            id.map_err(|_| D::Error::custom("must be a `next_cursor` of an earlier answer"))?;
        Ok(Self(to_stored(id)))
    }
}

/// Lists the deliveries of a webhook, newest first.
///
/// Those that are finished are kept for a week, the newest thousand of each webhook.
#[utoipa::path(
    get,
    operation_id = "webhooks_deliveries",
    path = "/webhooks/{id}/deliveries",
    tag = "webhooks",
    params(("id" = ObjectId, Path, description = "The id of the webhook."), DeliveriesQuery),
    responses(
        (status = 200, description = "The page.", body = DeliveryList),
        WebhookReadErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn deliveries(
    request: HttpRequest,
    signed: Authenticated<Admin, Query<DeliveriesQuery>>,
    id: Path<String>,
    webhooks: Data<Webhooks>,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(_, Query(DeliveriesQuery { limit, cursor, state })) = signed;
    let webhook = existing(&webhooks, &id).await?;
    let cursor = cursor.map(|Cursor(id)| id);
    let page = webhooks.deliveries.page(webhook.id, state, cursor, limit.get()).await;
    let (page, has_more) = page.map_err(database_error)?;
    let next_cursor = page.last().filter(|_| has_more).map(|last| last.id.to_hex());
    let items = page.into_iter().map(StoredDelivery::into_delivery).collect();
    json_response(&request, &DeliveryList { items, limit: limit.get(), next_cursor })
}

/// Returns a delivery of a webhook.
///
/// It has the message and its attempts.
#[utoipa::path(
    get,
    operation_id = "webhooks_delivery",
    path = "/webhooks/{id}/deliveries/{delivery_id}",
    tag = "webhooks",
    params(
        ("id" = ObjectId, Path, description = "The id of the webhook."),
        ("delivery_id" = ObjectId, Path, description = "The id of the delivery.")
    ),
    responses(
        (status = 200, description = "The delivery.", body = Delivery),
        WebhookReadErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn delivery(
    request: HttpRequest,
    _: Authenticated<Admin, NoQuery>,
    path: Path<(String, String)>,
    webhooks: Data<Webhooks>,
) -> Result<HttpResponse, ApiError> {
    let (id, delivery) = (webhook_id(&path.0)?, delivery_id(&path.1)?);
    let delivery = webhooks.deliveries.get(id, delivery).await.map_err(database_error)?;
    json_response(&request, &delivery.ok_or_else(no_delivery)?.into_delivery())
}

/// Sends a message again.
///
/// It is sent at once, also if it was delivered before, and though the webhook is failing or disabled.
/// A webhook that is failing continues if the target accepts it. The message has the same id as before.
#[utoipa::path(
    post,
    operation_id = "webhooks_redeliver",
    path = "/webhooks/{id}/deliveries/{delivery_id}/redeliver",
    tag = "webhooks",
    params(
        ("id" = ObjectId, Path, description = "The id of the webhook."),
        ("delivery_id" = ObjectId, Path, description = "The id of the delivery.")
    ),
    responses(
        (status = 202, description = "The message is sent.", body = Delivery,
            headers(("Location", description = "The path of the delivery in the API."))),
        WebhookActionErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn redeliver(
    _: Authenticated<Admin, NoQuery>,
    path: Path<(String, String)>,
    webhooks: Data<Webhooks>,
) -> Result<HttpResponse, ApiError> {
    let (id, delivery) = (webhook_id(&path.0)?, delivery_id(&path.1)?);
    let requested = webhooks.deliveries.request(id, delivery, webhooks.clock.now()).await;
    let delivery = requested.map_err(database_error)?.ok_or_else(no_delivery)?;
    accepted(&webhooks, id, delivery).await
}

/// Lets the process that delivers notice a delivery that was requested, and answers with it.
async fn accepted(
    webhooks: &Webhooks,
    webhook: oid::ObjectId,
    delivery: StoredDelivery,
) -> Result<HttpResponse, ApiError> {
    webhooks.webhooks.touch(webhook).await.map_err(database_error)?;
    webhooks.wake();
    let location = format!("/webhooks/{webhook}/deliveries/{}", delivery.id);
    let delivery = delivery.into_delivery();
    Ok(HttpResponse::Accepted().insert_header((LOCATION, location)).json(delivery))
}

/// Refuses a target to which no messages may be sent.
async fn check_target(webhooks: &Webhooks, url: &str) -> Result<(), ApiError> {
    let checked = webhooks.client.check(url).await;
    checked.map_err(|error| ApiError::invalid(FieldError::invalid("url", error.to_string())))
}

async fn answered(webhooks: &Webhooks, webhook: &StoredWebhook) -> Result<Webhook, ApiError> {
    let waiting = webhooks.deliveries.count_waiting(webhook.id).await.map_err(database_error)?;
    Ok(webhook.to_webhook(waiting))
}

async fn existing(webhooks: &Webhooks, id: &str) -> Result<StoredWebhook, ApiError> {
    let found = webhooks.webhooks.get(webhook_id(id)?).await.map_err(database_error)?;
    found.ok_or_else(no_webhook)
}

fn webhook_id(text: &str) -> Result<oid::ObjectId, ApiError> {
    object_id(text, "webhook").map(to_stored)
}

fn delivery_id(text: &str) -> Result<oid::ObjectId, ApiError> {
    object_id(text, "delivery").map(to_stored)
}

/// Returns an id as the database has it.
fn to_stored(id: ObjectId) -> oid::ObjectId {
    oid::ObjectId::from_bytes(id.bytes())
}

fn no_webhook() -> ApiError {
    ApiError::not_found("Webhook")
}

fn no_delivery() -> ApiError {
    ApiError::not_found("Delivery")
}
