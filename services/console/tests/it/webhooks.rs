//! Webhooks: the list, their settings, and the messages that were sent.

use serde_json::{Value, json};
use test_support::{Behaviour, Receiver, TestDatabase, eventually};

use crate::{
    frame, hostile,
    support::{Browser, Page, Site},
};

const PATH: &str = "/console/webhooks";
const NEW: &str = "/console/webhooks/new";

/// Starts a site whose webhooks may lead to this machine.
async fn start() -> Site {
    let settings = [("webhooks.allow_private_networks", "true")];
    Site::with(TestDatabase::new().await, &settings).await
}

/// Adds a webhook, and returns the path of its page.
async fn add(site: &Site, url: &str) -> String {
    let added = site.api.call("POST", "/webhooks", json!({ "url": url })).await;
    assert_eq!(added.status, 201, "{added:?}");
    format!("{PATH}/{}", added.id())
}

/// Returns the only webhook.
async fn stored(site: &Site) -> Value {
    let all = site.api.get("/webhooks").await.body;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1), "{all}");
    all["items"][0].clone()
}

fn secret(page: &Page) -> String {
    let secret = page.body.split("<code>").find(|part| part.starts_with("whsec_"));
    let secret = secret.unwrap_or_else(|| panic!("no secret: {}", page.body));
    secret.split('<').next().unwrap().to_owned()
}

/// Opens a page until it has a text.
async fn shows(browser: &Browser, path: &str, text: &str) -> Page {
    eventually(text, async || browser.clone().get(path).await.body.contains(text)).await;
    browser.clone().get(path).await
}

#[tokio::test]
async fn a_webhook_is_added_with_a_secret_that_is_shown_once_and_is_tried() {
    let site = start().await;
    let receiver = Receiver::start(Behaviour::Status(204)).await;
    let mut browser = site.signed_in().await;
    let page = browser.get(PATH).await;
    frame::check(&page, PATH);
    assert!(page.body.contains("There is no webhook yet."), "{}", page.body);
    let fields = [("url", &*receiver.url), ("description", "Pages"), ("kinds", "stories")];
    let page = browser.fill(NEW, NEW, &fields).await;
    assert_eq!(page.status, 200, "{}", page.body);
    frame::check_headers(&page, NEW);
    let first_secret = secret(&page);
    let webhook = stored(&site).await;
    assert_eq!((&webhook["kinds"], &webhook["events"]), (&json!(["stories"]), &Value::Null));
    assert_eq!((&webhook["description"], &webhook["is_enabled"]), (&json!("Pages"), &json!(true)));
    let path = format!("{PATH}/{}", webhook["id"].as_str().unwrap());
    let page = browser.get(PATH).await;
    assert!(page.body.contains(&format!("href=\"{path}\"")), "{}", page.body);
    assert!(page.body.contains("Active") && page.body.contains("No message waits"));
    let page = browser.get(&path).await;
    assert!(
        !page.body.contains("whsec_") && page.body.contains("Nothing was sent"),
        "{}",
        page.body
    );

    let page = browser.submit(&page, &path, &[("do", "test")]).await;
    assert_eq!(page.location(), format!("{path}?done=test"), "{}", page.body);
    let messages = receiver.wait_for(1).await;
    assert_eq!(messages[0].kind(), "webhook.test");
    assert!(messages[0].is_signed_with(&first_secret));
    let page = shows(&browser, &path, "the address answered 204").await;
    assert!(page.body.contains("webhook.test") && page.body.contains("1 attempt"), "{}", page.body);
    // It is not read again: nothing waits.
    assert!(!page.body.contains("every 3s"), "{}", page.body);
    let failed = browser.get(&format!("{path}?state=failed")).await;
    assert!(failed.body.contains("There is no such message."), "{}", failed.body);

    // A message that is refused is sent again, by hand too.
    receiver.behave(Behaviour::Status(500));
    let story = json!({ "title": "Lamps", "content": "x", "is_published": true });
    assert_eq!(site.api.call("POST", "/stories", story).await.status, 201);
    let page = shows(&browser, &path, "the address answered 500").await;
    assert!(page.body.contains("Waiting") && page.body.contains("every 3s"), "{}", page.body);
    let again = page.body.split("value=\"").find(|part| part.starts_with("redeliver:")).unwrap();
    let again = again.split('"').next().unwrap().to_owned();
    receiver.behave(Behaviour::Status(200));
    let sent = browser.submit(&page, &path, &[("do", &again)]).await;
    assert_eq!(sent.location(), format!("{path}?done=redeliver"), "{}", sent.body);
    shows(&browser, &path, "the address answered 200").await;

    let page = browser.submit(&page, &path, &[("do", "secret")]).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert_ne!(secret(&page), first_secret);
    for (action, is_enabled, next) in [("disable", false, "Enable"), ("enable", true, "Disable")] {
        let sent = browser.submit(&page, &path, &[("do", action)]).await;
        assert_eq!(sent.location(), format!("{path}?done={action}"), "{}", sent.body);
        assert_eq!(stored(&site).await["is_enabled"], is_enabled);
        let shown = browser.get(&path).await;
        assert!(shown.body.contains(&format!("value=\"{}\">{next}<", next.to_lowercase())));
    }
    for odd in ["", "explode", "redeliver:", "redeliver:x"] {
        let page = browser.submit(&page, &path, &[("do", odd)]).await;
        assert_eq!(page.status, 404, "{odd}: {}", page.body);
    }
    let delete = format!("{path}/delete");
    let page = browser.fill(&delete, &delete, &[]).await;
    let page = browser.get(page.location()).await;
    assert!(page.body.contains("The webhook was deleted."), "{}", page.body);
    assert_eq!(site.api.get("/webhooks").await.body["items"], json!([]));
    assert_eq!(browser.get(&path).await.status, 404);
}

