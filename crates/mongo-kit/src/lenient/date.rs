//! Dates in the shapes that other programs have stored.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use mongodb::bson::{Bson, RawBsonRef};
use serde_json::Value as Json;

/// The most bytes of a text that is parsed: every date fits, and a long text costs nothing.
const MAX_TEXT_BYTES: usize = 128;

/// Formats of a day.
const DAYS: [&str; 3] = ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"];

/// Formats of a time of day.
const TIMES: [&str; 2] = ["%H:%M:%S%.f", "%H:%M"];

/// Formats of a date and time in words, without a zone.
const IN_WORDS: [&str; 6] = [
    "%a %b %d %Y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%B %d, %Y %H:%M:%S",
    "%B %d, %Y %H:%M",
    "%d %B %Y %H:%M:%S",
    "%d %B %Y %H:%M",
];

/// Formats of a day in words.
const DAYS_IN_WORDS: [&str; 2] = ["%B %d, %Y", "%d %B %Y"];

/// The date that a stored value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredDate {
    /// No date.
    Absent,
    /// A date.
    Date(DateTime<Utc>),
    /// A value whose meaning is not clear.
    Unclear,
}

impl StoredDate {
    fn of(date: Option<DateTime<Utc>>) -> Self {
        date.map_or(Self::Unclear, Self::Date)
    }

    /// Returns the date, or `None` if there is none or its meaning is not clear.
    pub fn date(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Date(date) => Some(date),
            Self::Absent | Self::Unclear => None,
        }
    }
}

/// Reads a date: a BSON date or timestamp; text in ISO 8601, RFC 2822 or as JavaScript and C print
/// it, UTC unless it names a zone; a number of 10 digits (seconds since 1970) or a whole number of
/// 13 digits (milliseconds); Extended JSON that was stored as text or as a document.
pub fn stored_date(value: RawBsonRef<'_>) -> StoredDate {
    match value {
        RawBsonRef::Null | RawBsonRef::Undefined => StoredDate::Absent,
        RawBsonRef::DateTime(date) => from_millis(date.timestamp_millis()),
        RawBsonRef::Timestamp(timestamp) => from_millis(i64::from(timestamp.time) * 1_000),
        RawBsonRef::Int32(number) => from_number(number.into()),
        RawBsonRef::Int64(number) => from_number(number),
        RawBsonRef::Double(number) => from_double(number),
        RawBsonRef::Decimal128(number) => {
            number.to_string().parse().map_or(StoredDate::Unclear, from_double)
        }
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => from_text(text),
        RawBsonRef::Document(document) => {
            let mut members = document.iter_elements();
            match (members.next(), members.next()) {
                (Some(Ok(member)), None) if member.key().as_str() == "$date" => {
                    member.value().map_or(StoredDate::Unclear, from_extended)
                }
                _ => StoredDate::Unclear,
            }
        }
        _ => StoredDate::Unclear,
    }
}

/// Reads the date of a text.
fn from_text(text: &str) -> StoredDate {
    let text = text.trim();
    if text.is_empty() || is_zero(text) {
        return StoredDate::Absent;
    }
    if text.len() > MAX_TEXT_BYTES {
        return StoredDate::Unclear;
    }
    if text.starts_with('{') {
        return from_extended_text(text);
    }
    let text = unwrapped(text);
    if let Ok(number) = text.parse() {
        return from_number(number);
    }
    StoredDate::of(iso(text).or_else(|| in_words(text)))
}

/// Returns `true` for the zero date of MySQL, which means no date.
fn is_zero(text: &str) -> bool {
    text.starts_with("0000-00-00")
        && text.chars().all(|c| matches!(c, '0' | '-' | ':' | ' ' | '.' | 'T' | 'Z'))
}

/// Returns the argument of a constructor of the MongoDB shell or of JavaScript: `ISODate("…")`.
fn unwrapped(text: &str) -> &str {
    let inner =
        ["ISODate(", "new Date(", "Date("].iter().find_map(|start| text.strip_prefix(start));
    let inner = inner.and_then(|rest| rest.strip_suffix(')')).unwrap_or(text).trim();
    let quoted = |quote| inner.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    quoted('"').or_else(|| quoted('\'')).unwrap_or(inner).trim()
}

