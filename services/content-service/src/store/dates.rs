//! Dates of documents that this service writes itself.

use chrono::{DateTime, Utc};
use mongodb::bson;

/// Returns a date as it is stored: in milliseconds.
pub(crate) fn to_bson(date: DateTime<Utc>) -> bson::DateTime {
    bson::DateTime::from_millis(date.timestamp_millis())
}

/// Returns a stored date, or the earliest or latest one that can be written if it is beyond them.
pub(crate) fn from_bson(date: bson::DateTime) -> DateTime<Utc> {
    let latest = || match date.timestamp_millis() {
        ..0 => DateTime::<Utc>::MIN_UTC,
        _ => DateTime::<Utc>::MAX_UTC,
    };
    DateTime::from_timestamp_millis(date.timestamp_millis()).unwrap_or_else(latest)
}
