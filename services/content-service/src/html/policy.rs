//! The allowed elements and attributes. To allow more, extend the lists here; the
//! tests hold what must never pass.

use html5ever::{QualName, local_name, ns};

/// The treatment of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// The element is kept, with the attributes that may stay.
    Keep,
    /// The element is kept under the name `pre`, which looks the same and has no other rules of
    /// parsing.
    KeepAsPre,
    /// The element is removed and its content is kept, because it is for readers.
    Unwrap,
    /// The element is removed with its content, which is source code, or a fallback for browsers that
    /// do not support the element.
    Drop,
}

/// The context of an element, which determines the elements that are allowed in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Text with HTML.
    Html,
    /// In a `picture`.
    Picture,
    /// In a `video` or `audio`: everything but sources and tracks is a fallback.
    Media,
    /// In MathML that has further MathML.
    Math,
    /// In an element of MathML that has text. HTML would be valid there, but parsers differ in reading it:
    /// only text is kept.
    MathText,
}

/// Elements of HTML that are kept in every context.
const ELEMENTS: [&str; 96] = [
    "a",
    "abbr",
    "acronym",
    "address",
    "area",
    "article",
    "aside",
    "audio",
    "b",
    "bdi",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "data",
    "dd",
    "del",
    "details",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "fieldset",
    "figcaption",
    "figure",
    "font",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hgroup",
    "hr",
    "i",
    "iframe",
    "img",
    "input",
    "ins",
    "kbd",
    "label",
    "legend",
    "li",
    "main",
    "map",
    "mark",
    "menu",
    "meter",
    "nav",
    "ol",
    "p",
    "picture",
    "pre",
    "progress",
    "q",
    "rb",
    "rp",
    "rt",
    "rtc",
    "ruby",
    "s",
    "samp",
    "search",
    "section",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "time",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
    "video",
    "wbr",
    "nobr",
    "dir",
];

/// Elements of HTML that are removed with their content.
const DROPPED: [&str; 34] = [
    "applet",
    "base",
    "basefont",
    "bgsound",
    "canvas",
    "command",
    "datalist",
    "embed",
    "fencedframe",
    "frame",
    "frameset",
    "head",
    "keygen",
    "link",
    "meta",
    "noembed",
    "noframes",
    "object",
    "option",
    "optgroup",
    "output",
    "param",
    "plaintext",
    "portal",
    "script",
    "select",
    "source",
    "style",
    "svg",
    "template",
    "textarea",
    "title",
    "track",
    "nextid",
];

/// Elements of MathML (Core) that are kept, without those that have HTML or a picture in them
/// (`annotation-xml`, `mglyph`) or act (`maction`).
const MATH_ELEMENTS: [&str; 30] = [
    "annotation",
    "menclose",
    "merror",
    "mfrac",
    "mi",
    "mmultiscripts",
    "mn",
    "mo",
    "mover",
    "mpadded",
    "mphantom",
    "mprescripts",
    "mroot",
    "mrow",
    "ms",
    "mspace",
    "msqrt",
    "mstyle",
    "msub",
    "msubsup",
    "msup",
    "mtable",
    "mtd",
    "mtext",
    "mtr",
    "munder",
    "munderover",
    "none",
    "semantics",
    "mfenced",
];

/// Elements of MathML that have text.
const MATH_TEXT_ELEMENTS: [&str; 6] = ["annotation", "mi", "mn", "mo", "ms", "mtext"];

