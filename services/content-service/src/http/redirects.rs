//! Redirects. All of these routes are for admins.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::LOCATION},
    web::Data,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use data_service::{Abort, changes::Answer, database_error};
use models::{ErrorCode, FieldError, PathResolution};
use mongodb::ClientSession;
use serde::{Deserialize, Deserializer, de::Error as _};
use service_kit::{
    auth::extract::{Admin, Authenticated},
    web::{body::JsonBody, conditional::json_response, error::ApiError, extract::Query},
};
use url::form_urlencoded;
use utoipa::IntoParams;

use super::{
    error_sets::{RedirectCreateErrors, RedirectDeleteErrors, RedirectReadErrors},
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

/// Everything that decides where redirects lead.
struct Redirecting {
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
    async fn check(&self, new: &RedirectCreate) -> Result<(), ApiError> {
        let from = new.from.as_str();
        if let Some(present) = self.relocation().present(from).await? {
            let detail = format!(
                "A section or an item is at `{from}` (its path is `{present}`), so that the redirect \
                 would not be used. Give it another slug or delete it first."
            );
            return Err(ApiError::new(ErrorCode::Conflict, detail));
        }
        let missing = |field: &str, message: String| {
            Err(ApiError::invalid(FieldError::invalid(field, message)))
        };
        match &new.to {
            RedirectTarget::Address(_) => Ok(()),
            RedirectTarget::Section(section) => {
                match self.sections.by_id(section.id).filter(|entry| !entry.is_deleted) {
                    Some(_) => Ok(()),
                    None => missing("to.section.id", "there is no such section".to_owned()),
                }
            }
            RedirectTarget::Item(item) => {
                let collection = self.collections.of(item.kind);
                let name = collection.kind().name().to_lowercase();
                let paths = super::sections::paths(None, collection, &self.answer).await?;
                match collection.by_id(&item.id, &paths).await.map_err(database_error)? {
                    Some(_) => Ok(()),
                    None => missing("to.item.id", format!("there is no {name} with this id")),
                }
            }
        }
    }

    /// Requires that the addresses after a redirect come to an end.
    ///
    /// Content at one of them is not looked at: it may be deleted later.
    async fn check_chain(
        &self,
        new: &RedirectCreate,
        session: &mut ClientSession,
    ) -> Result<(), Abort<ApiError>> {
        let mut chain = vec![new.from.as_str().to_owned()];
        let mut target = Some(new.to.clone());
        let mut at: Option<SitePath> = None;
        while chain.len() <= MAX_HOPS {
            if let Some(target) = target.take() {
                let RedirectTarget::Address(address) = target else { return Ok(()) };
                match address.destination(self.redirects.site_url()) {
                    Destination::Elsewhere(_) => return Ok(()),
                    Destination::Path(path) => at = Some(path),
                }
            }
            let Some(path) = at.take() else { return Ok(()) };
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
                return Err(Abort::Refused(ApiError::new(ErrorCode::Conflict, detail)));
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
        Err(Abort::Refused(ApiError::invalid(FieldError::invalid("to", message))))
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
    let cursor = |direction: &str, redirect: Option<&StoredRedirect>| {
        let place = format!("{direction}{}", redirect?.from.as_str());
        Some(URL_SAFE_NO_PAD.encode(place))
    };
    let next_cursor = cursor(">", page.items.last().filter(|_| page.has_next));
    let previous_cursor = cursor("<", page.items.first().filter(|_| page.has_previous));
    let mut items = Vec::with_capacity(page.items.len());
    for redirect in page.items {
        items.push(redirecting.answered(redirect).await?);
    }
    let (total, limit) = (page.total, limit.get());
    json_response(&request, &RedirectList { items, total, limit, next_cursor, previous_cursor })
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

/// Adds a redirect.
///
/// For admins. `/resolve` answers the old path with the address of the target from now on, unless a section
/// or an item is at the path. A redirect that is there already is answered as it is.
#[utoipa::path(
    post,
    operation_id = "redirects_create",
    path = "/redirects",
    tag = "redirects",
    params(CreateQuery),
    request_body = RedirectCreate,
    responses(
        (status = 201, description = "The new redirect.", body = Redirect,
            headers(("Location", description = "The path of the redirect in the API."))),
        (status = 200, description = "The redirect was there, or has replaced another one.",
            body = Redirect),
        RedirectCreateErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn create(
    signed: Authenticated<Admin, (JsonBody<RedirectCreate>, Query<CreateQuery>)>,
    sections: Data<Sections>,
    collections: Data<Collections>,
    redirects: Data<RedirectStore>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(_, (JsonBody(body), Query(CreateQuery { replace }))) = signed;
    let sections = sections.now().await?;
    let own_answer = Answer::default();
    let redirecting = Redirecting { sections, collections, redirects, answer: own_answer };
    redirecting.check(&body).await?;
    if redirecting.redirects.count().await.map_err(database_error)? >= MAX_REDIRECTS {
        let detail = format!("There are {MAX_REDIRECTS} redirects already. Delete some first.");
        return Err(ApiError::new(ErrorCode::Conflict, detail));
    }
    let check = async |session: &mut ClientSession| redirecting.check_chain(&body, session).await;
    let put = redirecting.redirects.put(&body, replace, check).await.map_err(not_put)?;
    let (status, redirect) = match put {
        Put::Created(redirect) => (StatusCode::CREATED, redirect),
        Put::Changed(redirect) | Put::Unchanged(redirect) => (StatusCode::OK, redirect),
    };
    let from = redirect.from.as_str();
    answer.add_keys([redirect_key(from)]);
    let mut response = HttpResponse::build(status);
    if status == StatusCode::CREATED {
        let from: String = form_urlencoded::byte_serialize(from.as_bytes()).collect();
        response.insert_header((LOCATION, format!("/redirects?from={from}")));
    }
    Ok(response.json(redirecting.answered(redirect).await?))
}

fn not_put(abort: Abort<PutError>) -> ApiError {
    match abort {
        Abort::Database(error) => database_error(error),
        Abort::Refused(PutError::Refused(error)) => error,
        Abort::Refused(PutError::Taken(present)) => {
            let target = match &present.to {
                RedirectTarget::Address(address) => format!("`{}`", String::from(address.clone())),
                RedirectTarget::Section(section) => format!("the section {}", section.id),
                RedirectTarget::Item(item) => format!("`/{}/{}`", item.kind.collection(), item.id),
            };
            let detail = format!(
                "`{}` has a redirect already, to {target} with the status {}. Delete it first, or send \
                 `replace=true`.",
                present.from.as_str(),
                present.status.code()
            );
            ApiError::new(ErrorCode::Conflict, detail)
        }
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
    let deleted = redirects.delete(&from).await.map_err(ApiError::from)?;
    if !deleted {
        return Err(ApiError::not_found("Redirect"));
    }
    answer.add_keys([redirect_key(from.as_str())]);
    Ok(HttpResponse::NoContent().finish())
}
