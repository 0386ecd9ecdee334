//! Texts that would be scripts, in every field and place of every page.

use mongodb::bson::doc;
use serde_json::json;

use crate::{
    frame,
    support::{Site, decode},
};

/// Texts that end an attribute, a tag or a script, or are templates or addresses.
pub(crate) const TEXTS: [&str; 10] = [
    "\"><script>alert(1)</script>",
    "'><img src=x onerror=alert(1)>",
    "</title></textarea></select><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{7*7}} ${7*7} <%= 7*7 %> #{7*7} (texts)",
    "\u{202e}gnp.exe\u{2066}",
    "\" autofocus onfocus=alert(1) x=\"",
    "<!--<script>",
    "&lt;script&gt;&#x3c;script&#x3e;",
    "]]><svg onload=alert(1)>",
];

/// Checks that a page runs nothing that the text says.
pub(crate) fn check(body: &str, path: &str, text: &str) {
    let lower = body.to_lowercase();
    for tag in ["<img", "<svg", "<script>", "<!--"] {
        assert!(!lower.contains(tag), "{path} {text}: {tag}");
    }
    // Tags have the attributes of the templates alone.
    for tag in body.split('<').skip(1) {
        let mut is_quoted = false;
        let plain: String = tag
            .chars()
            .take_while(|c| {
                is_quoted ^= *c == '"';
                is_quoted || *c != '>'
            })
            .collect();
        let outside: String = plain.split('"').step_by(2).collect();
        assert!(!outside.contains(" on") && !outside.contains("alert"), "{path} {text}: {tag}");
    }
    for address in ["href", "action", "src", "formaction"] {
        assert!(!lower.contains(&format!("{address}=\"javascript")), "{path} {text}");
    }
}

#[tokio::test]
async fn texts_in_fields_stay_texts() {
    let site = Site::start().await;
    let id = site.section(json!({ "title": "News", "content_type": "story" })).await;
    let story = json!({ "title": "S", "content": "<p>x</p>" });
    let story = site.api.call("POST", "/stories", story).await.id();
    let story = format!("/console/content/stories/item?id={story}");
    let deleted = doc! { "title": "Gone", "deleted": true };
    site.database.insert("pages", [deleted]).await;
    let redirect = json!({ "from": "/old", "to": { "address": "/blog" } });
    assert_eq!(site.api.call("POST", "/redirects", redirect).await.status, 201);
    let mut browser = site.signed_in().await;
    let long = "x<".repeat(50_000);
    // Each kind of text once: there are many fields.
    for text in TEXTS.into_iter().step_by(2).chain([&*long]) {
        let edit = format!("/console/sections/{id}");
        for (page, action) in [
            ("/console/sections/new", "/console/sections/new"),
            (&edit, &edit),
            (&edit, &format!("{edit}/move")),
            ("/console/navigation", "/console/navigation"),
            (&format!("{edit}/delete"), &format!("{edit}/delete")),
            ("/console/content/stories", "/console/content/stories/selected"),
            ("/console/content/projects/new", "/console/content/projects/new"),
            (&story, "/console/content/stories/item"),
            ("/console/trash", "/console/trash"),
            ("/console/redirects", "/console/redirects"),
            ("/console/redirects/new", "/console/redirects/new"),
            ("/console/redirects/file", "/console/redirects/file"),
            ("/console/site", "/console/site"),
            ("/console/sign-in", "/console/sign-in"),
        ] {
            let mut opened = browser.get(page).await;
            if page == "/console/sign-in" {
                opened = site.browser().get(page).await;
            }
            let names = opened.fields(action).into_iter().map(|(name, _)| name);
            let names: Vec<_> = names
                .chain(
                    ["next", "do", "before", "on_children", "title", "back", "id", "to", "delete"]
                        .map(str::to_owned),
                )
                .collect();
            for name in names.iter().filter(|name| *name != "mark" && *name != "tag") {
                // The delete form would delete.
                if action.ends_with("/delete") {
                    continue;
                }
                let answer = match page {
                    "/console/sign-in" => {
                        site.browser().submit(&opened, action, &[(name, text)]).await
                    }
                    _ => browser.submit(&opened, action, &[(name, text)]).await,
                };
                assert!(answer.status < 500, "{action} {name} {text}: {}", answer.status);
                check(&answer.body, action, text);
                if answer.status != 303 {
                    frame::check_headers(&answer, action);
                }
            }
        }
    }
}

