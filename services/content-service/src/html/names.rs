//! Ids that scripts of the page could confuse with variables (DOM clobbering).
//!
//! A browser gives each element with an id a property of `window`, and of the form that it is in
//! (HTML, §7.2.2.3 and §4.10.3): `<a id="config">` is `window.config`. An id that could be the
//! name of a variable gets a prefix, and so do the links to it. Any other id, such as `fn-1`,
//! `chapter-2` or `introduction`, is unchanged.

use std::{borrow::Cow, collections::HashSet, sync::LazyLock};

/// The prefix of an id that could be the name of a variable.
const PREFIX: &str = "content-";

/// The names in lower case of properties and methods that documents, windows, elements and forms
/// have (WHATWG HTML and DOM), and those that scripts and frameworks often give their own
/// variables.
const NAMES: &str = "
URL action after alert all anchors animate append applets atob attributes autocapitalize
autocomplete autofocus before blur body btoa caches charset children clear click close closed
closest confirm constructor contains cookie crypto dataset dir doctype document domain draggable
elements embeds encoding enctype evaluate event external fetch focus fonts forms frames
fullscreen head hidden history id images implementation inert lang length links location
locationbar matches menubar method name navigator nonce normalize onabort onafterprint
onanimationcancel onanimationend onanimationiteration onanimationstart onauxclick onbeforeinput
onbeforeprint onbeforetoggle onbeforeunload onblur oncancel oncanplay oncanplaythrough onchange
onclick onclose oncontextlost oncontextmenu oncontextrestored oncopy oncuechange oncut
ondblclick ondevicemotion ondeviceorientation ondeviceorientationabsolute ondrag ondragend
ondragenter ondragleave ondragover ondragstart ondrop ondurationchange onemptied onended onerror
onfocus onformdata onfullscreenchange onfullscreenerror ongamepadconnected ongamepaddisconnected
ongotpointercapture onhashchange oninput oninvalid onkeydown onkeypress onkeyup onlanguagechange
onload onloadeddata onloadedmetadata onloadstart onlostpointercapture onmessage onmessageerror
onmousedown onmouseenter onmouseleave onmousemove onmouseout onmouseover onmouseup onoffline
ononline onorientationchange onpagehide onpageshow onpaste onpause onplay onplaying
onpointercancel onpointerdown onpointerenter onpointerleave onpointerlockchange
onpointerlockerror onpointermove onpointerout onpointerover onpointerup onpopstate onprogress
onratechange onreadystatechange onrejectionhandled onreset onresize onscroll onscrollend
onsecuritypolicyviolation onseeked onseeking onselect onselectionchange onselectstart
onslotchange onstalled onstorage onsubmit onsuspend ontimeupdate ontoggle ontouchcancel
ontouchend ontouchmove ontouchstart ontransitioncancel ontransitionend ontransitionrun
ontransitionstart onunhandledrejection onunload onvisibilitychange onvolumechange onwaiting
onwebkitanimationend onwebkitanimationiteration onwebkitanimationstart onwebkittransitionend
onwheel open opener orientation origin parent part performance personalbar plugins popover
prefix prepend print prompt referrer rel remove reset role screen scripts scroll scrollbars self
slot spellcheck status statusbar stop style submit target timeline title toolbar top translate
window write writeln

analytics api app arguments config csrf debug env exports ga global globals gtag jquery module
nuxt process require root session settings state store token user
";

static CLOBBERING: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| NAMES.split_ascii_whitespace().collect());

/// Returns `true` if the name could be that of a variable: it is in [`NAMES`], begins with `_` or `$`,
/// or is written `likeThis` or `LIKE_THIS`.
fn clobbers(name: &str) -> bool {
    if CLOBBERING.contains(name) || name.starts_with(['_', '$']) {
        return true;
    }
    let is_identifier = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$');
    let is_camel_case = || {
        let mut pairs = name.chars().zip(name.chars().skip(1));
        pairs.any(|(one, next)| one.is_lowercase() && next.is_uppercase())
    };
    let is_constant = || name.contains('_') && !name.chars().any(char::is_lowercase);
    is_identifier && (is_camel_case() || is_constant())
}

/// The ids of a text, before any is renamed.
#[derive(Default)]
pub(super) struct Names<'t>(HashSet<&'t str>);

impl<'t> Names<'t> {
    /// Adds an `id`, or the `name` of a link target.
    pub(super) fn add(&mut self, name: &'t str) {
        self.0.insert(name);
    }

    /// Returns `true` if an element of the text has the id.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(name) || self.0.contains(&*Self::prefixed(name))
    }

    /// Returns the id of an element.
    pub(super) fn id<'n>(name: &'n str) -> Cow<'n, str> {
        if clobbers(name) { Self::prefixed(name) } else { Cow::Borrowed(name) }
    }

    /// Returns the new id for a reference. References to elements of the page around the text, such as
    /// `#top`, are unchanged.
    pub(super) fn reference<'n>(&self, name: &'n str) -> Cow<'n, str> {
        if clobbers(name) && self.has(name) { Self::prefixed(name) } else { Cow::Borrowed(name) }
    }

    fn prefixed(name: &str) -> Cow<'_, str> {
        Cow::Owned(format!("{PREFIX}{name}"))
    }
}
