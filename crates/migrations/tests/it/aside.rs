//! Documents that cannot be changed: quarantined with the reason, while the others are changed.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use migrations::{Assign, Fill, Quarantined, RunError, RunErrorKind, State, ViolationKind};
use mongodb::{
    Client,
    bson::{Bson, Document, doc, oid::ObjectId},
    event::command::CommandEvent,
};
use test_support::{TestDatabase, eventually};

use crate::support::{
    Commands, Given, ID, LOCK, arc, assert_has, command, concurrently, count_up, each, edit_entry,
    engine, engine_of, entry, fast, insert_items, monitored, parts, refuse_items, run, set_by,
    state,
};

/// Returns the quarantined documents with the reasons.
async fn aside(database: &TestDatabase) -> Vec<(Bson, String)> {
    let entry = entry(database).await;
    let all = entry.get_array("set_aside").unwrap().iter().map(|one| one.as_document().unwrap());
    all.map(|one| (one.get("document").unwrap().clone(), one.get_str("reason").unwrap().to_owned()))
        .collect()
}

/// Just these are set aside, and all the others are changed.
async fn assert_rest_is_done(database: &TestDatabase, done: Document, refused: &[Bson]) {
    let all = database.count("items", doc! {}).await;
    assert_eq!(database.count("items", done).await, all - refused.len() as u64);
    let ids: Vec<_> = aside(database).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, refused);
}

/// Items of which every one in `refused` cannot be changed.
async fn with_refused(count: i32, refused: &[i32]) -> (TestDatabase, Vec<Bson>) {
    let database = TestDatabase::new().await;
    insert_items(&database, count).await;
    let cannot = doc! { "_id": { "$in": refused }, "$or": [{ "done": true }, { "by": "us" }] };
    refuse_items(&database, cannot).await;
    (database, refused.iter().map(|id| Bson::from(*id)).collect())
}

#[tokio::test]
async fn documents_that_the_server_refuses_are_set_aside_with_the_reason_and_the_rest_is_done() {
    let (database, refused) = with_refused(3_000, &[0, 700, 701, 2_999]).await;
    run(&database, [count_up()]).await.unwrap();
    assert_rest_is_done(&database, doc! { "n": 1 }, &refused).await;
    for (_, reason) in aside(&database).await {
        assert_eq!(reason, "Document failed validation (error 121)");
    }
    assert_eq!(state(&database).await, "applied");
    assert_eq!(parts(&database).await, [("items counted".to_owned(), 2_996)]);
    let verify = entry(&database).await.get_document("verify").unwrap().clone();
    assert_has(&verify, doc! { "remaining": 0_i64, "ok": true });
}

#[tokio::test]
async fn a_document_that_is_refused_is_set_aside_whichever_way_it_was_to_be_changed() {
    let missing = || doc! { "by": { "$exists": false } };
    let fill = |assign| {
        let key = "items set".into();
        arc(Fill { key, collection: "items", filter: missing(), assign })
    };
    for step in [
        set_by("us"),
        fill(Assign::Expressions(doc! { "by": { "$concat": ["u", "s"] } })),
        each(doc! { "by": "us" }, |_| std::future::ready(())),
    ] {
        let (database, refused) = with_refused(50, &[3, 17, 31]).await;
        run(&database, [step]).await.unwrap();
        assert_rest_is_done(&database, doc! { "by": "us" }, &refused).await;
    }
}

#[tokio::test]
async fn a_unique_index_refuses_all_but_the_first() {
    let database = TestDatabase::new().await;
    insert_items(&database, 5).await;
    let unique = doc! { "key": { "by": 1 }, "name": "by_1", "unique": true,
    "partialFilterExpression": { "by": { "$exists": true } } };
    let create = doc! { "createIndexes": "items", "indexes": [unique] };
    database.database().run_command(create).await.unwrap();
    run(&database, [set_by("us")]).await.unwrap();
    assert_rest_is_done(&database, doc! { "by": "us" }, &[1, 2, 3, 4].map(Bson::from)).await;
    let (_, reason) = aside(&database).await.remove(0);
    assert!(reason.contains("duplicate key") && reason.ends_with("(error 11000)"), "{reason}");
}

