//! The page of the trash.

use mongodb::bson::doc;
use serde_json::{Value, json};

use crate::{
    frame,
    support::{Page, Site},
};

const PATH: &str = "/console/trash";

/// Adds an item and deletes it. Returns its id.
async fn deleted(site: &Site, kind: &str, body: Value) -> String {
    let added = site.api.call("POST", &format!("/{kind}"), body).await;
    assert_eq!(added.status, 201, "{added:?}");
    let id = added.id();
    let gone = site.api.call("DELETE", &format!("/{kind}/{id}"), Value::Null).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    id
}

/// Returns the part of a page with an item.
fn row<'a>(page: &'a Page, title: &str) -> &'a str {
    let mut rows = page.body.split("<li class=\"row\">").skip(1);
    let row = rows.find(|row| row.contains(&format!("<bdi>{title}</bdi>")));
    row.unwrap_or_else(|| panic!("no {title}: {}", page.body))
}

/// Returns the value of a hidden field of a row.
fn field(row: &str, name: &str) -> String {
    let input = row.split(&format!("name=\"{name}\" value=\"")).nth(1);
    let input = input.unwrap_or_else(|| panic!("no {name}: {row}"));
    input.split('"').next().unwrap().replace("&quot;", "\"").replace("&amp;", "&")
}

#[tokio::test]
async fn items_of_every_kind_are_restored_and_deleted_for_good() {
    let site = Site::start().await;
    let mut browser = site.signed_in().await;
    let page = browser.get(PATH).await;
    frame::check(&page, PATH);
    assert!(page.body.contains("The trash is empty."), "{}", page.body);
    assert!(page.body.contains("href=\"/console/trash\" aria-current=\"page\""));
    for (number, kind) in ["stories", "projects", "pages"].into_iter().enumerate() {
        let draft = json!({ "title": "Draft", "content": "", "is_published": false });
        deleted(&site, kind, draft).await;
        let id = deleted(&site, kind, json!({ "title": "Lamp & co", "content": "" })).await;
        let other = deleted(&site, kind, json!({ "title": "Other", "content": "" })).await;
        let filtered = format!("{PATH}?kind={kind}");
        let page = browser.get(&filtered).await;
        frame::check(&page, &filtered);
        assert_eq!(page.body.matches("<li class=\"row\">").count(), 3, "{}", page.body);
        let lamp = row(&page, "Lamp &amp; co");
        assert!(lamp.contains("<time datetime=") && !lamp.contains("Draft"), "{lamp}");
        assert!(row(&page, "Draft").contains("<span class=\"badge off\">Draft</span>"));
        let all = ["mark", "back", "kind", "id", "tag"].map(|name| field(lamp, name));
        let [mark, back, of_kind, listed, tag] = all;
        assert_eq!((of_kind.as_str(), &listed), (kind, &id));
        let mut form =
            vec![("mark", &*mark), ("back", &*back), ("kind", kind), ("id", &*id), ("tag", &*tag)];
        form.push(("do", "restore"));
        let page = browser.send(PATH, &form).await;
        assert!(page.body.contains("It is restored"), "{}", page.body);
        // The same kind is shown, without it.
        assert_eq!(page.body.matches("<li class=\"row\">").count(), 2, "{}", page.body);
        assert_eq!(site.api.get(&format!("/{kind}/{id}")).await.body["title"], "Lamp & co");

        // One that is not in the trash any more is not deleted.
        *form.last_mut().unwrap() = ("do", "delete");
        let page = browser.send(PATH, &form).await;
        assert_eq!(page.status, 409, "{}", page.body);
        assert!(page.body.contains("is not in the trash"), "{}", page.body);
        assert_eq!(site.api.get(&format!("/{kind}/{id}")).await.status, 200);

        let tag = field(row(&page, "Other"), "tag");
        let form = [
            ("mark", &*mark),
            ("back", &*back),
            ("kind", kind),
            ("id", &*other),
            ("tag", &*tag),
            ("do", "delete"),
        ];
        let page = browser.send(PATH, &form).await;
        assert!(page.body.contains("It is deleted for good."), "{}", page.body);
        assert_eq!(page.body.matches("<li class=\"row\">").count(), 1, "{}", page.body);
        let left = site.database.count(kind, doc! { "title": "Other" }).await;
        assert_eq!(left, 0, "{kind}");
        let page = browser.get(PATH).await;
        assert_eq!(page.body.matches("<li class=\"row\">").count(), number + 1, "{}", page.body);
        let form = [("mark", &*mark), ("kind", kind), ("id", &*id), ("do", "explode")];
        assert_eq!(browser.send(PATH, &form).await.status, 404);
    }
}

#[tokio::test]
async fn what_stands_in_the_way_is_shown_and_the_list_has_pages() {
    let site = Site::start().await;
    let old = (0..45).map(|number| {
        doc! { "_id": format!("2015/{number:02}?"), "title": format!("Old {number:02}"), "deleted": true }
    });
    site.database.collection("pages").insert_many(old).await.unwrap();
    deleted(&site, "stories", json!({ "title": "Twin", "content": "", "slug": "twin" })).await;
    let twin = json!({ "title": "Another", "content": "", "slug": "twin" });
    assert_eq!(site.api.call("POST", "/stories", twin).await.status, 201);
    let mut browser = site.signed_in().await;
    let page = browser.get(PATH).await;
    let twin = row(&page, "Twin");
    assert!(twin.contains("It cannot be restored now."), "{twin}");
    assert!(twin.contains("Another story already has the slug"), "{twin}");
    assert!(row(&page, "Old 44").contains("before this site kept the time"), "{}", page.body);
    let form = [("mark", field(twin, "mark")), ("id", field(twin, "id"))];
    let form = [("mark", &*form[0].1), ("id", &*form[1].1), ("kind", "stories"), ("do", "restore")];
    let refused = browser.send(PATH, &form).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.body.contains("Another story already has the slug"), "{}", refused.body);

    let (mut seen, mut page) = (Vec::new(), page);
    loop {
        let titles = page.body.split("<strong><bdi>").skip(1);
        seen.extend(titles.map(|part| part.split('<').next().unwrap().to_owned()));
        let next = page.body.split("href=\"").find(|part| part.contains("Next page"));
        let Some(next) = next else { break };
        let next = next.split('"').next().unwrap().replace("&amp;", "&");
        page = browser.get(&next).await;
        frame::check(&page, &next);
        assert!(page.body.contains("First page"), "{}", page.body);
    }
    let expected: Vec<_> = (0..45).rev().map(|number| format!("Old {number:02}")).collect();
    assert_eq!(seen, [&["Twin".to_owned()][..], &expected].concat());
    // An id of any text.
    let old = row(&page, "Old 00");
    let form = [("mark", field(old, "mark")), ("tag", field(old, "tag"))];
    let form = [
        ("mark", &*form[0].1),
        ("tag", &*form[1].1),
        ("kind", "pages"),
        ("id", "2015/00?"),
        ("do", "delete"),
    ];
    let page = browser.send(PATH, &form).await;
    assert!(page.body.contains("It is deleted for good."), "{}", page.body);
    assert_eq!(site.database.count("pages", doc! { "title": "Old 00" }).await, 0);
}
