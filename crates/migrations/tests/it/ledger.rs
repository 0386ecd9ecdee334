//! The ledger tells the truth, and what does not fit it is refused.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use migrations::{
    Fill, Insert, MigrationKind, OperateError, Problem, RunError, RunErrorKind, State,
};
use mongodb::bson::{Bson, DateTime, Document, doc};
use test_support::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Commands, Gate, Given, ID, LEDGER, LOCK, Service, Step, arc, assert_has, command, count_up,
    edit_entry, engine, engine_of, entry, entry_of, fast, insert_items, run, set_by, state,
};

#[tokio::test]
async fn an_entry_says_what_ran_when_by_whom_and_with_what_result() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let first = Given::steps([]).called("0000_first");
    let engine = engine(&database, &[first, Given::steps([count_up()]).requiring(&["0000_first"])]);
    let before = DateTime::now();
    command(&engine).await.unwrap();

    let stored = entry(&database).await;
    for (field, expected) in [
        ("kind", Bson::from("backfill")),
        ("blocking", false.into()),
        ("requires", vec!["0000_first"].into()),
        ("revision", 1.into()),
        ("state", "applied".into()),
        ("fence", 1_i64.into()),
        ("attempts", 1_i64.into()),
        ("app_version", "1.2.3".into()),
        ("error", Bson::Null),
        ("progress", Bson::Null),
        ("left_out", Bson::Array(Vec::new())),
        ("set_aside", Bson::Array(Vec::new())),
        ("journaled", 10_i64.into()),
        ("parts", vec![Bson::from(doc! { "what": "items counted", "modified": 10_i64 })].into()),
    ] {
        assert_eq!(stored.get(field), Some(&expected), "{field}");
    }
    assert_eq!(stored.get_str("checksum").unwrap().len(), 64);
    let verify = stored.get_document("verify").unwrap();
    assert_has(verify, doc! { "remaining": 0_i64, "ok": true });
    let at = |field| *stored.get_datetime(field).unwrap();
    assert!(before <= at("started_at") && at("started_at") <= *verify.get_datetime("at").unwrap());
    assert!(*verify.get_datetime("at").unwrap() <= at("finished_at"));
    assert!(at("finished_at") <= DateTime::now());

    let report = engine.report().await.unwrap();
    let read = report.migrations[1].entry.as_ref().unwrap();
    assert_eq!(
        (read.id.as_str(), read.kind, read.state),
        (ID, MigrationKind::Backfill, State::Applied)
    );
    assert_eq!(read.owner.as_deref(), stored.get_str("owner").ok());
    let last = &read.history[0];
    assert_eq!((read.history.len(), last.modified, last.fence), (1, 10, 1));
    assert_eq!((last.state, last.ended_at), (State::Applied, Some(at("finished_at"))));
    assert_eq!(Some(&last.owner), read.owner.as_ref());
}

#[tokio::test]
async fn no_time_of_a_client_gets_into_the_database() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let (client, commands) = Commands::of_a_client().await;
    let given = [
        Given::steps([count_up(), first_item()]),
        Given::steps([set_by("us")]).called("0002_more"),
    ];
    let engine = engine_of(&client, &database, &given, fast());
    command(&engine).await.unwrap();
    engine.pause("0002_more").await.unwrap_err();
    assert!(commands.of("update", LEDGER).len() > 5);
    assert!(commands.of("update", LOCK).len() > 1);
    for command in commands.all() {
        let mut dates = Vec::new();
        collect_dates(&Bson::from(command.clone()), &mut dates);
        // Apart from the beginning of time, which is when a lease without a holder has expired.
        assert!(dates.iter().all(|date| date.timestamp_millis() == 0), "{command}");
    }
}

fn collect_dates(value: &Bson, dates: &mut Vec<DateTime>) {
    match value {
        Bson::DateTime(date) => dates.push(*date),
        Bson::Document(document) => document.values().for_each(|one| collect_dates(one, dates)),
        Bson::Array(values) => values.iter().for_each(|one| collect_dates(one, dates)),
        _ => {}
    }
}

