//! The beginning of a text and its first picture, for cards.
//!
//! A text has some kilobytes, a page of cards up to fifty texts, and all that a card needs is at the
//! beginning as a rule. So the text is not parsed into a tree: it is split into tags and the text between
//! them, in one pass that ends with the card.

use std::cell::RefCell;

use html5ever::{
    TokenizerResult,
    buffer_queue::BufferQueue,
    tendril::StrTendril,
    tokenizer::{Tag, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts},
};

use super::address;

/// The number of characters of an excerpt.
const EXCERPT_CHARS: usize = 200;

/// The most bytes of a tag that is parsed: longer ones are pictures in `data:` addresses, which cards do
/// not show.
const MAX_TAG_BYTES: usize = 2 * 1024;

/// The number of bytes of a run of text that are decoded at once.
const PIECE_BYTES: usize = 4 * 1024;

/// The elements within a line of text. All others separate words.
const INLINE: [&str; 32] = [
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em",
    "font", "i", "ins", "kbd", "mark", "q", "s", "samp", "small", "span", "strike", "strong",
    "sub", "sup", "time", "tt", "u", "var", "wbr",
];

/// The elements whose content is no text of the page.
const HIDDEN: [&str; 9] =
    ["iframe", "noembed", "noframes", "noscript", "script", "style", "textarea", "title", "xmp"];

/// A text in brief.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    /// The beginning of the text, without markup, up to the end of a word.
    pub(crate) excerpt: String,
    /// The address of the first picture.
    pub(crate) image_url: Option<String>,
}

impl Summary {
    /// Summarises a text, which need not be sanitised.
    pub(crate) fn of(html: &str) -> Self {
        let mut text = Text::default();
        let mut image_url = None;
        let mut segments = Segments(html);
        while let Some(segment) = segments.next() {
            match segment {
                Segment::Text(mut run) => {
                    while !run.is_empty() && !text.is_complete() {
                        let piece = beginning(run, PIECE_BYTES);
                        text.push(&decoded(piece));
                        run = &run[piece.len()..];
                    }
                }
                Segment::Tag { name, tag } => {
                    if !INLINE.contains(&&*name) {
                        text.push(" ");
                    }
                    if name == "img" && image_url.is_none() {
                        image_url = image(tag);
                    }
                }
            }
            if text.is_complete() && image_url.is_some() {
                break;
            }
        }
        Self { excerpt: text.excerpt(), image_url }
    }
}

/// A part of a text.
enum Segment<'a> {
    /// The text between two tags.
    Text(&'a str),
    /// A tag or a comment. A comment has no name.
    Tag { name: String, tag: &'a str },
}

/// The parts of a text, without the content of hidden elements.
struct Segments<'a>(&'a str);

impl<'a> Segments<'a> {
    fn next(&mut self) -> Option<Segment<'a>> {
        let html = self.0;
        if html.is_empty() {
            return None;
        }
        let tag = html.match_indices('<').map(|(at, _)| at).find(|at| is_tag(&html[*at..]));
        match tag {
            None => {
                self.0 = "";
                Some(Segment::Text(html))
            }
            Some(0) => Some(self.tag()),
            Some(at) => {
                self.0 = &html[at..];
                Some(Segment::Text(&html[..at]))
            }
        }
    }

    /// Takes the tag at which the rest begins.
    fn tag(&mut self) -> Segment<'a> {
        let html = self.0;
        if let Some(comment) = html.strip_prefix("<!--") {
            let end = comment.find("-->").map_or(html.len(), |at| at + "<!---->".len());
            self.0 = &html[end..];
            return Segment::Tag { name: String::new(), tag: &html[..end] };
        }
        let end = tag_end(html);
        let tag = &html[..end];
        self.0 = &html[end..];
        let name = tag.trim_start_matches(['<', '/']);
        let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let name = name.to_ascii_lowercase();
        if HIDDEN.contains(&&*name) && !tag.starts_with("</") {
            let closing = self.0.match_indices("</").map(|(at, _)| at).find(|at| {
                let rest = self.0.as_bytes()[at + 2..].get(..name.len());
                rest.is_some_and(|rest| rest.eq_ignore_ascii_case(name.as_bytes()))
            });
            self.0 = closing.map_or("", |at| &self.0[at..]);
        }
        Segment::Tag { name, tag }
    }
}

