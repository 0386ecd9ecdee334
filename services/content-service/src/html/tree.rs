//! The tree of a text, built by html5ever within [`Limits`].
//!
//! The text is parsed in pieces, and parsing stops as soon as a limit is exceeded.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use html5ever::TokenizerResult;
use html5ever::{
    Attribute, LocalName, QualName,
    buffer_queue::BufferQueue,
    interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink},
    local_name, ns,
    tendril::StrTendril,
    tokenizer::{Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts},
    tree_builder::{TreeBuilder, TreeBuilderOpts, create_element},
};
use typed_arena::Arena;

use super::{
    HtmlError,
    limits::{Limits, MAX_DEPTH, MAX_TAG_ATTRIBUTES},
    removed::RemovedCounts,
};

/// The memory of the nodes of one tree.
pub(super) type Nodes<'a> = Arena<Node<'a>>;

/// A node, with links to its neighbours.
pub(super) struct Node<'a> {
    parent: Cell<Option<&'a Node<'a>>>,
    first: Cell<Option<&'a Node<'a>>>,
    last: Cell<Option<&'a Node<'a>>>,
    previous: Cell<Option<&'a Node<'a>>>,
    next: Cell<Option<&'a Node<'a>>>,
    depth: Cell<u32>,
    pub(super) data: Data<'a>,
}

/// The content of a node.
pub(super) enum Data<'a> {
    /// The root of a document or of the content of a `template`.
    Root,
    /// A run of text.
    Text(RefCell<StrTendril>),
    /// An element.
    Element(Element<'a>),
    /// A comment, a document type, or a processing instruction, which are not part of the tree.
    Ignored,
}

/// An element.
pub(super) struct Element<'a> {
    pub(super) name: QualName,
    pub(super) attributes: Vec<Attribute>,
    /// The content of a `template`.
    pub(super) contents: Option<&'a Node<'a>>,
    /// `true` if the element has a start tag in the text; the parser adds elements without one.
    pub(super) has_tag: Cell<bool>,
    is_integration_point: bool,
}

impl<'a> Node<'a> {
    fn new(data: Data<'a>) -> Self {
        Self {
            parent: Cell::default(),
            first: Cell::default(),
            last: Cell::default(),
            previous: Cell::default(),
            next: Cell::default(),
            depth: Cell::new(0),
            data,
        }
    }

    /// Returns the first child.
    pub(super) fn first_child(&self) -> Option<&'a Node<'a>> {
        self.first.get()
    }

    /// Returns the next sibling.
    pub(super) fn next_sibling(&self) -> Option<&'a Node<'a>> {
        self.next.get()
    }

    /// Returns the children.
    pub(super) fn children(&self) -> impl Iterator<Item = &'a Node<'a>> + use<'a> {
        std::iter::successors(self.first_child(), |node| node.next_sibling())
    }

    fn detach(&self) {
        let parent = self.parent.take();
        let (previous, next) = (self.previous.take(), self.next.take());
        match (previous, parent) {
            (Some(previous), _) => previous.next.set(next),
            (None, Some(parent)) => parent.first.set(next),
            (None, None) => {}
        }
        match (next, parent) {
            (Some(next), _) => next.previous.set(previous),
            (None, Some(parent)) => parent.last.set(previous),
            (None, None) => {}
        }
    }

    fn push_child(&'a self, child: &'a Node<'a>) {
        child.detach();
        child.parent.set(Some(self));
        child.previous.set(self.last.get());
        match self.last.get() {
            Some(last) => last.next.set(Some(child)),
            None => self.first.set(Some(child)),
        }
        self.last.set(Some(child));
    }

    fn insert_before(&'a self, node: &'a Node<'a>) {
        node.detach();
        node.parent.set(self.parent.get());
        node.previous.set(self.previous.get());
        node.next.set(Some(self));
        match (self.previous.get(), self.parent.get()) {
            (Some(previous), _) => previous.next.set(Some(node)),
            (None, Some(parent)) => parent.first.set(Some(node)),
            (None, None) => {}
        }
        self.previous.set(Some(node));
    }
}

