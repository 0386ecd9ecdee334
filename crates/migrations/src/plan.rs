//! What a run would do and whether all that has to hold holds, found out without writing.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{TryStreamExt, future::try_join_all};
use mongodb::{
    Database,
    bson::{Bson, Document, doc},
    error::{Error, Result},
};
use serde::Serialize;

use crate::{LeaveOut, LeftOut, Problem, SetAside, State, Step, StepsError, ledger::EXAMPLES};

/// What a run of one migration would do.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The migration's id.
    pub id: &'static str,
    /// What it does, for a person.
    pub summary: &'static str,
    /// What the ledger says about it.
    pub state: State,
    /// What it would do, step by step; empty where it waits.
    pub steps: Vec<PlannedStep>,
    /// What it waits for, or why it would not run, if so.
    pub waits_for: Option<String>,
    /// Why it would be left alone, if so: a newer program has run it.
    pub left_alone: Option<String>,
    /// Documents that a run would try again only after `retry`.
    pub set_aside: Vec<SetAside>,
}

/// What a run of one step would do.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedStep {
    /// Which step it is.
    pub what: String,
    /// How many documents it would change or insert, or indexes it would build.
    pub changes: i64,
    /// The index that finds the documents; none where the whole collection is read.
    pub index: Option<String>,
    /// What would make the step fail.
    pub obstacles: Vec<Finding>,
    /// How long it would take in seconds, at the rate of a run that was interrupted, or else at the
    /// usual rate under the engine's throttle.
    pub estimate_seconds: Option<f64>,
    /// What it would leave as it is, and why.
    pub left_out: Option<LeftOut>,
}

impl Plan {
    /// Whether there is anything to do or to wait for.
    pub fn is_pending(&self) -> bool {
        self.waits_for.is_some() || self.steps.iter().any(|step| step.changes > 0)
    }
}

/// Something that does not hold, or that somebody may want to know.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// Which step, in the words of the migration.
    pub what: String,
    /// How many documents, indexes or groups of duplicates.
    pub count: i64,
    /// `_id`s of some of the documents.
    pub documents: Vec<Bson>,
    /// What it means or what to do about it.
    pub remedy: String,
}

/// What a finding is about. All but [`FindingKind::LeftOut`] mean that something does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Documents that are still to be changed.
    Remaining,
    /// Documents that could not be changed.
    SetAside,
    /// Documents that are still to be inserted.
    NotInserted,
    /// An index that does not exist.
    MissingIndex,
    /// An index of the name that is another one.
    OtherIndex,
    /// An index of another name that makes the server refuse the wanted one.
    EquivalentIndex,
    /// An index cannot be added, since the collection has as many as the server allows.
    TooManyIndexes,
    /// Documents that stop a unique index.
    Duplicates,
    /// Documents that stop an index, since two of its fields are lists.
    ParallelArrays,
    /// A unique index that refuses what documents are to be changed to.
    UniqueIndex,
    /// Published documents that neither a list nor a look-up finds. They keep no migration from
    /// being applied.
    Unreachable,
    /// Something that is left as it is, with the reason: references that point nowhere, what
    /// somebody chose, what nothing is known about.
    LeftOut,
}

impl FindingKind {
    /// Returns whether an index of the collection stands where the wanted one belongs.
    pub(crate) const fn is_other_index(self) -> bool {
        matches!(self, Self::OtherIndex | Self::EquivalentIndex)
    }
}

/// What a look at the data of one migration found.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// The migration's id.
    pub id: &'static str,
    /// Whether all that has to hold holds in the data.
    pub ok: bool,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Why the ledger and this program do not agree about it, which says nothing of the data.
    pub problem: Option<Problem>,
}

impl Step {
    /// Where documents are that it changes or reports, and which.
    pub(crate) fn documents(&self, set_aside: &[SetAside]) -> Option<(&'static str, Document)> {
        match self {
            Self::Fill(fill) => Some((fill.collection, fill.pending(set_aside))),
            Self::LeaveOut(leave_out) => leave_out.documents.clone(),
            Self::Index(_) | Self::Insert(_) | Self::Inspect(_) => None,
        }
    }

    /// Whether a run would change anything. Cheap where the step's filter has an index.
    pub(crate) async fn is_pending(
        &self,
        database: &Database,
        set_aside: &[SetAside],
    ) -> Result<bool> {
        match self {
            Self::Fill(fill) => fill.is_pending(database, set_aside).await,
            Self::Index(index) => Ok(!index.exists(database).await?),
            Self::Insert(insert) => insert.is_pending(database).await,
            Self::LeaveOut(_) | Self::Inspect(_) => Ok(false),
        }
    }

