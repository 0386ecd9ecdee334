//! Plans, and starts at which nothing is left to do.

use migrations::{Fill, Index, Insert, Options, Plan, Skip, State, StepsError, Throttle};
use mongodb::{
    bson::{Document, doc},
    options::IndexOptions,
};
use test_support::TestDatabase;

use crate::support::{
    Commands, Gate, Given, ID, JOURNAL, LOCK, Service, Step, arc, assert_has, command, count_up,
    each_with_gate, engine, engine_of, entry, fast, insert_items, refuse_items, run, set_by,
};

fn index(name: &str) -> Step {
    arc(Index::new("items", name, doc! { "a": 1 }, IndexOptions::default()))
}

fn insert(documents: impl Into<Vec<Document>>) -> Step {
    arc(Insert {
        key: "the first items".into(),
        collection: "items",
        unless: doc! { "is_first": true },
        documents: documents.into(),
    })
}

fn leave_out(filter: Document) -> Step {
    arc(Skip {
        key: "items left".into(),
        reason: "an editor chose so".to_owned(),
        documents: Some(("items", filter)),
    })
}

fn waiting() -> Given {
    let given = Given::new(async || {
        let cause = "connection refused".into();
        Err(StepsError::Dependency { name: "the oracle".to_owned(), cause })
    });
    given.called("0002_waiting")
}

async fn plan(database: &TestDatabase, given: Given, options: Options) -> Plan {
    let client = database.connection().client();
    engine_of(client, database, &[given], options).plan().await.unwrap().remove(0)
}

#[tokio::test]
async fn a_plan_says_what_a_run_would_do_and_writes_nothing() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let (client, commands) = Commands::of_a_client().await;
    let steps = [
        count_up(),
        index("a_1"),
        insert([doc! { "is_first": true }, doc! {}]),
        leave_out(doc! { "_id": { "$lt": 4 } }),
    ];
    let engine = engine_of(&client, &database, &[Given::steps(steps), waiting()], fast());
    let before = database.hash().await;
    let plans = engine.plan().await.unwrap();
    assert_eq!(database.hash().await, before);
    let collections = database.database().list_collection_names().await.unwrap();
    assert_eq!(collections, ["items"]);

    let changes: Vec<_> = plans[0].steps.iter().map(|step| step.changes).collect();
    assert_eq!(changes, [10, 1, 2, 0]);
    assert_eq!(plans[0].steps[3].skipped.as_ref().unwrap().count, 4);
    assert_eq!(plans[1].waits_for.as_deref(), Some("the oracle: connection refused"));
    assert!(plans.iter().all(Plan::is_pending));
    assert_eq!(commands.writes(), Vec::<String>::new());
    assert!(commands.all().len() > 5);
}

#[tokio::test]
async fn after_a_run_the_plan_is_empty() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let steps = [count_up(), index("a_1"), insert([doc! { "is_first": true, "done": true }])];
    run(&database, steps.clone()).await.unwrap();
    let plan = plan(&database, Given::steps(steps), fast()).await;
    assert!(!plan.is_pending() && plan.state == State::Applied, "{plan:?}");
}

#[tokio::test]
async fn a_plan_names_the_index_that_finds_the_documents_if_there_is_one() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let found_by =
        async || plan(&database, Given::steps([set_by("us")]), fast()).await.steps[0].index.clone();
    assert_eq!(found_by().await, None);
    let create =
        doc! { "createIndexes": "items", "indexes": [{ "key": { "by": 1 }, "name": "by_1" }] };
    database.database().run_command(create).await.unwrap();
    assert_eq!(found_by().await.as_deref(), Some("by_1"));
}

#[tokio::test]
async fn a_plan_estimates_how_long_a_run_would_take() {
    let database = TestDatabase::new().await;
    insert_items(&database, 1_000).await;
    let estimate = async |throttle| {
        let options = Options { throttle, ..fast() };
        let plan = plan(&database, Given::steps([set_by("us")]), options).await;
        plan.steps[0].estimate_seconds.unwrap()
    };
    let limit =
        |limit: u32| Throttle { documents_per_second: limit.try_into().ok(), ..Throttle::OFF };
    assert!((0.001..1.0).contains(&estimate(Throttle::OFF).await));
    assert!(estimate(Throttle::GENTLE).await > estimate(Throttle::OFF).await);
    assert_eq!(estimate(limit(10)).await, 100.0);
    // The time for an index or a missing document is unknown.
    let plan = plan(&database, Given::steps([index("a_1")]), fast()).await;
    assert_eq!(plan.steps[0].estimate_seconds, None);
}

#[tokio::test]
async fn the_estimate_of_a_run_that_was_interrupted_follows_its_rate() {
    let database = TestDatabase::new().await;
    insert_items(&database, 2_500).await;
    let gate = Gate::default();
    let engine = engine(&database, &[Given::steps([each_with_gate("us", &gate, 3)])]);
    let service = Service::start(&engine);
    gate.reached().await;
    let update = doc! { "$set": { "progress.rate": 15.0 } };
    crate::support::edit_entry(&database, update).await;
    let plan = &engine.plan().await.unwrap()[0];
    #[expect(clippy::cast_precision_loss, reason = "2,500 at most")]
    let expected = plan.steps[0].changes as f64 / 15.0;
    assert_eq!(plan.steps[0].estimate_seconds, Some(expected));
    assert_eq!(plan.state, State::Running);
    gate.open();
    service.ends().await;
}

/// Everything that a start may have to look at, and a document that was set aside.
fn everything() -> Vec<Given> {
    let marked = arc(Fill::set("marked", "items", doc! { "mark": null }, doc! { "mark": true }));
    let first = [doc! { "_id": "first", "is_first": true, "done": true, "by": "us" }];
    vec![
        Given::steps([count_up(), index("a_1"), insert(first), leave_out(doc! { "done": null })]),
        Given::steps([set_by("us"), marked]).called("0002_more").blocking(true).requiring(&[ID]),
    ]
}

#[tokio::test]
async fn a_start_with_nothing_to_do_writes_nothing_and_does_not_even_look_at_the_lease() {
    let database = TestDatabase::new().await;
    insert_items(&database, 50).await;
    refuse_items(&database, doc! { "_id": 7, "done": true }).await;
    command(&engine(&database, &everything())).await.unwrap();
    let before = database.hash().await;
    let lease = database.one(LOCK, doc! {}).await;

    let (client, commands) = Commands::of_a_client().await;
    let engine = engine_of(&client, &database, &everything(), fast());
    Service::start(&engine).ends().await;
    command(&engine).await.unwrap();
    let all = commands.all();
    assert!(all.len() > 5);
    assert_eq!(commands.writes(), Vec::<String>::new());
    for command in all {
        let is_of = |name: &str| command.values().any(|value| value.as_str() == Some(name));
        assert!(!is_of(LOCK) && !is_of(JOURNAL), "{command}");
    }
    assert_eq!(database.hash().await, before);
    assert_eq!(database.one(LOCK, doc! {}).await, lease);
    let entry = entry(&database).await;
    assert_has(&entry, doc! { "attempts": 1_i64, "state": "applied" });
}
