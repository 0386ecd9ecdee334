//! The tree of sections.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{ACCEPT, CACHE_CONTROL},
    },
    web,
};
use maud::{Markup, html};
use models::{NavVisibility, ObjectId, Section};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{id_of, no_section, sections};
use crate::{
    api::{Caller, Failure, Problem, Tagged},
    fields::shortened,
    form::Form,
    guard::Visit,
    layout::{self, Notice},
    texts::{self, navigation as words},
    tree::{Node, Place, Step, Tree},
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NavigationQuery {
    /// The section that was deleted.
    deleted: String,
    /// Not empty after a section was restored.
    restored: String,
    /// Not empty after a section was added.
    created: String,
}

/// Shows the tree.
pub(crate) async fn show(visit: Visit, query: web::Query<NavigationQuery>) -> HttpResponse {
    let notice = if !query.restored.is_empty() {
        layout::notice(&Notice::done(words::RESTORED))
    } else if !query.created.is_empty() {
        layout::notice(&Notice::done(words::CREATED))
    } else if let Ok(id) = query.deleted.parse::<ObjectId>() {
        undo(&visit, id)
    } else {
        html! {}
    };
    page(&visit, StatusCode::OK, &notice).await
}

/// Moves, publishes or hides a section, as a button or the script of the tree says.
pub(crate) async fn change(visit: Visit, sent: Form) -> HttpResponse {
    if let Err(refusal) = visit.check(&sent) {
        return *refusal;
    }
    let outcome = apply(&visit, &sent).await;
    let accept = visit.request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept == Some("application/json") {
        return answer(&outcome);
    }
    match outcome {
        Ok(id) => layout::redirect(&format!("/console/navigation#s-{id}")),
        Err(Failure::SignedOut) => visit.failed(&Failure::SignedOut),
        Err(failure) => {
            let notice = Notice::of(&failure);
            page(&visit, notice.status(), &layout::notice(&notice)).await
        }
    }
}

/// Returns the outcome for the script.
fn answer(outcome: &Result<ObjectId, Failure>) -> HttpResponse {
    let notice = match outcome {
        Ok(_) => Notice::done(words::MOVED),
        Err(failure) => Notice::of(failure),
    };
    let mut response = HttpResponse::build(notice.status());
    response.insert_header((CACHE_CONTROL, "no-store")).json(json!({ "message": notice.text() }))
}

/// Applies the action of a form. Returns the id of the section.
async fn apply(visit: &Visit, sent: &Form) -> Result<ObjectId, Failure> {
    let api = visit.api();
    let (action, id) = sent.get("do").split_once(':').ok_or_else(no_section)?;
    let id = id_of(id)?.ok_or_else(no_section)?;
    match action {
        "publish" | "hide" => {
            let body = json!({ "is_published": action == "publish" });
            let now: Tagged<Section> =
                api.get(&format!("/sections/{id}?include_drafts=true")).await?;
            api.write::<Value>(Method::PATCH, &format!("/sections/{id}"), &now.tag, &body).await?;
        }
        "move" => {
            let (parent, before) = (id_of(sent.get("parent"))?, id_of(sent.get("before"))?);
            let all = sections(api).await?;
            let tree = Tree::new(&all);
            put(api, &tree, id, &tree.place(id, parent, before)).await?;
        }
        word => {
            let step = Step::of(word).ok_or_else(no_section)?;
            let all = sections(api).await?;
            let tree = Tree::new(&all);
            let place = tree.step(id, step).ok_or_else(no_step)?;
            put(api, &tree, id, &place).await?;
        }
    }
    Ok(id)
}

/// Puts a section at its place: below its parent, then in the order there.
pub(super) async fn put(
    api: Caller<'_>,
    tree: &Tree<'_>,
    id: ObjectId,
    place: &Place,
) -> Result<(), Failure> {
    let section = tree.get(id).ok_or_else(no_section)?;
    let is_elsewhere = section.parent_id != place.parent;
    if is_elsewhere {
        let now: Tagged<Section> = api.get(&format!("/sections/{id}?include_drafts=true")).await?;
        let body = json!({ "parent_id": place.parent });
        api.write::<Value>(Method::PATCH, &format!("/sections/{id}"), &now.tag, &body).await?;
    }
    let mut siblings: Vec<_> = tree.below(place.parent).iter().map(|one| one.id).collect();
    if is_elsewhere {
        // A section that moves becomes the last.
        siblings.push(id);
    }
    if siblings == place.order {
        return Ok(());
    }
    let body = json!({ "parent_id": place.parent, "ids": place.order });
    let ordered = api.write::<Value>(Method::PUT, "/sections/order", "", &body).await;
    ordered.map(drop).map_err(|failure| match failure {
        Failure::Refused(problem) if is_elsewhere => {
            let detail = format!("{} {}", words::ORDER_FAILED, problem.detail);
            Failure::Refused(Problem { detail, ..problem })
        }
        failure => failure,
    })
}

fn no_step() -> Failure {
    Failure::Refused(Problem {
        status: 409,
        code: "conflict".to_owned(),
        detail: words::NO_STEP.to_owned(),
        errors: Vec::new(),
    })
}

/// Returns the message about a deleted section, with the form that restores it.
fn undo(visit: &Visit, id: ObjectId) -> Markup {
    html! {
        div.notice role="status" {
            p { (words::DELETED) }
            form method="post" action={ "/console/sections/" (id) "/restore" } {
                (layout::mark(&visit.mark()))
                button type="submit" { (words::UNDO) }
            }
        }
    }
}

async fn page(visit: &Visit, status: StatusCode, notice: &Markup) -> HttpResponse {
    let all = match sections(visit.api()).await {
        Ok(all) => all,
        Err(failure) => return visit.failed(&failure),
    };
    let tree = Tree::new(&all);
    let nodes = tree.nodes();
    let main = html! {
        div.head {
            h1 { (words::TITLE) }
            a.button href="/console/sections/new" { (words::NEW) }
        }
        (tabs(visit))
        p.intro { (words::INTRO) }
        (notice)
        @if all.is_empty() {
            p.empty { (words::EMPTY) }
        } @else {
            p.help #tree-help hidden { (words::HELP) }
            form #tree method="post" action="/console/navigation" {
                (layout::mark(&visit.mark()))
                ul.tree aria-label=(words::TREE) { (rows(&nodes)) }
                @if !tree.detached.is_empty() {
                    h2 { (words::DETACHED) }
                    p.help { (words::DETACHED_HELP) }
                    ul.tree { @for section in &tree.detached { li { (row(section)) } } }
                }
            }
        }
    };
    layout::page(visit, status, words::TITLE, &main)
}

