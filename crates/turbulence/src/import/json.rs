//! Documents in JSON: one per line, pretty-printed, or in an array.

use std::io::{self, BufRead, Cursor, Read};

use super::{
    document::{DocumentError, LocatedDocument, Place, Reader, check},
    extended_json,
    limits::MAX_DOCUMENT_BYTES,
};

/// Reads the documents of a file in JSON.
///
/// The end of each document is found by its brackets before it is parsed, so that its size is
/// checked first and its line is known.
pub(super) struct JsonDocuments {
    reader: Reader,
    /// The bytes of the current document.
    buffer: Vec<u8>,
    /// The line and the column of the next byte, counted from 1.
    line: u64,
    column: usize,
    layout: Layout,
}

/// The layout of a JSON file, with the elements that may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Nothing has been read.
    Unknown,
    /// Documents with white space between them.
    Sequence,
    /// An array, before its first document or its end.
    ArrayBegin,
    /// An array, before a comma or its end.
    ArrayNext,
    /// The end of an array, after which nothing may follow.
    ArrayEnd,
}

impl JsonDocuments {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader, buffer: Vec::new(), line: 1, column: 1, layout: Layout::Unknown }
    }

    /// Reads the next document. Returns `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<LocatedDocument>, DocumentError> {
        if self.layout == Layout::Unknown {
            self.skip_byte_order_mark()?;
        }
        let Some(mut byte) = self.skip_white_space()? else { return self.end().map(|()| None) };
        if self.layout == Layout::Unknown {
            self.layout = Layout::Sequence;
            if byte == b'[' {
                self.layout = Layout::ArrayBegin;
                self.take_byte();
                let Some(next) = self.skip_white_space()? else {
                    return self.end().map(|()| None);
                };
                byte = next;
            }
        }
        match (self.layout, byte) {
            (Layout::ArrayEnd, _) => {
                return Err(self.error("unexpected text after the end of the array".to_owned()));
            }
            (Layout::ArrayBegin | Layout::ArrayNext, b']') => {
                self.take_byte();
                self.layout = Layout::ArrayEnd;
                return self.next();
            }
            (Layout::Sequence, b',') => {
                let problem =
                    "unexpected comma: only the documents of an array are separated by commas";
                return Err(self.error(problem.to_owned()));
            }
            (Layout::ArrayNext, b',') => {
                self.take_byte();
                if self.skip_white_space()?.is_none() {
                    return self.end().map(|()| None);
                }
            }
            (Layout::ArrayNext, _) => {
                return Err(
                    self.error("expected a comma between two documents of the array".to_owned())
                );
            }
            _ => {}
        }
        let document = self.take_document()?;
        if self.layout == Layout::ArrayBegin {
            self.layout = Layout::ArrayNext;
        }
        Ok(Some(document))
    }

    /// Checks that the file may end here.
    fn end(&self) -> Result<(), DocumentError> {
        match self.layout {
            Layout::ArrayBegin | Layout::ArrayNext => {
                Err(self.error("the file ends within the array".to_owned()))
            }
            Layout::Unknown | Layout::Sequence | Layout::ArrayEnd => Ok(()),
        }
    }

    fn skip_byte_order_mark(&mut self) -> Result<(), DocumentError> {
        /// The byte order mark of UTF-8.
        const UTF_8: [u8; 3] = [0xEF, 0xBB, 0xBF];
        /// The first bytes of a gzip file (RFC 1952, section 2.3.1).
        const GZIP: [u8; 2] = [0x1F, 0x8B];
        let mut first = Vec::new();
        let read = self.reader.by_ref().take(UTF_8.len() as u64).read_to_end(&mut first);
        read.map_err(|error| self.error(error.to_string()))?;
        if matches!(first[..], [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..]) {
            return Err(self.error("the file is encoded in UTF-16: convert it to UTF-8".to_owned()));
        }
        if first.starts_with(&GZIP) {
            return Err(
                self.error("the file is compressed with gzip: add .gz to its name".to_owned())
            );
        }
        if first == UTF_8 {
            first.clear();
        }
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(Cursor::new(first).chain(rest));
        Ok(())
    }

    /// Skips white space and returns the byte after it without consuming it, or `None` at the end of
    /// the file.
    fn skip_white_space(&mut self) -> Result<Option<u8>, DocumentError> {
        let mut skipped = 0;
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) => return Err(self.error(error.to_string())),
            };
            let end = chunk.iter().position(|byte| !byte.is_ascii_whitespace());
            let byte = end.map(|end| chunk[end]);
            let blank = &chunk[..end.unwrap_or(chunk.len())];
            let count = blank.len();
            (self.line, self.column) = advanced((self.line, self.column), blank);
            self.reader.consume(count);
            if byte.is_some() || count == 0 {
                return Ok(byte);
            }
            // A small compressed file may expand to any amount of white space.
            skipped += count;
            if skipped > MAX_DOCUMENT_BYTES {
                return Err(
                    self.error("more than 16 MiB of white space between two documents".to_owned())
                );
            }
        }
    }

    /// Consumes a byte that is not a line break.
    fn take_byte(&mut self) {
        self.reader.consume(1);
        self.column += 1;
    }

    /// Reads the document that begins here.
    fn take_document(&mut self) -> Result<LocatedDocument, DocumentError> {
        self.buffer.clear();
        let start = (self.line, self.column);
        let mut value_end = ValueEnd::default();
        let is_too_large = loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) => return Err(self.error(error.to_string())),
            };
            let end = value_end.find(chunk);
            let taken = &chunk[..end.unwrap_or(chunk.len())];
            self.buffer.extend_from_slice(taken);
            let count = taken.len();
            self.reader.consume(count);
            if self.buffer.len() > MAX_DOCUMENT_BYTES {
                break true;
            }
            // At the end of the file the parser reports the missing part.
            if end.is_some() || count == 0 {
                break false;
            }
        };
        (self.line, self.column) = advanced(start, &self.buffer);
        let text = match std::str::from_utf8(&self.buffer) {
            Ok(text) => text,
            Err(error) if is_too_large && error.error_len().is_none() => {
                return Err(too_large(start.0));
            }
            Err(error) => {
                let (line, column) = advanced(start, &self.buffer[..error.valid_up_to()]);
                let problem = format!("invalid UTF-8 at column {column}");
                return Err(DocumentError { place: Place::Line(line), problem });
            }
        };
        match extended_json::parse(text) {
            Ok(_) if is_too_large => Err(too_large(start.0)),
            // The document may be large only because a bracket or a quotation mark is missing.
            Err(error) if is_too_large && error.is_eof() => Err(too_large(start.0)),
            Err(error) => Err(json_error(&error, start)),
            Ok(document) => {
                let place = Place::Line(start.0);
                check(&document).map_err(|problem| DocumentError { place, problem })?;
                Ok(LocatedDocument { place, document })
            }
        }
    }

    fn error(&self, problem: String) -> DocumentError {
        DocumentError { place: Place::Line(self.line), problem }
    }
}

