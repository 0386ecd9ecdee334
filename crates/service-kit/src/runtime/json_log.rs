//! Log lines as JSON, written field by field into one buffer.
//!
//! The formatter of `tracing-subscriber` parses the fields of a span whenever one is added, and again
//! for each line, which took longer than answering a request from memory.

use std::fmt::{self, Debug, Write};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::Record,
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use super::printable::is_unprintable;

/// The prefix of fields that are for the layer of OpenTelemetry.
const TRACE_PREFIX: &str = "otel.";

/// The fields by which `tracing-log` describes a record of the crate `log`: its target, and the place
/// in the code, which is left out.
const LOG_TARGET: &str = "log.target";
const LOG_PREFIX: &str = "log.";

/// The fields of a span, as members of a JSON object without its braces.
#[derive(Debug)]
pub(crate) struct JsonMembers;

impl<'writer> FormatFields<'writer> for JsonMembers {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        write_members(&mut writer, fields, true).map(drop)
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let is_first = current.fields.is_empty();
        write_members(&mut current.as_writer(), fields, is_first).map(drop)
    }
}

/// Events, as one JSON object a line.
#[derive(Debug)]
pub(crate) struct JsonLines;

impl<S> FormatEvent<S, JsonMembers> for JsonLines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonMembers>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        write!(writer, "\",\"level\":\"{}\"", event.metadata().level())?;
        let has_target = write_members(&mut writer, event, false)?;
        if !has_target {
            writer.write_str(",\"target\":\"")?;
            Escaped(&mut writer).write_str(event.metadata().target())?;
            writer.write_char('"')?;
        }
        if let Some(spans) = context.event_scope() {
            writer.write_str(",\"spans\":[")?;
            for (index, span) in spans.from_root().enumerate() {
                writer.write_str(if index == 0 { "{" } else { ",{" })?;
                if let Some(fields) = span.extensions().get::<FormattedFields<JsonMembers>>()
                    && !fields.fields.is_empty()
                {
                    write!(writer, "{fields},")?;
                }
                write!(writer, "\"name\":\"{}\"}}", span.name())?;
            }
            writer.write_char(']')?;
        }
        writer.write_str("}\n")
    }
}

/// Writes fields as members. Returns `true` if the target was among them.
fn write_members(
    writer: &mut Writer<'_>,
    fields: impl RecordFields,
    is_first: bool,
) -> Result<bool, fmt::Error> {
    let mut members = Members { writer, is_first, has_target: false, result: Ok(()) };
    fields.record(&mut members);
    members.result.map(|()| members.has_target)
}

struct Members<'a, 'writer> {
    writer: &'a mut Writer<'writer>,
    is_first: bool,
    has_target: bool,
    result: fmt::Result,
}

impl Members<'_, '_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let name = match field.name() {
            LOG_TARGET => {
                self.has_target = true;
                "target"
            }
            name if name.starts_with(TRACE_PREFIX) || name.starts_with(LOG_PREFIX) => return,
            name => name.strip_prefix("r#").unwrap_or(name),
        };
        let begin = if self.is_first { "\"" } else { ",\"" };
        self.is_first = false;
        let writer = &mut *self.writer;
        let write = || {
            writer.write_str(begin)?;
            writer.write_str(name)?;
            writer.write_str("\":")?;
            value(writer)
        };
        let written = write();
        self.result = self.result.and(written);
    }

    fn text(&mut self, field: &Field, write: impl FnOnce(&mut Escaped<'_, '_>) -> fmt::Result) {
        self.member(field, |writer| {
            writer.write_char('"')?;
            write(&mut Escaped(writer))?;
            writer.write_char('"')
        });
    }
}

impl Visit for Members<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, |writer| {
            if value.is_finite() { write!(writer, "{value}") } else { writer.write_str("null") }
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, |text| text.write_str(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, |text| write!(text, "{value:?}"));
    }
}

/// A writer of the content of a JSON string. It also escapes what would control a terminal or hide
/// the text around it.
struct Escaped<'a, 'writer>(&'a mut Writer<'writer>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let needs_escape = |c: char| c == '"' || c == '\\' || is_unprintable(c);
        let mut rest = text;
        while let Some(at) = rest.find(needs_escape) {
            self.0.write_str(&rest[..at])?;
            let mut characters = rest[at..].chars();
            match characters.next() {
                Some('"') => self.0.write_str("\\\"")?,
                Some('\\') => self.0.write_str("\\\\")?,
                Some('\n') => self.0.write_str("\\n")?,
                Some('\r') => self.0.write_str("\\r")?,
                Some('\t') => self.0.write_str("\\t")?,
                Some(other) => {
                    for unit in other.encode_utf16(&mut [0; 2]) {
                        write!(self.0, "\\u{unit:04x}")?;
                    }
                }
                None => {}
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use proptest::prelude::*;
    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the text that is logged in the meantime.
    fn logged(log: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let format = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .fmt_fields(JsonMembers)
            .event_format(JsonLines);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(format), log);
        let bytes = std::mem::take(&mut *buffer.0.lock().unwrap());
        String::from_utf8(bytes).unwrap()
    }

    fn lines(log: impl FnOnce()) -> Vec<Value> {
        logged(log).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    #[test]
    fn a_line_has_its_fields_and_those_of_its_spans() {
        let lines = lines(|| {
            let outer = tracing::info_span!(
                "request",
                otel.name = "hidden",
                path = "/a\"b",
                status = tracing::field::Empty,
                otel.status_code = tracing::field::Empty,
            );
            outer.record("status", 200);
            outer.record("otel.status_code", "ERROR");
            let _outer = outer.enter();
            tracing::info_span!("call").in_scope(|| {
                let (cause, none) = (Some("broken"), None::<&str>);
                tracing::warn!(
                    count = 3,
                    less = -1,
                    share = 0.5,
                    is_so = true,
                    cause,
                    none,
                    "it {}",
                    1
                );
            });
            tracing::info!(parent: None, r#type = %"x", nan = f64::NAN);
        });
        let mut first = lines[0].clone();
        assert!(first["timestamp"].take().as_str().unwrap().ends_with('Z'));
        let expected = json!({
            "timestamp": null, "level": "WARN", "message": "it 1", "count": 3, "less": -1,
            "share": 0.5, "is_so": true, "cause": "broken",
            "target": "service_kit::runtime::json_log::tests",
            "spans": [{ "path": "/a\"b", "status": 200, "name": "request" }, { "name": "call" }],
        });
        assert_eq!(first, expected);
        let second = &lines[1];
        assert_eq!((&second["type"], &second["nan"]), (&json!("x"), &Value::Null));
        assert_eq!(second.get("spans"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_the_same_text_in_json_and_printable(text in any::<String>()) {
            let line = logged(|| tracing::info!(shown = %text, given = text.as_str(), "{text}"));
            prop_assert!(!line.trim_end_matches('\n').chars().any(is_unprintable), "{line:?}");
            let value: Value = serde_json::from_str(&line).unwrap();
            for name in ["shown", "given", "message"] {
                prop_assert_eq!(value[name].as_str(), Some(text.as_str()));
            }
        }
    }
}
