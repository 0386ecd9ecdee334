//! The documents of one file, one after the other: JSON in any layout, or BSON, gzipped or not.
//!
//! Memory is bounded by the size of a document, whatever the file holds.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::PathBuf,
};

use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use mongodb::bson::{RawBsonRef, RawDocument, RawDocumentBuf};

use super::{MAX_DEPTH, MAX_DOCUMENT_BYTES, error::ImportError, extended_json};

/// The documents of one collection.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) collection: &'static str,
    /// The name of the file as a person knows it.
    pub(crate) name: String,
    /// The size of the file.
    pub(crate) bytes: u64,
    pub(crate) content: Content,
}

/// The place that an [`Input`] is read from.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    File {
        path: PathBuf,
        format: Format,
        is_gzip: bool,
    },
    /// JSON that is part of this program.
    Text(&'static str),
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Extended JSON: one document a line, pretty-printed documents, or an array of documents.
    Json,
    /// Documents of BSON one after the other, as `mongodump` writes them.
    Bson,
}

/// The place of a document in its file. Both are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The line that it begins in, or that something is wrong in.
    Line(u64),
    /// Its number among the documents.
    Document(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Document(number) => write!(f, "document {number}"),
        }
    }
}

/// A document of a file.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) place: Place,
    pub(crate) document: RawDocumentBuf,
}

/// The reason why a file cannot be read on.
#[derive(Debug)]
struct Fault {
    place: Place,
    problem: String,
}

type Reader = Box<dyn BufRead + Send>;

impl Input {
    /// Reads the documents. `bar` shows how much of the file has been read.
    pub(crate) fn documents(
        &self,
        bar: &ProgressBar,
    ) -> Result<impl Iterator<Item = Result<Located, ImportError>>, ImportError> {
        let mut documents = match &self.content {
            Content::Text(text) => Documents::json(Box::new(text.as_bytes())),
            Content::File { path, format, is_gzip } => {
                let read = |source| ImportError::Read { what: self.name.clone(), source };
                let file = bar.wrap_read(File::open(path).map_err(read)?);
                let file = BufReader::with_capacity(READ_BYTES, file);
                let reader: Reader = if *is_gzip {
                    let unpacked = MultiGzDecoder::new(file);
                    Box::new(BufReader::with_capacity(READ_BYTES, unpacked))
                } else {
                    Box::new(file)
                };
                match format {
                    Format::Json => Documents::json(reader),
                    Format::Bson => Documents::Bson(BsonDocuments { reader, read: 0 }),
                }
            }
        };
        let mut has_failed = false;
        Ok(std::iter::from_fn(move || {
            if has_failed {
                return None;
            }
            let next = documents.next().transpose()?;
            has_failed = next.is_err();
            Some(next.map_err(|Fault { place, problem }| self.error(place, problem)))
        }))
    }

    /// An error about a document of this input.
    pub(crate) fn error(&self, place: Place, problem: String) -> ImportError {
        ImportError::Document { file: self.name.clone(), place, problem }
    }
}

/// The size of the buffers between a file and its documents.
const READ_BYTES: usize = 64 * 1024;

enum Documents {
    Json(JsonDocuments),
    Bson(BsonDocuments),
}

impl Documents {
    fn json(reader: Reader) -> Self {
        Self::Json(JsonDocuments {
            reader,
            buffer: Vec::new(),
            line: 1,
            column: 1,
            layout: Layout::Unknown,
        })
    }

    fn next(&mut self) -> Result<Option<Located>, Fault> {
        match self {
            Self::Json(documents) => documents.next(),
            Self::Bson(documents) => documents.next(),
        }
    }
}

/// Documents in JSON. The bytes of one document at a time are found by their brackets, so that its
/// size can be checked before it is parsed, and its line is known.
struct JsonDocuments {
    reader: Reader,
    /// The bytes of the current document.
    buffer: Vec<u8>,
    /// The line and the column of the next byte, counted from 1.
    line: u64,
    column: usize,
    layout: Layout,
}

/// The layout of a file of JSON, and what may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Nothing has been read.
    Unknown,
    /// Documents with white space between them.
    Sequence,
    /// An array: its first document or its end comes next.
    ArrayBegin,
    /// An array: a comma or its end comes next.
    ArrayNext,
    /// After the end of an array, nothing may come.
    ArrayEnd,
}

