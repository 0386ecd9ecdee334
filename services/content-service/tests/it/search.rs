//! The search.

use mongodb::bson::{Bson, doc};
use serde_json::{Value, json};
use test_support::{TestDatabase, eventually};

use crate::support::{
    Site, ask, created, day, each, page, project, section, section_id, send, story, user, with,
};

/// Starts a site, and waits until all items of the database are found.
async fn start(database: &TestDatabase) -> Site {
    let site = Site::start(database).await;
    filled(database).await;
    site
}

async fn filled(database: &TestDatabase) {
    eventually("all items have words", async || {
        let mut items = 0;
        for kind in ["stories", "projects", "pages"] {
            items += database.count(kind, doc! {}).await;
        }
        items == database.count("content_search", doc! { "kind": { "$exists": true } }).await
    })
    .await;
}

async fn search(site: &Site, query: &str) -> Value {
    let (status, body) = site.content.get(&format!("/search?q={query}")).await;
    assert_eq!(status, 200, "{query}: {body}");
    body
}

async fn titles(site: &Site, query: &str) -> Vec<String> {
    let found = search(site, query).await;
    each(&found, "title").into_iter().map(str::to_owned).collect()
}

fn texts(title: &str, content: &str) -> mongodb::bson::Document {
    let slug = title.to_lowercase().replace(' ', "-");
    with(story(&slug, day(1)), doc! { "title": title, "content": content })
}

fn excerpt(item: &Value) -> String {
    let parts = item["excerpt"].as_array().unwrap().iter();
    let part = |part: &Value| match part["is_match"] == true {
        true => format!("[{}]", part["text"].as_str().unwrap()),
        false => part["text"].as_str().unwrap().to_owned(),
    };
    parts.map(part).collect()
}

#[tokio::test]
async fn items_of_all_kinds_are_found_by_their_words_the_best_first() {
    let database = TestDatabase::new().await;
    let far = format!("<p>{} A lamp at last.</p>", "word ".repeat(100));
    database
        .insert(
            "stories",
            [
                texts("Far away", &far),
                texts("Close", "<p>A <b>lamp</b> &amp; a tide.</p>"),
                texts("The Lamp", "<p>Nothing else.</p>"),
                texts("Attribute", "<p title=\"lamp\">x</p><script>lamp</script>"),
                texts("Lamps", "<p>Another word.</p>"),
            ],
        )
        .await;
    let log = doc! { "title": "Log", "summary": "Listens to a lâmp.", "technologies": ["Rust"] };
    database.insert("projects", [with(project("log"), log)]).await;
    let about = doc! { "title": "About", "content": "<p>LAMP</p>" };
    database.insert("pages", [with(page("about"), about), page("other")]).await;
    let site = start(&database).await;
    let found = search(&site, "lamp").await;
    let found = found["items"].as_array().unwrap();
    let all: Vec<_> = found.iter().map(|item| item["title"].as_str().unwrap()).collect();
    assert_eq!(all[0], "The Lamp", "{all:?}");
    assert_eq!(all.last(), Some(&"Far away"), "{all:?}");
    let mut sorted = all.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["About", "Close", "Far away", "Log", "The Lamp"]);
    let of = |title: &str| found.iter().find(|item| item["title"] == title).unwrap();
    assert_eq!(excerpt(of("Close")), "A [lamp] & a tide.");
    assert_eq!(excerpt(of("Log")), "Listens to a [lâmp]. Rust Long.");
    assert!(excerpt(of("Far away")).ends_with("word A [lamp] at last."));
    assert_eq!(
        (&of("Close")["path"], &of("Close")["kind"]),
        (&json!("/blog/close"), &json!("stories"))
    );
    assert_eq!(of("About")["path"], "/about");
    assert_eq!(of("Log")["path"], "/projects/log");
    assert_eq!(titles(&site, "lamp tide").await, ["Close"]);
    assert_eq!(titles(&site, "L%C3%82MP%20rust").await, ["Log"]);
    assert_eq!(titles(&site, "nothing").await, ["The Lamp"]);
    assert_eq!(titles(&site, "title script").await, [""; 0]);
    assert_eq!(titles(&site, "lamp&kind=projects,pages").await.len(), 2);
    assert_eq!(titles(&site, "lamp&section=projects").await, ["Log"]);
    // Page by page, each item once.
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = search(&site, &format!("lamp&limit=2{cursor}")).await;
        paged.extend(each(&page, "title").into_iter().map(str::to_owned));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, all);
    // A cursor does not tell of drafts, which are among the candidates before it.
    let first = search(&site, "lamp&limit=1").await;
    for number in 0..3 {
        let draft =
            json!({ "title": format!("Lamp {number}"), "content": "", "is_published": false });
        created(&site, "stories", draft).await;
    }
    assert_eq!(search(&site, "lamp&limit=1").await, first);
}

