//! Concurrent changes by many editors at two replicas.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::bson::{Document, doc};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use test_support::TestDatabase;

use crate::support::{Api, Neighbour, id};

/// Number of concurrent changes.
const EDITORS: usize = 8;

/// Maximum depth of a section.
const MAX_DEPTH: usize = 8;

async fn two_replicas(database: &TestDatabase, neighbour: &Neighbour) -> [Api; 2] {
    [Api::start(database, neighbour).await, Api::start(database, neighbour).await]
}

#[tokio::test]
async fn changes_of_different_fields_at_the_same_time_are_all_kept() {
    let (database, neighbour) = (TestDatabase::new().await, Neighbour::start());
    let [one, two] = two_replicas(&database, &neighbour).await;
    let section = one.add("Notes", None).await.id();
    let path = format!("/sections/{section}");
    for round in 0..10 {
        let (title, sort_order) = (format!("Notes {round}"), 100 + round);
        let changes = [
            (&one, json!({ "title": title })),
            (&two, json!({ "sort_order": sort_order })),
            (&one, json!({ "nav_visibility": "footer" })),
            (&two, json!({ "is_published": round % 2 == 0 })),
        ];
        let sent = changes.map(|(api, change)| api.call("PATCH", &path, change));
        for answer in futures_util::future::join_all(sent).await {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let read = one.get(&format!("{path}?include_drafts=true")).await.body;
        let fields = ["title", "sort_order", "nav_visibility", "is_published"];
        let read = fields.map(|field| read[field].clone());
        let sent: [Value; 4] =
            [title.into(), sort_order.into(), "footer".into(), (round % 2 == 0).into()];
        assert_eq!(read, sent);
    }
}

/// An operation of an editor. Sections are given by the order in which they were created.
#[derive(Debug, Clone)]
enum Operation {
    Create(usize, u8),
    Rename(usize, u8),
    Move(usize, Option<usize>),
    Delete(usize, &'static str),
    Restore(usize),
}

fn operations() -> Vec<Operation> {
    let number = 0usize..24;
    let how = prop_oneof![Just("restrict"), Just("reparent"), Just("cascade")];
    let operation = prop_oneof![
        3 => (number.clone(), 0u8..5).prop_map(|(parent, title)| Operation::Create(parent, title)),
        2 => (number.clone(), 0u8..5).prop_map(|(id, slug)| Operation::Rename(id, slug)),
        5 => (number.clone(), proptest::option::of(number.clone()))
            .prop_map(|(id, to)| Operation::Move(id, to)),
        2 => (number.clone(), how).prop_map(|(id, how)| Operation::Delete(id, how)),
        2 => number.prop_map(Operation::Restore),
    ];
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    proptest::collection::vec(operation, 240).new_tree(&mut runner).unwrap().current()
}

async fn attempt(api: &Api, ids: &[String], operation: Operation) -> u16 {
    let section = |number: usize| format!("/sections/{}", ids[number % ids.len()]);
    let parent = |number: usize| ids[number % ids.len()].as_str();
    let answer = match operation {
        Operation::Create(number, title) => {
            let title = format!("T{title}");
            let body =
                json!({ "title": title, "content_type": "story", "parent_id": parent(number) });
            api.call("POST", "/sections", body).await
        }
        Operation::Rename(number, slug) => {
            api.call("PATCH", &section(number), json!({ "slug": format!("t{slug}") })).await
        }
        Operation::Move(number, to) => {
            api.call("PATCH", &section(number), json!({ "parent_id": to.map(parent) })).await
        }
        Operation::Delete(number, how) => {
            let path = format!("{}?on_children={how}", section(number));
            api.call("DELETE", &path, Value::Null).await
        }
        Operation::Restore(number) => {
            api.call("POST", &format!("{}/restore", section(number)), Value::Null).await
        }
    };
    assert!(
        [200, 201, 204, 404, 409, 422].contains(&answer.status),
        "{operation:?} is answered {answer:?}"
    );
    answer.status
}

#[tokio::test]
async fn after_any_concurrent_changes_all_replicas_show_the_same_tree() {
    let (database, neighbour) = (TestDatabase::new().await, Neighbour::start());
    let replicas = two_replicas(&database, &neighbour).await;
    let mut ids = Vec::new();
    for number in 0..12 {
        let above = (number % 3 > 0).then(|| ids.last().cloned()).flatten();
        ids.push(replicas[0].add(&format!("S {number}"), above.as_deref()).await.id());
    }
    let (replicas, ids) = (&replicas, &ids);
    let attempts = operations().into_iter().enumerate();
    let attempts = attempts.map(|(turn, operation)| attempt(&replicas[turn % 2], ids, operation));
    let statuses: Vec<u16> = stream::iter(attempts).buffer_unordered(EDITORS).collect().await;
    let changed = statuses.iter().filter(|status| **status < 300).count();
    assert!(changed > 60 && changed < statuses.len(), "{changed} of {}", statuses.len());

    let stored = database.collection("sections");
    let stored = stored.find(doc! { "is_deleted": false }).await.unwrap();
    let stored: Vec<Document> = stored.try_collect().await.unwrap();
    let live: HashMap<_, _> =
        stored.iter().map(|section| (id(section).to_hex(), section)).collect();
    let slugs: HashSet<_> = stored.iter().map(|section| section.get_str("slug").unwrap()).collect();
    assert_eq!(slugs.len(), live.len());
    for section in live.keys() {
        let mut depth = 0;
        let mut next = Some(section.clone());
        while let Some(one) = next {
            depth += 1;
            assert!(depth <= MAX_DEPTH, "{section} is too deep or in a cycle");
            let one = live.get(&one).unwrap_or_else(|| panic!("{section} is below nothing"));
            next = one.get_str("parent_id").ok().map(str::to_owned);
        }
    }
    let report = replicas[0].get("/internal/integrity").await;
    assert_eq!(report.body, json!({ "findings": [] }));
    for replica in replicas {
        test_support::eventually("all see the same", async || {
            let list = replica.get("/sections?include_drafts=true").await.body;
            let list = list.as_array().unwrap();
            list.len() == live.len()
                && list.iter().all(|section| {
                    let stored = live[section["id"].as_str().unwrap()];
                    section["parent_id"].as_str() == stored.get_str("parent_id").ok()
                        && section["slug"] == *stored.get_str("slug").unwrap()
                })
        })
        .await;
    }
}
