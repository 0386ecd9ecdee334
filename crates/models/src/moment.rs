//! Dates in requests.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

use crate::schema::schema;

/// A moment with the precision of BSON, which is a millisecond.
///
/// It is written in RFC 3339. The formats of HTML forms are read too: a date without a time is midnight
/// UTC, and a time without a zone is UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(DateTime<Utc>);

schema!(
    Moment,
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
);

/// The text is no date of the years 1 to 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a date of the years 1 to 9999 such as 2026-05-01T09:30:00Z (RFC 3339)")]
pub struct InvalidMoment;

impl From<Moment> for DateTime<Utc> {
    fn from(date: Moment) -> Self {
        date.0
    }
}

impl TryFrom<DateTime<Utc>> for Moment {
    type Error = InvalidMoment;

    fn try_from(date: DateTime<Utc>) -> Result<Self, InvalidMoment> {
        use chrono::Datelike;
        let date = DateTime::from_timestamp_millis(date.timestamp_millis()).ok_or(InvalidMoment)?;
        // RFC 3339 has four digits for the year.
        if (1..=9999).contains(&date.year()) { Ok(Self(date)) } else { Err(InvalidMoment) }
    }
}

impl TryFrom<String> for Moment {
    type Error = InvalidMoment;

    fn try_from(text: String) -> Result<Self, InvalidMoment> {
        let local =
            |format| NaiveDateTime::parse_from_str(&text, format).map(|date| date.and_utc());
        DateTime::parse_from_rfc3339(&text)
            .map(|date| date.to_utc())
            .or_else(|_| local("%Y-%m-%dT%H:%M:%S%.f"))
            .or_else(|_| local("%Y-%m-%dT%H:%M"))
            .or_else(|_| text.parse().map(|day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc()))
            .map_err(|_| InvalidMoment)?
            .try_into()
    }
}

impl From<Moment> for String {
    fn from(date: Moment) -> Self {
        date.0.to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_of_clients_and_forms_are_understood() {
        for (text, date) in [
            ("2026-05-01T09:30:00Z", "2026-05-01T09:30:00.000Z"),
            ("2026-05-01T11:30:00.123456+02:00", "2026-05-01T09:30:00.123Z"),
            ("2026-05-01T09:30:00.5", "2026-05-01T09:30:00.500Z"),
            ("2026-05-01T09:30", "2026-05-01T09:30:00.000Z"),
            ("2026-05-01", "2026-05-01T00:00:00.000Z"),
        ] {
            assert_eq!(String::from(Moment::try_from(text.to_owned()).unwrap()), date);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "yesterday", "2026-13-01", "01/05/2026", "1777620600", "+12026-01-01"] {
            assert_eq!(Moment::try_from(text.to_owned()), Err(InvalidMoment), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_date_survives_its_text(text in ".*", millis in -62_000_000_000_000i64..253_000_000_000_000) {
            let _ = Moment::try_from(text);
            let date = Moment::try_from(DateTime::from_timestamp_millis(millis).unwrap()).unwrap();
            prop_assert_eq!(Moment::try_from(String::from(date)), Ok(date));
        }
    }
}
