//! Parts of forms: fields with their labels, help, errors, and what is stored now.

use std::collections::HashMap;

use maud::{Markup, html};

use crate::{
    api::{Failure, Problem},
    layout::Notice,
    texts,
};

/// The errors of a form that was sent, by field, and the message above it.
#[derive(Default)]
pub(crate) struct Errors {
    fields: HashMap<String, String>,
    pub(crate) notice: Option<Notice>,
}

/// The fields that errors of the API belong to which name none.
const FIELDS_OF_CODES: [(&str, &str); 5] = [
    ("slug_taken", "slug"),
    ("cycle", "parent"),
    ("too_deep", "parent"),
    ("has_content", "content_type"),
    ("conflict", "from"),
];

impl Errors {
    /// Returns the errors of a failure. `known` are the fields of the form; errors of others are in the
    /// message above it.
    pub(crate) fn of(failure: &Failure, known: &[&str]) -> Self {
        let Failure::Refused(Problem { status, code, detail, errors }) = failure else {
            return Self { notice: Some(Notice::of(failure)), ..Self::default() };
        };
        let mut fields = HashMap::<String, String>::new();
        let mut rest = Vec::new();
        for error in errors {
            // `tags[3]` is an error of the field `tags`.
            let name = error.field.split(['[', '.']).next().unwrap_or_default();
            if known.contains(&name) {
                let text = fields.entry(name.to_owned()).or_default();
                if !text.is_empty() {
                    text.push_str("; ");
                }
                text.push_str(&error.message);
            } else {
                rest.push(format!("{}: {}", error.field, error.message));
            }
        }
        let of_code =
            FIELDS_OF_CODES.iter().find(|(one, field)| one == code && known.contains(field));
        if let Some((_, field)) = of_code {
            fields.insert((*field).to_owned(), detail.clone());
        }
        let text = match (fields.is_empty(), rest.is_empty()) {
            (false, true) => texts::error::CHECK.to_owned(),
            (_, false) => rest.join("; "),
            (true, true) => detail.clone(),
        };
        Self { fields, notice: Some(Notice::error(*status, &text)) }
    }

    /// Returns a message without errors of fields.
    pub(crate) fn message(notice: Notice) -> Self {
        Self { notice: Some(notice), ..Self::default() }
    }

    /// Returns an error of one field.
    pub(crate) fn field(name: &str, status: u16, text: &str) -> Self {
        let fields = HashMap::from([(name.to_owned(), text.to_owned())]);
        Self { fields, notice: Some(Notice::error(status, texts::error::CHECK)) }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// A field of a form.
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) label: &'a str,
    pub(crate) value: &'a str,
    pub(crate) help: Option<&'a str>,
    /// The value that is stored now, if another one replaced that with which the form was opened.
    pub(crate) stored: Option<String>,
}

impl<'a> Field<'a> {
    pub(crate) fn new(name: &'a str, label: &'a str, value: &'a str) -> Self {
        Self { name, label, value, help: None, stored: None }
    }

    pub(crate) fn help(self, help: &'a str) -> Self {
        Self { help: Some(help), ..self }
    }

    pub(crate) fn stored(self, stored: Option<String>) -> Self {
        Self { stored, ..self }
    }

    fn id(&self) -> String {
        format!("field-{}", self.name)
    }

    /// Returns the ids of the texts that describe the field.
    fn described_by(&self, errors: &Errors) -> Option<String> {
        let id = self.id();
        let parts = [
            errors.get(self.name).map(|_| format!("{id}-error")),
            self.help.map(|_| format!("{id}-help")),
            self.stored.as_ref().map(|_| format!("{id}-stored")),
        ];
        let ids: Vec<_> = parts.into_iter().flatten().collect();
        (!ids.is_empty()).then(|| ids.join(" "))
    }

    fn around(&self, errors: &Errors, control: &Markup) -> Markup {
        let id = self.id();
        html! {
            div.field.wrong[errors.get(self.name).is_some()] {
                label for=(id) { (self.label) }
                (control)
                (self.texts(errors))
            }
        }
    }

    fn texts(&self, errors: &Errors) -> Markup {
        let id = self.id();
        html! {
            @if let Some(error) = errors.get(self.name) {
                p.wrong-text id={ (id) "-error" } { (error) }
            }
            @if let Some(help) = self.help {
                p.help id={ (id) "-help" } { (help) }
            }
            @if let Some(stored) = &self.stored {
                p.stored id={ (id) "-stored" } {
                    (texts::section::STORED) " " bdi { (stored) }
                }
            }
        }
    }

    /// Returns a field for a line of text.
    pub(crate) fn text(&self, errors: &Errors, is_required: bool) -> Markup {
        let control = html! {
            input type="text" id=(self.id()) name=(self.name) value=(self.value) dir="auto"
                autocomplete="off" required[is_required]
                aria-describedby=[self.described_by(errors)]
                aria-invalid=[errors.get(self.name).map(|_| "true")];
        };
        self.around(errors, &control)
    }