fn from_millis(millis: i64) -> StoredDate {
    StoredDate::of(DateTime::from_timestamp_millis(millis))
}

fn from_number(number: i64) -> StoredDate {
    match number.unsigned_abs().checked_ilog10() {
        Some(9) => from_millis(number * 1_000),
        Some(12) => from_millis(number),
        _ => StoredDate::Unclear,
    }
}

fn from_double(number: f64) -> StoredDate {
    #[expect(clippy::cast_possible_truncation, reason = "at most 13 digits, which are exact")]
    match number.abs() {
        // Seconds with a fraction, as Python counts them.
        1e9..1e10 => from_millis((number * 1_000.0).round() as i64),
        1e12..1e13 if number.fract() == 0.0 => from_millis(number as i64),
        _ => StoredDate::Unclear,
    }
}

/// Reads the value of `$date` in Extended JSON that a program stored instead of a date.
fn from_extended(value: RawBsonRef<'_>) -> StoredDate {
    match value {
        RawBsonRef::Document(_) => match Bson::try_from(value) {
            Ok(value) => from_extended_json(&value.into_relaxed_extjson()),
            Err(_) => StoredDate::Unclear,
        },
        RawBsonRef::Int32(millis) => from_millis(millis.into()),
        RawBsonRef::Int64(millis) => from_millis(millis),
        other => stored_date(other),
    }
}

fn from_extended_text(text: &str) -> StoredDate {
    let Ok(Json::Object(members)) = serde_json::from_str(text) else { return StoredDate::Unclear };
    match members.get("$date") {
        Some(value) if members.len() == 1 => from_extended_json(value),
        _ => StoredDate::Unclear,
    }
}

fn from_extended_json(value: &Json) -> StoredDate {
    match value {
        Json::String(text) => from_text(text),
        // All digits are milliseconds here.
        Json::Number(millis) => millis.as_i64().map_or(StoredDate::Unclear, from_millis),
        Json::Object(members) if members.len() == 1 => {
            let millis = members.get("$numberLong").and_then(Json::as_str);
            let millis = millis.and_then(|text| text.parse().ok());
            millis.map_or(StoredDate::Unclear, from_millis)
        }
        _ => StoredDate::Unclear,
    }
}

/// Reads a date of ISO 8601 with four digits of the year first.
fn iso(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ") {
        return Some(date.and_utc());
    }
    let end = text.find(['T', 't', ' ']).unwrap_or(text.len());
    let (day, rest) = text.split_at(end);
    // Four digits, so that `01/02/2015` is not in the year 1.
    if !day.starts_with(|c: char| c.is_ascii_digit()) || day.find(['-', '/', '.']) != Some(4) {
        return None;
    }
    let day = DAYS.iter().find_map(|format| NaiveDate::parse_from_str(day, format).ok())?;
    let rest = rest.trim_start_matches(['T', 't', ' ']).trim();
    if rest.is_empty() {
        return Some(day.and_time(NaiveTime::MIN).and_utc());
    }
    let (time, offset) = split_zone(rest)?;
    // ISO 8601 allows a comma before the fraction.
    let time = time.replacen(',', ".", 1);
    let time = TIMES.iter().find_map(|format| NaiveTime::parse_from_str(&time, format).ok())?;
    day.and_time(time).and_utc().checked_sub_signed(offset)
}