fn too_large(line: u64) -> DocumentError {
    let problem = "larger than 16 MiB (the limit of MongoDB)".to_owned();
    DocumentError { place: Place::Line(line), problem }
}

/// Returns the line and the column after some bytes.
fn advanced((line, column): (u64, usize), bytes: &[u8]) -> (u64, usize) {
    match bytes.iter().rposition(|byte| *byte == b'\n') {
        None => (line, column + bytes.len()),
        Some(last) => {
            let breaks = bytes.iter().filter(|byte| **byte == b'\n').count();
            (line + breaks as u64, bytes.len() - last)
        }
    }
}

/// Converts an error of the parser: its position within the document becomes one in the file, given
/// the line and column at which the document begins.
fn json_error(error: &serde_json::Error, (line, column): (u64, usize)) -> DocumentError {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let problem = text.strip_suffix(&place).unwrap_or(&text);
    // Column 0 refers to the document as a whole.
    let (line, column) = match (error.line(), error.column()) {
        (0 | 1, 0) => {
            return DocumentError { place: Place::Line(line), problem: problem.to_owned() };
        }
        (1, of_error) => (line, column + of_error - 1),
        (of_error, column) => (line + of_error as u64 - 1, column),
    };
    let problem = match column {
        0 => problem.to_owned(),
        column => format!("{problem} at column {column}"),
    };
    DocumentError { place: Place::Line(line), problem }
}

/// Finds the end of a JSON value in chunks of bytes by its brackets and quotation marks. Everything
/// between them is left to the parser.
#[derive(Default)]
struct ValueEnd {
    has_begun: bool,
    depth: usize,
    is_in_text: bool,
    is_escaped: bool,
}

impl ValueEnd {
    /// Returns the number of bytes up to the end of the value, or `None` if the chunk does not
    /// contain its end.
    fn find(&mut self, chunk: &[u8]) -> Option<usize> {
        for (place, byte) in chunk.iter().enumerate() {
            if self.is_in_text {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => {
                        self.is_in_text = false;
                        if self.depth == 0 {
                            return Some(place + 1);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'{' | b'[' if self.has_begun && self.depth == 0 => return Some(place),
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' | b',' if self.depth == 0 => {
                    // The parser reports an unexpected one.
                    return Some(if self.has_begun { place } else { place + 1 });
                }
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(place + 1);
                    }
                }
                b'"' if self.has_begun && self.depth == 0 => return Some(place),
                b'"' => self.is_in_text = true,
                byte if self.depth == 0 && byte.is_ascii_whitespace() => return Some(place),
                _ => {}
            }
            self.has_begun = true;
        }
        None
    }
}