#[tokio::test]
async fn a_later_run_is_another_line_in_the_history() {
    let database = TestDatabase::new().await;
    let mut owners = Vec::new();
    for run in 1..=25 {
        database.insert("items", [doc! { "_id": run }]).await;
        command(&engine(&database, &[Given::steps([count_up()])])).await.unwrap();
        owners.push(entry(&database).await.get_str("owner").unwrap().to_owned());
    }
    let entry = entry(&database).await;
    assert_eq!((entry.get_i64("attempts").unwrap(), entry.get_i64("fence").unwrap()), (25, 25));
    let history = entry.get_array("history").unwrap().iter().map(|run| run.as_document().unwrap());
    let history: Vec<_> =
        history.map(|run| (run.get_str("owner").unwrap(), run.get_i64("fence").unwrap())).collect();
    let expected: Vec<_> = owners.iter().map(String::as_str).zip(1..).collect();
    assert_eq!(history, &expected[5..]);
}

/// Inserts a document that says that this was done.
fn first_item() -> Step {
    arc(Insert {
        key: "the first item".into(),
        collection: "items",
        unless: doc! { "is_first": true },
        documents: vec![doc! { "_id": "first", "is_first": true, "done": true, "by": "us" }],
    })
}

#[tokio::test]
async fn a_failure_is_kept_with_its_cause_until_a_run_succeeds() {
    let database = TestDatabase::new().await;
    database.insert("items", [doc! { "_id": "first", "theirs": true }]).await;
    run(&database, [first_item()]).await.unwrap_err();
    let failed = entry(&database).await;
    assert_eq!(failed.get_str("state").unwrap(), "failed_fatal");
    let error = failed.get_document("error").unwrap();
    assert_has(error, doc! { "class": "database", "code": 11_000 });
    assert!(!error.get_bool("retryable").unwrap());
    let message = error.get_str("message").unwrap();
    let names_the_cause = message.contains("duplicate key") && message.contains("\"first\"");
    assert!(message.starts_with("the database failed: ") && names_the_cause, "{message}");

    database.collection("items").delete_one(doc! { "_id": "first" }).await.unwrap();
    run(&database, [first_item()]).await.unwrap();
    let applied = entry(&database).await;
    assert_eq!(
        (applied.get_str("state").unwrap(), applied.get("error")),
        ("applied", Some(&Bson::Null))
    );
    let history = applied.get_array("history").unwrap().iter();
    let states: Vec<_> =
        history.map(|run| run.as_document().unwrap().get_str("state").unwrap()).collect();
    assert_eq!(states, ["failed_fatal", "applied"]);
}

#[tokio::test]
async fn a_migration_whose_data_changed_since_runs_again() {
    let database = TestDatabase::new().await;
    let fill =
        || arc(Fill::set("items seen", "items", doc! { "seen": null }, doc! { "seen": true }));
    let engine = engine(&database, &[Given::steps([fill()])]);
    for count in [3, 5] {
        database.collection("items").insert_many(vec![doc! {}; count]).await.unwrap();
        command(&engine).await.unwrap();
        assert_eq!(database.count("items", doc! { "seen": null }).await, 0);
    }
    assert_eq!(entry(&database).await.get_i64("attempts").unwrap(), 2);
}

#[tokio::test]
async fn a_migration_is_verifying_while_its_data_is_looked_at() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let (gate, asked) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    // Asked for the third time, the steps are done and have to hold.
    let given = Given::new({
        let gate = gate.clone();
        move || {
            let (gate, asked) = (gate.clone(), asked.fetch_add(1, Ordering::SeqCst));
            async move {
                if asked == 2 {
                    gate.pass().await;
                }
                Ok(vec![count_up()])
            }
        }
    });
    let engine = engine(&database, &[given]);
    let service = Service::start(&engine);
    gate.reached().await;
    assert_eq!(state(&database).await, "verifying");
    assert_eq!(engine.statuses().borrow()[0].state, State::Verifying);
    gate.open();
    service.ends().await;
    assert_eq!(state(&database).await, "applied");
}

