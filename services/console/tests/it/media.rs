//! Pictures and videos: the grid, their texts, and uploads.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    frame, hostile,
    support::{Browser, Page, Site},
};

const PATH: &str = "/console/media";

/// A picture of one pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn png() -> Vec<u8> {
    STANDARD.decode(PNG).unwrap()
}

/// Uploads pictures with these names.
async fn upload(browser: &mut Browser, names: &[&str]) -> Page {
    let (page, png) = (browser.get(PATH).await, png());
    let mark = page.field(PATH, "mark");
    let files: Vec<_> = names.iter().map(|name| ("files", *name, &*png)).collect();
    browser.send_files(PATH, &[("mark", &mark)], &files).await
}

/// Returns the files, the newest first.
async fn stored(site: &Site) -> Vec<Value> {
    let all = site.api.get("/media?limit=50").await.body;
    all["items"].as_array().unwrap_or_else(|| panic!("{all}")).clone()
}

#[tokio::test]
async fn files_are_uploaded_through_the_form_and_described() {
    let site = Site::with_media().await;
    let mut browser = site.signed_in().await;
    let page = browser.get(PATH).await;
    assert_eq!(page.status, 200, "{}", page.body);
    frame::check(&page, PATH);
    assert!(page.body.contains("There is no file yet."), "{}", page.body);
    let page = upload(&mut browser, &["lamp.png", "Leuchtturm Größe.png"]).await;
    assert_eq!(page.location(), format!("{PATH}?done=uploaded"), "{}", page.body);
    let page = browser.get(page.location()).await;
    frame::check(&page, PATH);
    assert!(page.body.contains("The files were uploaded.") && page.body.contains("2 files"));
    assert!(
        page.body.contains("<bdi>lamp.png</bdi>") && page.body.contains("Leuchtturm Größe.png")
    );
    assert_eq!(page.body.matches("No alternative text").count(), 2, "{}", page.body);
    let all = stored(&site).await;
    let lamp = all.iter().find(|one| one["original_name"] == "lamp.png").unwrap();
    let url = lamp["url"].as_str().unwrap();
    assert!(page.body.contains(&format!("src=\"{url}?size=500\"")), "{}", page.body);
    let picture = browser.client.get(format!("{}{url}", site.api.url)).send().await.unwrap();
    assert_eq!(
        (picture.status().as_u16(), &picture.headers()["content-type"]),
        (200, &"image/webp".parse().unwrap())
    );

    let path = format!("{PATH}/{}", lamp["id"].as_str().unwrap());
    let page = browser.get(&path).await;
    frame::check(&page, &path);
    assert!(
        page.body.contains("1 × 1") && page.body.contains("Nothing shows it."),
        "{}",
        page.body
    );
    let fields = [("do", "save"), ("alt", "A lamp & <its> light"), ("title", "Lamp")];
    let saved = browser.submit(&page, &path, &fields).await;
    assert_eq!(saved.location(), format!("{path}?saved=yes"), "{}", saved.body);
    let route = path.replace("/console", "");
    let file = site.api.get(&route).await.body;
    assert_eq!((&file["alt"], &file["title"]), (&json!("A lamp & <its> light"), &json!("Lamp")));
    let page = browser.get(&format!("{path}?saved=yes")).await;
    assert!(page.body.contains("alt=\"A lamp &amp; &lt;its&gt; light\""), "{}", page.body);
    let same = browser.submit(&page, &path, &[("do", "save")]).await;
    assert_eq!(same.location(), format!("{path}?saved=no"), "{}", same.body);

    // Someone else changes it in the meantime, and a text is too long.
    site.api.call("PATCH", &route, json!({ "alt": "Theirs" })).await;
    let page = browser.submit(&page, &path, &[("do", "save"), ("alt", "Mine")]).await;
    assert_eq!((page.status, page.field(&path, "alt").as_str()), (412, "Mine"));
    assert!(page.body.contains("<bdi>Theirs</bdi>"), "{}", page.body);
    let long = "x".repeat(1_001);
    let page = browser.submit(&page, &path, &[("do", "save"), ("alt", &long)]).await;
    assert!(page.status == 422 && page.body.contains("id=\"field-alt-error\""), "{}", page.body);
    let page = browser.submit(&page, &path, &[("do", "save"), ("alt", "")]).await;
    assert_eq!(page.location(), format!("{path}?saved=yes"), "{}", page.body);
    assert_eq!(site.api.get(&route).await.body["alt"], Value::Null);
    for missing in ["x", "000000000000000000000000"] {
        assert_eq!(browser.get(&format!("{PATH}/{missing}")).await.status, 404);
    }
}

