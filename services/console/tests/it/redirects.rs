//! Redirects: the list, one by one, and from a file.

use serde_json::{Value, json};

use crate::{
    frame,
    support::{Browser, Page, Site, decode},
};

const PATH: &str = "/console/redirects";
const NEW: &str = "/console/redirects/new";
const FILE: &str = "/console/redirects/file";

async fn add(site: &Site, from: &str, to: Value) {
    let body = json!({ "from": from, "to": to });
    let added = site.api.call("POST", "/redirects", body).await;
    assert_eq!(added.status, 201, "{added:?}");
}

/// Returns the redirect of a path, as the API has it.
async fn stored(site: &Site, from: &str) -> Value {
    let query = serde_urlencoded::to_string([("from", from)]).unwrap();
    site.api.get(&format!("/redirects?{query}")).await.body["items"][0].clone()
}

/// Returns the part of a page with a redirect.
fn row<'a>(page: &'a Page, from: &str) -> &'a str {
    let mut rows = page.body.split("<li class=\"row\">").skip(1);
    let row = rows.find(|row| row.contains(&format!("<bdi>{from}</bdi>")));
    row.unwrap_or_else(|| panic!("no {from}: {}", page.body))
}

#[tokio::test]
async fn a_redirect_to_an_address_a_section_and_an_item_is_added() {
    let site = Site::start().await;
    let about = site.api.get("/sections/slug/about").await.id();
    let story = json!({ "title": "Hello", "content": "x", "slug": "hello", "is_published": true });
    let story = site.api.call("POST", "/stories", story).await.id();
    let mut browser = site.signed_in().await;
    let page = browser.get(PATH).await;
    frame::check(&page, PATH);
    assert!(page.body.contains("There is no redirect yet."), "{}", page.body);

    let old = "/2015/Über uns?b=2&a=1";
    let fields = [("from", old), ("to", " https://shop.example/x "), ("status", "302")];
    let page = browser.fill(NEW, NEW, &fields).await;
    assert_eq!(page.status, 303, "{}", page.body);
    let page = browser.get(page.location()).await;
    assert!(page.status == 200 && page.body.contains("Saved."), "{}", page.body);
    assert!(page.body.contains("1 redirect") && page.body.contains("For a time"));
    let one = stored(&site, old).await;
    assert_eq!(one["from"], "/2015/%C3%9Cber%20uns?a=1&b=2");
    assert_eq!(
        (&one["to"]["address"], &one["status"]),
        (&json!("https://shop.example/x"), &json!(302))
    );

    // A section and an item are followed to where they are.
    let page = browser.fill(NEW, NEW, &[("from", "/about.html"), ("section", &about)]).await;
    assert_eq!(page.status, 303, "{}", page.body);
    let item = format!("/console/content/stories/item?id={story}");
    let page = browser.get(&item).await;
    let link = page.body.split("href=\"").find(|part| part.contains("Lead an old address here"));
    let link = link.unwrap().split('"').next().unwrap();
    let page = browser.fill(link, NEW, &[("from", "/hello.html")]).await;
    assert_eq!(page.status, 303, "{}", page.body);
    assert_eq!(stored(&site, "/about.html").await["to"]["section"]["id"], json!(about));
    let to = json!({ "item": { "kind": "stories", "id": story } });
    assert_eq!(stored(&site, "/hello.html").await["to"], to);
    let page = browser.get(PATH).await;
    assert!(row(&page, "/about.html").contains(&format!("href=\"/console/sections/{about}\"")));
    assert!(row(&page, "/hello.html").contains(&format!("href=\"{item}\"")), "{}", page.body);
    assert!(row(&page, "/hello.html").contains("/blog/hello"), "{}", page.body);

    // Targets that are gone, and paths that content has now.
    let gone = site.api.call("DELETE", &format!("/stories/{story}"), Value::Null).await;
    assert_eq!(gone.status, 204);
    add(&site, "/soon", json!({ "address": "/blog" })).await;
    site.section(json!({ "title": "Soon", "slug": "soon", "content_type": "story" })).await;
    let page = browser.get(PATH).await;
    assert!(row(&page, "/hello.html").contains("Leads nowhere"), "{}", page.body);
    assert!(!row(&page, "/about.html").contains("Leads nowhere"), "{}", page.body);
    assert!(row(&page, "/soon").contains("Not used"), "{}", page.body);
}