/// Returns the pages that belong to the navigation.
pub(super) fn tabs(visit: &Visit) -> Markup {
    let tabs = [
        ("/console/navigation", words::TREE),
        ("/console/redirects", texts::redirects::TITLE),
        ("/console/site", texts::site::TITLE),
    ];
    html! {
        nav.tabs aria-label=(words::PARTS) {
            @for (path, name) in tabs {
                @let is_current = visit.request.path().starts_with(path);
                a href=(path) aria-current=[is_current.then_some("page")] { (name) }
            }
        }
    }
}

fn rows(nodes: &[Node<'_>]) -> Markup {
    html! {
        @for node in nodes {
            li id={ "s-" (node.section.id) } data-id=(node.section.id) {
                (row(node.section))
                @if !node.children.is_empty() { ul { (rows(&node.children)) } }
            }
        }
    }
}

fn row(section: &Section) -> Markup {
    let id = section.id;
    let title = shortened(&section.title);
    let place = match section.nav_visibility {
        NavVisibility::Main => None,
        NavVisibility::Footer => Some(words::FOOTER),
        NavVisibility::Hidden => Some(words::NOT_IN_MENUS),
    };
    let (action, name) = match section.is_published {
        true => ("hide", words::HIDE),
        false => ("publish", words::PUBLISH),
    };
    html! {
        div.row {
            span.handle draggable="true" title=(words::DRAG) aria-hidden="true" { "⠿" }
            span.name {
                a href={ "/console/sections/" (id) } { bdi { (title) } }
                " " code { "/" (section.slug) }
                @if section.is_home { " " span.badge { (words::HOME) } }
                @if !section.is_published { " " span.badge.off { (words::DRAFT) } }
                @if let Some(place) = place { " " span.badge { (place) } }
                " " span.kind { (texts::words::section_type(section.content_type)) }
            }
            span.steps {
                button.icon name="do" value={ "up:" (id) } aria-label={ (words::UP) ": " (title) } { "↑" }
                button.icon name="do" value={ "down:" (id) } aria-label={ (words::DOWN) ": " (title) } { "↓" }
                button.quiet name="do" value={ (action) ":" (id) } aria-label={ (name) ": " (title) } { (name) }
            }
        }
    }
}
