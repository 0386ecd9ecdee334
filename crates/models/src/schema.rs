//! Schemas of the types that check their values when they are read.

use utoipa::openapi::schema::{ObjectBuilder, Type};

/// Implements the schema of a type, under its own name or another one.
#[macro_export]
macro_rules! schema {
    ($name:ident, $schema:expr) => {
        $crate::schema!(@schema $name, $schema);

        impl ::utoipa::ToSchema for $name {}
    };
    ($name:ident as $schema_name:literal, $schema:expr) => {
        $crate::schema!(@schema $name, $schema);

        impl ::utoipa::ToSchema for $name {
            fn name() -> ::std::borrow::Cow<'static, str> {
                $schema_name.into()
            }
        }
    };
    (@schema $name:ident, $schema:expr) => {
        impl ::utoipa::PartialSchema for $name {
            fn schema() -> ::utoipa::openapi::RefOr<::utoipa::openapi::Schema> {
                $schema.into()
            }
        }
    };
}

pub use schema;

/// The pattern of a line of text: no control characters, and at least one character that is not white
/// space.
const LINE: &str = concat!(
    r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F]",
    r"[^\u0000-\u001F\u007F-\u009F]*$"
);

/// The pattern of a line that can be a segment of a path: it has no slashes and backslashes either.
const SEGMENT: &str = concat!(
    r"^[^/\\\u0000-\u001F\u007F-\u009F]*[^/\\\s\u0000-\u001F\u007F-\u009F]",
    r"[^/\\\u0000-\u001F\u007F-\u009F]*$"
);

/// The pattern of a text of several lines: no NUL.
const PROSE: &str = r"^[^\u0000]*$";

/// Returns the schema of a text with a pattern (ECMA 262) and a maximum number of characters.
pub fn text(pattern: &str, max_length: usize) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .max_length(Some(max_length))
}

/// Returns the schema of a whole number in a range.
pub fn number(min: u32, max: u32, default: u32) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(min))
        .maximum(Some(max))
        .default(Some(default.into()))
}

/// Returns the schema of a line of text.
pub fn line(max_length: usize) -> ObjectBuilder {
    text(LINE, max_length).min_length(Some(1))
}

/// Returns the schema of a segment of a path.
pub fn segment(max_length: usize) -> ObjectBuilder {
    text(SEGMENT, max_length).min_length(Some(1))
}

/// Returns the schema of a text of several lines.
pub fn prose(max_length: usize) -> ObjectBuilder {
    text(PROSE, max_length)
}