#[tokio::test]
async fn what_is_wrong_with_a_redirect_is_beside_its_field() {
    let site = Site::start().await;
    add(&site, "/a", json!({ "address": "/b" })).await;
    let about = site.api.get("/sections/slug/about").await.id();
    let missing = "0".repeat(24);
    let mut browser = site.signed_in().await;
    for (fields, status, wrong) in [
        (&[("from", ""), ("to", "/b")][..], 422, "from"),
        (&[("from", "https://old.example/x"), ("to", "/b")], 422, "from"),
        (&[("from", "/x"), ("to", "")], 422, "to"),
        (&[("from", "/x"), ("to", "about")], 422, "to"),
        (&[("from", "/x"), ("to", "javascript:alert(1)")], 422, "to"),
        (&[("from", "/x"), ("to", "/b"), ("section", &about)], 422, "to"),
        (&[("from", "/x"), ("to", &format!("stories/{missing}"))], 422, "to"),
        (&[("from", "/x"), ("to", "/b"), ("status", "307")], 422, "status"),
        (&[("from", "/x"), ("to", "/b"), ("status", "soon")], 422, "status"),
        // It leads elsewhere already, content is there, it would lead in a circle.
        (&[("from", "/a"), ("to", "/c")], 409, "from"),
        (&[("from", "/blog"), ("to", "/c")], 409, "from"),
        (&[("from", "/b"), ("to", "/a")], 409, "from"),
    ] {
        let page = browser.fill(NEW, NEW, fields).await;
        assert_eq!(page.status, status, "{fields:?}: {}", page.body);
        let mark = format!("id=\"field-{wrong}-error\"");
        assert!(page.body.contains(&mark), "{fields:?}: {}", page.body);
        for (name, typed) in fields.iter().filter(|(name, _)| *name != "status") {
            assert_eq!(page.field(NEW, name), *typed, "{fields:?}");
        }
    }
    assert_eq!(site.api.get("/redirects").await.body["total"], 1);
    let fields = [("from", "/a"), ("to", "/c"), ("replace", "yes")];
    assert_eq!(browser.fill(NEW, NEW, &fields).await.status, 303);
    assert_eq!(stored(&site, "/a").await["to"]["address"], "/c");
}

#[tokio::test]
async fn the_list_has_pages_and_a_deleted_redirect_comes_back() {
    let site = Site::start().await;
    let lines: Vec<_> = (0..75).map(|number| format!("/old/{number:02},/blog,302")).collect();
    let csv = format!("from,to,status\n{}\n", lines.join("\n"));
    let mut browser = site.signed_in().await;
    let page = browser.fill(FILE, FILE, &[("body", &csv)]).await;
    assert!(page.body.contains("Added: 75. Replaced: 0."), "{}", page.body);
    add(&site, "/other", json!({ "address": "/about" })).await;
    let (mut seen, mut path) = (Vec::new(), format!("{PATH}?prefix=%2Fold"));
    for number in 0..2 {
        let page = browser.get(&path).await;
        frame::check(&page, &path);
        assert!(page.body.contains("75 redirects"), "{}", page.body);
        let found = page.body.split("<strong><bdi>").skip(1);
        seen.extend(found.map(|part| part.split('<').next().unwrap().to_owned()));
        let link = |name: &str| {
            let link = page.body.split("href=\"").find(|part| part.contains(name));
            link.map(|link| decode(link.split('"').next().unwrap()))
        };
        assert_eq!(link("First page").is_some(), number == 1);
        assert_eq!(link("Previous page").is_some(), number == 1);
        match (number, link("Next page")) {
            (0, Some(next)) => path = next,
            (1, None) => {}
            other => panic!("{other:?}"),
        }
    }
    let expected: Vec<_> = (0..75).map(|number| format!("/old/{number:02}")).collect();
    assert_eq!(seen, expected);
    let page = browser.get(&format!("{PATH}?prefix=%2Fnowhere")).await;
    assert!(page.body.contains("No old path begins like that"), "{}", page.body);
    let page = browser.get(&format!("{PATH}?prefix=old")).await;
    assert!(page.status == 422 && page.body.contains("id=\"field-prefix-error\""), "{}", page.body);

    let page = browser.fill(&path, PATH, &[("delete", "/old/60")]).await;
    assert!(page.body.contains("The redirect was deleted:"), "{}", page.body);
    // The same part of the list is shown.
    assert!(page.body.contains("74 redirects") && page.body.contains("/old/74"), "{}", page.body);
    assert_eq!(stored(&site, "/old/60").await, Value::Null);
    let page = browser.submit(&page, PATH, &[]).await;
    assert!(page.body.contains("The redirect is back."), "{}", page.body);
    let one = stored(&site, "/old/60").await;
    assert_eq!((&one["to"]["address"], &one["status"]), (&json!("/blog"), &json!(302)));
    let page = browser.fill(&path, PATH, &[("delete", "/nowhere")]).await;
    assert!(page.body.contains("Redirect not found"), "{}", page.body);
}