#[tokio::test]
async fn documents_are_set_aside_whatever_their_ids_are() {
    let database = TestDatabase::new().await;
    let ids = |number: i32| {
        [
            Bson::from(number),
            (i64::from(number) << 40).into(),
            (f64::from(number) + 0.5).into(),
            format!("text {number}").into(),
            doc! { "a": number, "b": "x" }.into(),
            ObjectId::from_bytes([u8::try_from(number).unwrap(); 12]).into(),
        ]
    };
    let all: Vec<_> = (1..=60).flat_map(ids).collect();
    let refused: Vec<_> = ids(7).into_iter().chain(ids(8)).chain(ids(60)).collect();
    let items = all.iter().map(|id| doc! { "_id": id, "bad": refused.contains(id) });
    database.collection("items").insert_many(items).await.unwrap();
    refuse_items(&database, doc! { "bad": true, "done": true }).await;
    run(&database, [count_up()]).await.unwrap();
    assert_eq!(database.count("items", doc! { "n": 1, "bad": false }).await, 360 - 18);
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 360 - 18);
    let found = aside(&database).await;
    assert_eq!(found.len(), 18);
    for id in refused {
        assert!(found.iter().any(|(found, _)| *found == id), "{id}");
    }
}

#[tokio::test]
async fn a_later_start_neither_tries_them_again_nor_takes_the_lease() {
    let (database, _) = with_refused(50, &[3, 17]).await;
    run(&database, [count_up()]).await.unwrap();
    let before = database.hash().await;
    let (client, commands) = Commands::of_a_client().await;
    let engine = engine_of(&client, &database, &[Given::steps([count_up()])], fast());
    command(&engine).await.unwrap();
    assert_eq!(commands.writes(), Vec::<String>::new());
    assert!(commands.of("find", LOCK).is_empty() && commands.of("aggregate", LOCK).is_empty());
    assert_eq!(database.hash().await, before);
    // They are not forgotten.
    let status = engine.statuses().borrow()[0].clone();
    assert_eq!(status.quarantined.len(), 2);
}

#[tokio::test]
async fn new_documents_are_changed_while_others_stay_set_aside() {
    let (database, refused) = with_refused(50, &[3, 17]).await;
    run(&database, [count_up()]).await.unwrap();
    database.insert("items", [doc! { "_id": 100 }]).await;
    run(&database, [count_up()]).await.unwrap();
    assert_rest_is_done(&database, doc! { "n": 1 }, &refused).await;
    assert_eq!(parts(&database).await, [("items counted".to_owned(), 1)]);
}

#[tokio::test]
async fn quarantined_documents_are_tried_again_after_retry() {
    let (database, _) = with_refused(50, &[3, 17]).await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    command(&engine).await.unwrap();
    refuse_items(&database, doc! { "_id": 17, "done": true }).await;
    engine.retry(ID).await.unwrap();
    assert_eq!(state(&database).await, "pending");
    command(&engine).await.unwrap();
    assert_rest_is_done(&database, doc! { "n": 1 }, &[17.into()]).await;
    // This run changed one document, and the one before it 48.
    let history = entry(&database).await.get_array("history").unwrap().clone();
    let modified =
        history.iter().map(|run| run.as_document().unwrap().get_i64("modified").unwrap());
    assert_eq!(modified.collect::<Vec<_>>(), [48, 1]);
}

#[tokio::test]
async fn verify_and_plan_name_what_is_set_aside() {
    let (database, refused) = with_refused(50, &[3, 17]).await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    command(&engine).await.unwrap();
    let verification = &engine.verify().await.unwrap()[0];
    assert!(!verification.ok);
    let [finding] = &verification.violations[..] else { panic!("{verification:?}") };
    assert_eq!((finding.kind, finding.count), (ViolationKind::Quarantined, 2));
    assert_eq!(finding.documents, refused);
    assert!(finding.remedy.contains("`retry`") && finding.remedy.contains("validation"));
    let plan = &engine.plan().await.unwrap()[0];
    assert!(!plan.is_pending());
    let ids: Vec<_> =
        plan.quarantined.iter().map(|Quarantined { document, .. }| document.clone()).collect();
    assert_eq!(ids, refused);
    // One that was corrected since is no violation any more.
    refuse_items(&database, doc! { "_id": -1 }).await;
    let items = database.collection("items");
    items.update_one(doc! { "_id": 3 }, doc! { "$set": { "done": true } }).await.unwrap();
    let finding = engine.verify().await.unwrap()[0].violations[0].clone();
    assert_eq!((finding.count, finding.documents), (1, vec![17.into()]));
}

