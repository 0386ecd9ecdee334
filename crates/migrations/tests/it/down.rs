//! Undoing just what the engine wrote.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use migrations::{
    Assign, EachDocument, Engine, Fill, Index, Insert, RolledBack, RunError, RunErrorKind, State,
    WaitPolicy, lease,
};
use mongodb::{
    ClientSession,
    bson::{Bson, Document, doc},
    event::command::CommandEvent,
    options::IndexOptions,
};
use test_support::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Commands, Given, ID, JOURNAL, LEDGER, Service, Step, arc, assert_has, command, edit_entry,
    engine, engine_of, entry, entry_of, fast, insert_items, monitored, refuse_items, set_by, state,
    within,
};

/// Undoes all of it.
async fn down(engine: &Engine) -> Result<Vec<RolledBack>, RunError> {
    let stop = CancellationToken::new();
    within("it is undone", engine.down(None, &stop)).await.map_err(|error| error.cause)
}

/// Undoes a migration with these steps: how much was undone, and how much was kept.
async fn undo(database: &TestDatabase, step: &Step) -> (i64, i64) {
    let undone = down(&engine(database, &[Given::steps([step.clone()])])).await.unwrap();
    let [RolledBack { id: ID, undone, kept }] = undone[..] else { panic!("{undone:?}") };
    (undone, kept)
}

async fn apply(database: &TestDatabase, step: &Step) {
    command(&engine(database, &[Given::steps([step.clone()])])).await.unwrap();
}

/// All items by their `_id`s, each with its fields in the order of their names.
async fn items(database: &TestDatabase) -> BTreeMap<String, BTreeMap<String, Bson>> {
    let all = database.collection("items").find(doc! {}).await.unwrap();
    let all: Vec<_> = all.try_collect().await.unwrap();
    all.into_iter()
        .map(|item| (item.get("_id").unwrap().to_string(), item.into_iter().collect()))
        .collect()
}

/// Items that lack a value in each of the ways there are.
async fn various() -> TestDatabase {
    let database = TestDatabase::new().await;
    let lacking = |id: i32| match id % 4 {
        0 => doc! { "_id": id, "title": "News", "x": [1.0, { "y": 2_i64 }] },
        1 => doc! { "_id": id, "by": null, "title": "News" },
        2 => doc! { "_id": id, "by": "", "title": "News" },
        _ => doc! { "_id": id, "by": "another", "title": "News" },
    };
    database.collection("items").insert_many((0..200).map(lacking)).await.unwrap();
    database
}

/// Fills in `by` where it is missing, null or empty.
fn fill(assign: Assign) -> Step {
    let filter = doc! { "by": { "$in": [null, ""] } };
    arc(Fill { key: "items set".into(), collection: "items", filter, assign })
}

/// Says for each document who it is by.
#[derive(Debug)]
struct ById;

#[async_trait]
impl EachDocument for ById {
    fn reads(&self) -> &'static [&'static str] {
        &["title"]
    }

    fn writes(&self) -> &'static [&'static str] {
        &["by", "also"]
    }

    async fn assign(
        &self,
        documents: Vec<Document>,
        _: &mut ClientSession,
    ) -> mongodb::error::Result<Vec<(Bson, Document)>> {
        let assign = |document: Document| {
            let (id, title) = (document.get("_id").unwrap(), document.get_str("title").unwrap());
            (id.clone(), doc! { "by": format!("{title} {id}"), "also": "$literally" })
        };
        Ok(documents.into_iter().map(assign).collect())
    }
}

/// One of each way to change documents that can be undone.
fn reversible() -> [Step; 4] {
    [
        fill(Assign::Values(doc! { "by": "us", "also": "$literally" })),
        fill(Assign::Expressions(doc! { "by": { "$concat": ["$title", "!"] }, "also": "$title" })),
        // From the very field that it sets.
        fill(Assign::Expressions(doc! { "by": { "$concat": ["us", { "$ifNull": ["$by", ""] }] } })),
        fill(Assign::Each(std::sync::Arc::new(ById))),
    ]
}

