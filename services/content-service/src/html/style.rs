//! The `style` attribute: declarations of appearance are allowed, those of position are not.

use cssparser::{Delimiter, ParseError, Parser, Token};

/// The allowed properties. None of them moves an element over another one or loads a resource.
const PROPERTIES: [&str; 77] = [
    "aspect-ratio",
    "background-color",
    "border",
    "border-bottom",
    "border-bottom-color",
    "border-bottom-style",
    "border-bottom-width",
    "border-collapse",
    "border-color",
    "border-left",
    "border-left-color",
    "border-left-style",
    "border-left-width",
    "border-radius",
    "border-right",
    "border-right-color",
    "border-right-style",
    "border-right-width",
    "border-spacing",
    "border-style",
    "border-top",
    "border-top-color",
    "border-top-style",
    "border-top-width",
    "border-width",
    "caption-side",
    "clear",
    "color",
    "direction",
    "float",
    "font",
    "font-family",
    "font-size",
    "font-style",
    "font-variant",
    "font-weight",
    "height",
    "hyphens",
    "letter-spacing",
    "line-height",
    "list-style",
    "list-style-type",
    "margin",
    "margin-block",
    "margin-block-end",
    "margin-block-start",
    "margin-bottom",
    "margin-inline",
    "margin-inline-end",
    "margin-inline-start",
    "margin-left",
    "margin-right",
    "margin-top",
    "max-height",
    "max-width",
    "min-height",
    "min-width",
    "object-fit",
    "overflow-wrap",
    "padding",
    "padding-bottom",
    "padding-left",
    "padding-right",
    "padding-top",
    "table-layout",
    "text-align",
    "text-decoration",
    "text-decoration-color",
    "text-decoration-line",
    "text-decoration-style",
    "text-indent",
    "text-transform",
    "vertical-align",
    "white-space",
    "width",
    "word-break",
    "word-wrap",
];

/// The allowed functions of values: colours and sizes, but neither `url` nor `attr`.
const FUNCTIONS: [&str; 15] = [
    "calc",
    "clamp",
    "color",
    "color-mix",
    "hsl",
    "hsla",
    "hwb",
    "lab",
    "lch",
    "max",
    "min",
    "oklab",
    "oklch",
    "rgb",
    "rgba",
];

/// The maximum depth of nested functions.
const MAX_NESTING: usize = 4;

/// A sanitised style.
pub(super) struct Style {
    /// The allowed declarations, or the attribute as its author wrote it if all are allowed.
    pub(super) kept: String,
    /// `true` if a declaration was removed.
    pub(super) has_removed: bool,
}

/// Returns the declarations of [`PROPERTIES`].
pub(super) fn filter(style: &str) -> Style {
    let mut kept: Vec<&str> = Vec::new();
    let mut has_removed = false;
    let mut parser = Parser::new(style);
    while !parser.is_exhausted() {
        let start = parser.position();
        let is_allowed = parser.parse_until_before(Delimiter::Semicolon, |declaration| {
            Ok::<_, ParseError<()>>(is_declaration(declaration))
        });
        let text = parser.slice_from(start).trim();
        // The semicolon.
        let _ = parser.next();
        // Escapes and comments are not needed; other parsers may read them in another way.
        let is_plain = !text.contains(['\\', '<', '>', '\0']) && !text.contains("/*");
        if is_plain && matches!(is_allowed, Ok(true)) {
            kept.push(text);
        } else if !text.is_empty() {
            has_removed = true;
        }
    }
    let kept = if has_removed { kept.join("; ") } else { style.to_owned() };
    Style { kept, has_removed }
}

/// Returns `true` if a declaration has an allowed property, and its value consists of allowed tokens
/// only.
fn is_declaration(parser: &mut Parser<'_>) -> bool {
    let Ok(property) = parser.expect_ident().map(|name| name.to_ascii_lowercase()) else {
        return false;
    };
    if !PROPERTIES.contains(&&*property) || parser.expect_colon().is_err() {
        return false;
    }
    // A text could be pulled over the page around it.
    let may_be_negative = !property.starts_with("margin") && property != "text-indent";
    !parser.is_exhausted() && is_value(parser, may_be_negative, 0)
}

fn is_value(parser: &mut Parser<'_>, may_be_negative: bool, nesting: usize) -> bool {
    while let Ok(token) = parser.next() {
        let is_allowed = match token {
            Token::Ident(_) | Token::Hash(_) | Token::IDHash(_) | Token::Comma => true,
            Token::Number { value, .. }
            | Token::Percentage { unit_value: value, .. }
            | Token::Dimension { value, .. } => may_be_negative || *value >= 0.0,
            Token::Delim(c) => "+-*/!".contains(*c) && (may_be_negative || nesting == 0),
            // The names of fonts.
            Token::QuotedString(text) => {
                text.chars().all(|c| c.is_alphanumeric() || " -_.".contains(c))
            }
            Token::ParenthesisBlock => nesting > 0 && is_nested(parser, may_be_negative, nesting),
            Token::Function(name) => {
                let name = name.to_ascii_lowercase();
                if name == "var" {
                    is_variable(parser)
                } else {
                    FUNCTIONS.contains(&&*name) && is_nested(parser, may_be_negative, nesting)
                }
            }
            _ => false,
        };
        if !is_allowed {
            return false;
        }
    }
    true
}

fn is_nested(parser: &mut Parser<'_>, may_be_negative: bool, nesting: usize) -> bool {
    nesting < MAX_NESTING
        && parser
            .parse_nested_block(|block| {
                Ok::<_, ParseError<()>>(is_value(block, may_be_negative, nesting + 1))
            })
            .unwrap_or(false)
}

/// A colour or size that the site defines: `var(--name)`.
fn is_variable(parser: &mut Parser<'_>) -> bool {
    let name = parser.parse_nested_block(|block| {
        let name = block.expect_ident();
        Ok::<_, ParseError<()>>(name.is_ok_and(|name| name.starts_with("--")))
    });
    name.unwrap_or(false)
}