#[tokio::test]
async fn more_of_them_than_can_be_exceptions_are_a_failure() {
    let (database, _) = with_refused(50, &[3]).await;
    let given = Given::steps([count_up()]);
    command(&engine(&database, std::slice::from_ref(&given))).await.unwrap();
    let many: Vec<_> = (0..1_000)
        .map(|id| doc! { "what": "items counted", "document": id + 5_000, "reason": "refused" })
        .collect();
    edit_entry(&database, doc! { "$set": { "set_aside": many } }).await;
    let engine = engine(&database, &[given]);
    let failed = command(&engine).await.unwrap_err();
    assert!(
        matches!(
            failed,
            RunError {
                migration: Some(ID),
                kind: RunErrorKind::TooManyQuarantined { max: 1_000, .. }
            }
        ),
        "{failed:?}"
    );
    let message = "more than 1000 documents could not be changed; the last one, 3: Document failed \
        validation (error 121)";
    assert_eq!(failed.to_string(), format!("0001_test: {message}"));
    let entry = entry(&database).await;
    assert_eq!(entry.get_str("state").unwrap(), "failed_fatal");
    let error = entry.get_document("error").unwrap();
    assert_has(error, doc! { "class": "document", "message": message });
    assert_eq!(engine.statuses().borrow()[0].state, State::FailedFatal);
    assert_eq!(entry.get_array("set_aside").unwrap().len(), 1_000);
}

/// A client, and whether it has read the page that begins behind this id.
async fn reading(cursor: i32) -> (Client, Arc<AtomicBool>) {
    let (is_read, request) = (Arc::new(AtomicBool::new(false)), Mutex::new(None));
    let knows = is_read.clone();
    let client = monitored(move |event| match event {
        CommandEvent::Started(event) if !event.command.contains_key("autocommit") => {
            let behind = doc! { "_id": { "$gt": cursor, "$lte": 1_499 } };
            let filter = event.command.get_document("filter").ok();
            let range = filter.and_then(|filter| filter.get_array("$and").ok()?.first());
            if range == Some(&behind.into()) {
                *request.lock().unwrap() = Some(event.request_id);
            }
        }
        CommandEvent::Succeeded(event) if *request.lock().unwrap() == Some(event.request_id) => {
            knows.store(true, Ordering::SeqCst);
        }
        _ => {}
    });
    (client.await, is_read)
}

#[tokio::test]
async fn a_document_that_was_inserted_since_the_page_was_read_is_set_aside_under_its_own_name() {
    let database = TestDatabase::new().await;
    // 0 alone, then a page of 1,000, and while that is in its transaction the last page is read.
    insert_items(&database, 1_500).await;
    refuse_items(&database, doc! { "_id": 1_200.5, "by": "us" }).await;
    let (client, is_read) = reading(1_000).await;
    let items = database.collection("items");
    let step = each(doc! { "by": "us" }, move |batch| {
        let (items, is_read) = (items.clone(), is_read.clone());
        async move {
            if batch == 2 {
                eventually("the page is read", async || is_read.load(Ordering::SeqCst)).await;
                items.insert_one(doc! { "_id": 1_200.5 }).await.unwrap();
            }
        }
    });
    command(&engine_of(&client, &database, &[Given::steps([step])], fast())).await.unwrap();
    assert_rest_is_done(&database, doc! { "by": "us" }, &[1_200.5.into()]).await;
}

#[tokio::test]
async fn no_document_is_quarantined_in_the_place_of_a_refused_one_that_was_deleted() {
    let database = TestDatabase::new().await;
    insert_items(&database, 3).await;
    refuse_items(&database, doc! { "_id": 1, "by": "us" }).await;
    // As soon as the batch of 1 and 2 is refused, 1 is gone.
    let name = database.name().to_owned();
    let client = monitored(move |event| {
        if let CommandEvent::Succeeded(event) = event
            && event.reply.contains_key("writeErrors")
        {
            concurrently(&name, "items", async |items| {
                items.delete_one(doc! { "_id": 1 }).await.unwrap();
            });
        }
    });
    let step = each(doc! { "by": "us" }, |_| async {});
    command(&engine_of(&client.await, &database, &[Given::steps([step])], fast())).await.unwrap();
    assert_rest_is_done(&database, doc! { "by": "us" }, &[]).await;
}
