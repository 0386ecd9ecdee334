//! HTML from editors, made safe before it is stored.
//!
//! What a rich-text editor makes survives; what runs in the reader's browser, or changes the page
//! around it, does not. To allow more, extend the lists here; the tests hold what must never pass.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use ammonia::Builder;
use url::Url;

/// Elements beside those that `ammonia` allows: text, lists, tables, figures, images.
const TAGS: [&str; 1] = ["iframe"];

/// Attributes beside those that `ammonia` allows. Values of `class` and `src` are looked at in
/// [`attribute`].
const ATTRIBUTES: [(&str, &[&str]); 6] = [
    ("a", &["title", "target"]),
    ("code", &["class"]),
    ("pre", &["class"]),
    ("img", &["loading"]),
    ("iframe", &["src", "width", "height", "title", "allowfullscreen", "loading"]),
    ("ol", &["start", "reversed", "type"]),
];

/// Where links and images may lead. Relative addresses stay.
const SCHEMES: [&str; 4] = ["http", "https", "mailto", "tel"];

/// Whose videos may be embedded.
const VIDEO_HOSTS: [&str; 4] =
    ["www.youtube-nocookie.com", "www.youtube.com", "youtube.com", "player.vimeo.com"];

static SANITISER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::default();
    builder.add_tags(TAGS).url_schemes(HashSet::from(SCHEMES));
    for (tag, attributes) in ATTRIBUTES {
        builder.add_tag_attributes(tag, attributes.iter().copied());
    }
    builder.attribute_filter(attribute);
    builder
});

/// How many elements may be open at once. Texts have a dozen; a parser looks through all of them
/// for each tag, so that thousands keep it busy for minutes.
const LARGEST_DEPTH: usize = 500;

/// How often HTML is read and written until it stays as it is. What an editor makes does at once;
/// elements nested against the rules move when they are read again, a level each time.
const ROUNDS: usize = 8;

/// The HTML cannot be made safe. The text is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HtmlError {
    /// Too many elements in one another.
    #[error("must not have more than {LARGEST_DEPTH} open elements at once")]
    TooDeep,
    /// It means something else each time it is read.
    #[error("must not have elements nested against the rules of HTML")]
    Unstable,
}

/// The HTML without what may do harm. Sanitising it again changes nothing: what is stored is what
/// every reader of it sees, not something that is read differently the next time.
pub fn sanitise(html: &str) -> Result<String, HtmlError> {
    if is_too_deep(html) {
        return Err(HtmlError::TooDeep);
    }
    let mut clean = sanitise_once(html);
    for _ in 0..ROUNDS {
        let again = sanitise_once(&clean);
        if again == clean {
            return Ok(clean);
        }
        clean = again;
    }
    Err(HtmlError::Unstable)
}

/// Elements that are never open, or closed by whatever cannot stand in them (HTML, §13.1.2.4): one
/// needs an element of another kind around it to be in another of its kind.
const NOT_COUNTED: [&str; 29] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr", "caption", "colgroup", "dd", "dt", "li", "optgroup", "option", "p", "rp", "rt",
    "tbody", "td", "tfoot", "th", "tr",
];

/// Whether many elements are opened and not closed. Counted by name without parsing: the parser is
/// what has to be spared.
fn is_too_deep(html: &str) -> bool {
    let mut open: HashMap<String, usize> = HashMap::new();
    let mut depth = 0;
    for (at, _) in html.match_indices('<') {
        let rest = &html[at + 1..];
        let (is_end, rest) = rest.strip_prefix('/').map_or((false, rest), |rest| (true, rest));
        let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).take(32).count();
        let name = rest[..length].to_ascii_lowercase();
        if name.is_empty() || NOT_COUNTED.contains(&name.as_str()) {
            continue;
        }
        let count = open.entry(name).or_default();
        if !is_end {
            *count += 1;
            depth += 1;
        } else if *count > 0 {
            *count -= 1;
            depth -= 1;
        }
        if depth > LARGEST_DEPTH {
            return true;
        }
    }
    false
}

fn sanitise_once(html: &str) -> String {
    tidy_iframes(&SANITISER.clean(html).to_string())
}

/// Empties the `iframe`s, and takes out those that show nothing (any more).
///
/// Their content is text that no parser looks into, and the one thing that is serialised without
/// being escaped; whoever reads it in another way would find elements in it. `html` is what the
/// sanitiser wrote: every attribute in double quotes, `<` of a text escaped, no comments.
fn tidy_iframes(html: &str) -> String {
    let mut tidy = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let (text, from_tag) = rest.split_at(start);
        tidy.push_str(text);
        let (tag, after) = from_tag.split_at(end_of_tag(from_tag));
        rest = after;
        if !tag.starts_with("<iframe") {
            tidy.push_str(tag);
            continue;
        }
        let end = "</iframe>";
        rest = rest.split_once(end).map_or("", |(_, after)| after);
        if has_src(tag) {
            tidy.push_str(tag);
            tidy.push_str(end);
        }
    }
    tidy.push_str(rest);
    tidy
}

