//! The navigation: adding, changing, moving, hiding, deleting and restoring sections.

use serde_json::{Value, json};

use crate::support::Site;

async fn site_with_news() -> (Site, String) {
    let site = Site::start().await;
    let id = site.section(json!({ "title": "News", "content_type": "story" })).await;
    (site, id)
}

#[tokio::test]
async fn a_section_is_added_with_what_was_typed() {
    let site = Site::start().await;
    let mut browser = site.signed_in().await;
    let path = "/console/sections/new";
    let page = browser.fill(path, path, &[("title", ""), ("slug", "Not a slug")]).await;
    assert_eq!(page.status, 422);
    // Each error is beside its field.
    for name in ["title", "slug"] {
        assert!(page.body.contains(&format!("id=\"field-{name}-error\"")), "{}", page.body);
        assert!(page.body.contains("aria-invalid=\"true\""));
    }
    let about = site.api.get("/sections/slug/about").await.id();
    let fields = [
        ("title", "Lighthouses & <lamps>"),
        ("parent", &about),
        ("content_type", "project"),
        ("nav_visibility", "footer"),
        ("is_published", ""),
    ];
    let page = browser.submit(&page, path, &[&fields[..], &[("slug", "")]].concat()).await;
    assert_eq!(page.status, 303, "{}", page.body);
    let added =
        &site.api.get(&format!("/sections?include_drafts=true&parent_id={about}")).await.body[0];
    assert_eq!(added["title"], "Lighthouses & <lamps>");
    assert_eq!(added["slug"], "lighthouses-lamps");
    assert_eq!(added["content_type"], "project");
    assert_eq!(added["display_type"], "card-grid");
    assert_eq!(
        (&added["nav_visibility"], &added["is_published"]),
        (&json!("footer"), &json!(false))
    );
    let page = browser.get(page.location()).await;
    assert!(page.body.contains("Lighthouses &amp; &lt;lamps&gt;") && page.body.contains("Hidden"));
}

#[tokio::test]
async fn a_form_that_is_sent_twice_adds_one_section() {
    let site = Site::start().await;
    let mut browser = site.signed_in().await;
    let path = "/console/sections/new";
    let page = browser.get(path).await;
    for _ in 0..2 {
        let sent = browser.submit(&page, path, &[("title", "Twice")]).await;
        assert_eq!(sent.status, 303, "{}", sent.body);
    }
    let all = site.below("null").await;
    assert_eq!(all.iter().filter(|slug| slug.starts_with("twice")).count(), 1, "{all:?}");
}

#[tokio::test]
async fn a_link_leads_to_an_address_or_to_a_section() {
    let (site, news) = site_with_news().await;
    let mut browser = site.signed_in().await;
    let path = "/console/sections/new";
    let link = [("title", "Code"), ("content_type", "link"), ("opens_new_tab", "yes")];
    let page = browser.fill(path, path, &link).await;
    assert_eq!(page.status, 422);
    assert!(page.body.contains("id=\"field-url-error\""), "{}", page.body);
    let wrong = [&link[..], &[("url", "javascript:alert(1)")]].concat();
    let page = browser.submit(&page, path, &wrong).await;
    assert!(page.status == 422 && page.body.contains("id=\"field-url-error\""), "{}", page.body);
    let right = [&link[..], &[("url", "https://example.org/code")]].concat();
    assert_eq!(browser.submit(&page, path, &right).await.status, 303);
    let all = site.api.get("/sections?include_drafts=true").await;
    let all = all.body.as_array().unwrap();
    let id = all.iter().find(|one| one["title"] == "Code").unwrap()["id"].as_str().unwrap();
    let facts = ["content_type", "url", "section_id", "opens_new_tab"];
    let stored = site.stored(id).await;
    assert_eq!(
        facts.map(|name| stored[name].clone()),
        [json!("link"), json!("https://example.org/code"), Value::Null, json!(true)]
    );
    let path = format!("/console/sections/{id}");
    // The one replaces the other.
    let to_news = [("url", ""), ("section_id", news.as_str())];
    let page = browser.fill(&path, &path, &to_news).await;
    assert_eq!(page.location(), format!("{path}?saved=yes"), "{}", page.body);
    let stored = site.stored(id).await;
    assert_eq!((&stored["url"], &stored["section_id"]), (&Value::Null, &json!(news)));
    assert_eq!(stored["path"], "/news");
    // No section goes below a link, and no link leads to one.
    let page = browser.get("/console/sections/new").await;
    assert!(!page.body.contains(&format!("value=\"{id}\"")), "{}", page.body);
}