/// Returns the treatment of an element and the context of its content if it is kept.
pub(super) fn treat(name: &QualName, place: Place) -> (Treatment, Place) {
    let local = &*name.local;
    match (&name.ns, place) {
        (&ns!(mathml), Place::Html | Place::Picture) if local == "math" => {
            (Treatment::Keep, Place::Math)
        }
        (&ns!(mathml), Place::Math) if MATH_ELEMENTS.contains(&local) => {
            let has_text = MATH_TEXT_ELEMENTS.contains(&local);
            (Treatment::Keep, if has_text { Place::MathText } else { Place::Math })
        }
        (&ns!(mathml), _) => match local {
            "annotation-xml" | "mglyph" | "malignmark" => (Treatment::Drop, place),
            _ if place == Place::Media => (Treatment::Drop, place),
            _ => (Treatment::Unwrap, place),
        },
        (&ns!(html), Place::Media) => match local {
            "source" | "track" => (Treatment::Keep, Place::Html),
            _ => (Treatment::Drop, place),
        },
        (&ns!(html), Place::Picture) if local == "source" => (Treatment::Keep, Place::Html),
        (&ns!(html), _) if DROPPED.contains(&local) => (Treatment::Drop, place),
        (&ns!(html), Place::Math | Place::MathText) => (Treatment::Unwrap, place),
        (&ns!(html), _) => match local {
            "picture" => (Treatment::Keep, Place::Picture),
            "video" | "audio" => (Treatment::Keep, Place::Media),
            "xmp" | "listing" => (Treatment::KeepAsPre, Place::Html),
            _ if ELEMENTS.contains(&local) => (Treatment::Keep, Place::Html),
            _ => (Treatment::Unwrap, place),
        },
        // SVG, which has scripts of its own.
        _ => (Treatment::Drop, place),
    }
}

/// Returns `true` if the element has neither content nor an end tag (HTML, §13.1.2).
pub(super) fn is_void(name: &QualName) -> bool {
    name.ns == ns!(html)
        && matches!(
            name.local,
            local_name!("area")
                | local_name!("br")
                | local_name!("col")
                | local_name!("hr")
                | local_name!("img")
                | local_name!("input")
                | local_name!("source")
                | local_name!("track")
                | local_name!("wbr")
        )
}

/// The kind of value that an attribute has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Text or a number, without effect beyond the element.
    Plain,
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// Some of these, separated by semicolons.
    Features(&'static [&'static str]),
    /// The address of a link.
    Link,
    /// An address of something else.
    Resource,
    /// The address of an image.
    Image,
    /// The address of an embed.
    Embed,
    /// Images for different screens.
    Srcset,
    /// A name that is unique in the page.
    Id,
    /// An id within the text.
    LocalReference,
    /// Ids, separated by white space.
    References,
    /// `#` and the name of a `map`.
    MapReference,
    /// Names of classes.
    Classes,
    /// Declarations of CSS.
    Style,
}

use Value::{
    Classes, Embed, Features, Id, Image, Link, LocalReference, MapReference, OneOf, Plain,
    References, Resource, Srcset, Style,
};

/// Names of attributes with the kind of their values.
type Attributes = &'static [(&'static str, Value)];

/// Attributes that every element of HTML may have.
const GLOBAL: Attributes = &[
    ("id", Id),
    ("class", Classes),
    ("style", Style),
    ("title", Plain),
    ("lang", Plain),
    ("dir", Plain),
    ("translate", Plain),
    ("hidden", Plain),
    ("role", Plain),
    ("align", Plain),
    ("aria-label", Plain),
    ("aria-hidden", Plain),
    ("aria-level", Plain),
    ("aria-current", Plain),
    ("aria-labelledby", References),
    ("aria-describedby", References),
    ("aria-details", References),
    // Editors know their own elements by these; scripts of libraries look for others.
    ("data-type", Plain),
    ("data-checked", Plain),
    ("data-latex", Plain),
    ("data-list", Plain),
    ("data-value", Plain),
    ("data-formula", Plain),
    ("data-display", Plain),
    ("data-language", Plain),
    ("data-align", Plain),
    ("data-text-align", Plain),
    ("data-width", Plain),
    ("data-size", Plain),
    ("data-indent", Plain),
    ("data-colwidth", Plain),
    ("data-youtube-video", Plain),
];

