//! Percent-encoding of the paths of the site and of the slugs in them.
//!
//! Content that was taken over has slugs with slashes (`2015/02/hello-world`), capitals, spaces,
//! percent signs and letters of any script. A path such as `/blog/2015/02/hello-world` leads to them
//! whether it is percent-encoded, as in `location.pathname`, or decoded, as in the routers of
//! frontends.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use unicode_normalization::UnicodeNormalization;

/// The characters that are escaped: all but `pchar` of RFC 3986 (§3.3) and the slash.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');

/// Maximum length in bytes of a text that is looked up in other spellings too. No browser opens a longer
/// path reliably.
const MAX_RESPELLED_BYTES: usize = 2048;

/// Appends a slug to a path. The slug is percent-encoded, keeps its inner slashes and loses those around
/// it.
///
/// ```
/// # use models::site_path::join;
/// assert_eq!(join("/blog", "2015/02/hello-world"), "/blog/2015/02/hello-world");
/// assert_eq!(join("/blog", "/100% Café/"), "/blog/100%25%20Caf%C3%A9");
/// assert_eq!(join("", "blog"), "/blog");
/// ```
pub fn join(path: &str, slug: &str) -> String {
    let slug = slug.trim_matches('/');
    format!("{}/{}", path.trim_end_matches('/'), utf8_percent_encode(slug, ESCAPED))
}

/// Returns the canonical form of a path, percent-encoded as [`join`] does it.
///
/// ```
/// # use models::site_path::canonical;
/// assert_eq!(canonical("/caf%c3%a9/a b"), "/caf%C3%A9/a%20b");
/// ```
pub fn canonical(path: &str) -> String {
    rewritten(path, |segment| segment)
}

/// Returns a key that is equal for paths that differ only in the way in which they are percent-encoded,
/// in their Unicode normalization form and in slashes at the end.
///
/// ```
/// # use models::site_path::path_key;
/// assert_eq!(path_key("/cafe\u{301}/a b/"), "/caf%C3%A9/a%20b");
/// assert_eq!(path_key("/"), "/");
/// ```
pub fn path_key(path: &str) -> String {
    let key = rewritten(path, |segment| segment.nfc().collect());
    match key.trim_end_matches('/') {
        "" => "/".to_owned(),
        key => key.to_owned(),
    }
}