/// Returns `true` if a `<` begins a tag or a comment, and is no character of the text (HTML standard,
/// "Tag open state").
fn is_tag(html: &str) -> bool {
    let rest = html[1..].strip_prefix('/').unwrap_or(&html[1..]);
    rest.starts_with(|c: char| c.is_ascii_alphabetic())
        || html.starts_with("<!")
        || html.starts_with("<?")
}

/// Returns the place after a tag. A `>` in a quoted value does not end it.
fn tag_end(html: &str) -> usize {
    let bytes = html.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'>' => return at,
            b'=' => {
                at += bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                if let Some(quote @ (b'"' | b'\'')) = bytes.get(at) {
                    let value = bytes[at + 1..].iter().position(|byte| byte == quote);
                    at = value.map_or(bytes.len(), |length| at + 1 + length + 1);
                }
            }
            _ => {}
        }
    }
    bytes.len()
}

/// The beginning of a text, as it grows.
#[derive(Default)]
struct Text {
    text: String,
    chars: usize,
    is_after_space: bool,
}

impl Text {
    /// Returns `true` if the excerpt does not change any more.
    fn is_complete(&self) -> bool {
        self.chars > EXCERPT_CHARS
    }

    /// Adds text. White space is one space between words.
    fn push(&mut self, text: &str) {
        for character in text.chars() {
            if self.is_complete() {
                return;
            }
            if character.is_whitespace() {
                self.is_after_space = true;
                continue;
            }
            if character.is_control() {
                continue;
            }
            if std::mem::take(&mut self.is_after_space) && !self.text.is_empty() {
                self.text.push(' ');
                self.chars += 1;
            }
            self.text.push(character);
            self.chars += 1;
        }
    }

    /// Returns the text up to the end of a word. Without spaces in its second half, as in languages that
    /// have none, it is cut between characters.
    fn excerpt(self) -> String {
        let Some((end, _)) = self.text.char_indices().nth(EXCERPT_CHARS) else { return self.text };
        let (kept, rest) = self.text.split_at(end);
        if rest.starts_with(' ') {
            return kept.to_owned();
        }
        let half = kept.char_indices().nth(EXCERPT_CHARS / 2).map_or(0, |(at, _)| at);
        let word_end = kept.rfind(' ').filter(|at| *at >= half);
        kept[..word_end.unwrap_or(end)].to_owned()
    }
}

/// Returns the beginning of a text of at most so many bytes, up to the end of a character.
fn beginning(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or_default()]
}

/// Returns a text with its character references replaced.
fn decoded(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    let tokens = Tokens::default();
    let tokens = tokenize(tokens, text);
    tokens.text.into_inner()
}

/// Returns the address of the picture of an `img` tag, if a page may load it and it is an address.
fn image(tag: &str) -> Option<String> {
    if tag.len() > MAX_TAG_BYTES {
        return None;
    }
    let tag = tokenize(Tokens::default(), tag).tag.into_inner()?;
    let source = tag.attrs.iter().find(|attribute| &*attribute.name.local == "src")?;
    address::resource(&source.value)
}

/// The tokens of a part of a text.
#[derive(Default)]
struct Tokens {
    text: RefCell<String>,
    /// The first tag.
    tag: RefCell<Option<Tag>>,
}

