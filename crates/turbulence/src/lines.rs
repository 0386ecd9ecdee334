//! Text for a person, line by line.

use std::{
    fmt::{self, Arguments},
    io::{self, Write},
};

use service_kit::runtime::printable::{printable, printable_json};

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

    /// Prints the lines on standard output.
    pub(crate) fn print(&self) {
        // Fails if the reader of a pipe has closed it.
        let _ = write(&mut io::stdout(), &self.0);
    }

    /// Prints the lines and a question on standard error.
    pub(crate) fn print_question(&self, question: &'static str) {
        let _ = write(&mut io::stderr(), &format!("{}{question}", self.0));
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
