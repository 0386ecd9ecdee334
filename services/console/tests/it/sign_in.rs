//! Sessions: their beginning, their protection and their end.

use test_support::TOKEN;

use crate::support::{Browser, SECRET, Site};

#[tokio::test]
async fn a_session_begins_with_the_token_and_ends_with_the_sign_out() {
    let site = Site::start().await;
    let mut browser = site.browser();
    for path in ["/console", "/console/navigation", "/console/sections/new?x=1"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 303, "{path}");
        assert!(page.location().starts_with("/console/sign-in"), "{}", page.location());
    }
    for (token, status, text) in [
        ("", 422, "Paste the token here"),
        ("a-wrong-token-of-the-site", 401, "not valid"),
        ("once-0123456789", 401, "works once"),
        ("tökens", 422, "printable"),
        (&"x".repeat(3_000), 422, "does not fit"),
    ] {
        let page = browser.send("/console/sign-in", &[("token", token)]).await;
        assert_eq!(page.status, status, "{token}");
        assert!(page.body.contains(text) && browser.cookie.is_none(), "{}", page.body);
        // A secret is never shown again.
        assert!(token.is_empty() || !page.body.contains(token), "{}", page.body);
    }
    let next = "/console/sections/new?x=1";
    let page = browser.get(&format!("/console/sign-in?next={}", next.replace('?', "%3F"))).await;
    let page = browser.submit(&page, "/console/sign-in", &[("token", &format!(" {TOKEN} "))]).await;
    assert_eq!((page.status, page.location()), (303, next));
    let cookie = page.header("set-cookie");
    for part in ["; Path=/console;", "; Max-Age=43200;", "; HttpOnly;", "; SameSite=Lax"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(TOKEN), "{cookie}");

    let page = browser.get("/console/navigation").await;
    assert_eq!(page.status, 200);
    let page = browser.submit(&page, "/console/sign-out", &[]).await;
    assert_eq!((page.status, &*browser.cookie.clone().unwrap_or_default()), (303, ""));
    assert_eq!(browser.get("/console/navigation").await.status, 303);
}

#[tokio::test]
async fn a_sign_in_leads_to_no_other_site_and_behind_tls_the_cookie_is_secure() {
    let site = Site::start().await;
    for next in ["https://evil.example/console/", "//evil.example", "/stories", "javascript:x"] {
        let mut browser = site.browser();
        let page = browser.send("/console/sign-in", &[("token", TOKEN), ("next", next)]).await;
        assert_eq!((page.status, page.location()), (303, "/console"), "{next}");
    }
    // The gateway reports the scheme; it is on this machine, which the console trusts.
    let (console, _running) = site.unreachable_console();
    let page = Browser::at(&console)
        .send_with("/console/navigation", &[("x-forwarded-proto", "https")], &[])
        .await;
    assert!(page.header("set-cookie").contains("; Secure"), "{}", page.header("set-cookie"));
}

#[tokio::test]
async fn a_code_signs_in_once() {
    let site = Site::start().await;
    let mut browser = site.browser();
    let code = site.code.clone();
    let page = browser.send("/console/sign-in", &[("token", &code)]).await;
    assert_eq!(page.status, 303, "{}", page.body);
    assert_eq!(browser.get("/console/navigation").await.status, 200);
    let page = site.browser().send("/console/sign-in", &[("token", &code)]).await;
    assert_eq!(page.status, 401);
}

#[tokio::test]
async fn a_cookie_that_is_not_ours_signs_out_without_an_error() {
    let site = Site::start().await;
    let browser = site.signed_in().await;
    let cookie = browser.cookie.clone().unwrap();
    let changed = |index: usize| {
        let mut bytes = cookie.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let cookies = [
        "turbulence_console=".to_owned(),
        "turbulence_console=x".to_owned(),
        format!("turbulence_console={SECRET}"),
        format!("turbulence_console={TOKEN}"),
        changed(cookie.len() / 2),
        changed(cookie.len() - 4),
        cookie[..cookie.len() - 10].to_owned(),
        "turbulence_console=\"%\u{1}".replace('\u{1}', ";"),
        format!("turbulence_console={}", "A".repeat(8_000)),
    ];
    for cookie in cookies {
        let mut stranger = Browser { cookie: Some(cookie.clone()), ..browser.clone() };
        let page = stranger.get("/console/navigation").await;
        assert_eq!(page.status, 303, "{cookie}");
        assert!(page.location().starts_with("/console/sign-in"), "{cookie}");
        assert!(page.header("set-cookie").contains("Max-Age=0"), "{cookie}");
    }
    // A second cookie of the name, of another page of the host, does not hide the right one.
    let both = format!("a=b; turbulence_console=x; {cookie}");
    let mut person = Browser { cookie: Some(both), ..browser };
    assert_eq!(person.get("/console/navigation").await.status, 200);
}

#[tokio::test]
async fn attempts_to_sign_in_are_limited() {
    let site = Site::start().await;
    let mut browser = site.browser();
    let mut refused = None;
    for _ in 0..40 {
        let page = browser.send("/console/sign-in", &[("token", "a-wrong-token-of-a-site")]).await;
        match page.status {
            401 => {}
            _ => refused = Some(page),
        }
    }
    let refused = refused.expect("the attempts are not limited");
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    assert!(refused.body.contains("Too many requests"), "{}", refused.body);
    // The form is still shown.
    assert_eq!(browser.get("/console/sign-in").await.status, 200);
}

#[tokio::test]
async fn replicas_with_one_secret_know_the_sessions_of_each_other() {
    let site = Site::start().await;
    let browser = site.signed_in().await;
    let (console, _running) = site.unreachable_console();
    let mut elsewhere = Browser { url: console, ..browser };
    let page = elsewhere.get("/console/navigation").await;
    // Signed in, but its gateway cannot be reached.
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(page.body.contains("could not be reached") && page.body.contains("Sign out"));
}

#[tokio::test]
async fn a_token_that_is_no_longer_valid_ends_the_session() {
    let site = Site::start().await;
    let browser = site.signed_in().await;
    // A console with the same secret before a site with another token.
    let database = test_support::TestDatabase::new().await;
    let others =
        [("internal.secret", SECRET), ("auth.static_token", "another-token-of-16-or-more")];
    let (sections, _content) = test_support::Service::both_with(&database, &others).await;
    let console =
        console_service::Console::bind(&test_support::settings(&database, &others)).unwrap();
    let url = service_kit::runtime::settings::url::local_url(console.address());
    let shutdown = tokio_util::sync::CancellationToken::new();
    tokio::spawn(console.run_beside(sections.url.clone(), shutdown.clone()));
    let mut browser = Browser { url, ..browser };
    let page = browser.get("/console/navigation").await;
    assert_eq!(page.status, 303, "{}", page.body);
    assert!(page.location().starts_with("/console/sign-in?next="), "{}", page.location());
    shutdown.cancel();
}