/// Writes a path in one way, after a change to its decoded segments.
fn rewritten(path: &str, change: impl Fn(String) -> String) -> String {
    let segments = path.split('/').map(|segment| {
        let decoded = change(decode(segment).unwrap_or_else(|| segment.to_owned()));
        // An encoded slash does not separate segments.
        utf8_percent_encode(&decoded, ESCAPED).to_string().replace('/', "%2F")
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Returns the texts that a part of a path may stand for: itself, and its percent-decoded form if that
/// differs.
pub fn readings(text: &str) -> Vec<String> {
    let mut readings = vec![text.to_owned()];
    readings.extend(decode(text));
    readings
}

/// Returns a key that is equal for slugs which differ only in the slashes around them and in their
/// Unicode normalization form.
pub fn slug_key(slug: &str) -> String {
    slug.trim_matches('/').nfc().collect()
}

/// Returns the stored slugs that a text from a path or a URL may stand for, the likeliest first:
///
/// 1. the text as it is, then percent-decoded;
/// 2. these in the normalization forms C and D of Unicode;
/// 3. these percent-encoded, with digits of either case, as some systems store slugs that are not ASCII;
/// 4. each of them with and without a slash in front and behind.
///
/// An empty text stands only for itself.
///
/// ```
/// # use models::site_path::slug_spellings;
/// assert_eq!(slug_spellings("hello"), ["hello", "/hello", "hello/", "/hello/"]);
/// ```
pub fn slug_spellings(text: &str) -> Vec<String> {
    let mut spellings = Spellings::default();
    if text.trim_matches('/').is_empty() || text.len() > MAX_RESPELLED_BYTES {
        spellings.add(text.to_owned());
        return spellings.0;
    }
    for reading in readings(text) {
        spellings.add(reading);
    }
    spellings.extend(|text| vec![text.nfc().collect(), text.nfd().collect()]);
    spellings.extend(|text| {
        if text.contains('%') {
            return Vec::new();
        }
        let upper = utf8_percent_encode(text, ESCAPED).to_string();
        vec![lower_escapes(&upper), upper]
    });
    spellings.extend(|text| {
        let bare = text.trim_matches('/');
        vec![bare.to_owned(), format!("/{bare}"), format!("{bare}/"), format!("/{bare}/")]
    });
    spellings.0
}

/// Distinct texts in the order in which they were added.
#[derive(Default)]
struct Spellings(Vec<String>);

impl Spellings {
    fn add(&mut self, text: String) {
        if !self.0.contains(&text) {
            self.0.push(text);
        }
    }

    /// Adds the texts that a function returns for each of the present ones.
    fn extend(&mut self, make: impl Fn(&str) -> Vec<String>) {
        for text in self.0.clone() {
            make(&text).into_iter().for_each(|made| self.add(made));
        }
    }
}

/// Percent-decodes a text once. Invalid escapes stay as they are. Returns `None` if nothing changes or
/// the result is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    (decoded != text).then(|| decoded.into_owned())
}

/// Writes the digits of escapes in lower case. Other capitals stay: slugs are case-sensitive.
fn lower_escapes(encoded: &str) -> String {
    let mut digits = 0_u8;
    let lower = encoded.chars().map(|character| {
        if character == '%' {
            digits = 2;
            return character;
        }
        let is_digit = digits > 0;
        digits = digits.saturating_sub(1);
        if is_digit { character.to_ascii_lowercase() } else { character }
    });
    lower.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_written_in_one_way() {
        for (path, written) in [
            ("/blog", "/blog"),
            ("/a b/Café", "/a%20b/Caf%C3%A9"),
            ("/a%20b/caf%c3%a9", "/a%20b/caf%C3%A9"),
            ("/100%/50%25", "/100%25/50%25"),
            ("/a%2fb", "/a%2Fb"),
            ("/a?b#c\\d", "/a%3Fb%23c%5Cd"),
            ("/%ff", "/%25ff"),
            ("/a:b@c;d=e,f!g$h&i'j(k)l*m+n~o_p", "/a:b@c;d=e,f!g$h&i'j(k)l*m+n~o_p"),
            ("//", "//"),
        ] {
            assert_eq!(canonical(path), written, "{path}");
        }
        assert_eq!(join("/", "x"), "/x");
    }

    #[test]
    fn spellings_of_a_path_have_one_key() {
        let same = ["/café/a b", "/cafe\u{301}/a%20b//", "/caf%C3%A9/a b/", "/caf%c3%a9/a%20b"];
        assert_eq!(same.map(path_key), same.map(|_| "/caf%C3%A9/a%20b".to_owned()));
        for (path, key) in
            [("", "/"), ("//", "/"), ("/A", "/A"), ("/a%2fb", "/a%2Fb"), ("/%", "/%25")]
        {
            assert_eq!(path_key(path), key, "{path}");
        }
    }

    #[test]
    fn a_plain_slug_is_looked_up_with_and_without_slashes_around_it() {
        assert_eq!(slug_spellings("hello"), ["hello", "/hello", "hello/", "/hello/"]);
        assert_eq!(slug_spellings("hello/"), ["hello/", "hello", "/hello", "/hello/"]);
        assert_eq!(slug_spellings(""), [""]);
        assert_eq!(slug_spellings("//"), ["//"]);
        let long = "é".repeat(2_000);
        assert_eq!(slug_spellings(&long), [long]);
    }

    #[test]
    fn a_slug_is_found_however_a_path_writes_it() {
        for (stored, written) in [
            ("2015/02/hello-world", "2015%2F02%2Fhello-world"),
            ("CamelCase", "%43amelCase"),
            ("100%", "100%25"),
            ("100%", "100%"),
            ("100%25", "100%25"),
            ("a%2Fb", "a%252Fb"),
            ("café", "caf%C3%A9"),
            ("cafe\u{301}", "café"),
            ("café", "cafe\u{301}"),
            ("%d0%bf%d1%80", "пр"),
            ("%D0%BF%D1%80", "%d0%bf%d1%80"),
            ("/%d0%bf/", "п"),
            ("what?", "what%3F"),
            ("a\\b", "a%5Cb"),
            ("v1..2", "v1..2"),
        ] {
            assert!(slug_spellings(written).iter().any(|one| one == stored), "{stored} {written}");
        }
        for (stored, written) in [("camelcase", "CamelCase"), ("a/b", "a%252Fb"), ("a", "b")] {
            assert!(!slug_spellings(written).iter().any(|one| one == stored), "{stored} {written}");
        }
    }

    proptest! {
        #[test]
        fn the_end_of_a_path_names_the_slug_that_it_was_made_of(slug in "[^/\u{0}].{0,40}") {
            // One slash at the end is tolerated; several are another text.
            prop_assume!(!slug.ends_with("//"));
            let path = join("/blog", &slug);
            let end = path.strip_prefix("/blog/").unwrap();
            prop_assert!(end.bytes().all(|byte| byte.is_ascii_graphic()), "{}", end);
            prop_assert!(slug_spellings(end).contains(&slug), "{}", end);
            prop_assert_eq!(canonical(&path), path);
        }

        #[test]
        fn a_text_means_itself_first_and_nothing_twice(text in ".{0,60}") {
            let spellings = slug_spellings(&text);
            prop_assert_eq!(&spellings[0], &text);
            let different: std::collections::HashSet<_> = spellings.iter().collect();
            prop_assert_eq!(different.len(), spellings.len());
            prop_assert!(spellings.len() <= 6 * 3 * 5);
        }

        #[test]
        fn writing_a_path_again_changes_nothing(path in "(/[%0-9a-fA-F é.]{0,6}){0,5}") {
            let written = canonical(&path);
            prop_assert_eq!(canonical(&written), written);
        }
    }
}