/// Parses a text as the content of a `div`.
///
/// Returns the node that has the content. Start tags that the parser ignores are counted as
/// removed.
pub(super) fn parse<'a>(
    html: &str,
    nodes: &'a Nodes<'a>,
    limits: &'a Limits,
    removed: &mut RemovedCounts,
) -> Result<&'a Node<'a>, HtmlError> {
    limits.begin_pass();
    let sink = Sink {
        nodes,
        limits,
        document: nodes.alloc(Node::new(Data::Root)),
        ignored: nodes.alloc(Node::new(Data::Ignored)),
        created: Cell::new(0),
        last_created: Cell::new(None),
    };
    let document = sink.document;
    let context = html5ever::QualName::new(None, ns!(html), local_name!("div"));
    let context = create_element(&sink, context, Vec::new());
    let options = TreeBuilderOpts { scripting_enabled: false, ..TreeBuilderOpts::default() };
    let builder = TreeBuilder::new_for_fragment(sink, context, None, options);
    let initial_state = Some(builder.tokenizer_state_for_context_elem(false));
    let guard = Guard {
        builder,
        limits,
        tokens: Cell::new(0),
        formatting: RefCell::default(),
        removed: RefCell::default(),
    };
    let options = TokenizerOpts { initial_state, ..TokenizerOpts::default() };
    let tokenizer = Tokenizer::new(guard, options);
    let input = BufferQueue::default();
    let mut tag = UnfinishedTag::default();
    let feed = |text: &str| {
        let tokens = tokenizer.sink.tokens.get();
        input.push_back(StrTendril::from_slice(text));
        while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
        tokenizer.sink.tokens.get() > tokens
    };
    for piece in pieces(html) {
        let after = piece.strip_prefix('<');
        if after.is_some() {
            // On its own, so that the end of the text before it is no token of the rest.
            feed("<");
        }
        let has_tokens = feed(after.unwrap_or(piece));
        tag.add(piece, has_tokens, limits);
        limits.check()?;
    }
    tokenizer.end();
    limits.check()?;
    for name in tokenizer.sink.removed.take() {
        removed.add_element(&name);
    }
    // The parser makes a root of its own for a fragment.
    Ok(document.first_child().unwrap_or(document))
}

/// The maximum number of bytes that are parsed in one call.
const MAX_PIECE_BYTES: usize = 4_096;

/// Splits a text before each `<`, and where a piece would be too long.
fn pieces(html: &str) -> impl Iterator<Item = &str> {
    let mut rest = html;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let tail = &rest.as_bytes()[first.len_utf8()..];
        let end = tail.iter().take(MAX_PIECE_BYTES).position(|byte| *byte == b'<');
        let end = first.len_utf8() + end.unwrap_or(tail.len().min(MAX_PIECE_BYTES));
        let is_boundary = |end: &usize| rest.is_char_boundary(*end);
        let end = (0..=end).rev().find(is_boundary).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// The maximum number of characters of a tag after which an attribute can begin. The tokenizer compares
/// the name of each attribute with all earlier ones, and emits a tag only when it is complete.
const MAX_TAG_SEPARATORS: usize = 8_192;

/// The state of a tag that is longer than a piece.
#[derive(Default)]
struct UnfinishedTag {
    is_open: bool,
    is_comment: bool,
    separators: usize,
}

impl UnfinishedTag {
    /// Updates the state with a piece that was parsed. Only a piece that begins with `<` begins a tag or
    /// a comment; it is complete once the tokenizer emits a token.
    fn add(&mut self, piece: &str, has_tokens: bool, limits: &Limits) {
        let begins = !self.is_open && piece.starts_with('<');
        if begins {
            let name = piece[1..].trim_start_matches('/');
            self.is_comment = !name.starts_with(|c: char| c.is_ascii_alphabetic());
            self.separators = 0;
        }
        self.is_open = (begins || self.is_open) && !has_tokens;
        if self.is_open && !self.is_comment {
            let is_separator = |byte: &u8| {
                matches!(byte, b'/' | b'"' | b'\'' | b' ' | b'\n' | b'\r' | b'\t' | 0x0C)
            };
            self.separators += piece.as_bytes().iter().filter(|byte| is_separator(byte)).count();
            if self.separators > MAX_TAG_SEPARATORS {
                limits.exceed(HtmlError::TooManyTagAttributes);
            }
        }
    }
}

/// A token sink between tokenizer and tree builder, which counts what neither of them counts.
struct Guard<'a> {
    builder: TreeBuilder<&'a Node<'a>, Sink<'a>>,
    limits: &'a Limits,
    tokens: Cell<u64>,
    formatting: RefCell<FormattingElements>,
    /// The names of start tags that the tree builder ignored.
    removed: RefCell<Vec<LocalName>>,
}

