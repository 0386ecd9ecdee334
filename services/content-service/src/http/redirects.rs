//! Redirects. All of these routes are for admins.

use std::sync::Arc;

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::{StatusCode, header::LOCATION},
    web::Data,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use data_service::{changes::Answer, database_error};
use futures_util::future::LocalBoxFuture;
use models::{ErrorCode, FieldError, PathResolution};
use mongodb::ClientSession;
use serde::{Deserialize, Deserializer, de::Error as _};
use service_kit::{
    auth::extract::{Admin, Authenticated},
    web::{
        body::{JsonBody, TextBody, media_type},
        conditional::json_response,
        error::ApiError,
        extract::Query,
    },
};
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use super::{
    error_sets::{RedirectCreateErrors, RedirectDeleteErrors, RedirectReadErrors},
    redirect_import::{RedirectImport, import},
    relocation::{MAX_HOPS, Relocation},
    sections::Sections,
};
use crate::{
    domain::{
        audience::Directory,
        list::Limit,
        redirect::{
            Destination, OldPath, Redirect, RedirectCreate, RedirectList, RedirectTarget, SitePath,
            prefix_key,
        },
    },
    kinds::Collections,
    store::{
        dates::from_bson,
        redirects::{
            MAX_REDIRECTS, PageStart, Put, PutError, RedirectStore, Selection, StoredRedirect,
            redirect_key,
        },
    },
};

/// The query of the list of redirects.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RedirectsQuery {
    /// The largest number of redirects of a page.
    #[serde(default)]
    #[param(value_type = Limit, required = false)]
    limit: Limit,
    /// A `next_cursor` or `previous_cursor` of an earlier answer.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<CursorText>,
    /// Only the redirect of this path.
    #[param(value_type = OldPath, required = false)]
    from: Option<OldPath>,
    /// Only the redirects of paths that begin with this text. Not together with `from`.
    #[param(value_type = String, required = false, pattern = r"^/")]
    prefix: Option<Prefix>,
}

#[derive(Debug)]
struct Prefix(String);

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.starts_with('/') {
            true => Ok(Self(prefix_key(&text))),
            false => Err(D::Error::custom("must be the beginning of a path: `/…`")),
        }
    }
}

/// A place in the list, as the API gives it to clients.
#[derive(Debug)]
struct CursorText(PageStart);

impl<'de> Deserialize<'de> for CursorText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let place = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let start = place.and_then(|place| match place.split_at_checked(1)? {
            (">", path) if path.starts_with('/') => Some(PageStart::After(path.to_owned())),
            ("<", path) if path.starts_with('/') => Some(PageStart::Before(path.to_owned())),
            _ => None,
        });
        let message = "must be a `next_cursor` or `previous_cursor` of an earlier answer";
        start.map(Self).ok_or_else(|| D::Error::custom(message))
    }
}

/// The reason why a redirect is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A field of the request is wrong.
    Wrong(FieldError),
    /// The redirect does not fit what is there.
    Conflict(String),
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Wrong(error) => Self::invalid(error),
            Refusal::Conflict(detail) => Self::new(ErrorCode::Conflict, detail),
        }
    }
}

impl From<PutError<Refusal>> for Refusal {
    fn from(error: PutError<Refusal>) -> Self {
        let present = match error {
            PutError::Refused(refusal) => return refusal,
            PutError::TooMany => {
                let detail =
                    format!("There are {MAX_REDIRECTS} redirects already. Delete some first.");
                return Self::Conflict(detail);
            }
            PutError::Taken(present) => present,
        };
        let target = match &present.to {
            RedirectTarget::Address(address) => format!("`{}`", String::from(address.clone())),
            RedirectTarget::Section(section) => format!("the section {}", section.id),
            RedirectTarget::Item(item) => format!("`/{}/{}`", item.kind.collection(), item.id),
        };
        Self::Conflict(format!(
            "`{}` has a redirect already, to {target} with the status {}. Delete it first, or send \
             `replace=true`.",
            present.from.as_str(),
            present.status.code()
        ))
    }
}

/// Everything that decides where redirects lead.
pub(super) struct Redirecting {
    sections: Arc<Directory>,
    collections: Data<Collections>,
    redirects: Data<RedirectStore>,
    /// Not that of the request: the answer is kept nowhere, or to a write.
    answer: Answer,
}