impl TokenSink for Tokens {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        match token {
            Token::CharacterTokens(text) => self.text.borrow_mut().push_str(&text),
            Token::TagToken(tag) => {
                self.tag.borrow_mut().get_or_insert(tag);
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

fn tokenize(tokens: Tokens, html: &str) -> Tokens {
    let tokenizer = Tokenizer::new(tokens, TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(html));
    while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
    tokenizer.end();
    tokenizer.sink
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn excerpt(html: &str) -> String {
        Summary::of(html).excerpt
    }

    fn image_url(html: &str) -> Option<String> {
        Summary::of(html).image_url
    }

    #[test]
    fn an_excerpt_has_text_and_no_markup() {
        for (html, expected) in [
            ("<p>One <b>w</b>ord</p><p>and&nbsp;more</p>", "One word and more"),
            ("<h1>Title</h1>text<br>line<ul><li>a<li>b</ul>", "Title text line a b"),
            ("a &amp; b &lt;p&gt; &#8212; &eacute;", "a & b <p> — é"),
            ("1 < 2 > 1 <3", "1 < 2 > 1 <3"),
            ("<p title=\"a > b\">x</p><p title='>'>y</p><p title=a'b>z</p>", "x y z"),
            ("<script>if (a < b) { '<p>' }</SCRIPT >x<style>p{}</style><!-- <p>no -->y", "x y"),
            ("x<iframe src=a>no</iframe><svg><title>no</title></svg>", "x"),
            ("plain text", "plain text"),
            ("x<p", "x"),
            ("x<!-- never", "x"),
            ("x<script>never", "x"),
            ("\u{0}a\u{7}b\n\n\tc", "ab c"),
            ("", ""),
        ] {
            assert_eq!(excerpt(html), expected, "{html}");
        }
    }

    #[test]
    fn an_excerpt_ends_with_a_word() {
        let words = "word ".repeat(100);
        let cut = excerpt(&words);
        assert_eq!((cut.chars().count(), cut.ends_with("word")), (199, true));
        let exact = format!("{} next", "x".repeat(200));
        assert_eq!(excerpt(&exact), "x".repeat(200));
        let short = format!("{} {}", "x".repeat(150), "y".repeat(60));
        assert_eq!(excerpt(&short), "x".repeat(150));
        let whole = format!("{} y", "x".repeat(198));
        assert_eq!(excerpt(&whole), whole);
        // A language without spaces.
        assert_eq!(excerpt(&"字".repeat(500)), "字".repeat(200));
    }

    #[test]
    fn the_first_picture_is_the_first_that_has_an_address() {
        for (html, expected) in [
            (
                "<p>x</p><img alt='' src=\"/uploads/a.webp?x=1&amp;y=2\"><img src=b>",
                "/uploads/a.webp?x=1&y=2",
            ),
            ("<IMG SRC=https://example.org/a.png>", "https://example.org/a.png"),
            ("<img src='javascript:x()'><img src='data:image/png;base64,AAAA'><img src=c>", "c"),
            ("<!-- <img src=a> --><script>'<img src=b>'</script><img data-src=d src=c>", "c"),
            ("<img><img src><img src=''><figure><img\nsrc = 'c'\n/></figure>", "c"),
        ] {
            assert_eq!(image_url(html).as_deref(), Some(expected), "{html}");
        }
        let far = format!("<p>{}</p><img src=far>", "word ".repeat(10_000));
        assert_eq!(image_url(&far).as_deref(), Some("far"));
        let large =
            format!("<img src='data:image/png;base64,{}'>text<img src=x>", "A".repeat(1 << 20));
        let summary = Summary { excerpt: "text".into(), image_url: Some("x".into()) };
        assert_eq!(Summary::of(&large), summary);
        for html in ["<image src=a>", "<p>img src=a</p>", "<img src=http://[>"] {
            assert_eq!(image_url(html), None, "{html}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_summary(html in r#"([<>/!a-c "'=&;-]|<img src=a>|<!--|-->|<script>|é){0,60}"#) {
            let Summary { excerpt, .. } = Summary::of(&html);
            prop_assert!(excerpt.chars().count() <= EXCERPT_CHARS);
            prop_assert_eq!(excerpt.trim(), &excerpt);
        }
    }

    #[test]
    fn a_hostile_text_takes_no_long_time() {
        for piece in
            ["<a ", "<!--", "<", "<img src=a ", "</script", "<script", "='", "&amp", "<p a=\"x\" "]
        {
            let html = piece.repeat((1 << 20) / piece.len());
            let begun = std::time::Instant::now();
            let _ = Summary::of(&html);
            assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{piece}");
        }
    }
}