impl JsonDocuments {
    fn next(&mut self) -> Result<Option<Located>, Fault> {
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
                return Err(self.fault("something follows the end of the array".to_owned()));
            }
            (Layout::ArrayBegin | Layout::ArrayNext, b']') => {
                self.take_byte();
                self.layout = Layout::ArrayEnd;
                return self.next();
            }
            (Layout::Sequence, b',') => {
                let problem = "a comma stands between two documents, which only an array has";
                return Err(self.fault(problem.to_owned()));
            }
            (Layout::ArrayNext, b',') => {
                self.take_byte();
                if self.skip_white_space()?.is_none() {
                    return self.end().map(|()| None);
                }
            }
            (Layout::ArrayNext, _) => {
                return Err(self.fault("a comma is missing between two documents".to_owned()));
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
    fn end(&self) -> Result<(), Fault> {
        match self.layout {
            Layout::ArrayBegin | Layout::ArrayNext => {
                Err(self.fault("the array has no end: the file is cut off".to_owned()))
            }
            Layout::Unknown | Layout::Sequence | Layout::ArrayEnd => Ok(()),
        }
    }

    fn skip_byte_order_mark(&mut self) -> Result<(), Fault> {
        /// The byte order mark of UTF-8.
        const UTF_8: [u8; 3] = [0xEF, 0xBB, 0xBF];
        /// The first bytes of a gzip file (RFC 1952, section 2.3.1).
        const GZIP: [u8; 2] = [0x1F, 0x8B];
        let mut first = Vec::new();
        let read = self.reader.by_ref().take(UTF_8.len() as u64).read_to_end(&mut first);
        read.map_err(|error| self.fault(error.to_string()))?;
        if matches!(first[..], [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..]) {
            return Err(self.fault("the file is in UTF-16: save it in UTF-8".to_owned()));
        }
        if first.starts_with(&GZIP) {
            return Err(self.fault("the file is gzipped: add .gz to its name".to_owned()));
        }
        if first == UTF_8 {
            first.clear();
        }
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(Cursor::new(first).chain(rest));
        Ok(())
    }

    /// Skips white space and returns the byte after it, which stays where it is; `None` at the end
    /// of the file.
    fn skip_white_space(&mut self) -> Result<Option<u8>, Fault> {
        let mut skipped = 0;
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) => return Err(self.fault(error.to_string())),
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
            // A small file may unpack to a very long nothing.
            skipped += count;
            if skipped > MAX_DOCUMENT_BYTES {
                return Err(self.fault("more than 16 MiB of white space".to_owned()));
            }
        }
    }

    /// Consumes a byte that is no line break.
    fn take_byte(&mut self) {
        self.reader.consume(1);
        self.column += 1;
    }

    /// Reads the document that begins here.
    fn take_document(&mut self) -> Result<Located, Fault> {
        self.buffer.clear();
        let start = (self.line, self.column);
        let mut extent = Extent::default();
        let is_too_large = loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) => return Err(self.fault(error.to_string())),
            };
            let end = extent.end(chunk);
            let taken = &chunk[..end.unwrap_or(chunk.len())];
            self.buffer.extend_from_slice(taken);
            let count = taken.len();
            self.reader.consume(count);
            if self.buffer.len() > MAX_DOCUMENT_BYTES {
                break true;
            }
            // At the end of the file the parser says what is missing.
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
                let problem = format!("a byte that is no UTF-8 at column {column}");
                return Err(Fault { place: Place::Line(line), problem });
            }
        };
        match extended_json::parse(text) {
            Ok(_) if is_too_large => Err(too_large(start.0)),
            // It may be large only because a bracket or a quotation mark is missing.
            Err(error) if is_too_large && error.is_eof() => Err(too_large(start.0)),
            Err(error) => Err(fault_of_json(&error, start)),
            Ok(document) => {
                let place = Place::Line(start.0);
                check(&document).map_err(|problem| Fault { place, problem })?;
                Ok(Located { place, document })
            }
        }
    }

    fn fault(&self, problem: String) -> Fault {
        Fault { place: Place::Line(self.line), problem }
    }
}

fn too_large(line: u64) -> Fault {
    let problem = "longer than the 16 MiB that a document may have".to_owned();
    Fault { place: Place::Line(line), problem }
}

/// The line and column after some bytes.
fn advanced((line, column): (u64, usize), bytes: &[u8]) -> (u64, usize) {
    match bytes.iter().rposition(|byte| *byte == b'\n') {
        None => (line, column + bytes.len()),
        Some(last) => {
            let breaks = bytes.iter().filter(|byte| **byte == b'\n').count();
            (line + breaks as u64, bytes.len() - last)
        }
    }
}

