//! Errors of `serde` as errors of fields.

use std::borrow::Cow;

use models::FieldError;

/// The longest message about a field, in characters: a parser may repeat all of a wrong value.
pub(super) const MESSAGE_MAX_CHARS: usize = 300;

/// Returns an error of `serde` as the error of the field at `path`.
pub(super) fn field_error(path: &str, message: &str) -> FieldError {
    let is_top = path == ".";
    if let Some(rest) = message.strip_prefix("missing field `") {
        let name = rest.split('`').next().unwrap_or(rest);
        let path = if is_top { name.to_owned() } else { format!("{path}.{name}") };
        return FieldError::missing(path);
    }
    let field = if is_top { "body" } else { path };
    let (field, message) = (truncated(field), truncated(message));
    if message.starts_with("unknown field") {
        FieldError::unknown(field, message)
    } else {
        FieldError::invalid(field, message)
    }
}

/// Returns the beginning of a text, with an ellipsis if the text is longer.
pub(super) fn truncated(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MESSAGE_MAX_CHARS) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}
