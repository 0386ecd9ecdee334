//! A plan names what would make a step fail, before anything is written.

use migrations::{Fill, Index, Violation, ViolationKind};
use mongodb::{
    bson::{Bson, Document, doc},
    options::IndexOptions,
};
use test_support::TestDatabase;

use crate::support::{Commands, Given, Step, arc, engine, engine_of, entry, fast, run};

fn plain() -> Step {
    arc(Index::new("items", "wanted", doc! { "a": 1 }, IndexOptions::default()))
}

fn unique(keys: Document, filter: Option<Document>) -> Step {
    let mut options = IndexOptions::builder().unique(true).build();
    options.partial_filter_expression = filter;
    arc(Index::new("items", "wanted", keys, options))
}

fn owner() -> Step {
    let without = doc! { "owner": { "$exists": false } };
    arc(Fill::set("items without owner → us", "items", without, doc! { "owner": "us" }))
}

async fn by_hand(database: &TestDatabase, index: Document) {
    let create = doc! { "createIndexes": "items", "indexes": [index] };
    database.database().run_command(create).await.unwrap();
}

/// Returns what a plan says is in the way of each step. Writes nothing.
async fn obstacles(database: &TestDatabase, steps: impl Into<Vec<Step>>) -> Vec<Vec<Violation>> {
    let (client, commands) = Commands::of_a_client().await;
    let engine = engine_of(&client, database, &[Given::steps(steps)], fast());
    let plan = engine.plan().await.unwrap().remove(0);
    assert_eq!(commands.writes(), Vec::<String>::new());
    plan.steps.into_iter().map(|step| step.obstacles).collect()
}

/// Returns kind, number and named documents of each finding.
fn essence(findings: &[Violation]) -> Vec<(ViolationKind, i64, Vec<Bson>)> {
    findings.iter().map(|one| (one.kind, one.count, one.documents.clone())).collect()
}

#[tokio::test]
async fn nothing_is_in_the_way_of_an_index_as_a_rule() {
    for existing in [
        None,
        Some(doc! { "key": { "a": 1, "b": 1 }, "name": "other" }),
        Some(doc! { "key": { "a": 1 }, "name": "other", "sparse": true }),
        Some(doc! { "key": { "a": 1 }, "name": "other", "partialFilterExpression": { "b": 1 } }),
        Some(doc! { "key": { "a": 1 }, "name": "other", "collation": { "locale": "en" } }),
    ] {
        let database = TestDatabase::new().await;
        if let Some(existing) = existing {
            by_hand(&database, existing).await;
        }
        assert_eq!(essence(&obstacles(&database, [plain()]).await[0]), []);
        run(&database, [plain()]).await.unwrap();
    }
}

#[tokio::test]
async fn an_index_that_stands_in_the_way_of_another_is_named() {
    for (existing, kind, remedy) in [
        (
            doc! { "key": { "b": -1 }, "name": "wanted" },
            ViolationKind::OtherIndex,
            "drop or rename the index with the keys { \"b\": -1 }",
        ),
        (
            doc! { "key": { "a": 1 }, "name": "wanted", "sparse": true },
            ViolationKind::OtherIndex,
            "drop or rename the index with the keys { \"a\": 1 }",
        ),
        (
            doc! { "key": { "a": 1 }, "name": "other", "hidden": true },
            ViolationKind::EquivalentIndex,
            "the index other with the same keys is hidden: make it visible with \
             db.items.unhideIndex(\"other\")",
        ),
        (
            doc! { "key": { "a": 1 }, "name": "wanted", "hidden": true },
            ViolationKind::EquivalentIndex,
            "the index wanted with the same keys is hidden: make it visible with \
             db.items.unhideIndex(\"wanted\")",
        ),
    ] {
        let database = TestDatabase::new().await;
        by_hand(&database, existing).await;
        let found = &obstacles(&database, [plain()]).await[0];
        assert_eq!(essence(found), [(kind, 1, vec![])]);
        assert_eq!(found[0].remedy, remedy);
        // The run agrees, says the same, and so does a look at the data.
        let error = run(&database, [plain()]).await.unwrap_err();
        assert!(!error.is_transient(), "{error:?}");
        let entry = entry(&database).await;
        let message = entry.get_document("error").unwrap().get_str("message").unwrap().to_owned();
        assert!(message.contains(remedy), "{message}");
        let verified = engine(&database, &[Given::steps([plain()])]).verify().await.unwrap();
        assert_eq!(essence(&verified[0].violations), essence(found));
    }
}