#[tokio::test]
async fn every_document_is_as_it_was_whichever_way_it_was_changed() {
    for step in reversible() {
        let database = various().await;
        let before = items(&database).await;
        apply(&database, &step).await;
        assert_eq!(database.count("items", doc! { "by": { "$nin": [null, ""] } }).await, 200);
        assert_eq!(undo(&database, &step).await, (150, 0), "{step:?}");
        assert_eq!(items(&database).await, before, "{step:?}");
        assert_eq!(database.count(JOURNAL, doc! {}).await, 0);
        let entry = entry(&database).await;
        assert_has(&entry, doc! { "state": "rolled_back", "journaled": 0_i64 });
    }
}

#[tokio::test]
async fn documents_that_another_client_changed_later_are_kept_and_counted() {
    for step in reversible() {
        let database = various().await;
        let before = items(&database).await;
        apply(&database, &step).await;
        let ours = database.collection("items");
        for id in [0, 1, 2] {
            let edit = doc! { "$set": { "by": "editor", "title": "Edited" } };
            ours.update_one(doc! { "_id": id }, edit).await.unwrap();
        }
        ours.delete_one(doc! { "_id": 4 }).await.unwrap();
        // Another field is not ours, and no reason to keep what is.
        ours.update_one(doc! { "_id": 5 }, doc! { "$set": { "x": 5 } }).await.unwrap();
        assert_eq!(undo(&database, &step).await, (146, 4), "{step:?}");
        let mut expected = before;
        for id in ["0", "1", "2"] {
            let item = database.one("items", doc! { "_id": id.parse::<i32>().unwrap() }).await;
            assert_has(&item, doc! { "by": "editor", "title": "Edited" });
            expected.insert(id.to_owned(), item.into_iter().collect());
        }
        expected.remove("4");
        expected.get_mut("5").unwrap().insert("x".to_owned(), 5.into());
        assert_eq!(items(&database).await, expected, "{step:?}");
    }
}

#[tokio::test]
async fn a_value_that_another_client_set_later_stays_even_if_the_expression_would_leave_it() {
    let database = TestDatabase::new().await;
    database
        .insert("items", [doc! { "_id": 1, "slug": "NEWS" }, doc! { "_id": 2, "slug": "OLD" }])
        .await;
    let step = arc(Fill {
        key: "slugs in lower case".into(),
        collection: "items",
        filter: doc! { "slug": { "$regex": "[A-Z]" } },
        assign: Assign::Expressions(doc! { "slug": { "$toLower": "$slug" } }),
    });
    apply(&database, &step).await;
    let edit = doc! { "$set": { "slug": "latest" } };
    database.collection("items").update_one(doc! { "_id": 1 }, edit).await.unwrap();
    assert_eq!(undo(&database, &step).await, (1, 1));
    let first = database.one("items", doc! { "_id": 1 }).await;
    assert_eq!(first, doc! { "_id": 1, "slug": "latest" });
    let second = database.one("items", doc! { "_id": 2 }).await;
    assert_eq!(second, doc! { "_id": 2, "slug": "OLD" });
}

#[tokio::test]
async fn a_field_that_each_did_not_declare_is_refused() {
    #[derive(Debug)]
    struct Undeclared;

    #[async_trait]
    impl EachDocument for Undeclared {
        fn reads(&self) -> &'static [&'static str] {
            &[]
        }

        fn writes(&self) -> &'static [&'static str] {
            &["by"]
        }

        async fn assign(
            &self,
            documents: Vec<Document>,
            _: &mut ClientSession,
        ) -> mongodb::error::Result<Vec<(Bson, Document)>> {
            let both = |document: Document| {
                (document.get("_id").unwrap().clone(), doc! { "by": "us", "title": "ours" })
            };
            Ok(documents.into_iter().map(both).collect())
        }
    }

    let database = various().await;
    let before = items(&database).await;
    let step = fill(Assign::Each(std::sync::Arc::new(Undeclared)));
    let error = command(&engine(&database, &[Given::steps([step])])).await.unwrap_err();
    assert!(error.with_causes().contains("`title`") && !error.is_transient(), "{error:?}");
    assert_eq!(items(&database).await, before);
}

fn insert(documents: impl Into<Vec<Document>>) -> Step {
    arc(Insert {
        key: "the first items".into(),
        collection: "items",
        unless: doc! { "is_first": true },
        documents: documents.into(),
    })
}

