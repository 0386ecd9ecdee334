//! The pages of one section: its fields, its place, and its deletion.

use actix_web::{HttpResponse, http::StatusCode, web};
use maud::{Markup, html};
use models::{ContentType, DisplayType, NavVisibility, ObjectId, Section, SectionType, Sort};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{id_of, navigation, no_section, sections, sections_of_form, unread};
use crate::{
    api::{Failure, Problem, Tagged},
    fields::{Errors, Field, line_ends, one_line, shortened, ticked},
    form::Form,
    guard::Visit,
    layout::{self, Notice},
    texts::{error as error_words, facts, section as words, words as values},
    tree::{Place, Tree},
};

/// The fields of a section that a form has. All are texts, as a browser sends them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Fields {
    title: String,
    slug: String,
    nav_visibility: String,
    display_type: String,
    content_type: String,
    url: String,
    section_id: String,
    opens_new_tab: String,
    sort_by: String,
    is_published: String,
    is_home: String,
    description: String,
    social_image: String,
    canonical: String,
    noindex: String,
}

/// The names of the fields, as the API has them.
const NAMES: [&str; 16] = [
    "title",
    "slug",
    "parent",
    "nav_visibility",
    "display_type",
    "content_type",
    "url",
    "section_id",
    "opens_new_tab",
    "sort_by",
    "is_published",
    "is_home",
    "description",
    "social_image",
    "canonical",
    "noindex",
];