/// Splits the zone off the end of a time. Returns its offset from UTC, which is 0 without a zone.
fn split_zone(time: &str) -> Option<(&str, chrono::TimeDelta)> {
    let Some(at) = time.find(|c: char| c == '+' || c == '-' || c.is_ascii_alphabetic()) else {
        return Some((time, chrono::TimeDelta::zero()));
    };
    let (time, zone) = time.split_at(at);
    let time = time.trim_end();
    if matches!(zone, "Z" | "z" | "UTC" | "GMT" | "utc" | "gmt") {
        return Some((time, chrono::TimeDelta::zero()));
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replacen(':', "", 1);
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = match digits.len() {
        2 => (digits.parse().ok()?, 0),
        4 => (digits[..2].parse().ok()?, digits[2..].parse().ok()?),
        _ => return None,
    };
    // Zones reach from -12 to +14 hours; RFC 3339 allows up to 23:59.
    if hours > 23 || minutes > 59 {
        return None;
    }
    let minutes = hours * 60 + minutes;
    Some((time, chrono::TimeDelta::minutes(sign * minutes)))
}

fn in_words(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = DateTime::parse_from_rfc2822(text) {
        return Some(date.to_utc());
    }
    // JavaScript puts the name of the zone behind: `… GMT+0100 (Central European Standard Time)`.
    let text = text.split(" (").next().unwrap_or(text);
    if let Ok(date) = DateTime::parse_from_str(text, "%a %b %d %Y %H:%M:%S GMT%z") {
        return Some(date.to_utc());
    }
    let text = text.strip_suffix(" GMT").or_else(|| text.strip_suffix(" UTC")).unwrap_or(text);
    let whole = |format: &&str| NaiveDateTime::parse_from_str(text, format).ok();
    let day = |format: &&str| Some(NaiveDate::parse_from_str(text, format).ok()?.into());
    let date = IN_WORDS.iter().find_map(whole).or_else(|| DAYS_IN_WORDS.iter().find_map(day))?;
    Some(date.and_utc())
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{self, Decimal128, Timestamp, doc};
    use proptest::prelude::*;

    use super::*;

    fn read(value: impl Into<Bson>) -> StoredDate {
        let document = bson::serialize_to_vec(&doc! { "date": value.into() }).unwrap();
        let document = bson::RawDocument::from_bytes(&document).unwrap();
        stored_date(document.get("date").unwrap().unwrap())
    }

    fn text(value: impl Into<Bson>) -> String {
        match read(value) {
            StoredDate::Date(date) => date.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_text_in_a_plain_shape_is_that_date() {
        for (stored, date) in [
            ("2015-02-01", "2015-02-01T00:00:00.000Z"),
            ("2015-2-1", "2015-02-01T00:00:00.000Z"),
            ("2015/02/01", "2015-02-01T00:00:00.000Z"),
            ("2015.02.01", "2015-02-01T00:00:00.000Z"),
            (" 2015-02-01\n", "2015-02-01T00:00:00.000Z"),
            ("2015-02-01T02:12", "2015-02-01T02:12:00.000Z"),
            ("2015-02-01T02:12:37", "2015-02-01T02:12:37.000Z"),
            ("2015-02-01T02:12:37.123", "2015-02-01T02:12:37.123Z"),
            ("2015-02-01T02:12:37,123Z", "2015-02-01T02:12:37.123Z"),
            ("2015-02-01T02:12:37.123456789", "2015-02-01T02:12:37.123Z"),
            ("2015-02-01 02:12:37", "2015-02-01T02:12:37.000Z"),
            ("2015-02-01 02:12", "2015-02-01T02:12:00.000Z"),
            ("2015-02-01t02:12:37z", "2015-02-01T02:12:37.000Z"),
            ("2015-02-01T02:12Z", "2015-02-01T02:12:00.000Z"),
            ("2015-02-01T02:12:37+0100", "2015-02-01T01:12:37.000Z"),
            ("2015-02-01T02:12:37+01:00", "2015-02-01T01:12:37.000Z"),
            ("2015-02-01T02:12:37-08", "2015-02-01T10:12:37.000Z"),
            ("2015-02-01 02:12:37.5 +0530", "2015-01-31T20:42:37.500Z"),
            ("2015-02-01 02:12:37 UTC", "2015-02-01T02:12:37.000Z"),
            ("20150201T021237Z", "2015-02-01T02:12:37.000Z"),
            ("Sun, 01 Feb 2015 02:12:37 +0100", "2015-02-01T01:12:37.000Z"),
            ("01 Feb 2015 02:12:37 GMT", "2015-02-01T02:12:37.000Z"),
            ("Sun Feb 01 2015 02:12:37 GMT+0100 (CET)", "2015-02-01T01:12:37.000Z"),
            ("Sun Feb  1 02:12:37 2015", "2015-02-01T02:12:37.000Z"),
            ("February 1, 2015", "2015-02-01T00:00:00.000Z"),
            ("1 Feb 2015", "2015-02-01T00:00:00.000Z"),
            ("1422756757", "2015-02-01T02:12:37.000Z"),
            ("1422756757123", "2015-02-01T02:12:37.123Z"),
            (r#"{"$date": "2015-02-01T02:12:37Z"}"#, "2015-02-01T02:12:37.000Z"),
            (r#"{"$date":{"$numberLong":"1422756757123"}}"#, "2015-02-01T02:12:37.123Z"),
            (r#"{"$date": 5}"#, "1970-01-01T00:00:00.005Z"),
            (r#"ISODate("2015-02-01T02:12:37Z")"#, "2015-02-01T02:12:37.000Z"),
            ("1815-12-10", "1815-12-10T00:00:00.000Z"),
        ] {
            assert_eq!(text(stored), date, "{stored}");
        }
    }

    #[test]
    fn a_number_of_10_or_13_digits_is_a_moment() {
        for number in [Bson::from(1_422_756_757), 1_422_756_757_i64.into(), 1_422_756_757.0.into()]
        {
            assert_eq!(text(number.clone()), "2015-02-01T02:12:37.000Z", "{number}");
        }
        let decimal: Decimal128 = "1422756757".parse().unwrap();
        assert_eq!(text(decimal), "2015-02-01T02:12:37.000Z");
        for number in [Bson::from(1_422_756_757_123_i64), 1_422_756_757_123.0.into()] {
            assert_eq!(text(number.clone()), "2015-02-01T02:12:37.123Z", "{number}");
        }
        assert_eq!(text(1_422_756_757.25), "2015-02-01T02:12:37.250Z");
        assert_eq!(text(-1_422_756_757), "1924-11-30T21:47:23.000Z");
        assert_eq!(text(Timestamp { time: 5, increment: 1 }), "1970-01-01T00:00:05.000Z");
    }

    #[test]
    fn a_document_of_extended_json_is_its_date() {
        assert_eq!(text(doc! { "$date": "2015-02-01" }), "2015-02-01T00:00:00.000Z");
        assert_eq!(text(doc! { "$date": 1_422_756_757_123_i64 }), "2015-02-01T02:12:37.123Z");
        let canonical = doc! { "$date": { "$numberLong": "1422756757123" } };
        assert_eq!(text(canonical), "2015-02-01T02:12:37.123Z");
    }

    #[test]
    fn nothing_and_zero_are_no_date() {
        for stored in ["", "  ", "0000-00-00 00:00:00", "0000-00-00", "0000-00-00T00:00:00Z"] {
            assert_eq!(read(stored), StoredDate::Absent, "{stored}");
        }
        assert_eq!(read(Bson::Null), StoredDate::Absent);
    }

    #[test]
    fn anything_else_is_unclear() {
        for stored in [
            "yesterday",
            "01/02/2015",
            "1.2.2015",
            "2015-13-01",
            "2015-02-30",
            "2015",
            "2015-02",
            "2015-02-01T25:00",
            "2015-02-01T02:12:37+99:00",
            "2015-02-01T02:12 CEST",
            "20150201",
            "142275675",
            "14227567571",
            "{}",
            r#"{"$date":[]}"#,
            r#"{"$date":1,"x":1}"#,
            "-",
            "+",
            "2015-02-01T02:12:37+ü1",
            "ISODate()",
        ] {
            assert_eq!(read(stored), StoredDate::Unclear, "{stored}");
        }
        for stored in [
            Bson::from(0),
            5.into(),
            20_150_201.into(),
            f64::NAN.into(),
            f64::INFINITY.into(),
            1_422_756_757_123.5.into(),
            i64::MIN.into(),
            true.into(),
            Bson::Array(vec![]),
            doc! {}.into(),
            doc! { "$date": [] }.into(),
            doc! { "$date": "2015-02-01", "x": 1 }.into(),
            bson::DateTime::MAX.into(),
            bson::oid::ObjectId::new().into(),
        ] {
            assert_eq!(read(stored.clone()), StoredDate::Unclear, "{stored}");
        }
        assert_eq!(read(format!("2015-02-01{}", " ".repeat(200) + "x")), StoredDate::Unclear);
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC*", digits in "[0-9TZ:+. -]{0,30}") {
            let _ = (from_text(&text), from_text(&digits));
        }

        #[test]
        fn what_rfc_3339_says_is_read(millis in -62_000_000_000_000_i64..253_000_000_000_000) {
            let date = DateTime::from_timestamp_millis(millis).unwrap();
            prop_assert_eq!(from_text(&date.to_rfc3339()), StoredDate::Date(date));
        }
    }
}
