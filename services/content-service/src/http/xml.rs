//! XML documents, written piece by piece.

use std::{borrow::Cow, io};

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event},
};

/// Attributes of an element.
type Attributes<'a> = &'a [(&'a str, &'a str)];

/// An XML document in memory. What is written so far can be [taken](Self::take).
pub(super) struct Xml(Writer<Vec<u8>>);

impl Xml {
    /// Begins a document.
    pub(super) fn new() -> Self {
        let mut this = Self(Writer::new(Vec::new()));
        this.write(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        this
    }

    /// Begins an element.
    pub(super) fn open(&mut self, name: &str, attributes: Attributes<'_>) {
        let start = with(name, attributes);
        self.write(Event::Start(start));
    }

    /// Ends an element.
    pub(super) fn close(&mut self, name: &str) {
        self.write(Event::End(BytesEnd::new(name)));
    }

    /// Writes an element without content.
    pub(super) fn empty(&mut self, name: &str, attributes: Attributes<'_>) {
        let start = with(name, attributes);
        self.write(Event::Empty(start));
    }

    /// Writes an element with a text.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.text_with(name, &[], text);
    }

    /// Writes an element with attributes and a text.
    pub(super) fn text_with(&mut self, name: &str, attributes: Attributes<'_>, text: &str) {
        self.open(name, attributes);
        self.write(Event::Text(BytesText::new(&allowed(text))));
        self.close(name);
    }

    /// Returns the number of bytes that were written and not taken.
    pub(super) fn len(&mut self) -> usize {
        self.0.get_mut().len()
    }

    /// Takes what was written so far.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.0.get_mut())
    }

    fn write(&mut self, event: Event<'_>) {
        let written: io::Result<()> = self.0.write_event(event);
        // Memory takes everything.
        drop(written);
    }
}

fn with<'a>(name: &'a str, attributes: Attributes<'a>) -> BytesStart<'a> {
    let mut start = BytesStart::new(name);
    for (attribute, value) in attributes {
        start.push_attribute((*attribute, allowed(value).as_ref()));
    }
    start
}

/// Removes the characters that an XML document cannot contain, not even escaped (XML 1.0 §2.2).
fn allowed(text: &str) -> Cow<'_, str> {
    let is_allowed = |character: char| {
        matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}'
            | '\u{10000}'..)
    };
    match text.chars().all(is_allowed) {
        true => Cow::Borrowed(text),
        false => text.chars().filter(|character| is_allowed(*character)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::{Reader, escape::resolve_predefined_entity, events::Event};

    use super::*;

    /// Returns the text of a document, as a parser reads it.
    fn read(document: &str) -> String {
        let mut reader = Reader::from_str(document);
        let mut text = String::new();
        loop {
            match reader.read_event().unwrap() {
                Event::Text(part) => text.push_str(&part.xml10_content()),
                Event::GeneralRef(reference) => match resolve_predefined_entity(&reference) {
                    Some(resolved) => text.push_str(resolved),
                    None => text.push(reference.resolve_char_ref().unwrap().unwrap()),
                },
                Event::Eof => return text,
                _ => {}
            }
        }
    }

    fn taken(mut xml: Xml) -> String {
        String::from_utf8(xml.take()).unwrap()
    }

    proptest! {
        #[test]
        fn any_text_is_well_formed_and_read_as_it_was(text in any::<String>()) {
            let mut xml = Xml::new();
            xml.text_with("a", &[("b", &text)], &text);
            let expected = allowed(&text).replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(read(&taken(xml)), expected);
        }
    }

    #[test]
    fn markup_and_characters_that_xml_does_not_have_do_no_harm() {
        let mut xml = Xml::new();
        xml.open("a", &[("href", "\"><b>&\0")]);
        xml.text("b", "<script>]]>&amp;\u{1b}\u{fffe}é𝄞");
        xml.close("a");
        let text = taken(xml);
        assert!(text.ends_with("</b></a>"), "{text}");
        assert!(!text.contains("<script>") && !text.contains('\u{1b}'), "{text}");
        assert_eq!(read(&text), "<script>]]>&amp;é𝄞");
    }
}
