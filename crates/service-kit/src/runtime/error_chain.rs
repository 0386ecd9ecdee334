//! An error and its sources as one text.

use std::error::Error;

/// Returns the error and its sources, outermost first, separated by colons.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
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
}
