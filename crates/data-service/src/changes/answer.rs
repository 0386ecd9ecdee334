//! The headers that say what an answer depends on.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    convert::Infallible,
    future::{Ready, ready},
    rc::Rc,
};

use actix_web::{
    Error, FromRequest, HttpMessage, HttpRequest,
    body::MessageBody,
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use models::changes::Revision;
use service_kit::web::changes::{REVISIONS, Revisions, SURROGATE_KEY};

use super::{Changes, Moment, Source, Validity};

/// The largest size of the header with the keys, in bytes. An answer with more is not kept by anybody.
const MAX_KEYS_BYTES: usize = 8 * 1024;

/// The record of what the answer to a request depends on. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Answer(Rc<RefCell<Record>>);

#[derive(Debug, Default)]
struct Record {
    /// The states that the caller knows.
    known: Revisions,
    /// The moment before the first read; `None` if changes are not heard.
    own: Option<Moment>,
    /// The earliest state of the sections that content-service has used, if it has used any. `None` for
    /// one that is unknown.
    sections: Option<Option<Revision>>,
    keys: BTreeSet<String>,
}

impl Answer {
    /// Returns the record of the answer to a request.
    pub fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// Adds keys: those that the answer depends on, or those that a write has changed.
    pub fn add_keys(&self, keys: impl IntoIterator<Item = String>) {
        self.0.borrow_mut().keys.extend(keys);
    }

    /// Records that a part of the answer is that of a state of this service's database, which may be
    /// earlier than the request.
    pub fn limit(&self, revision: Revision) {
        let mut record = self.0.borrow_mut();
        if let Some(own) = &mut record.own {
            own.revision = own.revision.min(revision);
        }
    }

    /// Records a state of the sections that the answer was made with, in content-service. `None` is one
    /// that is unknown.
    pub fn limit_sections(&self, revision: Option<Revision>) {
        let mut record = self.0.borrow_mut();
        record.sections = Some(record.sections.map_or(revision, |other| other.min(revision)));
    }

    /// Returns the keys so far, and the validity of the answer as far as it depends on this service.
    /// Returns `None` if changes are not heard.
    pub fn validity(&self, changes: &Changes) -> Option<(Vec<String>, Validity)> {
        let record = self.0.borrow();
        let validity = changes.validity_since(record.own?, record.keys.iter().map(String::as_str));
        Some((record.keys.iter().cloned().collect(), validity))
    }

    /// Returns the state of the sections that the caller knows.
    pub fn known_sections(&self) -> Option<Revision> {
        self.0.borrow().known.sections
    }
}

impl FromRequest for Answer {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}

/// The middleware: waits for the changes that the caller knows, and adds the headers to the answer.
pub(crate) async fn describe_answers(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let Some(changes) = request.app_data::<Data<Changes>>().cloned() else {
        return next.call(request).await;
    };
    let source = changes.0.source;
    let mut known = request
        .headers()
        .get(REVISIONS)
        .and_then(|value| value.to_str().ok()?.parse::<Revisions>().ok());
    if let Some(own) = known.as_mut().and_then(|known| *source.of(known)?) {
        changes.catch_up(own).await;
    }
    // The state before the first read.
    let own = changes.is_live().then(|| changes.moment());
    let record = Record { known: known.unwrap_or_default(), own, ..Record::default() };
    let answer = Answer(Rc::new(RefCell::new(record)));
    request.extensions_mut().insert(answer.clone());
    let is_read = request.method().is_safe();
    let mut response = next.call(request).await?;
    let status = response.status();
    let mut record = answer.0.borrow_mut();
    if is_read {
        let is_answer = status.is_success()
            || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::NOT_FOUND);
        record.own = record.own.filter(|_| is_answer);
    } else if status.is_server_error() {
        // It may have been done all the same.
        let families = changes.0.families.iter();
        record.keys = families.flat_map(|family| family.public.iter().cloned()).collect();
        let revision = changes.0.clock.newest().next();
        record.own = Some(Moment { revision, ..changes.moment() });
    } else {
        record.own = Some(changes.moment());
    }
    add_headers(response.headers_mut(), source, &record);
    drop(record);
    Ok(response)
}

fn add_headers(headers: &mut HeaderMap, source: Source, record: &Record) {
    let keys = record.keys.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let Some(own) = record.own.filter(|_| !keys.is_empty() && keys.len() <= MAX_KEYS_BYTES) else {
        return;
    };
    let sections = record.sections.flatten();
    let mut revisions = Revisions { sections, ..Revisions::default() };
    if let Some(own_revision) = source.of(&mut revisions) {
        *own_revision = Some(own.revision);
    }
    let values = (HeaderValue::from_str(&keys), HeaderValue::from_str(&revisions.to_string()));
    if let (Ok(keys), Ok(revisions)) = values {
        headers.insert(HeaderName::from_static(SURROGATE_KEY), keys);
        headers.insert(HeaderName::from_static(REVISIONS), revisions);
    }
}