/// The boxes: browsers do not send those that are not ticked.
const FLAGS: [&str; 4] = ["opens_new_tab", "is_published", "is_home", "noindex"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SectionQuery {
    /// `yes`, `address` or `no` after a form was saved.
    saved: String,
    /// Not empty after the section was moved.
    moved: String,
}

impl Fields {
    fn of(section: &Section) -> Self {
        let text = |text: Option<&str>| one_line(text.unwrap_or_default());
        Self {
            title: one_line(&section.title),
            slug: one_line(&section.slug),
            nav_visibility: word(section.nav_visibility),
            display_type: word(section.display_type),
            content_type: word(section.content_type),
            url: text(section.link.url.as_deref()),
            section_id: section.link.section_id.map(|id| id.to_string()).unwrap_or_default(),
            opens_new_tab: ticked(section.link.opens_new_tab).to_owned(),
            sort_by: section.sort_by.map(Sort::as_str).unwrap_or_default().to_owned(),
            is_published: ticked(section.is_published).to_owned(),
            is_home: ticked(section.is_home).to_owned(),
            description: line_ends(section.page.description.as_deref().unwrap_or_default()),
            social_image: text(section.page.social_image.as_deref()),
            canonical: text(section.page.canonical.as_deref()),
            noindex: ticked(section.page.noindex).to_owned(),
        }
    }

    fn of_form(sent: &Form) -> Self {
        let text = |name: &str| sent.get(name).to_owned();
        Self {
            title: text("title"),
            slug: text("slug"),
            nav_visibility: text("nav_visibility"),
            display_type: text("display_type"),
            content_type: text("content_type"),
            url: text("url"),
            section_id: text("section_id"),
            opens_new_tab: ticked(sent.has("opens_new_tab")).to_owned(),
            sort_by: text("sort_by"),
            is_published: ticked(sent.has("is_published")).to_owned(),
            is_home: ticked(sent.has("is_home")).to_owned(),
            description: line_ends(sent.get("description")),
            social_image: text("social_image"),
            canonical: text("canonical"),
            noindex: ticked(sent.has("noindex")).to_owned(),
        }
    }

    /// Returns the fields with their names and what the API calls their values.
    fn values(&self) -> [(&'static str, &str, Value); 15] {
        let text = |text: &str| Value::from(text);
        let flag = |text: &str| Value::from(!text.is_empty());
        let or_null = |text: &str| match text {
            "" => Value::Null,
            text => Value::from(text),
        };
        [
            ("title", &self.title, text(&self.title)),
            ("slug", &self.slug, text(&self.slug)),
            ("nav_visibility", &self.nav_visibility, text(&self.nav_visibility)),
            ("display_type", &self.display_type, text(&self.display_type)),
            ("content_type", &self.content_type, text(&self.content_type)),
            ("url", &self.url, or_null(&self.url)),
            ("section_id", &self.section_id, or_null(&self.section_id)),
            ("opens_new_tab", &self.opens_new_tab, flag(&self.opens_new_tab)),
            ("sort_by", &self.sort_by, or_null(&self.sort_by)),
            ("is_published", &self.is_published, flag(&self.is_published)),
            ("is_home", &self.is_home, flag(&self.is_home)),
            ("description", &self.description, or_null(&self.description)),
            ("social_image", &self.social_image, or_null(&self.social_image)),
            ("canonical", &self.canonical, or_null(&self.canonical)),
            ("noindex", &self.noindex, flag(&self.noindex)),
        ]
    }

    /// Returns the members of a body that changes `stored` to these fields. What was not changed is not
    /// sent, so that what could not be written today stays as it is.
    fn changes(&self, stored: &Self) -> Map<String, Value> {
        let pairs = self.values().into_iter().zip(stored.values());
        pairs
            .filter(|((_, text, _), (_, before, _))| text != before)
            .map(|((name, _, value), _)| (name.to_owned(), value))
            .collect()
    }
}

/// Returns the word of the API for a value.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

fn choices<T: Serialize>(
    all: impl IntoIterator<Item = (T, impl Into<String>)>,
) -> Vec<(String, String)> {
    all.into_iter().map(|(value, name)| (word(value), name.into())).collect()
}

fn places() -> Vec<(String, String)> {
    choices([
        (NavVisibility::Main, words::PLACE_MAIN),
        (NavVisibility::Footer, words::PLACE_FOOTER),
        (NavVisibility::Hidden, words::PLACE_HIDDEN),
    ])
}

fn displays() -> Vec<(String, String)> {
    choices([
        (DisplayType::Feed, words::DISPLAY_FEED),
        (DisplayType::CardGrid, words::DISPLAY_CARDS),
        (DisplayType::StaticPage, words::DISPLAY_PAGE),
    ])
}

fn kinds() -> Vec<(String, String)> {
    let types = ContentType::ALL.into_iter().map(SectionType::from).chain([SectionType::Link]);
    choices(types.map(|one| (one, values::section_type(one))))
}

fn orders() -> Vec<(String, String)> {
    let usual = (String::new(), words::ORDER_USUAL.to_owned());
    let others = Sort::ALL.into_iter().filter(|sort| *sort != Sort::NewestCreated);
    let others = others.map(|sort| (sort.as_str().to_owned(), values::sort(sort).to_owned()));
    // A section may have the usual order by its name.
    let named =
        (Sort::NewestCreated.as_str().to_owned(), values::sort(Sort::NewestCreated).to_owned());
    [usual, named].into_iter().chain(others).collect()
}

/// Returns the choice of the section above: all but links, and one and those below it.
fn parents(tree: &Tree<'_>, of: Option<ObjectId>) -> Vec<(String, String)> {
    options(tree, words::TOP, |one| of.is_none_or(|id| !tree.is_within(one.id, id)))
}

/// Returns the choice of the section that a link leads to.
fn targets(tree: &Tree<'_>, of: Option<ObjectId>) -> Vec<(String, String)> {
    options(tree, words::NO_TARGET, |one| Some(one.id) != of)
}

/// Returns the choice of none, or of a section that is no link and suits.
fn options(tree: &Tree<'_>, none: &str, suits: impl Fn(&Section) -> bool) -> Vec<(String, String)> {
    let rows = tree.rows().into_iter().filter(|(_, one)| !one.is_link() && suits(one));
    let option = |(level, one): (usize, &Section)| {
        (one.id.to_string(), format!("{}{}", "\u{2003}".repeat(level), shortened(&one.title)))
    };
    [(String::new(), none.to_owned())].into_iter().chain(rows.map(option)).collect()
}

/// Shows the form of a new section.
pub(crate) async fn new(visit: Visit) -> HttpResponse {
    let fields = Fields { is_published: ticked(true).to_owned(), ..Fields::default() };
    new_page(&visit, &fields, "", &Uuid::new_v4().to_string(), &Errors::default()).await
}

/// Adds a section.
pub(crate) async fn create(visit: Visit, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let (fields, parent, key) = (Fields::of_form(&sent), sent.get("parent"), sent.get("key"));
    let outcome = async {
        let mut body: Map<String, Value> = fields
            .values()
            .into_iter()
            .filter(|(name, text, _)| *name == "title" || !text.is_empty())
            .map(|(name, _, value)| (name.to_owned(), value))
            .collect();
        body.insert("is_published".to_owned(), (!fields.is_published.is_empty()).into());
        body.insert("parent_id".to_owned(), json!(id_of(parent)?));
        visit.api().create::<Value>("/sections", key, &body.into()).await
    };
    match outcome.await {
        Ok(_) => layout::redirect("/console/navigation?created=1"),
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(failure) => {
            // Another attempt with other fields is another request.
            let key = match failure {
                Failure::Unreachable => key.to_owned(),
                _ => Uuid::new_v4().to_string(),
            };
            new_page(&visit, &fields, parent, &key, &Errors::of(&failure, &NAMES)).await
        }
    }
}

async fn new_page(
    visit: &Visit,
    fields: &Fields,
    parent: &str,
    key: &str,
    errors: &Errors,
) -> HttpResponse {
    let all = match sections_of_form(visit, errors).await {
        Ok(all) => all,
        Err(response) => return *response,
    };
    let tree = Tree::new(&all);
    let usual = (String::new(), words::DISPLAY_USUAL.to_owned());
    let displays: Vec<_> = [usual].into_iter().chain(displays()).collect();
    let main = html! {
        h1 { (words::NEW_TITLE) }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        form.card method="post" action="/console/sections/new" data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            input type="hidden" name="key" value=(key);
            (Field::new("title", words::TITLE, &fields.title).help(words::TITLE_HELP).text(errors, true))
            (Field::new("slug", words::SLUG, &fields.slug).help(words::SLUG_NEW_HELP).text(errors, false))
            (Field::new("content_type", words::KIND, &fields.content_type).choice(errors, &kinds()))
            (Field::new("url", words::LINK_URL, &fields.url).help(words::LINK_HELP).text(errors, false))
            (Field::new("section_id", words::LINK_SECTION, &fields.section_id)
                .choice(errors, &targets(&tree, None)))
            (Field::new("opens_new_tab", words::LINK_TAB, &fields.opens_new_tab).tick(errors))
            (Field::new("parent", words::PARENT, parent).choice(errors, &parents(&tree, None)))
            (Field::new("nav_visibility", words::PLACE, &fields.nav_visibility).choice(errors, &places()))
            (Field::new("display_type", words::DISPLAY, &fields.display_type).choice(errors, &displays))
            (Field::new("is_published", words::PUBLISHED, &fields.is_published)
                .help(words::PUBLISHED_HELP).tick(errors))
            div.actions {
                button type="submit" { (words::ADD) }
                a.button.quiet href="/console/navigation" { (words::CANCEL) }
            }
        }
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, words::NEW_TITLE, &main)
}

/// The state of a section as the API has it now.
struct Current {
    section: Section,
    tag: String,
    all: Vec<Section>,
}

async fn current(visit: &Visit, id: &str) -> Result<Current, Failure> {
    let id = id_of(id)?.ok_or_else(no_section)?;
    let api = visit.api();
    let Tagged { value: section, tag } =
        api.get(&format!("/sections/{id}?include_drafts=true")).await?;
    Ok(Current { section, tag, all: sections(api).await? })
}

/// Shows the forms of a section.
pub(crate) async fn show(
    visit: Visit,
    id: web::Path<String>,
    query: web::Query<SectionQuery>,
) -> HttpResponse {
    let now = match current(&visit, &id).await {
        Ok(now) => now,
        Err(failure) => return unread(&visit, &failure),
    };
    let done = match (query.saved.as_str(), query.moved.is_empty()) {
        ("address", _) => Some(words::SAVED_ADDRESS),
        ("no", _) => Some(words::UNCHANGED),
        ("yes", _) => Some(words::SAVED),
        (_, false) => Some(words::MOVED),
        _ => None,
    };
    let errors = done.map_or_else(Errors::default, |text| Errors::message(Notice::done(text)));
    let fields = Fields::of(&now.section);
    edit_page(&visit, &now, &fields, None, &errors)
}

/// Saves the fields of a section.
pub(crate) async fn save(visit: Visit, id: web::Path<String>, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let fields = Fields::of_form(&sent);
    let now = match current(&visit, &id).await {
        Ok(now) => now,
        // There has never been such a section.
        Err(failure) if id_of(&id).is_err() => return unread(&visit, &failure),
        Err(failure) => return unsaved_page(&visit, &id, &fields, sent.get("tag"), &failure),
    };
    let stored = Fields::of(&now.section);
    if sent.get("tag") != now.tag {
        return conflict(&visit, &now, &fields);
    }
    let mut changes = fields.changes(&stored);
    // A form of an earlier version of the console may lack fields.
    changes.retain(|name, _| FLAGS.contains(&name.as_str()) || sent.has(name));
    if changes.is_empty() {
        return layout::redirect(&format!("/console/sections/{id}?saved=no"));
    }
    let path = format!("/sections/{}", now.section.id);
    let saved: Result<Tagged<Value>, _> =
        visit.api().write(Method::PATCH, &path, &now.tag, &changes.clone().into()).await;
    match saved {
        Ok(_) => {
            let saved = if changes.contains_key("slug") { "address" } else { "yes" };
            layout::redirect(&format!("/console/sections/{id}?saved={saved}"))
        }
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(Failure::Refused(Problem { status: 412, .. })) => match current(&visit, &id).await {
            Ok(now) => conflict(&visit, &now, &fields),
            Err(failure) => unsaved_page(&visit, &id, &fields, sent.get("tag"), &failure),
        },
        Err(failure) => edit_page(&visit, &now, &fields, None, &Errors::of(&failure, &NAMES)),
    }
}

/// Returns the form with what was typed, beside what someone else has stored in the meantime.
fn conflict(visit: &Visit, now: &Current, fields: &Fields) -> HttpResponse {
    let stored = Fields::of(&now.section);
    let errors = Errors::message(Notice::error(412, words::CONFLICT));
    edit_page(visit, now, fields, Some(&stored), &errors)
}

/// Returns the form with what was typed when nothing else can be read.
fn unsaved_page(
    visit: &Visit,
    id: &str,
    fields: &Fields,
    tag: &str,
    failure: &Failure,
) -> HttpResponse {
    let errors = match failure {
        Failure::SignedOut => return visit.failed(failure),
        Failure::Refused(Problem { status: 404, .. }) => {
            Errors::message(Notice::error(404, error_words::GONE))
        }
        failure => Errors::of(failure, &NAMES),
    };
    let target = (fields.section_id.clone(), fields.section_id.clone());
    let surroundings = Surroundings { address: None, targets: vec![target] };
    let main = html! {
        h1 { bdi { (shortened(&fields.title)) } }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        (fields_form(visit, id, tag, fields, None, &errors, &surroundings))
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, &shortened(&fields.title), &main)
}

fn edit_page(
    visit: &Visit,
    now: &Current,
    fields: &Fields,
    stored: Option<&Fields>,
    errors: &Errors,
) -> HttpResponse {
    let Current { section, tag, all } = now;
    let (tree, id) = (Tree::new(all), section.id);
    let path = |slug: &str| tree.path(section.parent_id, slug);
    let mut targets = targets(&tree, Some(id));
    if !targets.iter().any(|(id, _)| *id == fields.section_id) {
        // It was deleted. A choice without it would remove it.
        targets.push((fields.section_id.clone(), fields.section_id.clone()));
    }
    let address = (!section.is_link()).then(|| (path(""), path(&section.slug)));
    let surroundings = Surroundings { address, targets };
    let title = shortened(&section.title);
    let siblings = tree.below(section.parent_id).iter().filter(|one| one.id != id);
    let positions: Vec<_> = [(String::new(), words::LAST.to_owned())]
        .into_iter()
        .chain(siblings.map(|one| (one.id.to_string(), words::before(&shortened(&one.title)))))
        .collect();
    let parent = section.parent_id.map(|id| id.to_string()).unwrap_or_default();
    let order = tree.below(section.parent_id);
    let index = order.iter().position(|one| one.id == id);
    let before = index.and_then(|index| order.get(index + 1));
    let before = before.map(|one| one.id.to_string()).unwrap_or_default();
    let none = Errors::default();
    let main = html! {
        p.back { a href="/console/navigation" { "← " (crate::texts::navigation::TITLE) } }
        h1 { bdi { (title) } }
        p.facts {
            (words::CREATED) " " (layout::time(section.created_date)) " · "
            (words::CHANGED) " " (layout::time(section.updated_date))
        }
        @if let Some(notice) = &errors.notice { (layout::notice(notice)) }
        (fields_form(visit, &id.to_string(), tag, fields, stored, errors, &surroundings))
        h2 { (words::MOVE_TITLE) }
        form.card method="post" action={ "/console/sections/" (id) "/move" } data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            (Field::new("parent", words::PARENT, &parent).choice(&none, &parents(&tree, Some(id))))
            (Field::new("before", words::POSITION, &before).help(words::POSITION_HELP)
                .choice(&none, &positions))
            div.actions { button type="submit" { (words::MOVE) } }
        }
        p.danger {
            a.button.quiet href={ "/console/sections/" (id) "/delete" } { (words::DELETE) }
            " " (words::DELETE_HELP)
        }
    };
    let status = errors.notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, &title, &main)
}