#[tokio::test]
async fn documents_that_were_inserted_are_deleted() {
    let database = TestDatabase::new().await;
    database.insert("items", [doc! { "_id": "theirs" }]).await;
    let step = insert([doc! { "is_first": true, "a": { "b": 1 } }, doc! { "_id": "ours" }]);
    apply(&database, &step).await;
    assert_eq!(undo(&database, &step).await, (2, 0));
    assert_eq!(items(&database).await.into_keys().collect::<Vec<_>>(), ["\"theirs\""]);
}

#[tokio::test]
async fn an_inserted_document_that_another_client_changed_or_deleted_prevents_the_roll_back() {
    for is_deleted in [false, true] {
        let database = TestDatabase::new().await;
        insert_items(&database, 10).await;
        let given = [
            Given::steps([insert([doc! { "_id": "ours", "is_first": true, "by": "us" }])]),
            Given::steps([set_by("us")]).called("0002_more"),
        ];
        let engine = engine(&database, &given);
        command(&engine).await.unwrap();
        let ours = database.collection("items");
        if is_deleted {
            ours.delete_one(doc! { "_id": "ours" }).await.unwrap();
        } else {
            let edit = doc! { "$set": { "title": "Edited" } };
            ours.update_one(doc! { "_id": "ours" }, edit).await.unwrap();
        }
        let before = database.hash().await;
        let refused = down(&engine).await.unwrap_err();
        assert!(
            matches!(refused, RunError { migration: Some(ID), kind: RunErrorKind::NotProvable(_) }),
            "{refused:?}"
        );
        let message = "0001_test: cannot be rolled back, nothing was changed: the document \"ours\" \
            of items, inserted by `the first items`, was changed or deleted later";
        assert_eq!(refused.to_string(), message);
        assert_eq!(database.hash().await, before);
    }
}

fn index(name: &str, keys: Document, options: IndexOptions) -> Step {
    arc(Index::new("items", name, keys, options))
}

async fn names(database: &TestDatabase) -> Vec<String> {
    let mut names = database.collection("items").list_index_names().await.unwrap();
    names.sort();
    names
}

async fn create_by_hand(database: &TestDatabase, index: Document) {
    let create = doc! { "createIndexes": "items", "indexes": [index] };
    database.database().run_command(create).await.unwrap();
}

#[tokio::test]
async fn an_index_that_was_built_is_dropped_and_one_that_was_there_before_stays() {
    let database = TestDatabase::new().await;
    create_by_hand(&database, doc! { "key": { "b": 1 }, "name": "there_before" }).await;
    let partial = IndexOptions::builder()
        .unique(true)
        .partial_filter_expression(doc! { "c": { "$exists": true } })
        .build();
    let steps = [
        index("a_1", doc! { "a": 1 }, IndexOptions::default()),
        index("b_1", doc! { "b": 1 }, IndexOptions::default()),
        index("c_1", doc! { "c": 1, "d": -1 }, partial),
    ];
    let engine = engine(&database, &[Given::steps(steps)]);
    command(&engine).await.unwrap();
    assert_eq!(names(&database).await, ["_id_", "a_1", "c_1", "there_before"]);
    let undone = down(&engine).await.unwrap();
    assert_eq!(undone, [RolledBack { id: ID, undone: 2, kept: 0 }]);
    assert_eq!(names(&database).await, ["_id_", "there_before"]);
}

#[tokio::test]
async fn an_index_that_another_client_put_in_the_place_of_ours_stays() {
    let database = TestDatabase::new().await;
    let step = index("a_1", doc! { "a": 1 }, IndexOptions::default());
    apply(&database, &step).await;
    database.collection("items").drop_index("a_1").await.unwrap();
    create_by_hand(&database, doc! { "key": { "a": 1 }, "name": "a_1", "unique": true }).await;
    assert_eq!(undo(&database, &step).await, (0, 1));
    assert_eq!(names(&database).await, ["_id_", "a_1"]);
}

#[tokio::test]
async fn an_index_that_could_not_be_built_is_not_ours_when_another_client_builds_it() {
    let database = TestDatabase::new().await;
    database.insert("items", [doc! { "_id": 1, "a": 1 }, doc! { "_id": 2, "a": 1 }]).await;
    let unique = IndexOptions::builder().unique(true).build();
    let step = index("a_1", doc! { "a": 1 }, unique);
    let engine = engine(&database, &[Given::steps([step])]);
    command(&engine).await.unwrap_err();
    database.collection("items").delete_one(doc! { "_id": 2 }).await.unwrap();
    create_by_hand(&database, doc! { "key": { "a": 1 }, "name": "a_1", "unique": true }).await;
    command(&engine).await.unwrap();
    assert_eq!(down(&engine).await.unwrap(), [RolledBack { id: ID, undone: 0, kept: 0 }]);
    assert_eq!(names(&database).await, ["_id_", "a_1"]);
}