    /// Returns a field for a moment in UTC. The script shows it in the zone of the reader.
    pub(crate) fn moment(&self, errors: &Errors) -> Markup {
        let control = html! {
            input type="text" id=(self.id()) name=(self.name) value=(self.value) data-moment
                autocomplete="off" aria-describedby=[self.described_by(errors)]
                aria-invalid=[errors.get(self.name).map(|_| "true")];
        };
        self.around(errors, &control)
    }

    /// Returns a field for a day.
    pub(crate) fn day(&self, errors: &Errors) -> Markup {
        let control = html! {
            input type="date" id=(self.id()) name=(self.name) value=(self.value)
                aria-describedby=[self.described_by(errors)];
        };
        self.around(errors, &control)
    }

    /// Returns a field for text of several lines. It has a line more at its beginning, which browsers
    /// leave out.
    pub(crate) fn lines(&self, errors: &Errors, rows: usize, is_source: bool) -> Markup {
        let control = html! {
            textarea.source[is_source] id=(self.id()) name=(self.name) rows=(rows) dir="auto"
                spellcheck=(if is_source { "false" } else { "true" }) autocomplete="off"
                aria-describedby=[self.described_by(errors)]
                aria-invalid=[errors.get(self.name).map(|_| "true")] { "\n" (self.value) }
        };
        self.around(errors, &control)
    }

    /// Returns a field for a file. Browsers forget it when a page is shown again.
    pub(crate) fn file(&self, errors: &Errors, accept: &str) -> Markup {
        self.chooser(errors, accept, false)
    }

    /// Returns a field for files, at least one.
    pub(crate) fn files(&self, errors: &Errors, accept: &str) -> Markup {
        self.chooser(errors, accept, true)
    }

    fn chooser(&self, errors: &Errors, accept: &str, are_many: bool) -> Markup {
        let control = html! {
            input type="file" id=(self.id()) name=(self.name) accept=(accept)
                multiple[are_many] required[are_many]
                aria-describedby=[self.described_by(errors)]
                aria-invalid=[errors.get(self.name).map(|_| "true")];
        };
        self.around(errors, &control)
    }

    /// Returns a field for a secret. It is never filled by the console.
    pub(crate) fn secret(&self, errors: &Errors) -> Markup {
        let control = html! {
            input type="password" id=(self.id()) name=(self.name) autocomplete="current-password"
                spellcheck="false" autofocus
                aria-describedby=[self.described_by(errors)]
                aria-invalid=[errors.get(self.name).map(|_| "true")];
        };
        self.around(errors, &control)
    }

    /// Returns a choice among values with names.
    pub(crate) fn choice(&self, errors: &Errors, options: &[(String, String)]) -> Markup {
        let control = html! {
            select id=(self.id()) name=(self.name)
                aria-describedby=[self.described_by(errors)]
                aria-invalid=[errors.get(self.name).map(|_| "true")] {
                @for (value, name) in options {
                    option value=(value) selected[value == self.value] { (name) }
                }
            }
        };
        self.around(errors, &control)
    }

    /// Returns a box that is ticked if the value is not empty.
    pub(crate) fn tick(&self, errors: &Errors) -> Markup {
        html! {
            div.field.tick.wrong[errors.get(self.name).is_some()] {
                label for=(self.id()) {
                    input type="checkbox" id=(self.id()) name=(self.name) value="yes"
                        checked[!self.value.is_empty()] aria-describedby=[self.described_by(errors)];
                    span { (self.label) }
                }
                (self.texts(errors))
            }
        }
    }
}

/// Returns a text as a field of one line has it: browsers leave out the ends of lines.
pub(crate) fn one_line(text: &str) -> String {
    without_null(text).replace(['\r', '\n'], "")
}

/// Returns a text with one kind of ends of lines: browsers send others than they get.
pub(crate) fn line_ends(text: &str) -> String {
    without_null(text).replace("\r\n", "\n").replace('\r', "\n")
}

/// Returns a text as browsers read it: the null character becomes the one for what is unreadable.
fn without_null(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Returns the value of a box.
pub(crate) fn ticked(is_ticked: bool) -> &'static str {
    if is_ticked { "yes" } else { "" }
}

/// Returns the beginning of a text that is too long to be shown in a list.
pub(crate) fn shortened(text: &str) -> String {
    /// The longest title of a new item has 200 characters.
    const MAX_CHARACTERS: usize = 200;
    let mut characters = text.chars();
    let beginning: String = characters.by_ref().take(MAX_CHARACTERS).collect();
    if characters.next().is_some() { beginning + "…" } else { beginning }
}
