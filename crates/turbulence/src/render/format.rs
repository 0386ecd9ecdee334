//! Numbers, times and lists of documents.

use indicatif::HumanCount;
use mongo_kit::lenient::id_text;
use mongodb::bson::Bson;

/// Number of documents that are named as examples.
const EXAMPLES: usize = 3;

/// Returns the first of some documents, and an ellipsis if there are more.
pub(super) fn documents(some: &[Bson], count: i64) -> String {
    let mut shown: Vec<_> = some.iter().take(EXAMPLES).map(id_text).collect();
    if count > i64::try_from(shown.len()).unwrap_or(i64::MAX) {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

/// Returns a number with the noun in the form that belongs to it.
pub(crate) fn counted(count: impl TryInto<i64>, one: &str, many: &str) -> String {
    let count = count.try_into().unwrap_or(i64::MAX);
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// Returns a number with thousands separators.
pub(super) fn number(number: i64) -> String {
    HumanCount(number.max(0).unsigned_abs()).to_string()
}

/// Returns a time in seconds in the largest unit that is precise enough for a person.
pub(super) fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "an i64 of seconds is long enough")]
    let seconds = seconds.round() as i64;
    match seconds {
        ..1 => "less than 1 s".to_owned(),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

/// Removes the id of a migration from the beginning of a message that is printed next to the id.
pub(super) fn without_id<'a>(id: &str, message: &'a str) -> &'a str {
    let rest = message.strip_prefix(id).unwrap_or(message);
    rest.trim_start_matches(':').trim_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_the_unit_that_fits() {
        for (seconds, expected) in [
            (0.3, "less than 1 s"),
            (1.4, "1 s"),
            (119.4, "119 s"),
            (120.0, "2 min"),
            (7_199.0, "119 min"),
            (7_200.0, "2 h"),
            (f64::INFINITY, "2562047788015215 h"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }
}