#[tokio::test]
async fn a_collection_with_as_many_indexes_as_it_can_have_is_named() {
    let database = TestDatabase::new().await;
    let indexes: Vec<_> =
        (1..64).map(|n| doc! { "key": { format!("f{n}"): 1 }, "name": format!("f{n}") }).collect();
    let create = doc! { "createIndexes": "items", "indexes": indexes };
    database.database().run_command(create).await.unwrap();
    let found = &obstacles(&database, [plain()]).await[0];
    assert_eq!(essence(found), [(ViolationKind::TooManyIndexes, 1, vec![])]);
    run(&database, [plain()]).await.unwrap_err();
    database.collection("items").drop_index("f1").await.unwrap();
    assert_eq!(essence(&obstacles(&database, [plain()]).await[0]), []);
    run(&database, [plain()]).await.unwrap();
}

#[tokio::test]
async fn documents_that_stop_a_unique_index_are_counted_missing_fields_by_themselves() {
    let database = TestDatabase::new().await;
    let items = [
        doc! { "_id": 1, "a": "x" },
        doc! { "_id": 2, "a": "x" },
        doc! { "_id": 3, "a": "y" },
        doc! { "_id": 4, "a": "z" },
        doc! { "_id": 5, "a": "z" },
        doc! { "_id": 6, "a": "z" },
        doc! { "_id": 7 },
        doc! { "_id": 8, "a": null },
    ];
    database.insert("items", items).await;
    let found = &obstacles(&database, [unique(doc! { "a": 1 }, None)]).await[0];
    let ids = |ids: &[i32]| ids.iter().copied().map(Bson::from).collect::<Vec<_>>();
    let expected = [
        (ViolationKind::Duplicates, 5, ids(&[1, 2, 4, 5, 6])),
        (ViolationKind::Duplicates, 2, ids(&[7, 8])),
    ];
    assert_eq!(essence(found), expected);
    assert_eq!(found[0].remedy, "they have the same `a` as others: change all but one of each");
    assert_eq!(found[1].remedy, "they have no `a`: give each of them a different value");
    let mut sparse = IndexOptions::builder().unique(true).sparse(true).build();
    sparse.name = Some("wanted".to_owned());
    let sparse = arc(Index::new("items", "wanted", doc! { "a": 1 }, sparse));
    // Null has an entry in a sparse index, a missing field has none.
    assert_eq!(essence(&obstacles(&database, [sparse]).await[0]), expected[..1]);
}

#[tokio::test]
async fn at_most_ten_documents_are_named_and_all_are_counted() {
    let database = TestDatabase::new().await;
    let items = (0..40).map(|n| doc! { "_id": n, "a": n / 4 }).collect::<Vec<_>>();
    database.collection("items").insert_many(items).await.unwrap();
    let found = &obstacles(&database, [unique(doc! { "a": 1 }, None)]).await[0];
    assert_eq!((found[0].count, found[0].documents.len()), (40, 10));
}

#[tokio::test]
async fn what_an_earlier_step_would_change_counts_as_changed() {
    let database = TestDatabase::new().await;
    let items = [
        doc! { "_id": 1, "a": "x" },
        doc! { "_id": 2, "a": "x", "owner": "them" },
        doc! { "_id": 3, "a": "x" },
        doc! { "_id": 4, "a": "y", "owner": "us" },
        doc! { "_id": 5, "a": "y" },
    ];
    database.insert("items", items).await;
    let ours = || unique(doc! { "a": 1 }, Some(doc! { "owner": "us" }));
    // Without the fill only one document is in the index.
    assert_eq!(essence(&obstacles(&database, [ours()]).await[0]), []);
    let found = &obstacles(&database, [owner(), ours()]).await[1];
    let ids = vec![1.into(), 3.into(), 5.into(), 4.into()];
    assert_eq!(essence(found), [(ViolationKind::Duplicates, 4, ids)]);
    run(&database, [owner(), ours()]).await.unwrap_err();
}

