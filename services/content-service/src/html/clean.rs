//! Serializes the allowed part of a tree.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use html5ever::{
    LocalName, QualName, local_name, ns,
    serialize::{HtmlSerializer, SerializeOpts, Serializer},
};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use service_kit::runtime::settings::html::Html;

use super::{
    HtmlError, address,
    limits::{Limits, MAX_DEPTH, MAX_OUTPUT_BYTES},
    names::Names,
    policy::{self, Place, Treatment, Value},
    removed::RemovedCounts,
    style,
    tree::{Data, Element, Node},
};

/// Serializes the allowed part of the tree below `root`, and counts what is removed.
pub(super) fn write<'t>(
    root: &'t Node<'t>,
    settings: &'t Html,
    limits: &'t Limits,
    removed: &mut RemovedCounts,
) -> Result<String, HtmlError> {
    let output = Output { bytes: Vec::new(), is_full: false };
    let mut cleaner = Cleaner {
        settings,
        limits,
        removed,
        names: names(root),
        serializer: HtmlSerializer::new(output, SerializeOpts::default()),
        is_at_start_of_pre: false,
    };
    let written = cleaner.walk(root);
    let output = cleaner.serializer.writer;
    match written {
        _ if output.is_full => Err(HtmlError::TooLong),
        Ok(()) => {
            limits.check()?;
            // The serializer writes what was text.
            String::from_utf8(output.bytes).map_err(|_| HtmlError::Unstable)
        }
        Err(error) => Err(error),
    }
}

/// Collects the ids and names of link targets of a text.
fn names<'t>(root: &'t Node<'t>) -> Names<'t> {
    let mut names = Names::default();
    let mut nodes: Vec<_> = root.children().collect();
    while let Some(node) = nodes.pop() {
        nodes.extend(node.children());
        let Data::Element(element) = &node.data else { continue };
        for attribute in &element.attributes {
            if matches!(attribute.name.local, local_name!("id") | local_name!("name")) {
                names.add(&attribute.value);
            }
        }
    }
    names
}

/// The maximum number of bytes of a text that are escaped in one call. The serializer scans the whole
/// rest of its input for each character that it escapes.
const MAX_TEXT_PIECE: usize = 512;

/// The number of bytes that the serializer scans in one step.
const BYTES_A_STEP: u64 = 32;

/// Returns the end of the next piece of a text to write, which is a character boundary.
fn piece_end(text: &str) -> usize {
    let end = text.len().min(MAX_TEXT_PIECE);
    (end..text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len())
}

/// Returns the number of steps to escape the value of an attribute, which is written in one call.
fn escaping_steps(value: &str) -> u64 {
    let is_escaped = |byte: &&u8| matches!(byte, b'&' | b'"' | b'<' | b'>' | 0xC2);
    let escaped = value.as_bytes().iter().filter(is_escaped).count();
    (escaped as u64).saturating_mul(value.len() as u64) / BYTES_A_STEP
}

/// Bytes, up to a limit.
struct Output {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_OUTPUT_BYTES {
            self.is_full = true;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A node whose children are being written.
struct Frame<'t> {
    next: Option<&'t Node<'t>>,
    place: Place,
    /// The name of the element, if it was written.
    name: Option<QualName>,
}

struct Cleaner<'t, 'r> {
    settings: &'t Html,
    limits: &'t Limits,
    removed: &'r mut RemovedCounts,
    names: Names<'t>,
    serializer: HtmlSerializer<Output>,
    /// `true` if the next character is the first one of a `pre`, where parsers ignore a line break.
    is_at_start_of_pre: bool,
}

impl<'t> Cleaner<'t, '_> {
    fn walk(&mut self, root: &'t Node<'t>) -> Result<(), HtmlError> {
        let mut frames = vec![Frame { next: root.first_child(), place: Place::Html, name: None }];
        while let Some(frame) = frames.last_mut() {
            let Some(node) = frame.next else {
                if let Some(Frame { name: Some(name), .. }) = frames.pop() {
                    self.end(name)?;
                }
                continue;
            };
            frame.next = node.next_sibling();
            let place = frame.place;
            self.limits.spend(1);
            self.limits.check()?;
            match &node.data {
                Data::Text(text) if place != Place::Media => self.text(&text.borrow())?,
                Data::Element(element) => {
                    if let Some(frame) = self.element(node, element, place)? {
                        frames.push(frame);
                    }
                    // The elements around the text are not counted.
                    if frames.len() > MAX_DEPTH as usize {
                        return Err(HtmlError::TooDeep);
                    }
                }
                Data::Text(_) | Data::Root | Data::Ignored => {}
            }
        }
        Ok(())
    }