impl Redirecting {
    fn relocation(&self) -> Relocation<'_> {
        Relocation {
            answer: &self.answer,
            sections: &self.sections,
            collections: &self.collections,
            redirects: &self.redirects,
            include_drafts: false,
        }
    }

    async fn answered(&self, redirect: StoredRedirect) -> Result<Redirect, ApiError> {
        let relocation = self.relocation();
        let leads_to = relocation.of_redirect(&redirect).await?;
        let is_hidden = relocation.present(redirect.from.as_str()).await?.is_some();
        let StoredRedirect { from, to, status, created_date, updated_date } = redirect;
        let [created_date, updated_date] = [created_date, updated_date].map(from_bson).map(Some);
        Ok(Redirect { from, to, status, leads_to, is_hidden, created_date, updated_date })
    }

    /// Requires that nothing is at an old path, and that the target exists.
    pub(super) async fn check(
        &self,
        new: &RedirectCreate,
    ) -> Result<Result<(), Refusal>, ApiError> {
        let from = new.from.as_str();
        if let Some(present) = self.relocation().present(from).await? {
            return Ok(Err(Refusal::Conflict(format!(
                "A section or an item is at `{from}` (its path is `{present}`), so that the redirect \
                 would not be used. Give it another slug or delete it first."
            ))));
        }
        let (field, message) = match &new.to {
            RedirectTarget::Address(_) => return Ok(Ok(())),
            RedirectTarget::Section(section) => {
                let found = self.sections.by_id(section.id);
                if found.is_some_and(|entry| !entry.is_deleted) {
                    return Ok(Ok(()));
                }
                ("to.section.id", "there is no such section".to_owned())
            }
            RedirectTarget::Item(item) => {
                let collection = self.collections.of(item.kind);
                let paths = super::sections::paths(None, collection, &self.answer).await?;
                let found = collection.by_id(&item.id, &paths).await.map_err(database_error)?;
                if found.is_some() {
                    return Ok(Ok(()));
                }
                let name = collection.kind().name().to_lowercase();
                ("to.item.id", format!("there is no {name} with this id"))
            }
        };
        Ok(Err(Refusal::Wrong(FieldError::invalid(field, message))))
    }

    /// Adds redirects that were checked.
    pub(super) async fn put(
        &self,
        all: &[RedirectCreate],
        may_replace: bool,
    ) -> Result<Vec<Result<Put, Refusal>>, ApiError> {
        let check = async |new: &RedirectCreate, session: &mut ClientSession| {
            self.check_chain(new, session).await
        };
        let results = self.redirects.put(all, may_replace, check).await.map_err(database_error)?;
        Ok(results.into_iter().map(|result| result.map_err(Refusal::from)).collect())
    }

    /// Requires that the addresses after a redirect come to an end.
    ///
    /// Content at one of them is not looked at: it may be deleted later.
    async fn check_chain(
        &self,
        new: &RedirectCreate,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<Result<(), Refusal>> {
        let mut chain = vec![new.from.as_str().to_owned()];
        let mut target = Some(new.to.clone());
        let mut at: Option<SitePath> = None;
        while chain.len() <= MAX_HOPS {
            if let Some(target) = target.take() {
                let RedirectTarget::Address(address) = target else { return Ok(Ok(())) };
                match address.destination(self.redirects.site_url()) {
                    Destination::Elsewhere(_) => return Ok(Ok(())),
                    Destination::Path(path) => at = Some(path),
                }
            }
            let Some(path) = at.take() else { return Ok(Ok(())) };
            chain.push(path.to_string());
            let candidates = OldPath::candidates(&path.requested());
            let next = self.redirects.first(&candidates, Some(&mut *session)).await?;
            let place = |from: &OldPath| candidates.iter().position(|one| one == from);
            let of_next = next.as_ref().and_then(|next| place(&next.from));
            // The new redirect may hold before the one that is there, or replace it.
            if place(&new.from)
                .is_some_and(|of_new| of_next.is_none_or(|of_next| of_new <= of_next))
            {
                let chain = chain.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>();
                let detail = format!("The redirect would lead in a circle: {}.", chain.join(" → "));
                return Ok(Err(Refusal::Conflict(detail)));
            }
            if let Some(next) = next {
                target = Some(next.to);
            } else if let Some(PathResolution::Moved { moved_to }) =
                self.sections.resolve(&path.path, false)
            {
                at = Some(SitePath::new(&moved_to));
            }
        }
        let message = format!(
            "leads through more than {MAX_HOPS} other redirects: name the last of the addresses"
        );
        Ok(Err(Refusal::Wrong(FieldError::invalid("to", message))))
    }
}

/// Lists the redirects.
///
/// For admins. In the order of their paths.
#[utoipa::path(
    get,
    operation_id = "redirects_list",
    path = "/redirects",
    tag = "redirects",
    params(RedirectsQuery),
    responses(
        (status = 200, description = "The page.", body = RedirectList),
        RedirectReadErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn list(
    request: HttpRequest,
    signed: Authenticated<Admin, Query<RedirectsQuery>>,
    sections: Data<Sections>,
    collections: Data<Collections>,
    redirects: Data<RedirectStore>,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(_, Query(RedirectsQuery { limit, cursor, from, prefix })) = signed;
    let selection = match (from, prefix) {
        (Some(_), Some(_)) => {
            let message = "cannot be used together with `prefix`";
            return Err(ApiError::invalid(FieldError::invalid("from", message)));
        }
        (Some(from), None) => Selection::From(from),
        (None, Some(Prefix(prefix))) => Selection::Prefix(prefix),
        (None, None) => Selection::All,
    };
    let start = cursor.map_or(PageStart::First, |CursorText(start)| start);
    let answer = Answer::default();
    let sections = sections.latest(&answer).await?;
    let redirecting = Redirecting { sections, collections, redirects, answer };
    let page = redirecting.redirects.page(&selection, &start, limit.get()).await;
    let page = page.map_err(database_error)?;
    let cursor = |direction: &str, path: Option<String>| {
        Some(URL_SAFE_NO_PAD.encode(format!("{direction}{}", path?)))
    };
    let (next_cursor, previous_cursor) = (cursor(">", page.next), cursor("<", page.previous));
    let mut items = Vec::with_capacity(page.items.len());
    for redirect in page.items {
        items.push(redirecting.answered(redirect).await?);
    }
    let (total, limit) = (page.total, limit.get());
    json_response(&request, &RedirectList { items, total, limit, next_cursor, previous_cursor })
}

/// The answer to a request that adds redirects.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is read")]
pub(super) enum RedirectOutcome {
    /// A redirect.
    One(Redirect),
    /// The outcome of a CSV file.
    Csv(RedirectImport),
}

/// The query of a new redirect.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CreateQuery {
    /// `true` to replace another redirect of the same path.
    #[serde(default)]
    #[param(required = false)]
    replace: bool,
}

