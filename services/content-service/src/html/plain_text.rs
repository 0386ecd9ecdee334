//! The text of HTML, without its markup.

use std::cell::RefCell;

use html5ever::{
    LocalName, TokenizerResult,
    buffer_queue::BufferQueue,
    local_name,
    tendril::StrTendril,
    tokenizer::{
        Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts, states::RawKind,
    },
};

/// The size of the pieces in which a text is read, in bytes: reading stops after the piece in which the
/// result is long enough.
const PIECE_BYTES: usize = 64 * 1024;

/// Returns the text of HTML, at most `max_length` characters of it. White space becomes one space, and
/// elements that are not part of a line, such as paragraphs, are separated by one. The content of scripts
/// and style sheets is no text.
pub(crate) fn plain_text(html: &str, max_length: usize) -> String {
    let sink = Sink(RefCell::new(Text { max_length, ..Text::default() }));
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let input = BufferQueue::default();
    let mut rest = html;
    while !rest.is_empty() && !tokenizer.sink.0.borrow().is_full() {
        let end = (PIECE_BYTES..rest.len()).find(|place| rest.is_char_boundary(*place));
        let (piece, others) = rest.split_at(end.unwrap_or(rest.len()));
        rest = others;
        input.push_back(StrTendril::from_slice(piece));
        while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
    }
    tokenizer.end();
    tokenizer.sink.0.take().text
}

#[derive(Default)]
struct Text {
    text: String,
    /// The number of characters.
    length: usize,
    max_length: usize,
    /// `true` if the next character comes after white space.
    is_separated: bool,
    /// The element whose content is no text.
    skipped: Option<LocalName>,
}

impl Text {
    fn is_full(&self) -> bool {
        self.length >= self.max_length
    }

    fn add(&mut self, characters: &str) {
        for character in characters.chars() {
            if self.is_full() {
                return;
            }
            if character.is_whitespace() || character.is_control() {
                self.is_separated = true;
                continue;
            }
            if self.is_separated && self.length > 0 {
                self.text.push(' ');
                self.length += 1;
            }
            self.is_separated = false;
            self.text.push(character);
            self.length += 1;
        }
    }
}

struct Sink(RefCell<Text>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut text = self.0.borrow_mut();
        match token {
            Token::CharacterTokens(characters) if text.skipped.is_none() => text.add(&characters),
            Token::TagToken(Tag { kind, name, self_closing, .. }) => {
                text.is_separated |= !is_in_line(&name);
                match (kind, raw_kind(&name)) {
                    (TagKind::StartTag, Some(kind)) if !self_closing => {
                        text.skipped = Some(name);
                        return TokenSinkResult::RawData(kind);
                    }
                    (TagKind::EndTag, _) if text.skipped.as_ref() == Some(&name) => {
                        text.skipped = None;
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// Returns the way in which the content of an element is read that is no text.
fn raw_kind(name: &LocalName) -> Option<RawKind> {
    match *name {
        local_name!("script") => Some(RawKind::ScriptData),
        local_name!("style") => Some(RawKind::Rawtext),
        _ => None,
    }
}

/// Returns `true` for an element within a line, which does not separate words.
fn is_in_line(name: &LocalName) -> bool {
    matches!(
        &**name,
        "a" | "abbr"
            | "b"
            | "bdi"
            | "bdo"
            | "cite"
            | "code"
            | "data"
            | "del"
            | "dfn"
            | "em"
            | "font"
            | "i"
            | "ins"
            | "kbd"
            | "mark"
            | "q"
            | "s"
            | "samp"
            | "small"
            | "span"
            | "strong"
            | "sub"
            | "sup"
            | "time"
            | "tt"
            | "u"
            | "var"
            | "wbr"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_no_text() {
        for (html, expected) in [
            ("<p>One</p><p>two <b>thr</b>ee</p>", "One two three"),
            ("a<br>b<hr/>c", "a b c"),
            ("<ul><li>x<li>y</ul>", "x y"),
            ("Tom &amp; Jerry &lt;3&nbsp;&#x1F5FC;", "Tom & Jerry <3 🗼"),
            ("<p title=\"attribute\">text<!-- comment -->", "text"),
            ("a<script>let b = '<p>';</script>c<style>p { }</style>d", "a c d"),
            ("plain\n\n  text \0", "plain text"),
            ("<p", ""),
            ("", ""),
        ] {
            assert_eq!(plain_text(html, 100), expected, "{html}");
        }
    }

    #[test]
    fn a_text_has_a_limit_whatever_its_size() {
        assert_eq!(plain_text(&"é ".repeat(1_000_000), 5), "é é é");
        let long = "<b>".repeat(1_000_000);
        assert_eq!(plain_text(&long, 5), "");
    }
}
