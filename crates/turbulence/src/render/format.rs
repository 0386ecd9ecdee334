//! Numbers, times and lists of documents.

use indicatif::HumanCount;
use models::ContentType;
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

/// Returns the name of a collection of a site as a noun for so many of its documents.
pub(crate) fn noun<C: TryInto<u64>>(count: C, collection: &'static str) -> &'static str {
    if !matches!(count.try_into(), Ok(1)) {
        return collection;
    }
    let kind = ContentType::ALL.into_iter().find(|kind| kind.collection() == collection);
    // The words for users and sections are regular.
    kind.map_or_else(|| collection.trim_end_matches('s'), ContentType::as_str)
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
    fn one_of_something_is_a_singular() {
        assert_eq!(counted(1_u64, "change", "changes"), "1 change");
        assert_eq!(counted(0_u64, "change", "changes"), "0 changes");
        assert_eq!(counted(1_234_i64, "change", "changes"), "1,234 changes");
        for (count, collection, expected) in [
            (1, "stories", "story"),
            (2, "stories", "stories"),
            (1, "users", "user"),
            (1, "sections", "section"),
            (0, "sections", "sections"),
        ] {
            assert_eq!(noun(count, collection), expected);
        }
    }

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