/// The facts about the tree that a form shows.
struct Surroundings {
    /// The path above the section, and its own.
    address: Option<(String, String)>,
    /// The sections that a link can lead to.
    targets: Vec<(String, String)>,
}

/// Returns the form of the fields.
fn fields_form(
    visit: &Visit,
    id: &str,
    tag: &str,
    fields: &Fields,
    stored: Option<&Fields>,
    errors: &Errors,
    surroundings: &Surroundings,
) -> Markup {
    let Surroundings { address, targets } = surroundings;
    let theirs = |name: &str, options: &[(String, String)]| {
        let all = stored?.values();
        let mine = fields.values();
        let (_, text, _) = all.into_iter().find(|(one, _, _)| *one == name)?;
        let (_, typed, _) = mine.into_iter().find(|(one, _, _)| *one == name)?;
        let shown = options.iter().find(|(value, _)| value == text).map(|(_, name)| name.as_str());
        (text != typed).then(|| shown.unwrap_or(text).to_owned())
    };
    let flags = [(String::new(), "no".to_owned()), ("yes".to_owned(), "yes".to_owned())];
    html! {
        form.card method="post" action={ "/console/sections/" (id) } data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            input type="hidden" name="tag" value=(tag);
            (Field::new("title", words::TITLE, &fields.title).help(words::TITLE_HELP)
                .stored(theirs("title", &[])).text(errors, true))
            (Field::new("slug", words::SLUG, &fields.slug).help(words::SLUG_HELP)
                .stored(theirs("slug", &[])).text(errors, true))
            @if let Some((above, now)) = address {
                p.address {
                    (words::ADDRESS) " "
                    output for="field-slug" data-above=(above) { (now) }
                    br; span.help { (words::ADDRESS_HELP) }
                }
            }
            (Field::new("nav_visibility", words::PLACE, &fields.nav_visibility)
                .stored(theirs("nav_visibility", &places())).choice(errors, &places()))
            (Field::new("content_type", words::KIND, &fields.content_type).help(words::KIND_HELP)
                .stored(theirs("content_type", &kinds())).choice(errors, &kinds()))
            (Field::new("url", words::LINK_URL, &fields.url).help(words::LINK_HELP)
                .stored(theirs("url", &[])).text(errors, false))
            (Field::new("section_id", words::LINK_SECTION, &fields.section_id)
                .stored(theirs("section_id", targets)).choice(errors, targets))
            (Field::new("opens_new_tab", words::LINK_TAB, &fields.opens_new_tab)
                .stored(theirs("opens_new_tab", &flags)).tick(errors))
            (Field::new("display_type", words::DISPLAY, &fields.display_type)
                .stored(theirs("display_type", &displays())).choice(errors, &displays()))
            (Field::new("sort_by", words::ORDER, &fields.sort_by)
                .stored(theirs("sort_by", &orders())).choice(errors, &orders()))
            (Field::new("is_published", words::PUBLISHED, &fields.is_published)
                .help(words::PUBLISHED_HELP).stored(theirs("is_published", &flags)).tick(errors))
            (Field::new("is_home", words::HOME, &fields.is_home)
                .help(words::HOME_HELP).stored(theirs("is_home", &flags)).tick(errors))
            (Field::new("description", facts::DESCRIPTION, &fields.description)
                .stored(theirs("description", &[])).lines(errors, 3, false))
            (Field::new("social_image", facts::SOCIAL_IMAGE, &fields.social_image)
                .stored(theirs("social_image", &[])).text(errors, false))
            (Field::new("canonical", facts::CANONICAL, &fields.canonical)
                .stored(theirs("canonical", &[])).text(errors, false))
            (Field::new("noindex", facts::NOINDEX, &fields.noindex)
                .stored(theirs("noindex", &flags)).tick(errors))
            div.actions {
                button type="submit" { (words::SAVE) }
                a.button.quiet href="/console/navigation" { (words::CANCEL) }
            }
        }
    }
}