/// An applied migration, and the same with another specification.
async fn drifted(database: &TestDatabase) -> (Given, Given) {
    insert_items(database, 10).await;
    let before = Given::steps([set_by("us")]);
    command(&engine(database, std::slice::from_ref(&before))).await.unwrap();
    database.insert("items", [doc! { "_id": 10 }]).await;
    (before, Given::steps([set_by("them")]))
}

#[tokio::test]
async fn a_changed_specification_is_refused_and_nothing_is_changed() {
    let database = TestDatabase::new().await;
    let (_, after) = drifted(&database).await;
    let engine = engine(&database, &[after]);
    let before = database.hash().await;

    let refused = command(&engine).await.unwrap_err();
    assert!(
        matches!(
            refused,
            RunError { migration: Some(ID), kind: RunErrorKind::Drift { revision: 1, .. } }
        ),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("`repair`") && !refused.is_transient(), "{refused}");
    let planned = engine.plan().await.unwrap_err();
    assert!(matches!(planned, RunError { kind: RunErrorKind::Drift { .. }, .. }), "{planned:?}");
    // Nor does that keep anybody from a look at the data.
    let verified = engine.verify().await.unwrap().remove(0);
    assert!(matches!(verified.problem, Some(Problem::Drift { .. })), "{verified:?}");
    assert_eq!((verified.ok, verified.violations[0].count), (false, 1));
    let undone = engine.down(None, &tokio_util::sync::CancellationToken::new()).await.unwrap_err();
    assert!(
        matches!(undone.cause, RunError { kind: RunErrorKind::Drift { .. }, .. }),
        "{undone:?}"
    );
    let paused = engine.pause(ID).await.unwrap_err();
    assert!(
        matches!(paused, OperateError::Ledger(RunError { kind: RunErrorKind::Drift { .. }, .. })),
        "{paused:?}"
    );
    let report = engine.report().await.unwrap();
    assert!(report.has_drifted());
    let Some(Problem::Drift { found, expected }) = &report.migrations[0].problem else {
        panic!("{report:?}")
    };
    assert_eq!(found, entry(&database).await.get_str("checksum").unwrap());
    assert_ne!(found, expected);
    // A service says so, and waits for an operator who repairs it.
    let service = Service::start(&engine);
    let message = service.comes_to(ID, State::FailedFatal).await.unwrap();
    assert!(message.starts_with("differs from the migration that was applied"), "{message}");
    service.stop().await;
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn repair_accepts_a_changed_specification_and_keeps_the_old_checksum() {
    let database = TestDatabase::new().await;
    let (_, after) = drifted(&database).await;
    let old = entry(&database).await;
    let engine = engine(&database, &[after]);
    let repaired = engine.repair().await.unwrap();
    assert_eq!(repaired.iter().map(|one| one.id).collect::<Vec<_>>(), [ID]);
    let accepted = entry(&database).await;
    let kept = accepted.get_document("repaired_from").unwrap();
    assert_eq!(kept, &doc! { "checksum": old.get_str("checksum").unwrap() });
    // All else is as it was.
    let mut expected = old.clone();
    expected.insert("checksum", accepted.get_str("checksum").unwrap());
    expected.insert("repaired_from", kept);
    assert_eq!(accepted, expected);
    assert!(!engine.report().await.unwrap().has_drifted());
    command(&engine).await.unwrap();
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 10);
    assert_eq!(database.count("items", doc! { "by": "them" }).await, 1);
}