/// The active formatting elements by name, each as a hash of its attributes.
///
/// The parser compares the attributes of a new element with those of all others of the same name, and
/// keeps three equal ones at most (HTML, §13.2.4.3, "Noah's Ark clause"). Its list is not accessible;
/// this one has at least as many elements.
#[derive(Default)]
struct FormattingElements(HashMap<LocalName, Vec<u64>>);

impl FormattingElements {
    /// Adds a tag. Returns the number of steps that the parser needs to compare it.
    fn add(&mut self, tag: &Tag) -> u64 {
        const STEPS_PER_COMPARISON: u64 = 16;
        const MAX_EQUAL: usize = 3;
        let is_formatting = matches!(
            &*tag.name,
            "a" | "b"
                | "big"
                | "code"
                | "em"
                | "font"
                | "i"
                | "nobr"
                | "s"
                | "small"
                | "strike"
                | "strong"
                | "tt"
                | "u"
        );
        if !is_formatting {
            return 0;
        }
        let open = self.0.entry(tag.name.clone()).or_default();
        if tag.kind == TagKind::EndTag {
            open.pop();
            return 0;
        }
        let steps = open.len() as u64 * STEPS_PER_COMPARISON * (1 + tag.attrs.len() as u64);
        let mut hasher = DefaultHasher::new();
        for attribute in &tag.attrs {
            attribute.name.local.hash(&mut hasher);
            attribute.value.hash(&mut hasher);
        }
        let hash = hasher.finish();
        let mut equal = open.iter().enumerate().filter(|(_, other)| **other == hash);
        let first = equal.next().map(|(index, _)| index);
        if let (Some(first), true) = (first, equal.count() + 1 >= MAX_EQUAL) {
            open.remove(first);
        }
        open.push(hash);
        steps
    }
}

impl<'a> TokenSink for Guard<'a> {
    type Handle = &'a Node<'a>;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<Self::Handle> {
        if matches!(token, Token::ParseError(_)) {
            return TokenSinkResult::Continue;
        }
        self.tokens.set(self.tokens.get() + 1);
        self.limits.spend(1);
        let mut start_tag = None;
        if let Token::TagToken(tag) = &token {
            if tag.attrs.len() > MAX_TAG_ATTRIBUTES {
                self.limits.exceed(HtmlError::TooManyTagAttributes);
            }
            self.limits.spend(self.formatting.borrow_mut().add(tag));
            start_tag = (tag.kind == TagKind::StartTag).then(|| tag.name.clone());
        }
        if self.limits.check().is_err() && token != Token::EOFToken {
            return TokenSinkResult::Continue;
        }
        let sink = &self.builder.sink;
        let created = sink.created.get();
        let result = self.builder.process_token(token, line);
        if let Some(name) = start_tag {
            match sink.last_created.get() {
                Some(element) if sink.created.get() > created => element.has_tag.set(true),
                _ => self.removed.borrow_mut().push(name),
            }
        }
        result
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder.adjusted_current_node_present_but_not_in_html_namespace()
    }
}

/// Builds the tree.
struct Sink<'a> {
    nodes: &'a Nodes<'a>,
    limits: &'a Limits,
    document: &'a Node<'a>,
    ignored: &'a Node<'a>,
    created: Cell<usize>,
    last_created: Cell<Option<&'a Element<'a>>>,
}

impl<'a> Sink<'a> {
    fn new_node(&self, data: Data<'a>, attributes: usize) -> &'a Node<'a> {
        self.limits.add_node(attributes);
        self.nodes.alloc(Node::new(data))
    }

    fn new_text(&self, text: StrTendril) -> &'a Node<'a> {
        self.new_node(Data::Text(RefCell::new(text)), 0)
    }