#[tokio::test]
async fn a_journal_that_does_not_fit_the_ledger_stops_it_all() {
    let database = various().await;
    let step = fill(Assign::Values(doc! { "by": "us" }));
    apply(&database, &step).await;
    let engine = engine(&database, &[Given::steps([step])]);
    let journal = database.collection(JOURNAL);
    let refused = async || {
        let before = database.hash().await;
        let refused = down(&engine).await.unwrap_err();
        assert!(
            matches!(refused, RunError { migration: Some(ID), kind: RunErrorKind::NotProvable(_) }),
            "{refused:?}"
        );
        assert!(refused.to_string().contains("the ledger counts 150 changes"), "{refused}");
        assert_eq!(database.hash().await, before);
    };
    // Another client made room, and before that copied.
    let mut copy = journal.find_one(doc! {}).await.unwrap().unwrap();
    copy.insert("_id", mongodb::bson::oid::ObjectId::new());
    journal.insert_one(&copy).await.unwrap();
    refused().await;
    journal.delete_one(doc! { "_id": copy.get("_id") }).await.unwrap();
    journal.delete_one(doc! {}).await.unwrap();
    refused().await;
    journal.drop().await.unwrap();
    refused().await;
}

#[tokio::test]
async fn a_journal_of_which_the_ledger_knows_nothing_stops_it_all() {
    let database = various().await;
    let step = fill(Assign::Values(doc! { "by": "us" }));
    apply(&database, &step).await;
    database.collection(LEDGER).delete_one(doc! { "_id": ID }).await.unwrap();
    let before = database.hash().await;
    let refused = down(&engine(&database, &[Given::steps([step])])).await.unwrap_err();
    let message = "0001_test: cannot be rolled back, nothing was changed: the ledger counts 0 \
        changes, the journal has 150";
    assert_eq!(refused.to_string(), message);
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn what_the_server_refuses_to_undo_is_said_and_undone_when_the_cause_is_gone() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let before = items(&database).await;
    apply(&database, &set_by("us")).await;
    let engine = engine(&database, &[Given::steps([set_by("us")])]);
    // Another client made a rule of the result of the migration.
    refuse_items(&database, doc! { "by": null }).await;
    let refused = down(&engine).await.unwrap_err();
    let message = "the database refused a write: Document failed validation (error 121)";
    assert_eq!(refused.with_causes(), format!("0001_test: {message}"));
    let failed = entry(&database).await;
    assert_has(&failed, doc! { "state": "rolling_back", "journaled": 10_i64 });
    let error = failed.get_document("error").unwrap();
    let expected =
        doc! { "class": "database", "code": 121, "message": message, "retryable": false };
    assert_has(error, expected);

    refuse_items(&database, doc! { "_id": -1 }).await;
    assert_eq!(down(&engine).await.unwrap(), [RolledBack { id: ID, undone: 10, kept: 0 }]);
    assert_eq!(items(&database).await, before);
    assert_has(&entry(&database).await, doc! { "state": "rolled_back", "error": Bson::Null });
}

#[tokio::test]
async fn the_journal_is_searched_as_often_for_many_records_as_for_one() {
    let searches = async |count| {
        let database = TestDatabase::new().await;
        insert_items(&database, count).await;
        apply(&database, &set_by("us")).await;
        let records = database.count(JOURNAL, doc! {}).await;
        let (client, commands) = Commands::of_a_client().await;
        let given = Given::steps([set_by("us")]);
        down(&engine_of(&client, &database, &[given], fast())).await.unwrap();
        assert_eq!(database.count("items", doc! { "by": "us" }).await, 0);
        let finds = commands.of("find", JOURNAL).into_iter();
        let by_id = |find: &Document| find.get_document("filter").unwrap().contains_key("_id");
        let others = finds.filter(|find| !by_id(find)).count();
        (records, others + commands.of("aggregate", JOURNAL).len())
    };
    let ((one, of_one), (many, of_many)) = (searches(1).await, searches(10_000).await);
    assert!(one == 1 && many > 2, "{one} {many}");
    assert_eq!(of_many, of_one);
}