#[tokio::test]
async fn repair_changes_nothing_where_nothing_is_wrong() {
    let database = TestDatabase::new().await;
    run(&database, [count_up()]).await.unwrap();
    database.insert(LEDGER, [doc! { "_id": "0009_of_another_program" }]).await;
    let before = database.hash().await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    assert!(engine.repair().await.unwrap().is_empty());
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn a_raised_revision_runs_again() {
    let database = TestDatabase::new().await;
    let (_, after) = drifted(&database).await;
    let engine = engine(&database, &[after.of_revision(2)]);
    let report = engine.report().await.unwrap();
    assert!(report.migrations[0].is_pending() && !report.has_drifted());
    command(&engine).await.unwrap();
    assert_eq!(database.count("items", doc! { "by": "them" }).await, 1);
    let entry = entry(&database).await;
    assert_has(&entry, doc! { "revision": 2, "attempts": 2_i64 });
    assert_eq!(entry.get_array("history").unwrap().len(), 2);
    // What both of them changed can be undone.
    assert_eq!(entry.get_i64("journaled").unwrap(), 11);
}

#[tokio::test]
async fn a_raised_revision_runs_although_nothing_is_left_to_change() {
    let database = TestDatabase::new().await;
    run(&database, [set_by("us")]).await.unwrap();
    command(&engine(&database, &[Given::steps([set_by("them")]).of_revision(2)])).await.unwrap();
    let entry = entry(&database).await;
    assert_has(&entry, doc! { "revision": 2, "state": "applied" });
}

#[tokio::test]
async fn what_an_operator_rolled_back_stays_so_when_the_revision_is_raised() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let before = engine(&database, &[Given::steps([set_by("us")])]);
    command(&before).await.unwrap();
    before.down(None, &CancellationToken::new()).await.unwrap();
    let after = engine(&database, &[Given::steps([set_by("them")]).of_revision(2)]);
    assert_eq!(after.report().await.unwrap().migrations[0].state, State::RolledBack);
    let service = Service::start(&after);
    service.comes_to(ID, State::RolledBack).await;
    service.stop().await;
    assert_eq!(database.count("items", doc! { "by": { "$exists": true } }).await, 0);
    // A command applies it.
    command(&after).await.unwrap();
    assert_eq!(database.count("items", doc! { "by": "them" }).await, 10);
}

#[tokio::test]
async fn the_entry_of_a_newer_program_is_left_alone_and_the_status_says_so() {
    for newer in [
        doc! { "revision": 2, "app_version": "9.9.9" },
        // Edited in a shell that knows another kind of number.
        doc! { "revision": 2_i64, "app_version": "9.9.9" },
        // Of a kind that does not exist yet.
        doc! { "revision": 2, "app_version": "9.9.9", "state": "levitating", "kind": 5 },
    ] {
        let database = TestDatabase::new().await;
        run(&database, [count_up()]).await.unwrap();
        insert_items(&database, 10).await;
        edit_entry(&database, doc! { "$set": newer.clone() }).await;
        let before = database.hash().await;
        let engine = engine(&database, &[Given::steps([count_up()])]);
        command(&engine).await.unwrap();
        Service::start(&engine).ends().await;
        let status = engine.statuses().borrow()[0].clone();
        assert!(status.is_settled);
        assert_eq!(status.message.as_deref(), Some("revision 2 was applied by 9.9.9"));
        let report = engine.report().await.unwrap();
        let problem = Problem::Newer { revision: 2, app_version: "9.9.9".to_owned() };
        assert_eq!(report.migrations[0].problem, Some(problem));
        assert!(!report.is_pending() && !report.has_drifted());
        assert!(!engine.plan().await.unwrap()[0].is_pending());
        assert!(engine.repair().await.unwrap().is_empty());
        let paused = engine.pause(ID).await.unwrap_err();
        assert!(matches!(paused, OperateError::Newer { .. }), "{paused:?}");
        assert_eq!(database.hash().await, before, "{newer}");
    }
}

#[tokio::test]
async fn entries_that_this_program_does_not_know_are_left_alone_and_listed() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let unknown = doc! { "_id": "0009_of_a_newer_program", "state": 5 };
    database.insert(LEDGER, [unknown.clone()]).await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    command(&engine).await.unwrap();
    assert_eq!(entry_of(&database, "0009_of_a_newer_program").await, unknown);
    let report = engine.report().await.unwrap();
    assert_eq!(report.unknown, ["0009_of_a_newer_program"]);
    assert!(!report.is_pending() && !report.has_drifted());
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 10);
}