/// Moves a section.
pub(crate) async fn relocate(visit: Visit, id: web::Path<String>, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let outcome = async {
        let id = id_of(&id)?.ok_or_else(no_section)?;
        let (parent, before) = (id_of(sent.get("parent"))?, id_of(sent.get("before"))?);
        let all = sections(visit.api()).await?;
        let tree = Tree::new(&all);
        let place: Place = tree.place(id, parent, before);
        navigation::put(visit.api(), &tree, id, &place).await
    };
    match outcome.await {
        Ok(()) => layout::redirect(&format!("/console/sections/{id}?moved=1")),
        Err(failure) => refused_action(&visit, &id, failure).await,
    }
}

/// Returns the page of a section with the reason why something was not done.
async fn refused_action(visit: &Visit, id: &str, failure: Failure) -> HttpResponse {
    if matches!(failure, Failure::SignedOut) {
        return visit.failed(&failure);
    }
    match current(visit, id).await {
        Ok(now) => {
            let errors = Errors::message(Notice::of(&failure));
            edit_page(visit, &now, &Fields::of(&now.section), None, &errors)
        }
        Err(other) => unread(visit, &other),
    }
}

/// Asks before a section is deleted.
pub(crate) async fn confirm(visit: Visit, id: web::Path<String>) -> HttpResponse {
    delete_page(&visit, &id, None).await
}