#[tokio::test]
async fn each_line_of_a_file_is_answered() {
    let site = Site::start().await;
    add(&site, "/there", json!({ "address": "/blog" })).await;
    let mut browser = site.signed_in().await;
    let opened = browser.get(FILE).await;
    let mark = opened.field(FILE, "mark");
    // As a spreadsheet writes it, with a byte order mark.
    let csv = "\u{feff}from;to;status\r\n/Größe;/about;302\r\nold;/blog;\r\n/there;/blog;\r\n/x;nowhere;307\r\n";
    let form = [("mark", &*mark), ("body", "")];
    let page = browser.send_files(FILE, &form, &[("file", "a file.csv", csv.as_bytes())]).await;
    assert_eq!(page.status, 200, "{}", page.body);
    frame::check(&page, FILE);
    assert!(
        page.body.contains("Added: 1. Replaced: 0. There before: 1. Refused: 2."),
        "{}",
        page.body
    );
    for text in [
        "Line 2: <bdi>/Gr",
        "Line 3: <bdi>old</bdi>",
        "from: must be",
        "to: must",
        "status: must be 301",
    ] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    assert_eq!(stored(&site, "/Größe").await["status"], 302);
    // They can be corrected here, and sent again.
    let lines = page.field(FILE, "body");
    assert_eq!(lines, csv[3..].replace("\r\n", "\n"));
    let lines = lines.replace("\nold", "\n/old").replace("/x;nowhere;307", "/there;/about;");
    let page = browser.submit(&page, FILE, &[("body", &lines)]).await;
    assert!(
        page.body.contains("Added: 1. Replaced: 0. There before: 2. Refused: 1."),
        "{}",
        page.body
    );
    let lines = lines.replace("/there;/blog;\n", "");
    let page = browser.submit(&page, FILE, &[("body", &lines), ("replace", "yes")]).await;
    assert!(
        page.body.contains("Added: 0. Replaced: 1. There before: 2. Refused: 0."),
        "{}",
        page.body
    );
    assert_eq!(page.field(FILE, "body"), "");
    assert_eq!(stored(&site, "/there").await["to"]["address"], "/about");

    let long = format!("from,to\n{}", "/y,/blog\n".repeat(101));
    let latin = b"from,to\n/Gr\xf6\xdfe2,/about\n";
    for (body, file, wrong) in [
        ("", &b""[..], "body"),
        ("/a,/b", b"", "body"),
        (&long, b"", "body"),
        ("from,to\n/a,/b", b"from,to\n/a,/b", "file"),
        ("", latin, "file"),
    ] {
        let form = [("mark", &*mark), ("body", body)];
        let page = browser.send_files(FILE, &form, &[("file", "a.csv", file)]).await;
        assert_eq!(page.status, 422, "{body}: {}", page.body);
        assert!(page.body.contains(&format!("id=\"field-{wrong}-error\"")), "{}", page.body);
        assert_eq!(page.field(FILE, "body"), body);
    }
    assert_eq!(site.api.get("/redirects").await.body["total"], 3);
}

#[tokio::test]
async fn what_was_typed_is_kept_when_the_site_cannot_be_reached() {
    let site = Site::start().await;
    let mut browser = site.signed_in().await;
    let (console, _running) = site.unreachable_console();
    let lines = "from,to\n/old,/blog";
    for (path, fields) in
        [(NEW, &[("from", "/old"), ("to", "/blog")][..]), (FILE, &[("body", lines)])]
    {
        let opened = browser.get(path).await;
        let mut cut = Browser { url: console.clone(), ..browser.clone() };
        let page = cut.submit(&opened, path, fields).await;
        assert_eq!(page.status, 503, "{}", page.body);
        for (name, typed) in fields {
            assert_eq!(page.field(path, name), *typed);
        }
        // It is the same form, which works once the site is back.
        let page = browser.submit(&page, path, &[]).await;
        assert!(page.status < 400, "{}", page.body);
        let deleted = site.api.call("DELETE", "/redirects?from=/old", Value::Null).await;
        assert_eq!(deleted.status, 204, "{path}");
    }
}
