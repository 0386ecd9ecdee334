//! Page types, each of which is part of an address.

use std::collections::HashSet;

use mongodb::bson::doc;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::json;
use test_support::TestDatabase;

use crate::front::{Front, encoded};

/// Number of random page types.
const RANDOM: usize = 150;

/// Page types that are accepted.
const ACCEPTED: &[&str] = &[
    "about",
    "About",
    "privacy-policy",
    "privacy_policy.html",
    "Über uns",
    "Über uns, auf einen Blick",
    "о нас",
    "私たち",
    "من نحن",
    "👩\u{200d}💻",
    "cafe\u{301}",
    "caf\u{e9}",
    "a\u{a0}b",
    "a\u{2028}b",
    "\u{feff}a\u{200b}",
    "100 %",
    "a%2Fb",
    "%2e%2e",
    "%00",
    "a+b c",
    "a?b=c#d",
    "a;b,c:d@e&f=g$h!i*j'k(l)m~n",
    "[a]{b}|c^d`e\"f<g>",
    "...",
    ".hidden",
    "about.",
    "$where",
    "slug",
    "-",
    "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀\
     😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀",
];

/// Page types that are refused.
const REFUSED: &[&str] = &[
    "", " ", "\u{200b}", ".", "..", " . ", "/", "a/b", "/about", "about/", "..\\a", "a\\b", "a\0b",
    "a\nb", "a\u{7f}", "a\u{85}b",
];

/// Returns random page types with many characters that are special in an address.
fn random() -> Vec<String> {
    let part = prop_oneof![
        any::<char>().prop_map(String::from),
        "[ -~]{1,3}",
        "[./\\\\%]{1,2}",
        "%[0-9a-fA-F]{2}",
        "[\u{300}-\u{36f}\u{200b}-\u{200f}\u{a0}]",
    ];
    let text = prop::collection::vec(part, 1..8).prop_map(|parts| parts.concat());
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    prop::collection::vec(text, RANDOM).new_tree(&mut runner).unwrap().current()
}

#[tokio::test]
async fn a_page_type_that_is_accepted_can_be_fetched() {
    let database = TestDatabase::new().await;
    let front = Front::start(&database, &[]).await;
    let given = ACCEPTED.iter().map(|text| ((*text).to_owned(), Some(true)));
    let refused = REFUSED.iter().map(|text| ((*text).to_owned(), Some(false)));
    let random = random().into_iter().map(|text| (text, None));
    let mut seen = HashSet::new();
    let mut counts = [0, 0];
    for (page_type, expected) in given.chain(refused).chain(random) {
        let body = json!({ "title": "A page", "content": "", "page_type": page_type });
        let answer = front.call("POST", "/pages", body).await;
        let is_accepted = answer.status == 201;
        assert!(
            expected.is_none_or(|expected| expected == is_accepted),
            "{page_type:?} {answer:?}"
        );
        counts[usize::from(is_accepted)] += 1;
        if !is_accepted {
            assert_eq!(answer.code(), (422, "validation_failed"), "{page_type:?}");
            assert_eq!(answer.body["errors"][0]["field"], "page_type", "{page_type:?}");
            continue;
        }
        let stored = answer.body["page_type"].as_str().unwrap();
        assert_eq!(stored, page_type.trim());
        // Apart from surrounding white space, each occurs once.
        assert!(seen.insert(stored.to_owned()), "{stored:?}");
        let found = front.get(&format!("/pages/type/{}", encoded(stored))).await;
        assert_eq!(found.status, 200, "{page_type:?} {found:?}");
        assert_eq!(found.body["id"], answer.body["id"], "{page_type:?}");
    }
    // Some random ones are accepted, and some refused.
    assert!(counts[0] > REFUSED.len() + 10 && counts[1] > ACCEPTED.len() + 10, "{counts:?}");
}

#[tokio::test]
async fn a_stored_page_type_stays_as_it_is() {
    let database = TestDatabase::new().await;
    for (number, page_type) in ["a/b", "..", " about ", "\u{200b}", "a\nb", ""].iter().enumerate() {
        let page = doc! {
            "title": "Old", "content": "<p>x</p>", "page_type": page_type, "is_published": true,
            "number": i32::try_from(number).unwrap(),
        };
        database.insert("pages", [page]).await;
    }
    let front = Front::start(&database, &[]).await;
    let pages = front.get("/pages?limit=50").await.body["items"].take();
    let pages = pages.as_array().unwrap();
    assert_eq!(pages.len(), 6);
    for page in pages {
        let path = format!("/pages/{}", page["id"].as_str().unwrap());
        let mut body = page.clone();
        body["title"] = json!("New");
        for method in ["PUT", "PATCH"] {
            let answer = front.call(method, &path, body.clone()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.body["page_type"], page["page_type"]);
            assert_eq!(answer.body["title"], "New");
        }
        body["page_type"] = json!("other/b");
        let answer = front.call("PATCH", &path, body).await;
        assert_eq!(answer.status, 422, "{answer:?}");
        assert_eq!(answer.body["errors"][0]["field"], "page_type");
    }
    for page_type in ["a/b", "..", " about ", "\u{200b}", "a\nb", ""] {
        assert_eq!(database.count("pages", doc! { "page_type": page_type }).await, 1);
    }
}
