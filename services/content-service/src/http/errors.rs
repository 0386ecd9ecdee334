//! The answers to requests whose content cannot be read or changed.

use data_service::{Abort, database_error};
use models::{ErrorCode, FieldError};
use service_kit::web::error::ApiError;

use crate::{
    domain::content::ContentIds,
    store::{
        ids::NoItem, kind::Kind, moves::MoveError, page_memory::TooManyLargePages,
        write::WriteError,
    },
};

/// The largest number of ids that a message names.
const NAMED_IDS: usize = 5;

/// Answers an id that leads to no item.
pub(super) fn no_item<K: Kind>(reason: NoItem) -> ApiError {
    match reason {
        NoItem::NotFound => ApiError::not_found(K::NAME),
        NoItem::InvalidId => {
            let detail = format!("Invalid {} ID format", K::NAME.to_lowercase());
            ApiError::new(ErrorCode::InvalidId, detail)
        }
    }
}

/// Answers a list that cannot be read.
pub(super) fn list_error(error: mongodb::error::Error) -> ApiError {
    if error.get_custom::<TooManyLargePages>().is_some() {
        let detail = "Too many large pages are read at the same time. Try again in a second.";
        return ApiError::new(ErrorCode::Overloaded, detail).retry_after_seconds(1);
    }
    database_error(error)
}

pub(super) fn not_written<K: Kind>(abort: Abort<WriteError>) -> ApiError {
    match abort {
        Abort::Database(error) => database_error(error),
        Abort::Refused(WriteError::NoItem(reason)) => no_item::<K>(reason),
        Abort::Refused(WriteError::NoRevision) => ApiError::not_found("Revision"),
        Abort::Refused(WriteError::SlugTaken(slug)) => slug_taken(K::NAME, &slug),
        Abort::Refused(WriteError::KeyReused(error)) => error.into(),
        Abort::Refused(WriteError::Refused(error)) => error,
    }
}

/// Answers a slug that another item of a kind has.
pub(super) fn slug_taken(kind: &str, slug: &str) -> ApiError {
    let detail = format!("Another {} already has the slug `{slug}`.", kind.to_lowercase());
    ApiError::new(ErrorCode::SlugTaken, detail)
}

pub(super) fn not_moved(abort: Abort<MoveError>) -> ApiError {
    let invalid = |field, message| ApiError::invalid(FieldError::invalid(field, message));
    match abort {
        Abort::Database(error) => database_error(error),
        Abort::Refused(MoveError::Refused(error)) => error,
        Abort::Refused(MoveError::TooMany) => {
            let message = format!("has more than {} items: move them by ids", ContentIds::MAX);
            invalid("content.section_id", message)
        }
        Abort::Refused(MoveError::Missing(ids)) => {
            let named: Vec<_> = ids.iter().take(NAMED_IDS).map(ToString::to_string).collect();
            let more = ids.len().saturating_sub(NAMED_IDS);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            invalid("content.ids", format!("there is no {}{more}", named.join(", ")))
        }
    }
}