    /// Records the depth of a node. The parser may move elements later, so the serializer checks the
    /// depth again.
    fn set_depth(&self, node: &Node<'a>) {
        let depth = node.parent.get().map_or(0, |parent| parent.depth.get() + 1);
        node.depth.set(depth);
        if depth > MAX_DEPTH && matches!(node.data, Data::Element(_)) {
            self.limits.exceed(HtmlError::TooDeep);
        }
    }
}

/// Appends text to a text node. Returns the text if the node is not a text node.
fn append_text(node: Option<&Node<'_>>, text: StrTendril) -> Option<StrTendril> {
    match node.map(|node| &node.data) {
        Some(Data::Text(before)) => {
            before.borrow_mut().push_tendril(&text);
            None
        }
        _ => Some(text),
    }
}

impl<'a> TreeSink for Sink<'a> {
    type Handle = &'a Node<'a>;
    type Output = ();
    type ElemName<'n>
        = &'n QualName
    where
        Self: 'n;

    fn finish(self) {}

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Self::Handle {
        self.document
    }

    fn elem_name<'n>(&'n self, target: &'n Self::Handle) -> &'n QualName {
        self.limits.spend(1);
        match &target.data {
            Data::Element(element) => &element.name,
            _ => unreachable!("the parser asks for the names of elements only"),
        }
    }

    fn create_element(
        &self,
        name: QualName,
        attributes: Vec<Attribute>,
        flags: ElementFlags,
    ) -> Self::Handle {
        let count = attributes.len();
        self.limits.spend(10 + count as u64);
        let contents = flags.template.then(|| self.new_node(Data::Root, 0));
        let element = Element {
            name,
            attributes,
            contents,
            has_tag: Cell::new(false),
            is_integration_point: flags.mathml_annotation_xml_integration_point,
        };
        let node = self.new_node(Data::Element(element), count);
        if let Data::Element(element) = &node.data {
            self.last_created.set(Some(element));
        }
        self.created.set(self.created.get() + 1);
        node
    }

    fn create_comment(&self, _: StrTendril) -> Self::Handle {
        self.ignored
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Self::Handle {
        self.ignored
    }

    fn append(&self, parent: &Self::Handle, child: NodeOrText<Self::Handle>) {
        let child = match child {
            NodeOrText::AppendNode(node) if matches!(node.data, Data::Ignored) => return,
            NodeOrText::AppendNode(node) => node,
            NodeOrText::AppendText(text) => match append_text(parent.last.get(), text) {
                Some(text) => self.new_text(text),
                None => return,
            },
        };
        parent.push_child(child);
        self.set_depth(child);
    }

    fn append_based_on_parent_node(
        &self,
        element: &Self::Handle,
        previous: &Self::Handle,
        child: NodeOrText<Self::Handle>,
    ) {
        if element.parent.get().is_some() {
            self.append_before_sibling(element, child);
        } else {
            self.append(previous, child);
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, target: &Self::Handle) -> Self::Handle {
        match &target.data {
            Data::Element(Element { contents: Some(contents), .. }) => contents,
            _ => unreachable!("the parser asks for the contents of templates only"),
        }
    }

    fn same_node(&self, one: &Self::Handle, other: &Self::Handle) -> bool {
        self.limits.spend(1);
        std::ptr::eq(*one, *other)
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Self::Handle, child: NodeOrText<Self::Handle>) {
        let child = match child {
            NodeOrText::AppendNode(node) if matches!(node.data, Data::Ignored) => return,
            NodeOrText::AppendNode(node) => node,
            NodeOrText::AppendText(text) => match append_text(sibling.previous.get(), text) {
                Some(text) => self.new_text(text),
                None => return,
            },
        };
        sibling.insert_before(child);
        self.set_depth(child);
    }

    /// Ignores the attributes of `html` and `body`, which are not part of the text.
    fn add_attrs_if_missing(&self, _: &Self::Handle, _: Vec<Attribute>) {}

    fn remove_from_parent(&self, target: &Self::Handle) {
        target.detach();
    }

    fn reparent_children(&self, node: &Self::Handle, parent: &Self::Handle) {
        while let Some(child) = node.first_child() {
            self.limits.spend(1);
            parent.push_child(child);
            self.set_depth(child);
        }
    }

    fn is_mathml_annotation_xml_integration_point(&self, node: &Self::Handle) -> bool {
        matches!(&node.data, Data::Element(element) if element.is_integration_point)
    }
}
