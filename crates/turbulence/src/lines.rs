//! Text for a person, line by line.

use std::{
    fmt::{self, Arguments},
    io::{self, IsTerminal, Write},
};

use console::Term;
use service_kit::runtime::printable::{printable, printable_json};
use textwrap::{WordSeparator, WordSplitter};

/// Additional indentation of the continuation of a line.
const HANGING_INDENTATION: usize = 4;

/// Text for a person, in lines.
///
/// Text is only added line by line, with [`line`](Self::line) or `writeln!`. Line breaks and other
/// unprintable characters of the formatted values are escaped, so that no value can forge a line or
/// control the terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lines(String);

impl Lines {
    /// Adds one line.
    pub(crate) fn line(&mut self, line: Arguments<'_>) {
        self.push(&line.to_string());
    }

    fn push(&mut self, line: &str) {
        self.0 += &printable(line);
        self.0.push('\n');
    }

    /// Adds one line. Makes `writeln!` work; never fails.
    pub(crate) fn write_fmt(&mut self, line: Arguments<'_>) -> fmt::Result {
        let line = line.to_string();
        self.push(line.strip_suffix('\n').unwrap_or(&line));
        Ok(())
    }

    /// Adds an empty line.
    pub(crate) fn blank(&mut self) {
        self.0.push('\n');
    }

    /// Adds other lines.
    pub(crate) fn append(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// Adds other lines, each prefixed with a margin.
    pub(crate) fn append_with_margin(&mut self, margin: &str, other: &Self) {
        for line in other.0.lines() {
            self.push_escaped(margin, line);
        }
    }

    /// Adds other lines, the first one after a label and the others indented by its width.
    pub(crate) fn append_labelled(&mut self, label: &str, other: &Self) {
        let indentation = " ".repeat(label.len());
        for (place, line) in other.0.lines().enumerate() {
            let margin = if place == 0 { label } else { &indentation };
            self.push_escaped(margin, line);
        }
    }

    /// Adds a line whose text is already escaped, after a margin.
    fn push_escaped(&mut self, margin: &str, line: &str) {
        self.0 += &printable(margin);
        self.0 += line;
        self.0.push('\n');
    }

    /// Returns `true` if there are no lines.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Prints the lines on standard output, wrapped at words on a terminal.
    pub(crate) fn print(&self) {
        // Fails if the reader of a pipe has closed it.
        let _ = write(&mut io::stdout(), &self.wrapped(&Term::stdout()));
    }

    /// Prints the lines on standard error, wrapped at words on a terminal.
    pub(crate) fn print_error(&self) {
        let _ = write(&mut io::stderr(), &self.wrapped(&Term::stderr()));
    }

    /// Prints the lines and a question on standard error.
    pub(crate) fn print_question(&self, question: &'static str) {
        let lines = self.wrapped(&Term::stderr());
        let _ = write(&mut io::stderr(), &format!("{lines}{question}"));
    }

    /// Returns the text with lines that fit the terminal, or as it is without a terminal.
    fn wrapped(&self, terminal: &Term) -> String {
        match terminal.size_checked().filter(|_| terminal.is_term()) {
            Some((_, columns)) => wrap(&self.0, columns.into()),
            None => self.0.clone(),
        }
    }
}

impl From<Arguments<'_>> for Lines {
    /// Creates text of one line.
    fn from(line: Arguments<'_>) -> Self {
        let mut lines = Self::default();
        lines.line(line);
        lines
    }
}

/// Breaks long lines at words. What follows is indented more than the beginning of its line.
fn wrap(text: &str, columns: usize) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        let words = line.trim_start_matches(' ');
        let (margin, _) = line.split_at(line.len() - words.len());
        let hanging = " ".repeat((margin.len() + HANGING_INDENTATION).min(columns / 2));
        let options = textwrap::Options::new(columns)
            .initial_indent(margin)
            .subsequent_indent(&hanging)
            .word_separator(WordSeparator::AsciiSpace)
            .word_splitter(WordSplitter::NoHyphenation)
            // A word that is longer than the terminal can still be copied.
            .break_words(false);
        for part in textwrap::wrap(words, options) {
            wrapped += &part;
            wrapped.push('\n');
        }
    }
    wrapped
}

/// Shows a warning: to a person at a terminal, or in the log.
pub(crate) fn warn(warning: Arguments<'_>) {
    if io::stderr().is_terminal() {
        Lines::from(format_args!("turbulence: {warning}")).print_error();
    } else {
        tracing::warn!("{warning}");
    }
}

/// Prints a JSON document on standard output.
pub(crate) fn print_json(json: &str) {
    // Fails if the reader of a pipe has closed it.
    let _ = write(&mut io::stdout(), &format!("{}\n", printable_json(json)));
}

fn write(stream: &mut impl Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_at_words_and_indented() {
        let text =
            "heading\n  0001_a    some words, and others\n\n  https://example.com/a/long/word\n";
        let expected = "heading\n  0001_a    some\n      words, and\n      others\n\n  \
                        https://example.com/a/long/word\n";
        assert_eq!(wrap(text, 18), expected);
        assert_eq!(wrap(text, 80), text);
    }

    #[test]
    fn a_value_cannot_add_a_line() {
        let mut lines = Lines::default();
        let one = "a\nb";
        lines.line(format_args!("one {one}"));
        let (two, three) = ("\u{1b}[2J\r\n", "\n\n");
        _ = writeln!(lines, "two {two}");
        _ = write!(lines, "three {three}");
        let mut all = Lines::default();
        all.append_with_margin("  ", &lines);
        all.append_labelled("label ", &lines);
        all.blank();
        all.append(&Lines::from(format_args!("{}", "\\")));
        assert_eq!(
            all.0,
            "  one a\\nb\n  two \\u{1b}[2J\\r\\n\n  three \\n\n\
             label one a\\nb\n      two \\u{1b}[2J\\r\\n\n      three \\n\n\n\\\\\n"
        );
    }
}