/// Deletes a section.
pub(crate) async fn delete(visit: Visit, id: web::Path<String>, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let outcome = async {
        let id = id_of(&id)?.ok_or_else(no_section)?;
        let below = match sent.get("on_children") {
            word @ ("reparent" | "cascade") => word,
            _ => "restrict",
        };
        let path = format!("/sections/{id}?on_children={below}");
        visit.api().act(Method::DELETE, &path).await.map(|()| id)
    };
    match outcome.await {
        Ok(id) => layout::redirect(&format!("/console/navigation?deleted={id}")),
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(failure) => delete_page(&visit, &id, Some(&failure)).await,
    }
}

async fn delete_page(visit: &Visit, id: &str, failure: Option<&Failure>) -> HttpResponse {
    let now = match current(visit, id).await {
        Ok(now) => now,
        Err(failure) => return unread(visit, &failure),
    };
    let tree = Tree::new(&now.all);
    let id = now.section.id;
    let has_children = !tree.below(Some(id)).is_empty();
    let title = words::delete_title(&shortened(&now.section.title));
    let notice = failure.map(Notice::of);
    let choices = [
        ("restrict", words::BELOW_RESTRICT),
        ("reparent", words::BELOW_REPARENT),
        ("cascade", words::BELOW_CASCADE),
    ];
    let main = html! {
        h1 { bdi { (title) } }
        @if let Some(notice) = &notice { (layout::notice(notice)) }
        p { (words::DELETE_HELP) }
        form.card method="post" action={ "/console/sections/" (id) "/delete" } data-hx-boost="true" {
            (layout::mark(&visit.mark()))
            @if has_children {
                fieldset {
                    legend { (words::BELOW) }
                    @for (value, name) in choices {
                        label.choice {
                            input type="radio" name="on_children" value=(value)
                                checked[value == "restrict"];
                            span { (name) }
                        }
                    }
                }
            }
            div.actions {
                button.danger type="submit" { (words::DELETE_CONFIRM) }
                a.button.quiet href={ "/console/sections/" (id) } { (words::CANCEL) }
            }
        }
    };
    let status = notice.as_ref().map_or(StatusCode::OK, Notice::status);
    layout::page(visit, status, &title, &main)
}

/// Restores a section.
pub(crate) async fn restore(visit: Visit, id: web::Path<String>, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let outcome = async {
        let id = id_of(&id)?.ok_or_else(no_section)?;
        visit.api().act(Method::POST, &format!("/sections/{id}/restore")).await
    };
    match outcome.await {
        Ok(()) => layout::redirect("/console/navigation?restored=1"),
        Err(failure) => visit.failed(&failure),
    }
}
