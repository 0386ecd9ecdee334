//! Refuses ambiguous paths.
//!
//! The gateway routes a request by its path, and the service behind it parses the path again. A path
//! that the two could understand differently is refused, so that no request reaches a route that the
//! gateway does not forward to: dot segments, encoded separators, empty segments, control characters,
//! and bytes that an address may not contain.
//!
//! One segment may contain encoded separators: a slug or page type, as in
//! `/stories/slug/2015%2F02%2Fhello-world`, or the id of an item, as in
//! `/stories/2015%2F02%2Fhello-world` and `/trash/story/2015%2F02%2Fhello-world`. It has no influence on the route; the service decodes it once,
//! after it has selected the route. A dot segment is refused there too, behind any separator.

use std::ops::Range;

use models::ContentType;

/// The reason why a path is refused. The text is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPath {
    #[error("The path has to begin with `/`")]
    NotAbsolute,
    #[error("The path has an empty segment (`//`)")]
    EmptySegment,
    #[error("The path has a segment `.` or `..`")]
    DotSegment,
    #[error("The path has a backslash, plain or percent-encoded")]
    Backslash,
    #[error("The path has a percent-encoded slash")]
    EncodedSlash,
    #[error("The path has a control character, plain or percent-encoded")]
    ControlCharacter,
    #[error("The path has a `%` that is not followed by two hexadecimal digits")]
    MalformedEscape,
    #[error("The path has a character that has to be percent-encoded")]
    NotEncoded,
}

/// The first segments that sections-service owns.
pub(super) const SECTIONS: [&str; 1] = ["sections"];

/// The first segments that media-service owns.
pub(super) const MEDIA: [&str; 2] = ["media", "uploads"];

/// The first segment that the console owns.
pub(crate) const CONSOLE: &str = "console";

/// The second segments of paths whose third segment is a key of any text.
const LOOK_UPS: [&str; 2] = ["slug", "type"];

/// The first segment of paths whose third segment is the id of an item.
const TRASH: &str = "trash";

/// Returns `true` if a `POST` to this path creates something. The services honour `Idempotency-Key`
/// for these requests, and for no others.
pub(crate) fn is_collection(path: &str) -> bool {
    let mut collections = ContentType::ALL.into_iter().map(ContentType::collection).chain(SECTIONS);
    path.strip_prefix('/').is_some_and(|path| collections.any(|one| one == path))
}

/// Checks the path of a request as it is in the request line, without the query.
pub(crate) fn check(path: &str) -> Result<(), InvalidPath> {
    if !path.starts_with('/') {
        return Err(InvalidPath::NotAbsolute);
    }
    if path.contains("//") {
        return Err(InvalidPath::EmptySegment);
    }
    let text = free_text(path).unwrap_or(path.len()..path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let is_text = text.contains(&(path.len() - rest.len() - 1));
        match byte {
            b'%' => match escaped(&mut rest).ok_or(InvalidPath::MalformedEscape)? {
                b'/' | b'\\' if is_text => {}
                b'/' => return Err(InvalidPath::EncodedSlash),
                b'\\' => return Err(InvalidPath::Backslash),
                byte if byte.is_ascii_control() => return Err(InvalidPath::ControlCharacter),
                _ => {}
            },
            b'\\' => return Err(InvalidPath::Backslash),
            byte if byte.is_ascii_control() => return Err(InvalidPath::ControlCharacter),
            byte if !is_path_character(byte) => return Err(InvalidPath::NotEncoded),
            _ => {}
        }
    }
    if has_dot_segment(path) {
        return Err(InvalidPath::DotSegment);
    }
    Ok(())
}

/// Returns the range of a key, with a slash that may follow it, or of the id of an item.
fn free_text(path: &str) -> Option<Range<usize>> {
    let mut parts = path.strip_prefix('/')?.splitn(3, '/');
    let (first, second, text) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    let id_begins = first.len() + 2;
    let text_begins = path.len() - text.len();
    if (LOOK_UPS.contains(&second) || first == TRASH) && !text.trim_end_matches('/').contains('/') {
        return Some(text_begins..path.len());
    }
    // The second segment of a path of content may be an id of any text.
    let is_content = ContentType::ALL.into_iter().any(|kind| kind.collection() == first);
    is_content.then(|| id_begins..id_begins + second.len())
}