#[tokio::test]
async fn what_is_written_is_found_at_once_by_what_it_is_now() {
    let database = TestDatabase::new().await;
    let site = start(&database).await;
    let item = json!({ "title": "First light", "content": "<p>A lantern.</p>" });
    let item = created(&site, "stories", item).await;
    let url = format!("{}/stories/{}", site.content.url, item["id"].as_str().unwrap());
    assert_eq!(titles(&site, "lantern").await, ["First light"]);
    let change = async |method: &str, url: &str, body: Value| {
        let (status, _, answer) = send(method, url, &[], &body).await;
        assert!(status.is_success(), "{answer}");
    };
    change("PATCH", &url, json!({ "content": "<p>A beacon.</p>" })).await;
    assert_eq!(titles(&site, "lantern").await, [""; 0]);
    assert_eq!(titles(&site, "beacon").await, ["First light"]);
    change("PUT", &url, json!({ "title": "Second light", "content": "<p>A beacon.</p>" })).await;
    assert_eq!(titles(&site, "second beacon").await, ["Second light"]);
    change("PATCH", &url, json!({ "is_published": false })).await;
    assert_eq!(titles(&site, "beacon").await, [""; 0]);
    let drafts = "/search?q=beacon&include_drafts=true";
    assert_eq!(site.content.get(drafts).await.0, 401);
    let found = site.content.get_as_editor(drafts).await.1;
    assert_eq!(
        (each(&found, "title"), &found["items"][0]["path"]),
        (vec!["Second light"], &json!("/blog/first-light"))
    );
    change("PATCH", &url, json!({ "is_published": true })).await;
    change("DELETE", &url, json!({})).await;
    assert_eq!(each(&site.content.get_as_editor(drafts).await.1, "title"), [""; 0]);
    change("POST", &format!("{url}/restore"), json!({})).await;
    assert_eq!(titles(&site, "beacon").await, ["Second light"]);
    // It moves, and its words with it.
    let notes = json!({ "title": "Notes", "content_type": "story" });
    let (_, _, notes) = send("POST", &format!("{}/sections", site.sections.url), &[], &notes).await;
    let moves = json!({ "content_type": "story", "content": { "ids": [item["id"]] }, "section_id": notes["id"] });
    let moved = send("POST", &format!("{}/content/move", site.content.url), &[], &moves).await;
    assert_eq!(moved.0, 200, "{}", moved.2);
    assert_eq!(titles(&site, "beacon&section=notes").await, ["Second light"]);
    assert_eq!(titles(&site, "beacon&section=blog").await, [""; 0]);
    assert_eq!(search(&site, "beacon").await["items"][0]["path"], "/notes/first-light");
}

#[tokio::test]
async fn what_other_programs_have_changed_is_compared_with_the_item() {
    let database = TestDatabase::new().await;
    let hidden = section(&database, "hidden", doc! { "is_published": false }).await;
    section(&database, "blog", doc! {}).await;
    let blog = section_id(&database, "blog").await;
    let of = |title: &str| with(texts(title, "<p>beacon</p>"), doc! { "section_id": &blog });
    database
        .insert(
            "stories",
            [
                of("Stays"),
                of("Unpublished"),
                of("Deleted"),
                of("Trashed"),
                of("Changed"),
                of("Moved"),
                with(of("Odd"), doc! { "is_published": "perhaps" }),
                with(of("Language"), doc! { "language": "klingon", "language_of_words": "elvish" }),
                with(of("Text id"), doc! { "_id": "an id" }),
            ],
        )
        .await;
    // The collection of another program.
    database
        .insert("content_search", [doc! { "title": "beacon", "text": "beacon", "kind": 1 }])
        .await;
    let site = Site::start(&database).await;
    eventually("all are found", async || titles(&site, "beacon").await.len() == 8).await;
    let stories = database.collection("stories");
    let set = async |title: &str, fields: mongodb::bson::Document| {
        let title = doc! { "title": title };
        stories.update_one(title, doc! { "$set": fields }).await.unwrap();
    };
    set("Unpublished", doc! { "is_published": false }).await;
    set("Trashed", doc! { "deleted": true }).await;
    set("Changed", doc! { "content": "<p>Something else.</p>" }).await;
    set("Moved", doc! { "section_id": &hidden }).await;
    stories.delete_one(doc! { "title": "Deleted" }).await.unwrap();
    let mut found = titles(&site, "beacon").await;
    found.sort_unstable();
    assert_eq!(found, ["Language", "Stays", "Text id"]);
    for limit in [1, 2] {
        let page = search(&site, &format!("beacon&limit={limit}")).await;
        assert_eq!(page["items"].as_array().unwrap().len(), limit);
    }
    // An item that another program adds is found after the next comparison, which a start makes.
    site.stop().await;
    database.insert("stories", [of("Added")]).await;
    let site = Site::start(&database).await;
    eventually("it is found", async || titles(&site, "added").await == ["Added"]).await;
    let (_, headers, _) = ask(&format!("{}/search?q=added", site.content.url), &[]).await;
    let keys = headers["surrogate-key"].to_str().unwrap();
    for key in ["search", "stories", "projects", "pages", "sections"] {
        assert!(keys.split(' ').any(|one| one == key), "{keys}");
    }
    eventually("words of what is gone are removed", async || {
        database.count("content_search", doc! { "title": "deleted" }).await == 0
    })
    .await;
    assert_eq!(database.count("content_search", doc! { "kind": 1 }).await, 1);
}