#[tokio::test]
async fn an_interrupted_roll_back_continues() {
    let database = TestDatabase::new().await;
    insert_items(&database, 20_000).await;
    let before = items(&database).await;
    apply(&database, &set_by("us")).await;
    let cancel = CancellationToken::new();
    let (committed, cancels) = (AtomicUsize::new(0), cancel.clone());
    let client = monitored(move |event| {
        if let CommandEvent::Succeeded(event) = event
            && event.command_name == "commitTransaction"
            && committed.fetch_add(1, Ordering::SeqCst) == 1
        {
            cancels.cancel();
        }
    });
    let given = Given::steps([set_by("us")]);
    let first = engine_of(&client.await, &database, std::slice::from_ref(&given), fast());
    let end = first.down(None, &cancel).await.unwrap_err().cause;
    assert!(matches!(end, RunError { kind: RunErrorKind::Interrupted, .. }), "{end:?}");
    let left = database.count("items", doc! { "by": "us" }).await;
    assert!((1..20_000).contains(&left), "{left}");
    let half = entry(&database).await;
    assert_eq!(half.get_str("state").unwrap(), "rolling_back");
    assert_eq!(half.get_i64("journaled").unwrap(), i64::try_from(left).unwrap());
    // A service does not turn it round.
    let engine = engine(&database, &[given]);
    let service = Service::start(&engine);
    service.comes_to(ID, State::RolledBack).await;
    service.stop().await;
    assert_eq!(entry(&database).await, half);

    down(&engine).await.unwrap();
    assert_eq!(items(&database).await, before);
    assert_eq!(state(&database).await, "rolled_back");
}

#[tokio::test]
async fn a_service_leaves_alone_what_was_rolled_back_and_a_command_applies_it_again() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let given = [Given::steps([set_by("us")]), Given::steps([]).called("0002_next")];
    let engine = engine(&database, &given);
    command(&engine).await.unwrap();
    engine.down(None, &CancellationToken::new()).await.unwrap();
    let before = database.hash().await;
    let engine = self::engine(&database, &given);
    let service = Service::start(&engine);
    let message = service.comes_to(ID, State::RolledBack).await;
    assert_eq!(message.as_deref(), Some("rolled back: `up` applies it again"));
    service.comes_to("0002_next", State::RolledBack).await;
    service.stop().await;
    assert_eq!(database.hash().await, before);
    command(&engine).await.unwrap();
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 10);
    assert_eq!(state(&database).await, "applied");
}

/// Three migrations, each of which requires the one before it and sets a field from its.
fn chain() -> [Given; 3] {
    let step = |field: &'static str, from: &str| {
        arc(Fill {
            key: format!("{field} from {from}").into(),
            collection: "items",
            filter: doc! { field: { "$exists": false } },
            assign: Assign::Expressions(doc! { field: { "$concat": [from, "."] } }),
        })
    };
    [
        Given::steps([step("a", "start")]).called("0001_a"),
        Given::steps([step("b", "$a")]).called("0002_b").requiring(&["0001_a"]),
        Given::steps([step("c", "$b")]).called("0003_c").requiring(&["0002_b"]),
    ]
}

#[tokio::test]
async fn the_last_one_is_rolled_back_first_and_the_one_that_is_named_stays() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let engine = engine(&database, &chain());
    command(&engine).await.unwrap();
    let stop = CancellationToken::new();
    let undone = engine.down(Some("0001_a"), &stop).await.unwrap();
    let ids: Vec<_> = undone.iter().map(|one| (one.id, one.undone, one.kept)).collect();
    assert_eq!(ids, [("0003_c", 10, 0), ("0002_b", 10, 0)]);
    assert_eq!(database.count("items", doc! { "a": "start.", "b": null, "c": null }).await, 10);
    let states = async || {
        let mut states = Vec::new();
        for id in ["0001_a", "0002_b", "0003_c"] {
            states.push(entry_of(&database, id).await.get_str("state").unwrap().to_owned());
        }
        states
    };
    assert_eq!(states().await, ["applied", "rolled_back", "rolled_back"]);
    // Once more there is nothing to undo.
    assert_eq!(engine.down(Some("0001_a"), &stop).await.unwrap(), []);
    command(&engine).await.unwrap();
    assert_eq!(database.count("items", doc! { "c": "start..." }).await, 10);
    assert_eq!(states().await, ["applied", "applied", "applied"]);
}