#[tokio::test]
async fn a_file_that_is_shown_is_not_deleted_and_the_page_says_where() {
    let site = Site::with_media().await;
    let mut browser = site.signed_in().await;
    upload(&mut browser, &["used.png"]).await;
    let used = stored(&site).await.remove(0);
    upload(&mut browser, &["free.png"]).await;
    let story = json!({ "title": "A lamp", "content": format!("<img src=\"{}\">", used["url"].as_str().unwrap()) });
    let story = site.api.call("POST", "/stories", story).await.id();
    for (query, present, absent) in [
        ("q=us", "used.png", "free.png"),
        ("unused=yes", "free.png", "used.png"),
        ("q=nowhere", "Nothing matches", ".png"),
    ] {
        let page = browser.get(&format!("{PATH}?{query}")).await;
        assert!(
            page.body.contains(present) && !page.body.contains(absent),
            "{query}: {}",
            page.body
        );
    }
    let path = format!("{PATH}/{}", used["id"].as_str().unwrap());
    let page = browser.get(&path).await;
    assert!(
        page.body.contains(&format!("href=\"/console/content/stories/item?id={story}\"")),
        "{}",
        page.body
    );
    let refused = browser.submit(&page, &path, &[("do", "delete")]).await;
    assert!(refused.status == 409 && refused.body.contains("A lamp"), "{}", refused.body);
    assert_eq!(stored(&site).await.len(), 2);
    site.api.call("PATCH", &format!("/stories/{story}"), json!({ "content": "x" })).await;
    let page = browser.submit(&page, &path, &[("do", "delete")]).await;
    let page = browser.get(page.location()).await;
    assert!(page.body.contains("The file was deleted."), "{}", page.body);
    assert_eq!(stored(&site).await.len(), 1);
    assert_eq!(browser.get(&path).await.status, 404);
}

#[tokio::test]
async fn an_upload_that_is_refused_says_why_and_stores_nothing() {
    let site = Site::with_media().await;
    let mut browser = site.signed_in().await;
    let page = browser.get(PATH).await;
    let mark = page.field(PATH, "mark");
    let (png, large) = (png(), [&png()[..], &vec![0; 12 << 20]].concat());
    for (files, status) in [
        (vec![("files", "a.txt", &b"no picture"[..])], 415),
        (vec![("files", "a.png", &*png), ("files", "b.png", &large)], 413),
        (vec![("files", "a.png", &png[..40])], 422),
        (vec![("files", "", b"")], 422),
        (vec![], 422),
    ] {
        let page = browser.send_files(PATH, &[("mark", &mark)], &files).await;
        assert_eq!(page.status, status, "{}", page.body);
        assert!(page.body.contains("id=\"field-files-error\""), "{}", page.body);
    }
    // Forms of others, and those whose mark is behind the files.
    let file = [("files", "a.png", &*png)];
    for form in [&[][..], &[("mark", "AAAA")], &[("other", "x"), ("mark", &mark)]] {
        let page = browser.send_files(PATH, form, &file).await;
        assert_eq!(page.status, 403, "{}", page.body);
    }
    let mut stranger = site.browser();
    assert_eq!(stranger.send_files(PATH, &[("mark", &mark)], &file).await.status, 401);
    let (console, _running) = site.unreachable_console();
    let mut cut = Browser { url: console, ..browser.clone() };
    assert_eq!(cut.send_files(PATH, &[("mark", &mark)], &file).await.status, 503);
    assert_eq!(stored(&site).await, [Value::Null; 0]);
    // The same form works.
    let page = browser.send_files(PATH, &[("mark", &mark)], &file).await;
    assert_eq!(page.status, 303, "{}", page.body);
}

#[tokio::test]
async fn names_and_texts_of_files_stay_texts() {
    let site = Site::with_media().await;
    let mut browser = site.signed_in().await;
    let names: Vec<_> = hostile::TEXTS.map(|text| text.replace('"', "%22")).into();
    let names: Vec<_> = names.iter().map(|name| &**name).collect();
    let page = upload(&mut browser, &names).await;
    assert_eq!(page.status, 303, "{}", page.body);
    // Only the pictures of the page are pictures.
    let check = |page: &Page, path: &str| {
        let body = page.body.replace("<img src=\"/uploads/", "<b data-src=\"");
        hostile::check(
            &body.replace("<img class=\"shown\" src=\"/uploads/", "<b data-src=\""),
            path,
            "all",
        );
    };
    for (file, text) in stored(&site).await.iter().zip(hostile::TEXTS) {
        let path = format!("{PATH}/{}", file["id"].as_str().unwrap());
        let fields = [("do", "save"), ("alt", text), ("title", text)];
        let page = browser.fill(&path, &path, &fields).await;
        assert!(page.status < 500, "{text}: {}", page.body);
        check(&browser.get(&path).await, &path);
    }
    check(&browser.get(PATH).await, PATH);
    for text in hostile::TEXTS {
        for name in ["q", "unused", "cursor", "done"] {
            let query = serde_urlencoded::to_string([(name, text)]).unwrap();
            let page = browser.get(&format!("{PATH}?{query}")).await;
            assert!(page.status < 500, "{name} {text}");
            check(&page, name);
        }
    }
}