#[tokio::test]
async fn scripts_without_spaces_are_found_by_any_two_characters() {
    let database = TestDatabase::new().await;
    database
        .insert(
            "stories",
            [
                texts("日本の灯台", "<p>大きな光が見える。</p>"),
                texts("ประภาคาร", "<p>แสงสว่างในทะเล</p>"),
                texts("маяк", "<p>Свет</p>"),
            ],
        )
        .await;
    let site = start(&database).await;
    for (query, title) in [
        ("灯台", "日本の灯台"),
        ("きな光", "日本の灯台"),
        ("本の", "日本の灯台"),
        ("ภาคาร", "ประภาคาร"),
        ("สว่าง", "ประภาคาร"),
        ("МАЯК свет", "маяк"),
    ] {
        assert_eq!(titles(&site, query).await, [title], "{query}");
    }
    assert_eq!(titles(&site, "台灯").await, [""; 0]);
}

#[tokio::test]
async fn wrong_queries_are_named_and_odd_texts_are_written_all_the_same() {
    let database = TestDatabase::new().await;
    user(&database, "author", "author").await;
    let site = start(&database).await;
    for (query, field) in [
        ("", "q"),
        ("%20!%3F", "q"),
        (&*"x".repeat(201), "q"),
        ("x&kind=users", "kind"),
        ("x&limit=0", "limit"),
        ("x&limit=51", "limit"),
        ("x&cursor=-1", "cursor"),
        ("x&cursor=1001", "cursor"),
        ("x&cursor=stories-AAAA", "cursor"),
        ("x&cursor=users-DQAAABBpAAEAAAAA", "cursor"),
        ("x&sort=date", "sort"),
    ] {
        let (status, answer) = site.content.get(&format!("/search?q={query}")).await;
        assert_eq!(
            (status.as_u16(), &answer["errors"][0]["field"]),
            (422, &json!(field)),
            "{query}"
        );
    }
    assert_eq!(site.content.get("/search").await.0, 422);
    assert_eq!(site.content.get("/search?q=x&section=nope").await.0, 404);
    for query in ["%24where", "%22a%20b", "-x", "a%7Cb.*", "{%24ne:1}", "\\"] {
        let (status, answer) = site.content.get(&format!("/search?q={query}x")).await;
        assert_eq!((status.as_u16(), &answer["items"]), (200, &json!([])), "{query}");
    }
    for content in ["x".repeat(90_000), "<b>".repeat(300), "\u{300}\u{200b} 🗼".repeat(9)] {
        let item = json!({ "title": "Odd needle", "content": content });
        created(&site, "stories", item).await;
    }
    assert_eq!(titles(&site, "needle").await.len(), 3);
    site.stop().await;
    let unique: String = (0..80_000).map(|number| format!("w{number} ")).collect();
    let blog = section_id(&database, "blog").await;
    let huge = with(texts("Huge", &unique), doc! { "section_id": blog });
    database
        .insert("stories", [huge, with(texts("", ""), doc! { "title": 7, "content": 8 })])
        .await;
    let site = start(&database).await;
    assert_eq!(
        (titles(&site, "w1").await, titles(&site, "8").await),
        (vec!["Huge".to_owned()], vec!["7".to_owned()])
    );
    // Beyond the words that are kept.
    assert_eq!(titles(&site, "w79999").await.len(), 0);
    let longest = database.one("content_search", doc! { "text": { "$regex": "^w0 " } }).await;
    assert!(longest.get_str("text").unwrap().len() <= 100_000);
    // A move at the same time could not correct it.
    assert_eq!(longest.get("section"), Some(&Bson::Null));
}

#[tokio::test]
async fn a_change_that_is_refused_leaves_the_words_as_they_were() {
    let database = TestDatabase::new().await;
    let site = start(&database).await;
    let item = json!({ "title": "Beacon", "content": "" });
    let item = created(&site, "stories", item).await;
    let url = format!("{}/stories/{}", site.content.url, item["id"].as_str().unwrap());
    let stale = [("if-match", "\"old\"")];
    let refused = send("PATCH", &url, &stale, &json!({ "title": "Lantern" })).await;
    assert_eq!(refused.0, 412);
    assert_eq!(titles(&site, "beacon").await, ["Beacon"]);
    assert_eq!(database.one("content_search", doc! {}).await.get_str("title").unwrap(), "beacon");
    let count = database.count("content_search", doc! {}).await;
    let wrong = json!({ "title": "Lantern", "content": "", "section_id": "0".repeat(24) });
    let refused = send("POST", &format!("{}/stories", site.content.url), &[], &wrong).await;
    assert_eq!(refused.0, 422);
    assert_eq!(database.count("content_search", doc! {}).await, count);
}