#[tokio::test]
async fn what_was_rolled_back_before_a_failure_is_said() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let engine = engine(&database, &chain());
    command(&engine).await.unwrap();
    refuse_items(&database, doc! { "b": null }).await;
    let failed = engine.down(None, &CancellationToken::new()).await.unwrap_err();
    assert!(
        matches!(
            failed.cause,
            RunError { migration: Some("0002_b"), kind: RunErrorKind::Rejected { .. } }
        ),
        "{failed:?}"
    );
    assert_eq!(failed.done, [RolledBack { id: "0003_c", undone: 10, kept: 0 }]);
}

#[tokio::test]
async fn what_was_never_applied_needs_no_undoing_and_what_is_unknown_is_an_error() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let engine = engine(&database, &chain());
    let stop = CancellationToken::new();
    assert_eq!(engine.down(None, &stop).await.unwrap(), []);
    let unknown = engine.down(Some("0009"), &stop).await.unwrap_err().cause;
    assert!(
        matches!(&unknown, RunError { kind: RunErrorKind::Unknown(id), .. } if id == "0009"),
        "{unknown:?}"
    );
    assert_eq!(items(&database).await.len(), 10);
    engine.run_to("0001_a", WaitPolicy::Bounded, &stop).await.unwrap();
    let undone = engine.down(None, &stop).await.unwrap();
    assert_eq!(undone, [RolledBack { id: "0001_a", undone: 10, kept: 0 }]);
}

#[tokio::test]
async fn a_roll_back_waits_for_the_lease_although_everything_is_applied() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    apply(&database, &set_by("us")).await;
    // A process that was killed before it could give the lease back.
    let duration = Duration::from_secs(2);
    let held = lease::acquire(database.database(), "test", "killed", duration).await.unwrap();
    drop(held.unwrap());
    assert_eq!(undo(&database, &set_by("us")).await, (10, 0));
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 0);
}

#[tokio::test]
async fn a_migration_that_failed_half_way_is_undone_as_far_as_it_came() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let before = items(&database).await;
    let given = Given::steps([set_by("us"), insert([doc! { "_id": 1, "is_first": true }])]);
    let engine = engine(&database, &[given]);
    command(&engine).await.unwrap_err();
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 10);
    assert_eq!(down(&engine).await.unwrap(), [RolledBack { id: ID, undone: 10, kept: 0 }]);
    assert_eq!(items(&database).await, before);
}

#[tokio::test]
async fn what_was_set_aside_is_forgotten_with_the_rest() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    refuse_items(&database, doc! { "_id": 3, "by": "us" }).await;
    apply(&database, &set_by("us")).await;
    assert_eq!(undo(&database, &set_by("us")).await, (9, 0));
    assert!(entry(&database).await.get_array("set_aside").unwrap().is_empty());
    refuse_items(&database, doc! { "_id": -1 }).await;
    apply(&database, &set_by("us")).await;
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 10);
}

#[tokio::test]
async fn documents_of_all_sizes_and_kinds_of_ids_are_undone() {
    let database = TestDatabase::new().await;
    let ids = [1.into(), 1_i64.into(), 2.5.into(), "1".into(), doc! { "a": 1 }.into(), Bson::Null];
    for id in ids {
        let _ = database.collection("items").insert_one(doc! { "_id": id, "title": "News" }).await;
    }
    let before = items(&database).await;
    assert_eq!(before.len(), 5);
    for step in reversible() {
        apply(&database, &step).await;
        assert_eq!(undo(&database, &step).await, (5, 0), "{step:?}");
        assert_eq!(items(&database).await, before);
        database.collection("test_migrations").drop().await.unwrap();
    }
}

#[tokio::test]
async fn an_edited_entry_prevents_the_roll_back() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let engine = engine(&database, &[Given::steps([set_by("us")])]);
    command(&engine).await.unwrap();
    edit_entry(&database, doc! { "$set": { "state": "gone" } }).await;
    let before = database.hash().await;
    let refused = down(&engine).await.unwrap_err();
    assert!(
        matches!(refused, RunError { kind: RunErrorKind::UnreadableEntry { .. }, .. }),
        "{refused:?}"
    );
    assert_eq!(database.hash().await, before);
}
