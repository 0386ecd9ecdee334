//! What is answered where content cannot be read or changed.

use data_service::{Abort, database_error};
use models::{ErrorCode, FieldError, ObjectId};
use mongo_kit::document::Unreadable;
use service_kit::ApiError;

use crate::store::{Kind, MoveError, ReadError, WriteError};

/// The most ids that a message names.
const NAMED_IDS: usize = 5;

pub(super) fn read<K: Kind, T>(item: Result<Option<T>, ReadError>) -> Result<Option<T>, ApiError> {
    item.map_err(|error| match error {
        ReadError::Database(error) => database_error(error),
        ReadError::Unreadable(error) => unreadable::<K>(error),
    })
}

pub(super) fn found<K: Kind, T>(item: Result<Option<T>, ReadError>) -> Result<T, ApiError> {
    read::<K, _>(item)?.ok_or_else(|| ApiError::not_found(K::NAME))
}

pub(super) fn not_written<K: Kind>(abort: Abort<WriteError>) -> ApiError {
    match abort {
        Abort::Database(error) => database_error(error),
        Abort::Refused(WriteError::NotFound) => ApiError::not_found(K::NAME),
        Abort::Refused(WriteError::Unreadable(error)) => unreadable::<K>(error),
        Abort::Refused(WriteError::SlugTaken(slug)) => {
            let thing = K::NAME.to_lowercase();
            let detail = format!("Another {thing} has the slug `{slug}` by now.");
            ApiError::new(ErrorCode::SlugTaken, detail)
        }
        Abort::Refused(WriteError::KeyReused(error)) => error.into(),
        Abort::Refused(WriteError::Refused(error)) => error,
    }
}

pub(super) fn not_moved(abort: Abort<MoveError>) -> ApiError {
    let invalid = |field, message| ApiError::invalid(FieldError::invalid(field, message));
    match abort {
        Abort::Database(error) => database_error(error),
        Abort::Refused(MoveError::Refused(error)) => error,
        Abort::Refused(MoveError::TooMany) => {
            let message = format!("has more than {} items: move them by ids", models::Ids::MAX);
            invalid("content.section_id", message)
        }
        Abort::Refused(MoveError::Missing(ids)) => {
            let named: Vec<_> = ids.iter().take(NAMED_IDS).map(ObjectId::to_string).collect();
            let more = ids.len().saturating_sub(NAMED_IDS);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            invalid("content.ids", format!("there is no {}{more}", named.join(", ")))
        }
    }
}

fn unreadable<K: Kind>(error: Unreadable) -> ApiError {
    let detail = format!(
        "{} is stored in a shape that cannot be read. The trace id leads to the log.",
        K::NAME
    );
    ApiError::new(ErrorCode::UnreadableDocument, detail).because(error)
}