    /// How much is left to do.
    pub(crate) async fn remaining(
        &self,
        database: &Database,
        set_aside: &[SetAside],
    ) -> Result<i64> {
        match self {
            Self::Fill(fill) => fill.remaining(database, set_aside).await,
            Self::Insert(insert) => {
                let count = i64::try_from(insert.documents.len()).unwrap_or(i64::MAX);
                Ok(if insert.is_pending(database).await? { count } else { 0 })
            }
            Self::Index(_) | Self::LeaveOut(_) | Self::Inspect(_) => {
                Ok(self.is_pending(database, set_aside).await?.into())
            }
        }
    }

    /// The step in words, with the name of an index.
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Fill(fill) => fill.what.clone(),
            Self::Index(index) => format!("index {} on {}", index.name(), index.collection),
            Self::Insert(insert) => insert.what.clone(),
            Self::LeaveOut(leave_out) => leave_out.what.clone(),
            Self::Inspect(inspection) => inspection.what.clone(),
        }
    }

    /// Returns what a run would do, in numbers, and what would make it fail. `earlier` are the steps
    /// that would run before this one.
    pub(crate) async fn plan(
        &self,
        database: &Database,
        earlier: &[Step],
        set_aside: &[SetAside],
        rate: f64,
    ) -> std::result::Result<Vec<PlannedStep>, StepsError> {
        let what = self.what();
        if let Some(reported) = self.report(database).await? {
            let planned = reported.into_iter().map(|left| PlannedStep {
                what: left.what.clone(),
                changes: 0,
                index: None,
                obstacles: Vec::new(),
                estimate_seconds: None,
                left_out: Some(left),
            });
            return Ok(planned.collect());
        }
        let changes = self.remaining(database, set_aside).await?;
        let (mut index, mut estimate_seconds) = (None, None);
        let obstacles = match self {
            Self::Index(index) if changes > 0 => index.obstacles(database, earlier).await?,
            Self::Fill(fill) if changes > 0 => fill.obstacles(database, set_aside).await?,
            _ => Vec::new(),
        };
        if let Self::Fill(fill) = self
            && changes > 0
        {
            index = index_for(database, fill.collection, &fill.filter).await?;
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let documents = changes as f64;
            estimate_seconds = Some(documents / rate);
        }
        let left_out = None;
        Ok(vec![PlannedStep { what, changes, index, obstacles, estimate_seconds, left_out }])
    }

    /// What does not hold, with the names of documents.
    pub(crate) async fn verify(
        &self,
        database: &Database,
        set_aside: &[SetAside],
    ) -> std::result::Result<Vec<Finding>, StepsError> {
        let what = self.what();
        let finding = |kind, count, documents, remedy: &str| Finding {
            kind,
            what: what.clone(),
            count,
            documents,
            remedy: remedy.to_owned(),
        };
        let mut findings = Vec::new();
        match self {
            Self::Fill(fill) => {
                let count = fill.remaining(database, set_aside).await?;
                if count > 0 {
                    let filter = fill.pending(set_aside);
                    let documents = examples(database, fill.collection, filter).await?;
                    let remedy = "`up` changes them";
                    findings.push(finding(FindingKind::Remaining, count, documents, remedy));
                }
                // Only those that still need it: somebody may have corrected the others.
                let aside = set_aside.iter().filter(|aside| aside.what == fill.what);
                let ids: Vec<_> = aside.clone().map(|aside| aside.document.clone()).collect();
                let still = doc! { "$and": [{ "_id": { "$in": ids } }, fill.filter.clone()] };
                let documents = examples(database, fill.collection, still.clone()).await?;
                if !documents.is_empty() {
                    let collection = database.collection::<Document>(fill.collection);
                    let count = collection.count_documents(still).await?;
                    let count = i64::try_from(count).unwrap_or(i64::MAX);
                    let reason = aside.map(|aside| aside.reason.as_str()).next().unwrap_or("");
                    let remedy = format!("correct them, then `retry`: {reason}");
                    findings.push(finding(FindingKind::SetAside, count, documents, &remedy));
                }
            }
            Self::Insert(insert) => {
                let count = self.remaining(database, set_aside).await?;
                if count > 0 {
                    let remedy = format!("`up` inserts them into {}", insert.collection);
                    findings.push(finding(FindingKind::NotInserted, count, Vec::new(), &remedy));
                }
            }
            Self::Index(index) => {
                if !index.exists(database).await? {
                    let obstacles = index.obstacles(database, &[]).await?;
                    // What is in its way says that it is not there.
                    if !obstacles.iter().any(|one| one.kind.is_other_index()) {
                        let remedy = "`up` builds it";
                        findings.push(finding(FindingKind::MissingIndex, 1, Vec::new(), remedy));
                    }
                    findings.extend(obstacles);
                }
            }
            Self::LeaveOut(_) | Self::Inspect(_) => {
                for left in self.report(database).await?.unwrap_or_default() {
                    let LeftOut { what, reason: remedy, count, examples: documents, unreachable } =
                        left;
                    let kind =
                        if unreachable { FindingKind::Unreachable } else { FindingKind::LeftOut };
                    findings.push(Finding { kind, what, count, documents, remedy });
                }
            }
        }
        Ok(findings)
    }
}