#[tokio::test]
async fn a_renamed_section_says_what_its_address_is_and_the_former_one_leads_there() {
    let (site, id) = site_with_news().await;
    let mut browser = site.signed_in().await;
    let path = format!("/console/sections/{id}");
    let page = browser.get(&path).await;
    assert!(page.body.contains("data-above=\"/\">/news<"), "{}", page.body);
    assert!(page.body.contains("former addresses"), "{}", page.body);
    let page = browser.submit(&page, &path, &[("title", "Notes"), ("slug", "notes")]).await;
    assert_eq!(page.location(), format!("{path}?saved=address"));
    let page = browser.get(page.location()).await;
    assert!(page.body.contains("the former one leads here"), "{}", page.body);
    assert_eq!(site.stored(&id).await["path"], "/notes");
    let moved = site.api.get("/resolve?path=/news").await;
    assert_eq!(moved.body["moved_to"], "/notes");

    // A slug that is taken is an error of the field.
    let page = browser.fill(&path, &path, &[("slug", "blog")]).await;
    assert_eq!((page.status, page.field(&path, "slug").as_str()), (409, "blog"));
    assert!(page.body.contains("id=\"field-slug-error\""), "{}", page.body);
}

#[tokio::test]
async fn a_form_that_changes_nothing_writes_nothing() {
    let (site, id) = site_with_news().await;
    // As other programs may have stored it: it could not be written today.
    let title = "A title\nof two lines ".repeat(20);
    let filter = mongodb::bson::doc! { "slug": "news" };
    let odd = mongodb::bson::doc! { "$set": { "title": &title } };
    site.database.collection("sections").update_one(filter, odd).await.unwrap();
    test_support::eventually("the title is known", async || {
        site.stored(&id).await["title"] == json!(title)
    })
    .await;
    let mut browser = site.signed_in().await;
    let path = format!("/console/sections/{id}");
    let before = site.stored(&id).await;
    let page = browser.fill(&path, &path, &[]).await;
    assert_eq!(page.location(), format!("{path}?saved=no"), "{}", page.body);
    assert_eq!(site.stored(&id).await, before);
    // Another field is changed, and the title stays as it is.
    let page = browser.fill(&path, &path, &[("sort_by", "title"), ("is_home", "yes")]).await;
    assert_eq!(page.location(), format!("{path}?saved=yes"), "{}", page.body);
    let after = site.stored(&id).await;
    assert_eq!((&after["title"], &after["sort_by"]), (&json!(title), &json!("title")));
    assert_eq!(after["is_home"], true);
    let facts = [
        ("description", "About the news"),
        ("social_image", "/uploads/news.webp"),
        ("canonical", "https://example.org/news"),
        ("noindex", "yes"),
    ];
    let page = browser.fill(&path, &path, &facts).await;
    assert_eq!(page.location(), format!("{path}?saved=yes"), "{}", page.body);
    let after = site.stored(&id).await;
    for (name, value) in facts {
        assert_eq!(after[name], if name == "noindex" { json!(true) } else { json!(value) });
    }
    let page = browser.fill(&path, &path, &[("sort_by", ""), ("is_home", "")]).await;
    assert_eq!(page.status, 303, "{}", page.body);
    let after = site.stored(&id).await;
    assert_eq!((&after["sort_by"], &after["is_home"]), (&Value::Null, &json!(false)));
}