#[tokio::test]
async fn a_unique_index_that_refuses_what_is_filled_in_is_named() {
    let named = |keys: Document| doc! { "key": keys, "name": "theirs", "unique": true };
    let mut partial = named(doc! { "owner": 1 });
    partial.insert("partialFilterExpression", doc! { "kind": "book" });
    for (index, expected) in [
        (named(doc! { "owner": 1 }), Some((4, vec![2, 3, 4, 1]))),
        (named(doc! { "owner": 1, "kind": 1 }), Some((2, vec![2, 3]))),
        (named(doc! { "_id": 1, "owner": 1 }), None),
        (partial, Some((2, vec![2, 3]))),
    ] {
        let database = TestDatabase::new().await;
        let items = [
            doc! { "_id": 1, "owner": "us" },
            doc! { "_id": 2, "kind": "book" },
            doc! { "_id": 3, "kind": "book" },
            doc! { "_id": 4, "kind": "film" },
            doc! { "_id": 5, "kind": "film", "owner": "them" },
        ];
        let shown = format!("{index}");
        // The documents do not stand in each other's way before they are filled.
        database.insert("items", items).await;
        let collection = database.collection("items");
        let holds = collection.update_many(
            doc! { "owner": { "$exists": false } },
            vec![doc! { "$set": { "owner": { "$concat": ["temporary ", { "$toString": "$_id" }] } } }],
        );
        holds.await.unwrap();
        by_hand(&database, index).await;
        let temporary = doc! { "owner": { "$regex": "^temporary" } };
        let fill = arc(Fill::set("items → us", "items", temporary, doc! { "owner": "us" }));
        let found = &obstacles(&database, [fill]).await[0];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(count, ids)| {
                let mut ids = ids.into_iter().map(Bson::from).collect::<Vec<_>>();
                ids.sort_by_key(Bson::as_i32);
                (ViolationKind::UniqueIndex, count, ids)
            })
            .collect();
        let mut found_essence = essence(found);
        for (_, _, ids) in &mut found_essence {
            ids.sort_by_key(Bson::as_i32);
        }
        assert_eq!(found_essence, expected, "{shown}");
        if let Some(found) = found.first() {
            let remedy = "db.items.dropIndex(\"theirs\")";
            assert!(found.remedy.contains(remedy), "{}", found.remedy);
        }
    }
}

#[tokio::test]
async fn documents_with_lists_in_two_fields_of_an_index_are_named() {
    let database = TestDatabase::new().await;
    let items = [
        doc! { "_id": 1, "a": [1, 2], "b": [3] },
        doc! { "_id": 2, "a": [1, 2], "b": 3 },
        doc! { "_id": 3, "a": [], "b": [] },
    ];
    database.insert("items", items).await;
    let keys = doc! { "a": 1, "b": 1 };
    let step = arc(Index::new("items", "wanted", keys, IndexOptions::default()));
    let found = &obstacles(&database, [step.clone()]).await[0];
    let expected = [(ViolationKind::ParallelArrays, 2, vec![1.into(), 3.into()])];
    assert_eq!(essence(found), expected);
    run(&database, [step.clone()]).await.unwrap_err();
    let ids = doc! { "_id": { "$in": [1, 3] } };
    database.collection("items").delete_many(ids).await.unwrap();
    run(&database, [step]).await.unwrap();
}

#[tokio::test]
async fn an_index_with_the_collation_of_its_collection_does_the_same() {
    let database = TestDatabase::new().await;
    let create = doc! { "create": "items", "collation": { "locale": "de" } };
    database.database().run_command(create).await.unwrap();
    run(&database, [plain()]).await.unwrap();
    let before = database.hash().await;
    run(&database, [plain()]).await.unwrap();
    assert_eq!(database.hash().await, before);
}