/// Where the tag that the text begins with ends: a `>` in quotes does not end it.
fn end_of_tag(text: &str) -> usize {
    let mut is_quoted = false;
    let end = text.find(|character| {
        is_quoted ^= character == '"';
        character == '>' && !is_quoted
    });
    end.map_or(text.len(), |end| end + 1)
}

/// The even ones of the parts between quotes are names.
fn has_src(tag: &str) -> bool {
    tag.split('"').step_by(2).any(|names| names.ends_with(" src="))
}

fn attribute<'v>(element: &str, attribute: &str, value: &'v str) -> Option<Cow<'v, str>> {
    match (element, attribute) {
        ("code" | "pre", "class") => language(value).map(Cow::Owned),
        ("iframe", "src") => is_video(value).then_some(Cow::Borrowed(value)),
        ("a", "target") => (value == "_blank").then_some(Cow::Borrowed(value)),
        _ => Some(Cow::Borrowed(value)),
    }
}

/// The classes that name a language, as highlighters read them (HTML, §4.5.15).
fn language(classes: &str) -> Option<String> {
    let is_language = |class: &&str| {
        class.strip_prefix("language-").is_some_and(|name| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "+#-_.".contains(c);
            !name.is_empty() && name.chars().all(is_plain)
        })
    };
    let kept: Vec<_> = classes.split_ascii_whitespace().filter(is_language).collect();
    (!kept.is_empty()).then(|| kept.join(" "))
}

