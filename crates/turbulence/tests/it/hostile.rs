//! Invalid and hostile values in every described parameter and every member of a body: they are
//! refused with the common shape of errors, and change nothing.

use futures_util::{StreamExt, stream};
use models::Problem;
use mongodb::bson::doc;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use test_support::{Answer, TestDatabase};

use crate::front::{Front, Route, encoded};

/// An unused id, so that a request that is valid by chance changes nothing.
const NOBODY: &str = "ffffffffffffffffffffffff";

/// Number of concurrent requests.
const AT_ONCE: usize = 16;

/// Number of random texts for each parameter.
const RANDOM_TEXTS: usize = 16;

/// Ten megabytes, more than the limit of a body.
const LARGE: usize = 10_000_000;

/// Depth of nested JSON that exceeds every limit.
const DEEP: usize = 20_000;

/// Returns hostile texts, encoded for an address.
fn hostile_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        "%20",
        "%00",
        "a%00b",
        "%0D%0AX-Evil%3A%201",
        "%7F",
        "%1B%5B2J",
        "%FF",
        "%C3%28",
        "%ED%A0%80",
        "%E2%80%AE",
        "%F0%9D%95%8F",
        "%7B%22%24gt%22%3A%22%22%7D",
        "%24gt",
        "%24where",
        "[$ne]",
        "..%2F..%2Finternal",
        "%2e%2e",
        "%252e%252e",
        "%27%3B%20drop",
        "-1",
        "0",
        "1e999",
        "NaN",
        "null",
        "true",
        "%5B%5D",
        "undefined",
        "9223372036854775808",
        "0x10",
        NOBODY,
        "*",
        "%22%22",
        "W%2F%22x%22",
        "%3Cscript%3E",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("9".repeat(400));
    texts.push("a".repeat(3_000));
    texts.push("%F0%9F%92%A5".repeat(200));
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let random =
        prop_oneof![any::<String>(), "[A-Za-z0-9_-]{1,80}", "[a-z0-9-]{0,40}", "[0-9a-f]{20,28}"];
    let random = proptest::collection::vec(random, RANDOM_TEXTS);
    let random = random.new_tree(&mut runner).unwrap().current();
    texts.extend(random.iter().map(|text| encoded(text)));
    texts
}

/// Returns hostile values in the place of a text, a number or a list.
fn hostile_values() -> Vec<Value> {
    vec![
        json!({ "$gt": "" }),
        json!({ "$ne": null }),
        json!({ "$where": "sleep(1000)" }),
        json!([{ "$gt": "" }]),
        json!([[[[]]]]),
        json!("a\u{0}b"),
        json!("\u{1b}[2J\u{7f}"),
        json!("\u{202e}"),
        json!(-1e308),
        json!(u64::MAX),
        json!(true),
        json!(""),
        json!("x".repeat(1_000_000)),
    ]
}

/// Returns the path with a text in the place of its parameters.
fn path_with(route: &Route, text: &str) -> String {
    let names = route.of("path").map(|parameter| parameter.name.as_str());
    names.fold(route.path.clone(), |path, name| path.replace(&format!("{{{name}}}"), text))
}

/// Returns a body that changes nothing, if the route accepts one.
fn no_change(route: &Route) -> Option<String> {
    route.body.as_ref().map(|_| "{}".to_owned())
}

/// Returns the addresses of a route with a hostile text in one place each.
fn addresses(route: &Route, texts: &[String]) -> Vec<String> {
    let mut addresses = Vec::new();
    let plain = path_with(route, NOBODY);
    for text in texts {
        if route.of("path").next().is_some() && !text.is_empty() {
            addresses.push(path_with(route, text));
        }
        for parameter in route.of("query") {
            addresses.push(format!("{plain}?{}={text}", parameter.name));
        }
        addresses.push(format!("{plain}?{text}={text}"));
    }
    for parameter in route.of("query") {
        for operator in ["[$ne]", "[]", "%5B%24gt%5D", ".$gt", "%00"] {
            addresses.push(format!("{plain}?{}{operator}=1", parameter.name));
        }
    }
    addresses
}