#[tokio::test]
async fn texts_of_the_site_stay_texts() {
    let site = Site::start().await;
    for (number, text) in (0_i32..).zip(TEXTS) {
        let section = doc! {
            "title": text, "slug": format!("{text} {number}"), "parent_id": null,
            "display_type": "feed", "content_type": "story", "nav_visibility": "main",
            "sort_order": number + 10, "is_published": true, "is_deleted": false,
        };
        site.database.insert("sections", [section]).await;
        for kind in ["stories", "projects", "pages"] {
            let item = doc! {
                "title": text, "content": text, "slug": format!("{text} {number}"), "tags": [text],
                "summary": text, "technologies": [text], "image_url": text, "live_url": text,
                "page_type": text, "section_id": text, "is_published": true,
                "createdDate": mongodb::bson::DateTime::now(),
            };
            let mut deleted = item.clone();
            deleted.extend(doc! { "deleted": true, "deleted_at": text, "deleted_by": text });
            site.database.insert(kind, [item, deleted]).await;
        }
    }
    test_support::eventually("the sections are known", async || {
        site.below("null").await.len() > TEXTS.len()
    })
    .await;
    let mut browser = site.signed_in().await;
    let all = site.api.get("/sections?include_drafts=true").await.body;
    let all = all.as_array().unwrap();
    assert!(all.len() > TEXTS.len(), "{all:?}");
    let tree = browser.get("/console/navigation").await;
    check(&tree.body, "navigation", "all");
    for text in TEXTS {
        assert!(decode(&tree.body).contains(text), "{text}");
    }
    for section in all {
        let id = section["id"].as_str().unwrap();
        for path in [format!("/console/sections/{id}"), format!("/console/sections/{id}/delete")] {
            let page = browser.get(&path).await;
            assert_eq!(page.status, 200, "{path}");
            check(&page.body, &path, section["title"].as_str().unwrap());
        }
    }
    for kind in ["stories", "projects", "pages"] {
        let path = format!("/console/content/{kind}");
        let list = browser.get(&path).await;
        check(&list.body, &path, "all");
        for text in TEXTS {
            assert!(decode(&list.body).contains(text), "{kind} {text}");
        }
        let links = list.body.split("href=\"").filter(|part| part.contains("/item?id="));
        let links: Vec<_> = links.map(|part| part.split('"').next().unwrap()).collect();
        assert_eq!(links.len(), TEXTS.len(), "{kind}");
        for link in links {
            let page = browser.get(link).await;
            assert_eq!(page.status, 200, "{link}");
            check(&page.body, link, "item");
        }
    }
    for path in ["/console/trash", "/console/trash?kind=projects"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{}", page.body);
        check(&page.body, path, "all");
        for text in TEXTS.into_iter().skip(TEXTS.len() - 6) {
            assert!(decode(&page.body).contains(text), "{path} {text}");
        }
    }
    // What the API accepts of them, and what other programs may have stored.
    let links = TEXTS.map(|text| doc! { "name": text, "url": text });
    let facts = doc! {
        "_id": "site", "title": TEXTS[0], "description": TEXTS[2], "logo": TEXTS[1],
        "language": TEXTS[6], "social_links": links.to_vec(),
    };
    site.database.insert("content_site", [facts]).await;
    for (number, text) in TEXTS.into_iter().enumerate() {
        let address = format!("/{text}");
        let body = json!({ "from": format!("/{number}/{text}"), "to": { "address": address } });
        site.api.call("POST", "/redirects", body).await;
    }
    assert_ne!(site.api.get("/redirects").await.body["total"], 0);
    for path in ["/console/redirects", "/console/site"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        check(&page.body, path, "all");
    }
    for query in TEXTS {
        for path in [
            "/console/trash?kind=",
            "/console/trash?cursor=",
            "/console/redirects?prefix=",
            "/console/redirects?cursor=",
            "/console/redirects?saved=",
            "/console/redirects/new?to=",
            "/console/site?saved=",
            "/console/navigation?deleted=",
            "/console/sign-in?next=",
            "/console/x?",
            "/console/sections/new?parent=",
            "/console/content/stories?q=",
            "/console/content/stories?tag=",
            "/console/content/stories?cursor=",
            "/console/content/stories/item?id=",
        ] {
            let query = serde_urlencoded::to_string([("", query)]).unwrap();
            let page = browser.get(&format!("{path}{}", &query[1..])).await;
            check(&page.body, path, &query);
        }
    }
}