#[tokio::test]
async fn the_settings_of_a_webhook_are_changed_one_by_one() {
    let site = start().await;
    let path = add(&site, "http://127.0.0.1:9/hook").await;
    let mut browser = site.signed_in().await;
    for (page, fields) in [(NEW, vec![]), (&*path, vec![("do", "save")])] {
        for url in ["", "hook", "ftp://127.0.0.1/hook"] {
            let fields = [&fields[..], &[("url", url)]].concat();
            let refused = browser.fill(page, page, &fields).await;
            assert_eq!(refused.status, 422, "{page} {url}: {}", refused.body);
            assert!(refused.body.contains("id=\"field-url-error\""), "{}", refused.body);
            assert_eq!(refused.field(page, "url"), url);
        }
    }
    let before = stored(&site).await;
    let page = browser.fill(&path, &path, &[("do", "save")]).await;
    assert_eq!(page.location(), format!("{path}?done=no"), "{}", page.body);
    assert_eq!(stored(&site).await, before);
    let fields = [("do", "save"), ("description", "Pages"), ("events", "moved")];
    let page = browser.fill(&path, &path, &fields).await;
    assert_eq!(page.location(), format!("{path}?done=save"), "{}", page.body);
    let after = stored(&site).await;
    assert_eq!((&after["description"], &after["events"]), (&json!("Pages"), &json!(["moved"])));
    assert_eq!((&after["url"], &after["kinds"]), (&before["url"], &Value::Null));

    // Someone else changes it in the meantime.
    let page = browser.get(&path).await;
    let theirs = json!({ "description": "Theirs", "kinds": ["pages"] });
    let route = path.replace("/console", "");
    assert_eq!(site.api.call("PATCH", &route, theirs).await.status, 200);
    let fields = [("do", "save"), ("description", "Mine")];
    let page = browser.submit(&page, &path, &fields).await;
    assert_eq!((page.status, page.field(&path, "description").as_str()), (412, "Mine"));
    assert!(page.body.contains("<bdi>Theirs</bdi>"), "{}", page.body);
    assert!(page.body.contains("<bdi>pages</bdi>"), "{}", page.body);
    let page = browser.submit(&page, &path, &[("do", "save")]).await;
    assert_eq!(page.location(), format!("{path}?done=save"), "{}", page.body);
    let after = stored(&site).await;
    assert_eq!((&after["description"], &after["kinds"]), (&json!("Mine"), &Value::Null));

    let (console, _running) = site.unreachable_console();
    let page = browser.get(&path).await;
    for (action, opened) in [(&*path, page), (NEW, browser.get(NEW).await)] {
        let mut cut = Browser { url: console.clone(), ..browser.clone() };
        let fields = [("do", "save"), ("url", "http://127.0.0.1:9/x"), ("description", "Typed")];
        let page = cut.submit(&opened, action, &fields).await;
        assert_eq!(page.status, 503, "{}", page.body);
        assert_eq!(page.field(action, "description"), "Typed");
        // It is the same form, which works once the site is back.
        let sent = browser.submit(&page, action, &[("do", "save")]).await;
        assert!(sent.status < 400, "{}", sent.body);
    }
}

#[tokio::test]
async fn texts_of_webhooks_and_of_those_who_answer_stay_texts() {
    let site = start().await;
    let mut browser = site.signed_in().await;
    for text in hostile::TEXTS {
        let fields = [("url", "http://127.0.0.1:9/"), ("description", text)];
        let page = browser.fill(NEW, NEW, &fields).await;
        hostile::check(&page.body, NEW, text);
        for name in ["url", "kinds", "events"] {
            let fields = [&fields[..], &[(name, text)]].concat();
            let page = browser.fill(NEW, NEW, &fields).await;
            assert!(page.status < 500, "{name} {text}: {}", page.body);
            hostile::check(&page.body, name, text);
        }
        let query = serde_urlencoded::to_string([("state", text), ("cursor", text)]).unwrap();
        let odd = browser.get(&format!("{PATH}/x?{query}&done={}", &query[6..])).await;
        assert!([400, 404].contains(&odd.status), "{text}: {}", odd.status);
    }
    let all = site.api.get("/webhooks").await.body;
    let all = all["items"].as_array().unwrap();
    assert!(all.len() > 5, "{all:?}");
    for webhook in all {
        let path = format!("{PATH}/{}", webhook["id"].as_str().unwrap());
        for text in hostile::TEXTS.into_iter().step_by(3) {
            for name in ["state", "cursor", "done"] {
                let query = serde_urlencoded::to_string([(name, text)]).unwrap();
                let page = browser.get(&format!("{path}?{query}")).await;
                assert_eq!(page.status, 200, "{name} {text}: {}", page.body);
                hostile::check(&page.body, name, text);
            }
        }
        for path in [format!("{path}/delete"), path] {
            hostile::check(&browser.get(&path).await.body, &path, "all");
        }
    }
    hostile::check(&browser.get(PATH).await.body, PATH, "all");
}