/// Asserts that an answer is a success or a well-formed refusal, and no internal error.
fn assert_is_valid(what: &str, answer: &Answer) {
    assert!(answer.status < 500, "{what:.300}: {answer:?}");
    if answer.status >= 400 {
        let problem: Problem = serde_json::from_value(answer.body.clone())
            .unwrap_or_else(|error| panic!("{what:.300}: {error}: {answer:?}"));
        assert_eq!(problem.status, answer.status, "{what:.300}");
        assert_eq!(problem.code.status(), answer.status, "{what:.300}");
        assert!(problem.detail.len() < 10_000, "{what:.300}");
        let text = answer.body.to_string();
        for inner in ["mongodb", "127.0.0.1", "src/", "panicked"] {
            assert!(!text.contains(inner), "{what:.300}: {text}");
        }
    }
    assert_eq!(answer.header("x-evil"), "", "{what:.300}");
}

async fn site(database: &TestDatabase) -> Front {
    let story = doc! { "title": "A", "content": "", "slug": "a", "is_published": true };
    database.insert("stories", [story]).await;
    Front::start(database, &[]).await
}

#[tokio::test]
async fn hostile_addresses_and_headers_are_refused_and_change_nothing() {
    let database = TestDatabase::new().await;
    let front = site(&database).await;
    let before = database.hash().await;
    let texts = hostile_texts();
    let routes = front.routes().await;
    let requests = routes.iter().flat_map(|route| {
        let addresses = addresses(route, &texts).into_iter();
        addresses.map(move |address| (route, address))
    });
    let requests: Vec<_> = requests.collect();
    assert!(requests.len() > 4_000, "{}", requests.len());
    let sending = requests.iter().map(async |(route, address)| {
        let answer = front.send(&route.method, address, &[], no_change(route)).await;
        assert_is_valid(&format!("{} {address}", route.method), &answer);
    });
    stream::iter(sending).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    for route in &routes {
        for parameter in route.of("header") {
            let path = path_with(route, NOBODY);
            for value in ["", "\"", "W/", "*, *", "\"a\" \"b\"", "\t", &"k".repeat(4_000)] {
                let header = [(parameter.name.as_str(), value)];
                let answer = front.send(&route.method, &path, &header, no_change(route)).await;
                let what = format!("{} {path} {}: {value}", route.method, parameter.name);
                assert_is_valid(&what, &answer);
            }
        }
    }
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_change_nothing() {
    let database = TestDatabase::new().await;
    let front = site(&database).await;
    let before = database.hash().await;
    let routes = front.routes().await;
    let written: Vec<_> =
        routes.iter().filter_map(|route| Some((route, route.body.as_ref()?))).collect();
    assert!(written.len() >= 14, "{written:#?}");
    for (route, members) in written {
        let path = path_with(route, NOBODY);
        let mut bodies: Vec<String> = [
            "",
            " ",
            "{",
            "[]",
            "\"\"",
            "null",
            "1",
            "\u{0}",
            "\u{feff}{}",
            "{\"a\":1,\"a\":2}",
            "{} {}",
            "{\"\\u0000\": 1}",
            "{\"$set\": {\"is_deleted\": false}}",
            "{\"__proto__\": {}}",
        ]
        .map(str::to_owned)
        .to_vec();
        bodies.push(format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP)));
        bodies.push("{\"a\":".repeat(DEEP));
        for member in members {
            bodies.push(format!("{{\"{member}\": {}1{}}}", "[".repeat(DEEP), "]".repeat(DEEP)));
            bodies
                .extend(hostile_values().iter().map(|value| json!({ member: value }).to_string()));
        }
        for body in bodies {
            let what = format!("{} {path} {body:.100}", route.method);
            let answer = front.send(&route.method, &path, &[], Some(body)).await;
            assert_is_valid(&what, &answer);
            // Of the routes that need no id, this one alone takes any of its members for itself.
            let may_fit = route.path == "/site" && answer.status == 200;
            assert!(may_fit || answer.status >= 400, "{what}: {answer:?}");
        }
        let answer = front.send(&route.method, &path, &[], Some("x".repeat(LARGE))).await;
        assert_eq!(answer.code(), (413, "payload_too_large"), "{} {path}", route.method);
    }
    database.collection("content_site").drop().await.unwrap();
    assert_eq!(database.hash().await, before);
}
