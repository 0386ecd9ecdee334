//! Inspections: what takes more than a filter is reported by plan, run and verify alike.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use migrations::{
    Inspect, Inspection, RunError, RunErrorKind, Skipped, StepsError, ViolationKind, WaitPolicy,
};
use mongodb::bson::{Document, doc};
use test_support::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::support::{Given, LEDGER, Step, arc, command, count_up, engine, entry, insert_items};

/// Reports what it was told to, and counts how often it is asked.
#[derive(Debug, Default)]
struct Told {
    found: Mutex<Vec<Skipped>>,
    inspections: AtomicUsize,
}

#[async_trait]
impl Inspect for Told {
    async fn inspect(&self) -> Result<Vec<Skipped>, StepsError> {
        self.inspections.fetch_add(1, Ordering::SeqCst);
        Ok(self.found.lock().unwrap().clone())
    }
}

impl Told {
    fn tell(&self, found: &[Skipped]) {
        *self.found.lock().unwrap() = found.to_vec();
    }

    /// Returns how often it was asked since this was called last.
    fn inspections(&self) -> usize {
        self.inspections.swap(0, Ordering::SeqCst)
    }

    fn step(self: &Arc<Self>) -> Step {
        arc(Inspection {
            key: "items that cannot be read".into(),
            collections: &["items"],
            inspector: self.clone(),
        })
    }
}

fn unreadable(count: i64) -> Skipped {
    Skipped {
        step: "items whose `date` cannot be read".into(),
        reason: "correct it".to_owned(),
        count,
        examples: vec![1.into()],
        unreachable: false,
    }
}

fn unreachable() -> Skipped {
    Skipped { step: "published items".into(), unreachable: true, ..unreadable(2) }
}

fn recorded(entry: &Document) -> Vec<(&str, i64, bool)> {
    let left = entry.get_array("left_out").unwrap().iter().map(|one| one.as_document().unwrap());
    left.map(|one| {
        let is_unreachable = one.get_bool("unreachable").unwrap_or_default();
        (one.get_str("what").unwrap(), one.get_i64("count").unwrap(), is_unreachable)
    })
    .collect()
}

#[tokio::test]
async fn plan_run_and_verify_say_the_same_and_only_verify_fails() {
    let database = TestDatabase::new().await;
    let told = Arc::new(Told::default());
    told.tell(&[unreadable(3), unreachable()]);
    let engine = engine(&database, &[Given::steps([told.step()])]);
    let plan = engine.plan().await.unwrap().remove(0);
    assert!(!plan.is_pending());
    let planned: Vec<_> = plan.steps.into_iter().filter_map(|step| step.skipped).collect();
    assert_eq!(planned, [unreadable(3), unreachable()]);
    assert_eq!(database.count(LEDGER, doc! {}).await, 0);

    command(&engine).await.unwrap();
    assert_eq!(engine.statuses().borrow()[0].skipped, [unreadable(3), unreachable()]);
    let entry = entry(&database).await;
    assert_eq!(entry.get_str("state").unwrap(), "applied");
    assert!(entry.get_document("verify").unwrap().get_bool("ok").unwrap());
    let expected = [("items whose `date` cannot be read", 3, false), ("published items", 2, true)];
    assert_eq!(recorded(&entry), expected);
    let report = engine.report().await.unwrap();
    let of_report = &report.migrations[0].entry.as_ref().unwrap().skipped;
    assert_eq!(of_report, &[unreadable(3), unreachable()]);

    let verification = engine.verify().await.unwrap().remove(0);
    let kinds: Vec<_> = verification.violations.iter().map(|one| (one.kind, one.count)).collect();
    assert_eq!(kinds, [(ViolationKind::Skipped, 3), (ViolationKind::Unreachable, 2)]);
    assert!(!verification.ok);
    told.tell(&[unreadable(3)]);
    assert!(engine.verify().await.unwrap().remove(0).ok);
}

#[tokio::test]
async fn a_command_looks_again_and_writes_only_news() {
    let database = TestDatabase::new().await;
    let told = Arc::new(Told::default());
    let another = || engine(&database, &[Given::steps([told.step()])]);
    command(&another()).await.unwrap();
    for found in [vec![unreadable(1)], vec![unreadable(2)], vec![]] {
        told.tell(&found);
        command(&another()).await.unwrap();
        let counts: Vec<_> = recorded(&entry(&database).await).iter().map(|one| one.1).collect();
        assert_eq!(counts, found.iter().map(|one| one.count).collect::<Vec<_>>());
        let before = database.hash().await;
        command(&another()).await.unwrap();
        assert_eq!(database.hash().await, before, "{found:?}");
    }
}

#[tokio::test]
async fn a_service_looks_again_where_that_is_quick_or_where_its_start_changed_something() {
    let database = TestDatabase::new().await;
    let told = Arc::new(Told::default());
    let start = async || {
        let given = [Given::steps([count_up()]), Given::steps([told.step()]).called("0002_report")];
        let engine = engine(&database, &given);
        engine.run(WaitPolicy::Forever, &CancellationToken::new()).await?;
        Ok::<_, RunError>(told.inspections())
    };
    start().await.unwrap();
    assert_eq!(start().await.unwrap(), 1, "few documents are quick");
    insert_items(&database, 20_001).await;
    assert!(start().await.unwrap() > 0, "documents were filled");
    assert_eq!(start().await.unwrap(), 0, "nothing has changed in many");
}

#[tokio::test]
async fn a_service_that_an_inspection_needs_is_waited_for() {
    #[derive(Debug)]
    struct Away;
    #[async_trait]
    impl Inspect for Away {
        async fn inspect(&self) -> Result<Vec<Skipped>, StepsError> {
            let cause = "connection refused".into();
            Err(StepsError::Dependency { name: "the oracle".to_owned(), cause })
        }
    }
    let database = TestDatabase::new().await;
    let step =
        arc(Inspection { key: "items".into(), collections: &["items"], inspector: Arc::new(Away) });
    let engine = engine(&database, &[Given::steps([step])]);
    let plan = engine.plan().await.unwrap().remove(0);
    assert_eq!(plan.waits_for.as_deref(), Some("the oracle: connection refused"));
    assert!(matches!(
        engine.verify().await.unwrap_err(),
        RunError { kind: RunErrorKind::Dependency(_), .. }
    ));
    assert!(matches!(
        command(&engine).await.unwrap_err(),
        RunError { kind: RunErrorKind::Dependency(_), .. }
    ));
    assert_eq!(entry(&database).await.get_str("state").unwrap(), "waiting_dependency");
}