/// Returns the segment that determines the route.
pub(crate) fn first_segment(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.split('/').next()
}

/// Returns the byte that the two digits after a `%` encode.
fn escaped(digits: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(digits.next()?).to_digit(16);
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high * 16 + low).ok()
}

/// Returns `true` for the characters of `path` in RFC 3986 §3.3, except `%`.
fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte)
}

/// Returns `true` if the decoded path has a segment `.` or `..`, behind a slash or a backslash.
fn has_dot_segment(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let decoded = lower.replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
    decoded.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    #[test]
    fn ordinary_paths_are_accepted() {
        for path in [
            "/",
            "/sections",
            "/sections/",
            "/stories/slug/caf%C3%A9-%F0%9F%8D%B0",
            "/stories/slug/a.b..c...",
            "/stories/.../.well-known",
            "/stories/100%25",
            "/stories/%252e%252e/x",
            "/stories/a:b@c;d=e,f!g$h&i'j(k)l*m+n~o_p",
            "/stories/slug/2015%2F02%2fhello-world",
            "/stories/slug/%2Fleading",
            "/stories/slug/trailing%2F",
            "/stories/slug/trailing%2F/",
            "/projects/slug/a%5Cb",
            "/sections/slug/%2F%2Fevil.example",
            "/pages/type/a%2Fb",
            "/stories/slug/a%252Fb",
            "/stories/slug/v1..2",
            "/stories/slug/...%2F....",
            "/stories/2015%2F02%2Fx",
            "/pages/a%5Cb/restore",
            "/stories/slug%2Fx",
            "/trash/story/2015%2F02%2Fx",
            "/trash/page/a%5Cb/",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn an_ambiguous_path_is_refused() {
        use InvalidPath::*;
        for (path, reason) in [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("sections", NotAbsolute),
            ("//", EmptySegment),
            ("//evil.example/sections", EmptySegment),
            ("/sections//x", EmptySegment),
            ("/sections//", EmptySegment),
            ("/.", DotSegment),
            ("/..", DotSegment),
            ("/sections/./x", DotSegment),
            ("/sections/../internal", DotSegment),
            ("/sections/%2e%2e/internal", DotSegment),
            ("/sections/.%2E/internal", DotSegment),
            ("/sections/%2e./internal", DotSegment),
            ("/sections/%2E", DotSegment),
            ("/sections\\..\\internal", Backslash),
            ("/sections/%5c..%5Cinternal", Backslash),
            ("/sections%2finternal", EncodedSlash),
            ("/sections/..%2F..%2Finternal", EncodedSlash),
            ("/sections/slug%2Fx", EncodedSlash),
            ("/stories%2Fslug/x", EncodedSlash),
            ("/stories%2Fslug%2Fx", EncodedSlash),
            ("/stories/Slug/a%2Fb", EncodedSlash),
            ("/stories/%73lug/a%2Fb", EncodedSlash),
            ("/stories/x/slug/a%2Fb", EncodedSlash),
            ("/stories/slug/a%2Fb/c", EncodedSlash),
            ("/stories/slug/a%5Cb/restore", Backslash),
            ("/trash/story%2Fx", EncodedSlash),
            ("/trash/story/a%2Fb/c", EncodedSlash),
            ("/trash/story/..%2F..%2Finternal", DotSegment),
            ("/stories/slug//a%2Fb", EmptySegment),
            ("/stories/slug/a\\b", Backslash),
            ("/stories/slug/%2E%2E", DotSegment),
            ("/stories/slug/..%2F..%2Finternal", DotSegment),
            ("/stories/slug/%2e%2E%2finternal", DotSegment),
            ("/stories/slug/a%2F.", DotSegment),
            ("/stories/slug/a%5c..%5Cb", DotSegment),
            ("/stories/slug/a%2F..%5Cb", DotSegment),
            ("/stories/slug/a%00b", ControlCharacter),
            ("/stories/slug/a%2", MalformedEscape),
            ("/sections/\t/x", ControlCharacter),
            ("/sections/%09", ControlCharacter),
            ("/sections/%00", ControlCharacter),
            ("/sections/%0d%0aX-Evil:1", ControlCharacter),
            ("/sections/%1f", ControlCharacter),
            ("/sections/%7F", ControlCharacter),
            ("/sections/\u{7f}", ControlCharacter),
            ("/sections/%", MalformedEscape),
            ("/sections/%2", MalformedEscape),
            ("/sections/%zz", MalformedEscape),
            ("/sections/%+1", MalformedEscape),
            ("/sections/%%2e", MalformedEscape),
            ("/sections/a b", NotEncoded),
            ("/sections/{id}", NotEncoded),
            ("/sections/\"x\"", NotEncoded),
            ("/sections/café", NotEncoded),
        ] {
            assert_eq!(check(path), Err(reason), "{path}");
        }
    }

    #[test]
    fn the_first_segment_is_taken_as_it_stands() {
        for (path, segment) in [
            ("/", ""),
            ("/sections", "sections"),
            ("/sections/", "sections"),
            ("/sections/internal", "sections"),
            ("/%73ections", "%73ections"),
            ("/sectionsx", "sectionsx"),
        ] {
            assert_eq!(first_segment(path), Some(segment), "{path}");
        }
        assert_eq!(first_segment("sections"), None);
    }

    /// Generates paths with many special characters and segments.
    fn tricky_path() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("/"),
            Just("."),
            Just(".."),
            Just("\\"),
            Just("%2e"),
            Just("%2E"),
            Just("%2f"),
            Just("%5c"),
            Just("%00"),
            Just("%"),
            Just("%25"),
            Just("\t"),
            Just("@"),
            Just(":"),
            Just("?"),
            Just("#"),
            Just("a"),
            Just("internal"),
            Just("slug/"),
            Just("x/slug/"),
            Just("é"),
            Just(" "),
            Just("{"),
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| format!("/{}", parts.concat()))
    }

    proptest! {
        #[test]
        fn an_accepted_path_is_unchanged_in_an_address(path in tricky_path()) {
            if check(&path).is_ok() {
                let url = Url::parse(&format!("http://upstream:1{path}")).unwrap();
                prop_assert_eq!(url.path(), path);
                prop_assert_eq!((url.host_str(), url.port()), (Some("upstream"), Some(1)));
                prop_assert_eq!((url.query(), url.fragment()), (None, None));
            }
        }

        #[test]
        fn no_string_makes_the_check_panic(path in any::<String>()) {
            let _ = check(&path);
        }

        #[test]
        fn an_escape_is_judged_by_the_byte_that_it_encodes(byte in any::<u8>()) {
            let is_refused = byte.is_ascii_control() || byte == b'/' || byte == b'\\';
            for path in [format!("/x/a%{byte:02x}b"), format!("/x/a%{byte:02X}b")] {
                prop_assert_eq!(check(&path).is_err(), is_refused, "{}", path);
            }
        }

        #[test]
        fn a_key_may_contain_every_byte_except_control_characters(byte in any::<u8>()) {
            let path = format!("/stories/slug/a%{byte:02X}b");
            prop_assert_eq!(check(&path).is_err(), byte.is_ascii_control(), "{}", path);
        }

        #[test]
        fn a_dot_segment_is_refused_however_it_is_written(
            before in "[a-z]{1,5}",
            dots in "(\\.|%2e|%2E){1,2}",
            after in "(/[a-z]{1,5})?",
        ) {
            let path = format!("/{before}/{dots}{after}");
            prop_assert_eq!(check(&path), Err(InvalidPath::DotSegment));
        }
    }
}