    /// Writes the start tag of an element if it is allowed. Returns the frame of its children unless
    /// they are removed too.
    fn element(
        &mut self,
        node: &'t Node<'t>,
        element: &'t Element<'t>,
        place: Place,
    ) -> Result<Option<Frame<'t>>, HtmlError> {
        let (treatment, inner) = policy::treat(&element.name, place);
        let children = |place, name| Some(Frame { next: node.first_child(), place, name });
        let kept = match treatment {
            Treatment::Keep | Treatment::KeepAsPre => Some(self.attributes(element)),
            Treatment::Unwrap => {
                self.count_removed(element);
                return Ok(children(place, None));
            }
            Treatment::Drop => None,
        };
        let Some(attributes) = kept.filter(|kept| self.shows_anything(node, element, kept)) else {
            self.count_dropped(node);
            return Ok(None);
        };
        let name = match treatment {
            Treatment::KeepAsPre => QualName::new(None, ns!(html), local_name!("pre")),
            _ => element.name.clone(),
        };
        if element.has_tag.get() {
            for attribute in &attributes.removed {
                self.removed.add_attribute(&element.name.local, attribute);
            }
        }
        for (_, value) in &attributes.kept {
            self.limits.spend(escaping_steps(value));
        }
        self.limits.check()?;
        let written = attributes.kept.iter().map(|(name, value)| (name, &**value));
        self.serializer.start_elem(name.clone(), written).map_err(|_| HtmlError::TooLong)?;
        self.is_at_start_of_pre = name.local == local_name!("pre");
        if policy::is_void(&name) || name.local == local_name!("iframe") {
            // The content of an `iframe` is text that is not escaped, for browsers without it.
            self.end(name)?;
            for child in node.children() {
                self.count_dropped(child);
            }
            return Ok(None);
        }
        Ok(children(inner, Some(name)))
    }

    fn end(&mut self, name: QualName) -> Result<(), HtmlError> {
        self.is_at_start_of_pre = false;
        self.serializer.end_elem(name).map_err(|_| HtmlError::TooLong)
    }

    fn text(&mut self, text: &str) -> Result<(), HtmlError> {
        if text.is_empty() {
            return Ok(());
        }
        if self.is_at_start_of_pre && text.starts_with('\n') {
            self.serializer.write_text("\n").map_err(|_| HtmlError::TooLong)?;
        }
        self.is_at_start_of_pre = false;
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(piece_end(rest));
            self.serializer.write_text(piece).map_err(|_| HtmlError::TooLong)?;
            rest = after;
        }
        Ok(())
    }

    /// Counts a removed element.
    fn count_removed(&mut self, element: &Element<'_>) {
        if element.has_tag.get() {
            self.removed.add_element(&element.name.local);
        }
    }

    /// Counts the removed elements of a subtree.
    fn count_dropped(&mut self, node: &'t Node<'t>) {
        let mut nodes = vec![node];
        while let Some(node) = nodes.pop() {
            self.limits.spend(1);
            if let Data::Element(element) = &node.data {
                self.count_removed(element);
                nodes.extend(element.contents);
            }
            nodes.extend(node.children());
        }
    }

    /// Returns `true` if an element with these attributes displays anything. Images and embeds without
    /// an allowed address do not.
    fn shows_anything(
        &self,
        node: &Node<'_>,
        element: &Element<'_>,
        attributes: &Attributes<'_>,
    ) -> bool {
        if element.name.ns != ns!(html) {
            return true;
        }
        let has = |name: &str| attributes.kept.iter().any(|(kept, _)| &*kept.local == name);
        match &*element.name.local {
            "iframe" | "track" => has("src"),
            "img" | "source" => has("src") || has("srcset"),
            "input" => has("type"),
            "audio" | "video" => has("src") || node.children().any(|child| self.is_source(child)),
            _ => true,
        }
    }

    fn is_source(&self, node: &Node<'_>) -> bool {
        let Data::Element(element) = &node.data else { return false };
        element.name.local == local_name!("source")
            && element.attributes.iter().any(|attribute| {
                self.limits.spend(address::STEPS);
                attribute.name.local == local_name!("src")
                    && address::resource(&attribute.value).is_some()
            })
    }
}

/// The attributes of an element that is kept.
struct Attributes<'t> {
    kept: Vec<(QualName, Cow<'t, str>)>,
    /// The names of the attributes that were removed or shortened.
    removed: Vec<&'t LocalName>,
}