const ON_TABLE: Attributes = &[
    ("width", Plain),
    ("height", Plain),
    ("valign", Plain),
    ("bgcolor", Plain),
    ("span", Plain),
    ("colwidth", Plain),
    ("char", Plain),
    ("charoff", Plain),
];

const LINK: Attributes = &[
    ("href", Link),
    ("target", OneOf(&["_blank", "_self"])),
    ("rel", Plain),
    ("download", Plain),
    ("hreflang", Plain),
];

const MEDIA: Attributes = &[
    ("src", Resource),
    ("poster", Image),
    ("controls", Plain),
    ("autoplay", Plain),
    ("loop", Plain),
    ("muted", Plain),
    ("playsinline", Plain),
    ("preload", Plain),
    ("width", Plain),
    ("height", Plain),
    ("controlslist", Plain),
];

/// Attributes of MathML, without those that link.
const MATH: Attributes = &[
    ("id", Id),
    ("class", Classes),
    ("style", Style),
    ("dir", Plain),
    ("xmlns", OneOf(&["http://www.w3.org/1998/Math/MathML"])),
    ("alttext", Plain),
    ("display", Plain),
    ("displaystyle", Plain),
    ("scriptlevel", Plain),
    ("intent", Plain),
    ("arg", Plain),
    ("accent", Plain),
    ("accentunder", Plain),
    ("align", Plain),
    ("close", Plain),
    ("columnalign", Plain),
    ("columnlines", Plain),
    ("columnspacing", Plain),
    ("columnspan", Plain),
    ("columnwidth", Plain),
    ("depth", Plain),
    ("encoding", Plain),
    ("fence", Plain),
    ("form", Plain),
    ("frame", Plain),
    ("framespacing", Plain),
    ("height", Plain),
    ("largeop", Plain),
    ("linethickness", Plain),
    ("lspace", Plain),
    ("mathbackground", Plain),
    ("mathcolor", Plain),
    ("mathsize", Plain),
    ("mathvariant", Plain),
    ("maxsize", Plain),
    ("minsize", Plain),
    ("movablelimits", Plain),
    ("notation", Plain),
    ("open", Plain),
    ("rowalign", Plain),
    ("rowlines", Plain),
    ("rowspacing", Plain),
    ("rowspan", Plain),
    ("rspace", Plain),
    ("separator", Plain),
    ("separators", Plain),
    ("stretchy", Plain),
    ("symmetric", Plain),
    ("voffset", Plain),
    ("width", Plain),
    ("title", Plain),
    ("bevelled", Plain),
];