/// Adds a redirect, or those of a CSV file.
///
/// For admins. `/resolve` answers the old path with the address of the target from now on, unless a section
/// or an item is at the path. A redirect that is there already is answered as it is. Of a CSV file, with the
/// columns `from`, `to` and `status`, each line is answered by itself; at most 100 lines.
#[utoipa::path(
    post,
    operation_id = "redirects_create",
    path = "/redirects",
    tag = "redirects",
    params(CreateQuery),
    request_body(content((RedirectCreate = "application/json"), (String = "text/csv"))),
    responses(
        (status = 201, description = "The new redirect.", body = Redirect,
            headers(("Location", description = "The path of the redirect in the API."))),
        (status = 200, description = "The redirect was there, or has replaced another one; or the \
            outcome of each line of a CSV file.", body = RedirectOutcome),
        RedirectCreateErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn create(
    signed: Authenticated<Admin, (RedirectBody, Query<CreateQuery>)>,
    sections: Data<Sections>,
    collections: Data<Collections>,
    redirects: Data<RedirectStore>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(_, (body, Query(CreateQuery { replace }))) = signed;
    let sections = sections.now().await?;
    let own_answer = Answer::default();
    let redirecting = Redirecting { sections, collections, redirects, answer: own_answer };
    let new = match body {
        RedirectBody::One(new) => *new,
        RedirectBody::Csv(text) => {
            return import(&redirecting, text.as_str(), replace, &answer).await;
        }
    };
    redirecting.check(&new).await??;
    answer.add_keys([redirect_key(new.from.as_str())]);
    let put = redirecting.put(&[new], replace).await?.into_iter().next();
    let put = put.ok_or_else(|| ApiError::internal("a redirect has no outcome"))??;
    let (status, redirect) = match put {
        Put::Created(redirect) => (StatusCode::CREATED, redirect),
        Put::Changed(redirect) | Put::Unchanged(redirect) => (StatusCode::OK, redirect),
    };
    let mut response = HttpResponse::build(status);
    if status == StatusCode::CREATED {
        let from = form_urlencoded::byte_serialize(redirect.from.as_str().as_bytes());
        let location = format!("/redirects?from={}", from.collect::<String>());
        response.insert_header((LOCATION, location));
    }
    Ok(response.json(redirecting.answered(redirect).await?))
}

/// The body of a request that adds redirects.
pub(super) enum RedirectBody {
    /// One redirect, as JSON.
    One(Box<RedirectCreate>),
    /// The lines of a CSV file.
    Csv(TextBody),
}

impl FromRequest for RedirectBody {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let mut payload = payload.take();
        Box::pin(async move {
            if media_type(&request) == "text/csv" {
                return TextBody::from_request(&request, &mut payload).await.map(Self::Csv);
            }
            let body = JsonBody::from_request(&request, &mut payload).await;
            body.map(|JsonBody(new)| Self::One(Box::new(new))).map_err(|error| match error.code() {
                ErrorCode::UnsupportedMediaType => {
                    let detail = "The body must be one redirect as JSON, with the header `Content-Type: \
                                  application/json`, or many as CSV with `Content-Type: text/csv`; in \
                                  UTF-8, and not compressed.";
                    ApiError::new(ErrorCode::UnsupportedMediaType, detail)
                }
                _ => error,
            })
        })
    }
}

/// The query of a redirect.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RedirectQuery {
    /// The old path.
    #[param(value_type = OldPath)]
    from: OldPath,
}

/// Deletes a redirect.
///
/// For admins.
#[utoipa::path(
    delete,
    operation_id = "redirects_delete",
    path = "/redirects",
    tag = "redirects",
    params(RedirectQuery),
    responses(
        (status = 204, description = "The redirect is deleted."),
        RedirectDeleteErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn delete(
    signed: Authenticated<Admin, Query<RedirectQuery>>,
    redirects: Data<RedirectStore>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(_, Query(RedirectQuery { from })) = signed;
    let deleted = redirects.delete(&from).await?;
    if !deleted {
        return Err(ApiError::not_found("Redirect"));
    }
    answer.add_keys([redirect_key(from.as_str())]);
    Ok(HttpResponse::NoContent().finish())
}