impl<'t> Cleaner<'t, '_> {
    fn attributes(&self, element: &'t Element<'t>) -> Attributes<'t> {
        let mut attributes = Attributes { kept: Vec::new(), removed: Vec::new() };
        for attribute in &element.attributes {
            let (name, value) = (&attribute.name, &*attribute.value);
            self.limits.spend(5 + value.len() as u64 / 16);
            let Some(kind) = policy::attribute(&element.name, name) else {
                attributes.removed.push(&name.local);
                continue;
            };
            let (kept, is_cut) = self.value(kind, value);
            if is_cut {
                attributes.removed.push(&name.local);
            }
            if let Some(kept) = kept {
                attributes.kept.push((name.clone(), kept));
            }
        }
        if element.name.ns == ns!(html) {
            match element.name.local {
                local_name!("a") | local_name!("area") => add_noopener(&mut attributes.kept),
                local_name!("input") => add_disabled(&mut attributes.kept),
                _ => {}
            }
        }
        attributes
    }

    /// Returns the allowed part of a value, and `true` if a part of it was removed.
    fn value(&self, kind: Value, value: &'t str) -> (Option<Cow<'t, str>>, bool) {
        let whole = |kept: Option<Cow<'t, str>>| {
            let is_removed = kept.is_none();
            (kept, is_removed)
        };
        let address = |kept: Option<String>| whole(kept.map(Cow::Owned));
        let max_data_bytes = self.settings.max_data_image_bytes;
        if matches!(kind, Value::Link | Value::Resource | Value::Image | Value::Embed) {
            self.limits.spend(address::STEPS);
        }
        match kind {
            Value::Plain => whole(Some(value.into())),
            Value::OneOf(known) => {
                let is_known = known.iter().any(|known| value.trim().eq_ignore_ascii_case(known));
                whole(is_known.then(|| value.into()))
            }
            Value::Features(known) => filter_list(value, ';', |part| known.contains(&part)),
            Value::Link => whole(self.link(value)),
            Value::Resource => address(address::resource(value)),
            Value::Image => address(address::image(value, max_data_bytes)),
            Value::Embed => address(address::embed(value, &self.settings.embed_hosts)),
            Value::Srcset => {
                let (kept, has_removed) = address::srcset(value, max_data_bytes, self.limits);
                let is_removed = kept.is_none();
                (kept.map(Cow::Owned), has_removed || is_removed)
            }
            Value::Id => whole(Some(Names::id(value))),
            Value::LocalReference => {
                whole(self.names.has(value).then(|| self.names.reference(value)))
            }
            Value::References => {
                let names = value.split_ascii_whitespace();
                let references: Vec<_> = names.map(|name| self.names.reference(name)).collect();
                whole(Some(references.join(" ").into()))
            }
            Value::MapReference => {
                let name = value.trim().strip_prefix('#');
                whole(name.map(|name| format!("#{}", self.names.reference(name)).into()))
            }
            Value::Classes => {
                let prefixes = &self.settings.classes;
                filter_list(value, ' ', |class| prefixes.contain(class))
            }
            Value::Style => {
                let style = style::filter(value);
                let kept = (!style.kept.is_empty() || !style.has_removed).then_some(style.kept);
                (kept.map(Cow::Owned), style.has_removed)
            }
        }
    }

    /// Returns the address of a link. If it refers to an id of the text that is renamed, so is it.
    fn link(&self, value: &'t str) -> Option<Cow<'t, str>> {
        let address = address::link(value)?;
        match address.strip_prefix('#') {
            // Ids are not encoded, fragments are.
            Some(name) => {
                let id = percent_decode_str(name).decode_utf8_lossy();
                let reference = self.names.reference(&id);
                let is_same = reference == id;
                let reference = if is_same { name.into() } else { encoded_fragment(&reference) };
                Some(format!("#{reference}").into())
            }
            None => Some(address.into()),
        }
    }
}

/// Writes an id as the fragment of an address (URL Standard, fragment percent-encode set).
fn encoded_fragment(id: &str) -> String {
    const ENCODED: &AsciiSet =
        &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'%');
    utf8_percent_encode(id, ENCODED).to_string()
}

/// Returns the allowed items of a list, or the list as its author wrote it if all are allowed.
fn filter_list<'v>(
    value: &'v str,
    separator: char,
    is_kept: impl Fn(&str) -> bool,
) -> (Option<Cow<'v, str>>, bool) {
    let is_separator =
        |c: char| if separator == ' ' { c.is_ascii_whitespace() } else { c == separator };
    let parts = value.split(is_separator).map(str::trim).filter(|part| !part.is_empty());
    let (kept, removed): (Vec<_>, Vec<_>) = parts.partition(|part| is_kept(part));
    if removed.is_empty() {
        return (Some(value.into()), false);
    }
    let joined = kept.join(if separator == ' ' { " " } else { "; " });
    ((!joined.is_empty()).then(|| joined.into()), true)
}

/// Adds `noopener` to links that open a new window, except to those within the site.
fn add_noopener(attributes: &mut Vec<(QualName, Cow<'_, str>)>) {
    let find = |name: &str| attributes.iter().position(|(known, _)| &*known.local == name);
    let opens_window = find("target")
        .is_some_and(|target| attributes[target].1.trim().eq_ignore_ascii_case("_blank"));
    let leads_away = find("href").is_some_and(|href| {
        let address = &attributes[href].1;
        address.starts_with("//") || url::Url::parse(address).is_ok()
    });
    if !opens_window || !leads_away {
        return;
    }
    match find("rel") {
        None => {
            let rel = QualName::new(None, ns!(), local_name!("rel"));
            attributes.push((rel, "noopener".into()));
        }
        Some(rel) => {
            let value = &mut attributes[rel].1;
            let mut types = value.split_ascii_whitespace();
            if !types.any(|name| name.eq_ignore_ascii_case("noopener")) {
                *value = format!("{value} noopener").trim_start().to_owned().into();
            }
        }
    }
}

/// Disables a checkbox, because it belongs to no form.
fn add_disabled(attributes: &mut Vec<(QualName, Cow<'_, str>)>) {
    if !attributes.iter().any(|(name, _)| name.local == local_name!("disabled")) {
        attributes.push((QualName::new(None, ns!(), local_name!("disabled")), "".into()));
    }
}