/// Attributes of single elements of HTML, beyond those of all elements.
const OWN: &[(&[&str], Attributes)] = &[
    (&["a", "area"], LINK),
    (&["a"], &[("type", Plain), ("name", Id)]),
    (&["area"], &[("alt", Plain), ("coords", Plain), ("shape", Plain), ("nohref", Plain)]),
    (&["map"], &[("name", Id)]),
    (&["audio", "video"], MEDIA),
    (
        &["source"],
        &[
            ("src", Resource),
            ("srcset", Srcset),
            ("sizes", Plain),
            ("media", Plain),
            ("type", Plain),
            ("width", Plain),
            ("height", Plain),
        ],
    ),
    (
        &["track"],
        &[
            ("src", Resource),
            ("kind", Plain),
            ("srclang", Plain),
            ("label", Plain),
            ("default", Plain),
        ],
    ),
    (
        &["img"],
        &[
            ("src", Image),
            ("srcset", Srcset),
            ("sizes", Plain),
            ("alt", Plain),
            ("width", Plain),
            ("height", Plain),
            ("loading", OneOf(&["lazy", "eager"])),
            ("decoding", Plain),
            ("fetchpriority", Plain),
            ("usemap", MapReference),
            ("longdesc", Resource),
            ("border", Plain),
            ("hspace", Plain),
            ("vspace", Plain),
        ],
    ),
    (
        &["iframe"],
        &[
            ("src", Embed),
            ("width", Plain),
            ("height", Plain),
            ("allowfullscreen", Plain),
            ("allow", Features(&FEATURES)),
            ("loading", OneOf(&["lazy", "eager"])),
            (
                "referrerpolicy",
                OneOf(&[
                    "no-referrer",
                    "origin",
                    "same-origin",
                    "strict-origin",
                    "strict-origin-when-cross-origin",
                ]),
            ),
            ("frameborder", Plain),
            ("scrolling", Plain),
            ("marginwidth", Plain),
            ("marginheight", Plain),
            ("webkitallowfullscreen", Plain),
            ("mozallowfullscreen", Plain),
        ],
    ),
    (&["input"], &[("type", OneOf(&["checkbox"])), ("checked", Plain), ("disabled", Plain)]),
    (&["label"], &[("for", LocalReference)]),
    (&["blockquote", "q"], &[("cite", Resource)]),
    (&["del", "ins"], &[("cite", Resource), ("datetime", Plain)]),
    (&["time"], &[("datetime", Plain)]),
    (&["data"], &[("value", Plain)]),
    (&["details"], &[("open", Plain)]),
    (&["ol"], &[("start", Plain), ("reversed", Plain), ("type", Plain), ("compact", Plain)]),
    (&["ul", "dir", "menu", "dl"], &[("type", Plain), ("compact", Plain)]),
    (&["li"], &[("value", Plain), ("type", Plain)]),
    (
        &["progress", "meter"],
        &[
            ("value", Plain),
            ("max", Plain),
            ("min", Plain),
            ("low", Plain),
            ("high", Plain),
            ("optimum", Plain),
        ],
    ),
    (&["table"], ON_TABLE),
    (
        &["table"],
        &[
            ("border", Plain),
            ("cellpadding", Plain),
            ("cellspacing", Plain),
            ("summary", Plain),
            ("frame", Plain),
            ("rules", Plain),
        ],
    ),
    (&["td", "th"], ON_TABLE),
    (
        &["td", "th"],
        &[
            ("colspan", Plain),
            ("rowspan", Plain),
            ("headers", References),
            ("scope", Plain),
            ("abbr", Plain),
            ("axis", Plain),
            ("nowrap", Plain),
        ],
    ),
    (&["col", "colgroup", "tbody", "tfoot", "thead", "tr"], ON_TABLE),
    (&["hr"], &[("width", Plain), ("size", Plain), ("noshade", Plain), ("color", Plain)]),
    (&["br"], &[("clear", Plain)]),
    (&["font"], &[("color", Plain), ("face", Plain), ("size", Plain)]),
    (&["pre"], &[("width", Plain)]),
];

/// Returns the kind of value that an attribute has, or `None` if the element may not have it.
pub(super) fn attribute(element: &QualName, name: &QualName) -> Option<Value> {
    let local = &*name.local;
    let is_in =
        |list: Attributes| list.iter().find(|(known, _)| *known == local).map(|(_, value)| *value);
    if element.ns == ns!(mathml) {
        let is_plain = matches!(name.ns, ns!()) || (name.ns == ns!(xmlns) && local == "xmlns");
        return is_in(MATH).filter(|_| is_plain);
    }
    let rows = OWN.iter().filter(|(elements, _)| elements.contains(&&*element.local));
    let own = rows.map(|(_, attributes)| *attributes).find_map(is_in);
    own.or_else(|| is_in(GLOBAL)).filter(|_| name.ns == ns!())
}

/// The permissions of an embed (Permissions Policy): playback and the orientation of the device.
const FEATURES: [&str; 9] = [
    "accelerometer",
    "autoplay",
    "clipboard-write",
    "encrypted-media",
    "fullscreen",
    "gyroscope",
    "picture-in-picture",
    "web-share",
    "fullscreen *",
];