/// An error of the parser with its place in the file, from that of the document.
fn fault_of_json(error: &serde_json::Error, (line, column): (u64, usize)) -> Fault {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let problem = text.strip_suffix(&place).unwrap_or(&text);
    // Column 0 says that it is about the whole.
    let (line, column) = match (error.line(), error.column()) {
        (0 | 1, 0) => return Fault { place: Place::Line(line), problem: problem.to_owned() },
        (1, of_error) => (line, column + of_error - 1),
        (of_error, column) => (line + of_error as u64 - 1, column),
    };
    let problem = match column {
        0 => problem.to_owned(),
        column => format!("{problem} at column {column}"),
    };
    Fault { place: Place::Line(line), problem }
}

/// Finds the end of a value of JSON in chunks of bytes by its brackets and quotation marks. What is
/// between them is for the parser.
#[derive(Default)]
struct Extent {
    has_begun: bool,
    depth: usize,
    is_in_text: bool,
    is_escaped: bool,
}

impl Extent {
    /// The number of bytes up to the end of the value; `None` if the chunk does not have its end.
    fn end(&mut self, chunk: &[u8]) -> Option<usize> {
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
                    // A stray one is handed to the parser, which says so.
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

/// Documents in BSON, each of which begins with its length.
struct BsonDocuments {
    reader: Reader,
    /// The number of documents that have been read.
    read: u64,
}

impl BsonDocuments {
    fn next(&mut self) -> Result<Option<Located>, Fault> {
        let place = Place::Document(self.read + 1);
        let fault = |problem: String| Fault { place, problem };
        let mut bytes = Vec::new();
        self.take(LENGTH_BYTES, &mut bytes).map_err(|error| fault(error.to_string()))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let cut_off = || fault("it has no end: the file is cut off".to_owned());
        let length = <[u8; LENGTH_BYTES]>::try_from(&bytes[..]).map_err(|_| cut_off())?;
        let length = i32::from_le_bytes(length);
        let length = match usize::try_from(length) {
            Ok(length @ MIN_DOCUMENT_BYTES..=MAX_DOCUMENT_BYTES) => length,
            Ok(length @ MIN_DOCUMENT_BYTES..) => {
                return Err(fault(format!(
                    "its length of {length} bytes is more than the 16 MiB that a document may have, or \
                     this is no BSON"
                )));
            }
            _ => {
                return Err(fault(format!("{length} is no length of a document: this is no BSON")));
            }
        };
        self.take(length - LENGTH_BYTES, &mut bytes).map_err(|error| fault(error.to_string()))?;
        if bytes.len() < length {
            return Err(cut_off());
        }
        let document = RawDocumentBuf::from_bytes(bytes).map_err(|error| fault(damaged(&error)))?;
        check(&document).map_err(fault)?;
        self.read += 1;
        Ok(Some(Located { place, document }))
    }

    /// Appends as many bytes, or as many as there are.
    fn take(&mut self, count: usize, bytes: &mut Vec<u8>) -> io::Result<usize> {
        self.reader.by_ref().take(count as u64).read_to_end(bytes)
    }
}

/// The length of the length that a document of BSON begins with.
const LENGTH_BYTES: usize = 4;

/// The length of the empty document in bytes (BSON specification).
const MIN_DOCUMENT_BYTES: usize = 5;

fn damaged(error: &impl fmt::Display) -> String {
    format!("no valid BSON: {error}")
}

/// Checks what MongoDB and this program need of a document: values that can be read, a size and a
/// depth that MongoDB takes, and an `_id` that it takes.
fn check(document: &RawDocument) -> Result<(), String> {
    if document.as_bytes().len() > MAX_DOCUMENT_BYTES {
        return Err("larger than the 16 MiB that MongoDB takes".to_owned());
    }
    check_document(document, 1)?;
    match document.get("_id").map_err(|error| damaged(&error))? {
        Some(
            id @ (RawBsonRef::Array(_) | RawBsonRef::RegularExpression(_) | RawBsonRef::Undefined),
        ) => Err(format!("MongoDB refuses {} as `_id`", extended_json::kind(id))),
        _ => Ok(()),
    }
}

fn check_document(document: &RawDocument, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("nested deeper than {MAX_DEPTH} levels"));
    }
    for field in document {
        let (_, value) = field.map_err(|error| damaged(&error))?;
        check_value(value, depth)?;
    }
    Ok(())
}

fn check_value(value: RawBsonRef<'_>, depth: usize) -> Result<(), String> {
    match value {
        RawBsonRef::Document(document) => check_document(document, depth + 1),
        RawBsonRef::Array(array) => {
            if depth >= MAX_DEPTH {
                return Err(format!("nested deeper than {MAX_DEPTH} levels"));
            }
            array.into_iter().try_for_each(|value| {
                check_value(value.map_err(|error| damaged(&error))?, depth + 1)
            })
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => check_document(code.scope, depth + 1),
        _ => Ok(()),
    }
}