/// Changes of an entry by a shell, and the field that the error has to name.
fn edits() -> [(Document, &'static str); 6] {
    [
        (doc! { "$set": { "state": "done" } }, "state"),
        (doc! { "$set": { "revision": "one" } }, "revision"),
        (doc! { "$set": { "history.0.fence": "first" } }, "fence"),
        (doc! { "$set": { "set_aside": "none" } }, "set_aside"),
        (doc! { "$unset": { "kind": "" } }, "kind"),
        (doc! { "$unset": { "checksum": "" } }, "checksum"),
    ]
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_an_error_that_names_it_and_its_field() {
    for (edit, field) in edits() {
        let database = TestDatabase::new().await;
        run(&database, [count_up()]).await.unwrap();
        insert_items(&database, 10).await;
        edit_entry(&database, edit).await;
        let before = database.hash().await;
        let engine = engine(&database, &[Given::steps([count_up()])]);
        let refused = command(&engine).await.unwrap_err();
        assert!(
            matches!(refused, RunError { kind: RunErrorKind::UnreadableEntry { .. }, .. }),
            "{refused:?}"
        );
        for part in [LEDGER, ID, field] {
            assert!(refused.to_string().contains(part), "{part}: {refused}");
        }
        let planned = engine.plan().await.unwrap_err();
        assert!(
            matches!(planned, RunError { kind: RunErrorKind::UnreadableEntry { .. }, .. }),
            "{planned:?}"
        );
        // Nor does that keep anybody from a look at the data.
        let verified = engine.verify().await.unwrap().remove(0);
        assert!(matches!(verified.problem, Some(Problem::Unreadable { .. })), "{verified:?}");
        assert_eq!((verified.ok, verified.violations[0].count), (false, 10));
        let paused = engine.pause(ID).await.unwrap_err();
        assert!(matches!(
            paused,
            OperateError::Ledger(RunError { kind: RunErrorKind::UnreadableEntry { .. }, .. })
        ));
        let report = engine.report().await.unwrap();
        assert!(matches!(report.migrations[0].problem, Some(Problem::Unreadable { .. })));
        assert!(report.has_drifted());
        assert_eq!(database.hash().await, before);
    }
}

#[tokio::test]
async fn repair_keeps_the_text_of_an_entry_that_cannot_be_read_and_starts_over() {
    for (edit, field) in edits() {
        let database = TestDatabase::new().await;
        insert_items(&database, 10).await;
        run(&database, [count_up()]).await.unwrap();
        database.insert("items", [doc! { "_id": 10 }]).await;
        edit_entry(&database, edit).await;
        let old = entry(&database).await;
        let engine = engine(&database, &[Given::steps([count_up()])]);
        let repaired = engine.repair().await.unwrap();
        assert!(repaired[0].what.contains(field), "{repaired:?}");
        let started_over = entry(&database).await;
        assert_eq!(started_over.get_document("repaired_from").unwrap(), &old);
        assert_eq!(started_over.get_str("state").unwrap(), "pending");
        command(&engine).await.unwrap();
        assert_eq!(database.count("items", doc! { "n": 1 }).await, 11);
        let applied = entry(&database).await;
        assert_has(&applied, doc! { "state": "applied", "journaled": 11_i64 });
    }
}

#[tokio::test]
async fn a_migration_that_is_inserted_out_of_order_is_applied_and_the_others_stay_as_they_are() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let fill = |what: &'static str, id| {
        let filter = doc! { what: { "$exists": false } };
        Given::steps([arc(Fill::set(what, "items", filter, doc! { what: true }))]).called(id)
    };
    let (first, second) = (fill("a", "0001_first"), fill("b", "0002_second"));
    let third = fill("c", "0003_third");
    command(&engine(&database, &[first.clone(), third.clone()])).await.unwrap();
    let before = [entry_of(&database, "0001_first").await, entry_of(&database, "0003_third").await];
    command(&engine(&database, &[first, second, third])).await.unwrap();
    assert_eq!(database.count("items", doc! { "a": true, "b": true, "c": true }).await, 10);
    assert_has(&entry_of(&database, "0002_second").await, doc! { "state": "applied" });
    let after = [entry_of(&database, "0001_first").await, entry_of(&database, "0003_third").await];
    assert_eq!(after, before);
}
