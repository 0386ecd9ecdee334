//! Schemas of the values that are checked when they are read.

use utoipa::openapi::schema::{ObjectBuilder, Type};

/// Gives a type a schema of its own, under its own name or another one.
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

/// What a line of text looks like: no control characters, and something other than white space.
const LINE: &str = concat!(
    r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F]",
    r"[^\u0000-\u001F\u007F-\u009F]*$"
);

/// A line that can be a segment of a path: as above, without slashes and backslashes.
const SEGMENT: &str = concat!(
    r"^[^/\\\u0000-\u001F\u007F-\u009F]*[^/\\\s\u0000-\u001F\u007F-\u009F]",
    r"[^/\\\u0000-\u001F\u007F-\u009F]*$"
);

/// What a text of several lines looks like: no NUL.
const PROSE: &str = r"^[^\u0000]*$";

/// A text that matches the pattern (ECMA 262) and has at most so many characters.
pub fn text(pattern: &str, longest: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).max_length(Some(longest))
}

/// A whole number of a range.
pub fn number(least: u32, most: u32, default: u32) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least))
        .maximum(Some(most))
        .default(Some(default.into()))
}

/// A line of text.
pub fn line(longest: usize) -> ObjectBuilder {
    text(LINE, longest).min_length(Some(1))
}

/// A segment of a path.
pub fn segment(longest: usize) -> ObjectBuilder {
    text(SEGMENT, longest).min_length(Some(1))
}

/// Text of many lines.
pub fn prose(longest: usize) -> ObjectBuilder {
    text(PROSE, longest)
}
