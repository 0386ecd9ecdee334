//! The rules of the sanitiser, each with a text and the right result.

mod attacks;
mod bounds;
mod fuzz;
mod survives;
mod values;

use service_kit::runtime::settings::{Settings, Sources};

use super::{HtmlError, Removed, Sanitiser, Sanitized};

fn sanitiser() -> Sanitiser {
    with(&[])
}

/// A sanitiser with settings other than the defaults.
fn with(settings: &[(&'static str, &str)]) -> Sanitiser {
    let command_line = settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let sources = Sources { command_line, ..Sources::default() };
    Sanitiser::new(&Settings::load(5003, &sources).unwrap().html)
}

fn sanitised(html: &str) -> Result<Sanitized, HtmlError> {
    sanitiser().sanitise(html)
}

/// The safe text, after a look at whether sanitising it again changes nothing.
fn clean(html: &str) -> String {
    let once = sanitised(html).unwrap_or_else(|error| panic!("{html}: {error}"));
    let again = sanitised(&once.html).unwrap();
    assert_eq!((&*again.html, &*again.removed), (&*once.html, &[][..]), "{html}");
    once.html
}

/// Returns the removed names: `element count` or `element[attribute] count`.
fn removed(html: &str) -> Vec<String> {
    let show = |Removed { element, attribute, count }: &Removed| match attribute {
        None => format!("{element} {count}"),
        Some(attribute) => format!("{element}[{attribute}] {count}"),
    };
    sanitised(html).unwrap().removed.iter().map(show).collect()
}

fn assert_survives(texts: &[&str]) {
    for html in texts {
        assert_eq!(clean(html), *html);
        assert_eq!(removed(html), [""; 0], "{html}");
    }
}

fn assert_becomes(pairs: &[(&str, &str)]) {
    for (html, right) in pairs {
        assert_eq!(clean(html), *right, "{html}");
    }
}