#[tokio::test]
async fn two_people_who_change_one_section_see_both_versions() {
    let (site, id) = site_with_news().await;
    let (mut one, mut other) = (site.signed_in().await, site.signed_in().await);
    let path = format!("/console/sections/{id}");
    let (of_one, of_other) = (one.get(&path).await, other.get(&path).await);
    let saved =
        one.submit(&of_one, &path, &[("title", "Theirs"), ("nav_visibility", "footer")]).await;
    assert_eq!(saved.status, 303);
    let page = other.submit(&of_other, &path, &[("title", "Mine"), ("slug", "mine")]).await;
    assert_eq!(page.status, 412, "{}", page.body);
    assert_eq!(site.stored(&id).await["title"], "Theirs");
    // What was typed is still there, with what is stored beside it.
    assert_eq!(page.field(&path, "title"), "Mine");
    assert_eq!(page.field(&path, "slug"), "mine");
    for (name, stored) in [("title", "Theirs"), ("slug", "news"), ("nav_visibility", "Footer")] {
        let begin = format!("id=\"field-{name}-stored\"");
        let text =
            page.body.split(&begin).nth(1).unwrap_or_else(|| panic!("{name}: {}", page.body));
        assert!(text.split("</p>").next().unwrap().contains(stored), "{name}: {text}");
    }
    // Saved again, it replaces what is stored.
    let page = other.submit(&page, &path, &[]).await;
    assert_eq!(page.status, 303, "{}", page.body);
    let stored = site.stored(&id).await;
    assert_eq!((&stored["title"], &stored["slug"]), (&json!("Mine"), &json!("mine")));
}

#[tokio::test]
async fn what_was_typed_is_kept_when_the_section_was_deleted() {
    let (site, id) = site_with_news().await;
    let mut browser = site.signed_in().await;
    let path = format!("/console/sections/{id}");
    let opened = browser.get(&path).await;
    let deleted = site.api.call("DELETE", &format!("/sections/{id}"), Value::Null).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    let page = browser.submit(&opened, &path, &[("description", "A long text")]).await;
    assert!(
        page.status == 404 && page.body.contains("was deleted in the meantime"),
        "{}",
        page.body
    );
    assert_eq!(page.field(&path, "description"), "A long text");
    let odd = "/console/sections/odd";
    let mark = page.field(&path, "mark");
    let page = browser.send(odd, &[("mark", &mark), ("title", "Typed")]).await;
    assert!(page.status == 404 && !page.body.contains("Typed"), "{}", page.body);
}

#[tokio::test]
async fn a_field_that_a_form_lacks_stays_as_it_is() {
    let (site, id) = site_with_news().await;
    let changed = json!({ "description": "About it", "sort_by": "title" });
    assert_eq!(site.api.call("PATCH", &format!("/sections/{id}"), changed).await.status, 200);
    let mut browser = site.signed_in().await;
    let path = format!("/console/sections/{id}");
    let page = browser.get(&path).await;
    let mut fields = page.fields(&path);
    // As an earlier version of the console has sent it, which did not have all fields.
    let is_later = |name: &str| ["description", "sort_by", "section_id", "url"].contains(&name);
    fields.retain(|(name, _)| !is_later(name) && name != "title");
    fields.push(("title".to_owned(), "Renamed".to_owned()));
    let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let sent = browser.send(&path, &fields).await;
    assert_eq!(sent.location(), format!("{path}?saved=yes"), "{}", sent.body);
    let after = site.stored(&id).await;
    let stored = ["title", "description", "sort_by"].map(|name| &after[name]);
    assert_eq!(stored, [&json!("Renamed"), &json!("About it"), &json!("title")]);
}

