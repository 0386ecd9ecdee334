//! The facts that every page of the site shows.

use actix_web::{HttpResponse, http::StatusCode, web};
use maud::html;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    content::{Item, moment, text as text_of},
    navigation,
};
use crate::{
    api::{Failure, FieldError, Problem, Tagged},
    fields::{Errors, Field, line_ends, one_line},
    form::Form,
    guard::Visit,
    layout::{self, Notice},
    texts::{section as section_words, site as words},
};

/// The path of the page.
const PATH: &str = "/console/site";

/// The route of the API.
const ROUTE: &str = "/site";

/// The field with one link in each line.
const LINKS: &str = "social_links";

/// The texts of the fields, in the order of [`words::FIELDS`].
type Texts = [String; words::FIELDS.len()];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SiteQuery {
    /// `yes` or `no` after the form was saved.
    saved: String,
}

fn names() -> [&'static str; words::FIELDS.len()] {
    words::FIELDS.map(|(name, _)| name)
}

/// Returns `true` if a field has several lines.
fn has_lines(name: &str) -> bool {
    matches!(name, "description" | LINKS)
}

/// Returns the texts of what is stored.
fn stored(site: &Item) -> Texts {
    names().map(|name| match name {
        LINKS => {
            let links = site.get(LINKS).and_then(Value::as_array).into_iter().flatten();
            let part = |link: &Value, name: &str| one_line(link[name].as_str().unwrap_or_default());
            let lines: Vec<_> =
                links.map(|link| format!("{} {}", part(link, "name"), part(link, "url"))).collect();
            lines.join("\n")
        }
        name if has_lines(name) => line_ends(text_of(site, name)),
        name => one_line(text_of(site, name)),
    })
}

fn typed(sent: &Form) -> Texts {
    names().map(|name| match has_lines(name) {
        true => line_ends(sent.get(name)),
        false => sent.get(name).to_owned(),
    })
}

/// Returns the lines with links, with the number of each.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
}

/// Returns the links of the lines of a text: the last word of each is the address.
fn links(text: &str) -> Value {
    let link = |(_, line): (usize, &str)| {
        let (name, url) = line.rsplit_once(char::is_whitespace).unwrap_or(("", line));
        json!({ "name": name.trim(), "url": url })
    };
    lines(text).map(link).collect()
}

/// Returns the members of a body that changes `before` to `after`. What was not changed is not sent.
fn changes(before: &Texts, after: &Texts) -> Map<String, Value> {
    let pairs = names().into_iter().zip(before.iter().zip(after));
    pairs
        .filter(|(_, (before, after))| before != after)
        .map(|(name, (_, after))| {
            let value = match name {
                LINKS => links(after),
                _ if after.is_empty() => Value::Null,
                _ => after.as_str().into(),
            };
            (name.to_owned(), value)
        })
        .collect()
}

/// Returns the errors of a failure, those of links with their lines.
fn errors_of(failure: Failure, texts: &Texts) -> Errors {
    let failure = match failure {
        Failure::Refused(mut problem) => {
            for error in &mut problem.errors {
                name_line(error, texts);
            }
            Failure::Refused(problem)
        }
        failure => failure,
    };
    Errors::of(&failure, &names())
}

/// Adds the number of the line to the error of a link: `social_links[1].url`.
fn name_line(error: &mut FieldError, texts: &Texts) {
    let index = error.field.strip_prefix(LINKS).and_then(|rest| rest.strip_prefix('['));
    let index = index.and_then(|rest| rest.split(']').next()?.parse::<usize>().ok());
    let text = names().iter().position(|name| *name == LINKS).map(|place| &texts[place]);
    let line = index.zip(text).and_then(|(index, text)| lines(text).nth(index));
    if let Some((number, _)) = line {
        error.message = words::in_line(number, &error.message);
    }
}

/// Shows the form.
pub(crate) async fn show(visit: Visit, query: web::Query<SiteQuery>) -> HttpResponse {
    let now = match visit.api().get::<Item>(ROUTE).await {
        Ok(now) => now,
        Err(failure) => return visit.failed(&failure),
    };
    let done = match query.saved.as_str() {
        "no" => Some(section_words::UNCHANGED),
        "yes" => Some(section_words::SAVED),
        _ => None,
    };
    let errors = done.map_or_else(Errors::default, |text| Errors::message(Notice::done(text)));
    page(&visit, Some(&now.value), &now.tag, &stored(&now.value), None, &errors)
}