/// The collections in which no document is left to change or to report. One look at each says so
/// for all steps together, where one a step would read the whole collection several times.
pub(crate) async fn without_matches(
    database: &Database,
    steps: &[Step],
    set_aside: &[SetAside],
) -> Result<BTreeSet<&'static str>> {
    let mut filters = BTreeMap::<_, Vec<_>>::new();
    for (collection, filter) in steps.iter().filter_map(|step| step.documents(set_aside)) {
        filters.entry(collection).or_default().push(filter);
    }
    let looks = filters.into_iter().map(async |(collection, filters)| {
        let any = doc! { "$or": filters };
        let documents = database.collection::<Document>(collection);
        let found = documents.find_one(any).projection(doc! { "_id": 1 }).await?;
        Ok::<_, Error>(found.is_none().then_some(collection))
    });
    Ok(try_join_all(looks).await?.into_iter().flatten().collect())
}

/// Some of the documents that a filter matches.
pub(crate) async fn examples(
    database: &Database,
    collection: &str,
    filter: Document,
) -> Result<Vec<Bson>> {
    let limit = i64::try_from(EXAMPLES).unwrap_or(i64::MAX);
    let collection = database.collection::<Document>(collection);
    let found = collection.find(filter).projection(doc! { "_id": 1 }).limit(limit);
    let ids: Vec<Document> = found.await?.try_collect().await?;
    Ok(ids.into_iter().map(|mut id| id.remove("_id").unwrap_or(Bson::Null)).collect())
}

/// The index with which the server would find the documents of a filter.
async fn index_for(
    database: &Database,
    collection: &str,
    filter: &Document,
) -> Result<Option<String>> {
    let find = doc! { "find": collection, "filter": filter };
    let explain = doc! { "explain": find, "verbosity": "queryPlanner" };
    let answer = database.run_command(explain).await?;
    let planner = answer.get_document("queryPlanner");
    Ok(planner.ok().and_then(|planner| index_name(planner.get("winningPlan")?)))
}

/// The name of the first index in a plan, however deep it is.
fn index_name(plan: &Bson) -> Option<String> {
    match plan {
        Bson::Document(stage) => match stage.get_str("indexName") {
            Ok(name) => Some(name.to_owned()),
            Err(_) => stage.values().find_map(index_name),
        },
        Bson::Array(stages) => stages.iter().find_map(index_name),
        _ => None,
    }
}

impl LeaveOut {
    /// Whether there is anything to leave.
    pub(crate) async fn is_there(&self, database: &Database) -> Result<bool> {
        let Some((collection, filter)) = &self.documents else { return Ok(true) };
        let collection = database.collection::<Document>(collection);
        Ok(collection.find_one(filter.clone()).projection(doc! { "_id": 1 }).await?.is_some())
    }

    /// Counts what is left and names some of it; none where there is nothing.
    pub(crate) async fn report(&self, database: &Database) -> Result<Option<LeftOut>> {
        let mut left_out = LeftOut {
            what: self.what.clone(),
            reason: self.reason.clone(),
            count: 0,
            examples: Vec::new(),
            unreachable: false,
        };
        if let Some((collection, filter)) = &self.documents {
            left_out.examples = examples(database, collection, filter.clone()).await?;
            // Where there are fewer than would be named, they are counted by now: each look may
            // read the whole collection.
            let mut count = u64::try_from(left_out.examples.len()).unwrap_or(u64::MAX);
            if left_out.examples.len() == EXAMPLES {
                let collection = database.collection::<Document>(collection);
                count = collection.count_documents(filter.clone()).await?;
            }
            left_out.count = i64::try_from(count).unwrap_or(i64::MAX);
        }
        let is_there = left_out.count > 0 || self.documents.is_none();
        Ok(is_there.then_some(left_out))
    }
}