fn is_video(address: &str) -> bool {
    Url::parse(address).is_ok_and(|url| {
        url.scheme() == "https"
            && url.host_str().is_some_and(|host| VIDEO_HOSTS.contains(&host))
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_rich_text_editor_makes_survives() {
        for html in [
            "<h1>One</h1><h2>Two</h2><h6>Six</h6>",
            "<p>a <strong>b</strong> <em>c</em> <u>d</u> <s>e</s> <mark>f</mark> <sub>g</sub></p>",
            "<ul><li>a<ol start=\"3\"><li>b</li></ol></li></ul>",
            "<blockquote><p>a</p></blockquote><hr>",
            "<pre><code class=\"language-rust\">fn main() {}\n</code></pre>",
            "<pre class=\"language-c++\">int a;</pre>",
            "<figure><img src=\"https://site.example/a.png\" alt=\"A\" width=\"4\" height=\"3\">\
             <figcaption>b</figcaption></figure>",
            "<img src=\"/images/a.png\" alt=\"\" loading=\"lazy\">",
            "<table><thead><tr><th scope=\"col\">a</th></tr></thead><tbody><tr>\
             <td colspan=\"2\" rowspan=\"2\">b</td></tr></tbody></table>",
            "<details><summary>a</summary>b</details>",
            "<iframe src=\"https://www.youtube-nocookie.com/embed/x?start=1\" width=\"560\" \
             height=\"315\" title=\"v\" allowfullscreen=\"\" loading=\"lazy\"></iframe>",
            "<iframe src=\"https://player.vimeo.com/video/1\"></iframe>",
            "a &amp; b &lt; c &nbsp; 日本語",
            "<p title=\"a &gt; b\">c</p>",
        ] {
            assert_eq!(sanitise(html).as_deref(), Ok(html));
        }
    }

    #[test]
    fn links_survive_and_give_nothing_away() {
        for (html, clean) in [
            (
                "<a href=\"https://a.example/?b=c&amp;d\" target=\"_blank\">x</a>",
                "<a href=\"https://a.example/?b=c&amp;d\" target=\"_blank\" \
                 rel=\"noopener noreferrer\">x</a>",
            ),
            (
                "<a href=\"/about#us\" rel=\"opener\" target=\"top\">x</a>",
                "<a href=\"/about#us\" rel=\"noopener noreferrer\">x</a>",
            ),
            (
                "<a href=\"mailto:a@b.example\">x</a>",
                "<a href=\"mailto:a@b.example\" rel=\"noopener noreferrer\">x</a>",
            ),
        ] {
            assert_eq!(sanitise(html).as_deref(), Ok(clean));
        }
    }

    #[test]
    fn what_runs_or_deceives_does_not_survive() {
        for html in [
            "<script>alert(1)</script>",
            "<SCRIPT SRC=//evil.example></SCRIPT>",
            "<img src=x onerror=alert(1)>",
            "<svg onload=alert(1)></svg>",
            "<svg><script>alert(1)</script></svg>",
            "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
            "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
            "<a href=\"javascript:alert(1)\">x</a>",
            "<a href=\" java\nscript:alert(1)\">x</a>",
            "<a href=\"&#106;avascript:alert(1)\">x</a>",
            "<a href=\"data:text/html,<script>alert(1)</script>\">x</a>",
            "<a href=\"vbscript:x\">x</a>",
            "<p style=\"position:fixed\">x</p>",
            "<style>p{}</style>",
            "<link rel=stylesheet href=//evil.example>",
            "<meta http-equiv=refresh content=0>",
            "<base href=//evil.example>",
            "<form action=//evil.example><input name=a><button>b</button></form>",
            "<object data=x></object><embed src=x>",
            "<iframe src=\"https://evil.example\"></iframe>",
            "<iframe src=\"https://www.youtube.com.evil.example\"></iframe>",
            "<iframe src=\"https://www.youtube.com@evil.example\"></iframe>",
            "<iframe src=\"http://www.youtube.com/embed/x\"></iframe>",
            "<iframe src=\"//evil.example\"></iframe>",
            "<iframe src=\"javascript:alert(1)\"></iframe>",
            "<iframe srcdoc=\"<script>alert(1)</script>\"></iframe>",
            "<iframe src=\"https://www.youtube.com/embed/x\" onload=alert(1)></iframe>",
            "<iframe><img src=x onerror=alert(1)></iframe>",
            "<iframe src=\"https://www.youtube.com/embed/x\"><img src=x onerror=alert(1)></iframe>",
            "<iframe title=\" src=&quot;&gt;\"><img src=x onerror=alert(1)></iframe>",
            "<p title=\"<iframe src=\">a</p><img src=x onerror=alert(1)>",
            "<code class=\"evil language-\">x</code>",
            "<div id=\"location\" name=\"x\" class=\"modal\">x</div>",
        ] {
            let clean = sanitise(html).unwrap().to_lowercase();
            for harm in [
                "<script",
                "onerror=alert(1)>",
                "onload",
                "javascript:",
                "vbscript:",
                "data:",
                "style",
                "evil",
                "<svg",
                "<form",
                "<input",
                "<meta",
                "<base",
                "<link",
                "<object",
                "<embed",
                "srcdoc",
                "http://www.youtube",
                " id=",
                "class=",
            ] {
                assert!(!clean.contains(harm), "{html}\n{clean}");
            }
        }
    }

    fn fragments() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("<p>".to_owned()),
            Just("</p>".to_owned()),
            Just("<b".to_owned()),
            Just("<table><tr>".to_owned()),
            Just("<iframe ".to_owned()),
            Just("</iframe>".to_owned()),
            Just("<a href=\"".to_owned()),
            Just("\">".to_owned()),
            Just("javascript:".to_owned()),
            Just("<svg>".to_owned()),
            Just("<math><mi>".to_owned()),
            Just("<style>".to_owned()),
            Just("<!--".to_owned()),
            Just("-->".to_owned()),
            Just("<![CDATA[".to_owned()),
            Just("<pre>\n".to_owned()),
            Just("\n".to_owned()),
            Just("&lt;".to_owned()),
            Just("<code class='language-a b'>".to_owned()),
            Just("<textarea>".to_owned()),
            Just("<img src=x onerror=y>".to_owned()),
            Just("<li>".to_owned()),
            ".{0,8}",
        ];
        proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn what_keeps_a_parser_busy_is_refused() {
        for piece in ["<div>", "<b>", "<ul><li>", "<i><p>", "<li><table><tr>", "<font a=1><b></p>"]
        {
            assert_eq!(sanitise(&piece.repeat(20_000)), Err(HtmlError::TooDeep), "{piece}");
        }
        for piece in ["<p>", "<li>", "<br>", "<b>x</b>", "<div><p>x</div>", "&lt;", "<", "a < b <c"]
        {
            assert!(!is_too_deep(&piece.repeat(400)), "{piece}");
        }
        let nested = format!("{}{}", "<div>".repeat(400), "</div>".repeat(400));
        assert_eq!(sanitise(&nested).as_deref(), Ok(&*nested));
    }

    #[test]
    fn elements_nested_against_the_rules_settle() {
        let clean = sanitise(&"<li><table><tr>".repeat(100)).unwrap();
        assert_eq!(SANITISER.clean(&clean).to_string(), clean);
    }

    proptest! {
        #[test]
        fn sanitising_twice_is_sanitising_once(html in fragments()) {
            if let Ok(once) = sanitise(&html) {
                prop_assert_eq!(sanitise(&once), Ok(once.clone()), "{}", html);
                prop_assert!(!once.contains("<svg") && !once.contains("<style"), "{}", once);
                prop_assert_eq!(SANITISER.clean(&once).to_string(), once);
            }
        }
    }
}
