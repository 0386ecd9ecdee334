//! One request to the service for all who wait for its answer.

use futures_util::future::join_all;

use super::{KEYS, PATH, Site, status};
use crate::support::{Connection, eventually, within_deadline};

/// The number of clients that ask at once.
const CLIENTS: usize = 20;

/// Starts so many clients that wait for the answer, and waits until the first request has arrived.
async fn waiting(site: &Site, count: usize) -> Vec<Connection> {
    site.answers.hold();
    let before = site.answers.count();
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = site.gateway.connect().await;
        client.write(format!("GET {PATH} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await;
        clients.push(client);
        // The first one makes the request.
        eventually(async || (site.answers.count() > before).then_some(())).await;
    }
    clients
}

#[tokio::test]
async fn one_request_is_made_for_all_who_wait() {
    let site = Site::start().await;
    let mut clients = waiting(&site, CLIENTS).await;
    // Whichever came first, all others join it.
    site.answers.permits.add_permits(CLIENTS);
    let answers = join_all(clients.iter_mut().map(Connection::answer)).await;
    for answer in &answers {
        assert_eq!((answer.head.status(), &answer.body[..]), (200, &b"\"first\""[..]));
    }
    let leaders = answers.iter().filter(|answer| status(&answer.head).ends_with("stored")).count();
    assert_eq!((leaders, site.answers.count()), (1, 1));
}

#[tokio::test]
async fn a_client_that_leaves_takes_nothing_from_the_others() {
    let site = Site::start().await;
    let mut clients = waiting(&site, 2).await;
    let second = clients.pop().unwrap();
    // The one that made the request leaves.
    drop(clients);
    let mut third = site.gateway.connect().await;
    third.write(format!("GET {PATH} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await;
    site.answers.permits.add_permits(CLIENTS);
    for mut client in [second, third] {
        assert_eq!(within_deadline(client.answer()).await.body, b"\"first\"");
    }
    site.hit(PATH).await;
}

#[tokio::test]
async fn a_request_that_fails_does_not_fail_all_who_wait() {
    let site = Site::start().await;
    // The connection is closed without an answer: for the only replica, once for each request.
    site.answers.set_raw(PATH, "", "");
    let mut clients = waiting(&site, 3).await;
    site.answers.set(PATH, KEYS, "\"first\"");
    site.answers.permits.add_permits(CLIENTS);
    let mut statuses = Vec::new();
    for client in &mut clients {
        statuses.push(client.answer().await.head.status());
    }
    // The first one may be sent again by the gateway itself.
    assert_eq!(statuses[1..], [200, 200], "{statuses:?}");
}

#[tokio::test]
async fn answers_that_cannot_be_kept_are_shared_with_none() {
    let site = Site::start().await;
    site.answers.set_raw(PATH, "200 OK\r\nset-cookie: a=1", "own");
    let mut clients = waiting(&site, 5).await;
    site.answers.permits.add_permits(CLIENTS);
    for client in &mut clients {
        let answer = client.answer().await;
        assert_eq!((answer.head.status(), answer.head.get("set-cookie")), (200, None));
    }
    assert_eq!(site.answers.count(), 5);
}

#[tokio::test]
async fn an_answer_that_began_before_a_change_is_neither_kept_nor_shared() {
    let site = Site::start().await;
    site.answers.set("/pages", "pages", "[]");
    site.miss("/pages").await;
    let mut first = waiting(&site, 1).await.remove(0);
    // The content changes while the old answer is on its way, and another client asks afterwards.
    site.answers.set(PATH, KEYS, "\"second\"");
    site.content.feed.change(&["stories/slug/a", "pages"]);
    site.missed("/pages").await;
    let mut second = site.gateway.connect().await;
    second.write(format!("GET {PATH} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await;
    site.answers.permits.add_permits(CLIENTS);
    let first = first.answer().await;
    assert_eq!(status(&first.head), "turbulence; fwd=uri-miss; fwd-status=200");
    assert_eq!(first.body, b"\"first\"");
    assert_eq!(second.answer().await.body, b"\"second\"");
    assert_eq!(site.hit(PATH).await, b"\"second\"");
}