#[tokio::test]
async fn sections_move_by_steps_by_a_form_and_by_the_script() {
    let (site, id) = site_with_news().await;
    let mut browser = site.signed_in().await;
    let path = "/console/navigation";
    let step = |word: &str| format!("{word}:{id}");
    assert_eq!(site.below("null").await, ["blog", "about", "projects", "contact", "news"]);
    for (word, order) in [
        ("up", &["blog", "about", "projects", "news", "contact"][..]),
        ("up", &["blog", "about", "news", "projects", "contact"]),
        ("down", &["blog", "about", "projects", "news", "contact"]),
        ("in", &["blog", "about", "projects", "contact"]),
        ("out", &["blog", "about", "projects", "news", "contact"]),
    ] {
        let page = browser.fill(path, path, &[("do", &step(word))]).await;
        assert_eq!(page.location(), format!("{path}#s-{id}"), "{word}: {}", page.body);
        assert_eq!(site.below("null").await, order, "{word}");
    }
    let blog = site.api.get("/sections/slug/blog").await.id();
    let page = browser.fill(path, path, &[("do", &format!("up:{blog}"))]).await;
    assert!(page.status == 409 && page.body.contains("cannot be moved further"), "{}", page.body);

    // As the script moves: below a section, before another one.
    let mark = browser.get(path).await.field(path, "mark");
    let json = [("accept", "application/json")];
    let form = [("mark", &*mark), ("do", &step("move")), ("parent", &blog), ("before", "")];
    let page = browser.send_with(path, &json, &form).await;
    assert_eq!((page.status, page.header("content-type")), (200, "application/json"));
    assert_eq!(site.below(&blog).await, ["news"]);
    let form = [("mark", &*mark), ("do", &step("move")), ("parent", ""), ("before", &blog)];
    assert_eq!(browser.send_with(path, &json, &form).await.status, 200);
    assert_eq!(site.below("null").await[..2], ["news", "blog"]);
    let form = [("mark", &*mark), ("do", &step("move")), ("parent", &id), ("before", "")];
    let page = browser.send_with(path, &json, &form).await;
    assert!(page.status == 422 && page.body.contains("message"), "{} {}", page.status, page.body);

    // By the form of the section.
    let action = format!("/console/sections/{id}/move");
    let section = format!("/console/sections/{id}");
    let contact = site.api.get("/sections/slug/contact").await.id();
    let page = browser.fill(&section, &action, &[("before", &contact)]).await;
    assert_eq!(page.location(), format!("{section}?moved=1"), "{}", page.body);
    assert_eq!(site.below("null").await, ["blog", "about", "projects", "news", "contact"]);
    // The form shows where it is, so that sending it as it is moves nothing.
    let page = browser.fill(&section, &action, &[]).await;
    assert_eq!(page.status, 303);
    assert_eq!(site.below("null").await, ["blog", "about", "projects", "news", "contact"]);
    let page = browser.fill(&section, &action, &[("parent", &contact)]).await;
    assert_eq!(page.status, 303);
    assert_eq!(site.below(&contact).await, ["news"]);
    // A section cannot go below itself, and is not offered there.
    let page = browser.get(&format!("/console/sections/{contact}")).await;
    let (_, parents) = page.body.split_once("id=\"field-parent\"").unwrap();
    let (parents, _) = parents.split_once("</select>").unwrap();
    assert!(!parents.contains(&format!("<option value=\"{id}\"")), "{parents}");

    for (word, is_published) in [("hide", false), ("publish", true)] {
        let page = browser.fill(path, path, &[("do", &step(word))]).await;
        assert_eq!(page.status, 303, "{}", page.body);
        assert_eq!(site.stored(&id).await["is_published"], is_published);
    }
    for odd in ["", "x", "up", "up:", "up:x", "fly:000000000000000000000000", "move:x"] {
        let page = browser.fill(path, path, &[("do", odd)]).await;
        assert!(matches!(page.status, 404 | 409), "{odd}: {}", page.status);
    }
}

#[tokio::test]
async fn deleting_says_what_is_in_the_way_and_can_be_undone() {
    let (site, id) = site_with_news().await;
    let child = json!({ "title": "Local", "content_type": "story", "parent_id": id });
    let child = site.section(child).await;
    let story = json!({ "title": "S", "content": "<p>x</p>", "section_id": child });
    let story = site.api.call("POST", "/stories", story).await.id();
    let mut browser = site.signed_in().await;
    let confirm = format!("/console/sections/{id}/delete");
    let page = browser.fill(&confirm, &confirm, &[]).await;
    assert_eq!(page.status, 409);
    assert!(page.body.contains("1 section is below this one"), "{}", page.body);
    let page = browser.fill(&confirm, &confirm, &[("on_children", "cascade")]).await;
    assert_eq!(page.status, 409);
    assert!(page.body.contains("1 item of content belongs here"), "{}", page.body);
    assert!(!site.stored(&id).await["title"].is_null());

    site.api.call("DELETE", &format!("/stories/{story}"), Value::Null).await;
    let page = browser.fill(&confirm, &confirm, &[("on_children", "cascade")]).await;
    assert_eq!(page.location(), format!("/console/navigation?deleted={id}"), "{}", page.body);
    for gone in [&id, &child] {
        assert_eq!(site.stored(gone).await["code"], "not_found");
        assert_eq!(browser.get(&format!("/console/sections/{gone}")).await.status, 404);
    }
    let page = browser.get(page.location()).await;
    let page = browser.submit(&page, &format!("/console/sections/{id}/restore"), &[]).await;
    assert_eq!(page.location(), "/console/navigation?restored=1", "{}", page.body);
    assert_eq!(site.below(&id).await, ["local"]);
}
