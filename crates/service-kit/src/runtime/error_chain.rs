//! An error and its sources as one text.

use std::error::Error;

/// Returns the error and its sources, outermost first, separated by colons. Omits a source whose
/// message is already at the end of the text, because its error repeats it.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        source = error.source();
    }
    text
}

/// Returns the error and its sources in one line. Messages of parsers may have several lines.
pub fn one_line(error: &dyn Error) -> String {
    error_chain(error).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the file\n  cannot be read")]
    struct Unreadable(#[source] io::Error);

    #[test]
    fn sources_follow_their_error_in_one_line() {
        let error = Unreadable(io::Error::other("the disk\tis gone"));
        assert_eq!(one_line(&error), "the file cannot be read: the disk is gone");
        assert_eq!(error_chain(&error), "the file\n  cannot be read: the disk\tis gone");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("level filter: {0}")]
    struct Repeating(#[source] io::Error);

    #[test]
    fn a_source_that_its_error_repeats_is_omitted() {
        let error = Repeating(io::Error::other("unknown level"));
        assert_eq!(error_chain(&error), "level filter: unknown level");
    }
}
