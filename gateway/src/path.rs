//! Which paths are let in.
//!
//! The gateway decides by a path where a request goes, and the service behind it reads the path
//! again. Whatever two readers could understand in two ways is refused, so that no request reaches
//! what its route does not lead to: dot segments, separators in disguise, empty segments, control
//! characters, and bytes that an address may not contain.

/// Why a path is refused. The text is for the client.
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

/// Checks the path of a request as it stands in the request line, without the query.
pub(crate) fn check(path: &str) -> Result<(), InvalidPath> {
    if !path.starts_with('/') {
        return Err(InvalidPath::NotAbsolute);
    }
    if path.contains("//") {
        return Err(InvalidPath::EmptySegment);
    }
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => match escaped(&mut rest).ok_or(InvalidPath::MalformedEscape)? {
                b'/' => return Err(InvalidPath::EncodedSlash),
                b'\\' => return Err(InvalidPath::Backslash),
                byte if byte.is_ascii_control() => return Err(InvalidPath::ControlCharacter),
                _ => {}
            },
            b'\\' => return Err(InvalidPath::Backslash),
            byte if byte.is_ascii_control() => return Err(InvalidPath::ControlCharacter),
            byte if !may_stand_in_a_path(byte) => return Err(InvalidPath::NotEncoded),
            _ => {}
        }
    }
    if path.split('/').any(is_dot_segment) {
        return Err(InvalidPath::DotSegment);
    }
    Ok(())
}

/// The part of the path that decides where the request goes.
pub(crate) fn first_segment(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.split('/').next()
}

/// The byte that the two digits after a `%` stand for.
fn escaped(digits: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(digits.next()?).to_digit(16);
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high * 16 + low).ok()
}

/// The characters of `path` in RFC 3986 §3.3, besides `%`.
fn may_stand_in_a_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte)
}

/// Whether a reader who decodes the segment sees `.` or `..`.
fn is_dot_segment(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    #[test]
    fn ordinary_paths_are_let_in() {
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
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_path_that_can_be_read_in_two_ways_is_refused() {
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

    /// Strings that are dense in what matters here.
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
            Just("é"),
            Just(" "),
            Just("{"),
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| format!("/{}", parts.concat()))
    }

    proptest! {
        #[test]
        fn a_path_that_is_let_in_stays_as_it_is_in_an_address(path in tricky_path()) {
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
        fn every_escape_is_decided_by_the_byte_it_stands_for(byte in any::<u8>()) {
            let is_refused = byte.is_ascii_control() || byte == b'/' || byte == b'\\';
            for path in [format!("/x/a%{byte:02x}b"), format!("/x/a%{byte:02X}b")] {
                prop_assert_eq!(check(&path).is_err(), is_refused, "{}", path);
            }
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