/// Saves the form.
pub(crate) async fn save(visit: Visit, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let typed = typed(&sent);
    let api = visit.api();
    let now = match api.get::<Item>(ROUTE).await {
        Ok(now) => now,
        Err(Failure::SignedOut) => return visit.failed(&Failure::SignedOut),
        Err(failure) => {
            let errors = errors_of(failure, &typed);
            return page(&visit, None, sent.get("tag"), &typed, None, &errors);
        }
    };
    let conflict = |now: &Tagged<Item>| {
        let errors = Errors::message(Notice::error(412, words::CONFLICT));
        page(&visit, Some(&now.value), &now.tag, &typed, Some(&stored(&now.value)), &errors)
    };
    if sent.get("tag") != now.tag {
        return conflict(&now);
    }
    let changes = changes(&stored(&now.value), &typed);
    if changes.is_empty() {
        return layout::redirect(&format!("{PATH}?saved=no"));
    }
    match api.write::<Item>(Method::PATCH, ROUTE, &now.tag, &changes.into()).await {
        Ok(_) => layout::redirect(&format!("{PATH}?saved=yes")),
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(Failure::Refused(Problem { status: 412, .. })) => match api.get::<Item>(ROUTE).await {
            Ok(now) => conflict(&now),
            Err(failure) => visit.failed(&failure),
        },
        Err(failure) => {
            let errors = errors_of(failure, &typed);
            page(&visit, Some(&now.value), &now.tag, &typed, None, &errors)
        }
    }
}

/// Returns the page with the texts of the form, beside those that someone else has stored in the meantime.
/// `site` is absent if it cannot be read.
fn page(
    visit: &Visit,
    site: Option<&Item>,
    tag: &str,
    texts: &Texts,
    theirs: Option<&Texts>,
    errors: &Errors,
) -> HttpResponse {
    let main = html! {
        h1 { (words::TITLE) }
        (navigation::tabs(visit))
        p.intro { (words::INTRO) }
        @if let Some(site) = site {
            p.facts {
                (words::URL) " "
                @match text_of(site, "url") { "" => (words::NO_URL), url => code { (url) } }
                " · " (section_words::CHANGED) " " (moment(site, "updatedDate"))
            }
        }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        form.card method="post" action=(PATH) data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            input type="hidden" name="tag" value=(tag);
            @for (index, (name, label)) in words::FIELDS.into_iter().enumerate() {
                @let text = &texts[index];
                @let theirs = theirs.map(|theirs| &theirs[index]).filter(|theirs| *theirs != text);
                @let field = Field::new(name, label, text).stored(theirs.cloned());
                @match name {
                    LINKS => (field.help(words::LINKS_HELP).lines(errors, 4, false)),
                    name if has_lines(name) => (field.lines(errors, 3, false)),
                    "logo" => (field.help(words::LOGO_HELP).text(errors, false)),
                    "language" => (field.help(words::LANGUAGE_HELP).text(errors, false)),
                    _ => (field.text(errors, false)),
                }
            }
            div.actions { button type="submit" { (section_words::SAVE) } }
        }
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, words::TITLE, &main)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(links: &str) -> Texts {
        ["Tidal notes", "A\nB", "", "en", links].map(str::to_owned)
    }

    #[test]
    fn only_what_was_changed_is_sent() {
        let site = json!({
            "title": "Tidal notes", "description": "A\r\nB", "logo": null, "language": "en",
            "social_links": [{ "name": "My  page", "url": "https://a.example/x" }],
        });
        let before = stored(site.as_object().unwrap());
        assert_eq!(before, texts("My  page https://a.example/x"));
        assert_eq!(changes(&before, &before), Map::new());
        let after = ["", "A\nC", "/uploads/a.webp", "en", "\nOne https://a.example\n \n/x"];
        let expected = json!({
            "title": null, "description": "A\nC", "logo": "/uploads/a.webp",
            "social_links": [
                { "name": "One", "url": "https://a.example" }, { "name": "", "url": "/x" },
            ],
        });
        assert_eq!(Value::from(changes(&before, &after.map(str::to_owned))), expected);
        assert_eq!(changes(&before, &texts(""))[LINKS], json!([]));
    }

    #[test]
    fn an_error_of_a_link_names_its_line() {
        let texts = texts("\nOne https://a.example\n\nTwo javascript:x");
        for (field, expected) in [
            ("social_links[1].url", "line 4: wrong"),
            ("social_links[0]", "line 2: wrong"),
            ("social_links[7].url", "wrong"),
            ("social_links", "wrong"),
            ("title", "wrong"),
        ] {
            let mut error = FieldError { field: field.to_owned(), message: "wrong".to_owned() };
            name_line(&mut error, &texts);
            assert_eq!(error.message, expected, "{field}");
        }
    }
}
