//! Redirects as lines of a CSV file, as spreadsheets write them.

use csv::{Position, ReaderBuilder, StringRecord, Trim};
use models::{ContentType, FieldError};

use super::redirect::{
    OldPath, RedirectAddress, RedirectCreate, RedirectItem, RedirectSection, RedirectStatus,
    RedirectTarget,
};

/// The most lines of a file: on a busy machine each takes up to 20 ms of the seconds that a request may
/// take.
pub(crate) const MAX_LINES: usize = 100;

/// The characters between the fields of a line. Spreadsheets write semicolons in languages in which the
/// comma is the decimal sign.
const DELIMITERS: [u8; 3] = *b",;\t";

const FROM: &str = "from";
const TO: &str = "to";
const STATUS: &str = "status";

/// A line of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CsvLine {
    /// The number of the line, the first being 1.
    pub(crate) number: u64,
    /// The old path as it was written.
    pub(crate) from: String,
    /// The redirect, or what is wrong with the line.
    pub(crate) redirect: Result<RedirectCreate, Vec<FieldError>>,
}

/// The file has no lines that could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidCsv {
    /// No columns `from` and `to`.
    #[error(
        "must begin with a line of the names of the columns, `from,to,status`; `status` may be left out, and \
         the fields may be separated by commas, semicolons or tabs"
    )]
    NoHeader,
    /// Another column.
    #[error("has the column `{0}`: there are `from`, `to` and `status`, each once")]
    UnknownColumn(String),
    /// Too many lines.
    #[error("has more than {MAX_LINES} lines: send it in parts, each with the line of the columns")]
    TooManyLines,
}

/// The places of the columns.
struct Columns {
    from: usize,
    to: usize,
    status: Option<usize>,
    count: usize,
}

/// Reads the lines of a file.
pub(crate) fn parse(text: &str) -> Result<Vec<CsvLine>, InvalidCsv> {
    // A byte order mark, which spreadsheets write.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let reader = |delimiter| {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(delimiter).flexible(true).trim(Trim::All).from_reader(text.as_bytes())
    };
    let header = |delimiter| reader(delimiter).headers().ok().cloned();
    let named = |header: &StringRecord, name: &str| {
        header.iter().position(|column| column.eq_ignore_ascii_case(name))
    };
    let (delimiter, header) = DELIMITERS
        .into_iter()
        .filter_map(|delimiter| Some((delimiter, header(delimiter)?)))
        .find(|(_, header)| named(header, FROM).is_some() && named(header, TO).is_some())
        .ok_or(InvalidCsv::NoHeader)?;
    let columns = columns(&header)?;
    let mut lines = Vec::new();
    for record in reader(delimiter).into_records() {
        // Text in memory that is UTF-8 can always be read.
        let Ok(record) = record else { continue };
        if record.iter().all(str::is_empty) {
            continue;
        }
        if lines.len() == MAX_LINES {
            return Err(InvalidCsv::TooManyLines);
        }
        let number = record.position().map_or(0, |position| line_number(text, position));
        let from = record.get(columns.from).unwrap_or_default().to_owned();
        lines.push(CsvLine { number, from, redirect: redirect(&record, &columns) });
    }
    Ok(lines)
}

/// Returns the number of the line in which a record begins. Its position is before empty lines.
fn line_number(text: &str, position: &Position) -> u64 {
    let start = usize::try_from(position.byte()).ok().and_then(|start| text.get(start..));
    let empty = start.unwrap_or_default().chars().take_while(|one| matches!(one, '\r' | '\n'));
    position.line() + empty.filter(|one| *one == '\n').count() as u64
}

fn columns(header: &StringRecord) -> Result<Columns, InvalidCsv> {
    let (mut from, mut to, mut status) = (None, None, None);
    for (place, column) in header.iter().enumerate() {
        let seen = match column.to_ascii_lowercase().as_str() {
            FROM => from.replace(place),
            TO => to.replace(place),
            STATUS => status.replace(place),
            // A separator at the end of each line.
            "" if place + 1 == header.len() => None,
            _ => Some(place),
        };
        if seen.is_some() {
            return Err(InvalidCsv::UnknownColumn(column.chars().take(50).collect()));
        }
    }
    let (Some(from), Some(to)) = (from, to) else { return Err(InvalidCsv::NoHeader) };
    Ok(Columns { from, to, status, count: header.len() })
}

fn redirect(record: &StringRecord, columns: &Columns) -> Result<RedirectCreate, Vec<FieldError>> {
    if record.len() > columns.count {
        let message = format!(
            "the line has {} fields and the first line {}: fields with a separator in them need \
             quotation marks",
            record.len(),
            columns.count
        );
        return Err(vec![FieldError::invalid("line", message)]);
    }
    let field =
        |place: Option<usize>| place.and_then(|place| record.get(place)).unwrap_or_default();
    let mut errors = Vec::new();
    let from = OldPath::try_from(field(Some(columns.from)).to_owned());
    let from = from.map_err(|error| FieldError::invalid(FROM, error.to_string()));
    let to = target(field(Some(columns.to))).map_err(|message| FieldError::invalid(TO, message));
    let status = match field(columns.status) {
        "" | "301" => Ok(RedirectStatus::Permanent),
        "302" => Ok(RedirectStatus::Temporary),
        _ => Err(FieldError::invalid(STATUS, "must be 301 (moved for good) or 302 (for a time)")),
    };
    let mut keep = |error| errors.push(error);
    match (from.map_err(&mut keep), to.map_err(&mut keep), status.map_err(&mut keep)) {
        (Ok(from), Ok(to), Ok(status)) => Ok(RedirectCreate { from, to, status }),
        _ => Err(errors),
    }
}

/// Reads a target: an address, `sections/{id}`, or the same with a kind of content.
fn target(text: &str) -> Result<RedirectTarget, String> {
    if text.starts_with('/') || text.contains("://") {
        let address = RedirectAddress::try_from(text.to_owned());
        return address.map(RedirectTarget::Address).map_err(|error| error.to_string());
    }
    match text.split_once('/') {
        Some(("sections", id)) => {
            let id = id.parse().map_err(|_| "must have the id of a section after `sections/`")?;
            Ok(RedirectTarget::Section(RedirectSection { id }))
        }
        Some((kind, id)) if !id.is_empty() && ContentType::of_collection(kind).is_some() => {
            let kind = ContentType::of_collection(kind).ok_or("must be a kind of content")?;
            Ok(RedirectTarget::Item(RedirectItem { kind, id: id.to_owned() }))
        }
        _ => {
            let kinds = ContentType::ALL.map(|kind| format!("`{}/{{id}}`", kind.collection()));
            Err(format!(
                "must be a path of the site (`/…`), an http(s) address, `sections/{{id}}`, or one of {}",
                kinds.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line number, path and target of each line, or its wrong fields.
    fn read(text: &str) -> Result<Vec<String>, InvalidCsv> {
        let line = |line: CsvLine| match line.redirect {
            Ok(RedirectCreate { from, to, status }) => {
                let to = serde_json::to_string(&to).unwrap();
                format!("{} {} {to} {}", line.number, from.as_str(), status.code())
            }
            Err(errors) => {
                let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
                format!("{} {} {}", line.number, line.from, fields.join(","))
            }
        };
        parse(text).map(|lines| lines.into_iter().map(line).collect())
    }

    #[test]
    fn files_of_spreadsheets_are_read() {
        let expected = [
            r#"2 /a,b {"address":"/new"} 301"#,
            r#"3 /c {"address":"https://example.com/?x=1;2"} 302"#,
        ];
        for text in [
            "from,to,status\n\"/a,b\",/new,301\n/c,https://example.com/?x=1;2,302\n",
            "\u{feff}from;to;status\r\n/a,b;/new;\r\n/c;\"https://example.com/?x=1;2\";302\r\n",
            "From\tTo\tStatus\r\n/a,b\t/new\t301\r\n/c\thttps://example.com/?x=1;2\t302",
            "to,from,status\n /new ,\"/a,b\", \n\"https://example.com/?x=1;2\",/c,302",
            "from;to;status;\n/a,b;/new;;\n/c;\"https://example.com/?x=1;2\";302;\n;;;\n",
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text:?}");
        }
        let targets = "from,to\n/a,sections/626e3e0035b0bc65bb5e1545\n\n/b,stories/an id\n";
        let expected = [
            r#"2 /a {"section":{"id":"626e3e0035b0bc65bb5e1545"}} 301"#,
            r#"4 /b {"item":{"kind":"stories","id":"an id"}} 301"#,
        ];
        assert_eq!(read(targets).unwrap(), expected);
        assert_eq!(read("from,to").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_wrong_line_names_its_number_and_its_fields() {
        let text = "from,to,status\n\
                    old,/new,301\n\
                    /a,new,303\n\
                    /b,/new,301,more\n\
                    /c\n\
                    /d,users/1\n\
                    /e,sections/1\n\
                    \"/f,/new\n";
        let expected = [
            "2 old from",
            "3 /a to,status",
            "4 /b line",
            "5 /c to",
            "6 /d to",
            "7 /e to",
            "8 /f,/new to",
        ];
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn a_file_without_the_names_of_the_columns_is_refused() {
        for text in ["", "\n", "/a,/b,301\n", "from\n/a\n", "from|to\n/a|/b\n", "\0"] {
            assert_eq!(read(text), Err(InvalidCsv::NoHeader), "{text:?}");
        }
        for (text, column) in [("from,to,code\n", "code"), ("from,to,from\n", "from")] {
            assert_eq!(read(text), Err(InvalidCsv::UnknownColumn(column.to_owned())));
        }
        let lines = |count| format!("from,to\n{}", "/a,/b\n".repeat(count));
        assert_eq!(read(&lines(MAX_LINES)).unwrap().len(), MAX_LINES);
        assert_eq!(read(&lines(MAX_LINES + 1)), Err(InvalidCsv::TooManyLines));
    }
}
