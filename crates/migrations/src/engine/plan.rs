//! Plans and verifications: reads that tell what a run would do and whether the data is correct.

use serde::Serialize;

use super::{
    Engine, Shared,
    status::{LedgerReport, MigrationReport},
};
use crate::{
    error::{RunError, RunErrorKind, StepsError},
    migration::Registered,
    state::{
        entry::{Entry, Quarantined, State},
        ledger::{Found, Problem},
    },
    steps::{PlanContext, PlannedStep, Steps, Violation, ViolationKind},
};

/// The outcome that a run of one migration would have.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Plan {
    /// The id of the migration.
    pub id: &'static str,
    /// A short description for people.
    pub summary: &'static str,
    /// The state in the ledger.
    pub state: State,
    /// The steps, or none if the migration waits.
    pub steps: Vec<PlannedStep>,
    /// The reason why the migration would wait or not run, if there is one.
    pub waits_for: Option<String>,
    /// The reason why the migration would be ignored, if a newer program has applied it.
    #[serde(rename = "left_alone")]
    pub ignored: Option<String>,
    /// Documents that a run would try again only after `retry`.
    #[serde(rename = "set_aside")]
    pub quarantined: Vec<Quarantined>,
}

impl Plan {
    /// Returns `true` if there is anything to do or to wait for.
    pub fn is_pending(&self) -> bool {
        self.waits_for.is_some() || self.steps.iter().any(|step| step.changes > 0)
    }
}

/// The result of comparing the data with one migration.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// The id of the migration.
    pub id: &'static str,
    /// `true` if all conditions hold in the data.
    pub ok: bool,
    /// The conditions that do not hold, and documents that are reported.
    #[serde(rename = "findings")]
    pub violations: Vec<Violation>,
    /// The disagreement of ledger and program about the migration, if any. It is independent of the
    /// data.
    pub problem: Option<Problem>,
}

impl Engine {
    /// Returns what a run would do now. Writes nothing.
    ///
    /// # Errors
    ///
    /// [`RunErrorKind::Drift`] and [`RunErrorKind::UnreadableEntry`] if a run would be refused;
    /// [`RunErrorKind::Database`].
    pub async fn plan(&self) -> Result<Vec<Plan>, RunError> {
        let mut plans = Vec::new();
        for registered in &self.shared.migrations {
            let plan = self.plan_one(registered, &plans).await;
            plans.push(plan.map_err(|error| error.of(registered.id()))?);
        }
        Ok(plans)
    }

    async fn plan_one(
        &self,
        registered: &Registered,
        earlier: &[Plan],
    ) -> Result<Plan, RunErrorKind> {
        let definition = &registered.definition;
        let mut plan = Plan { id: definition.id, summary: definition.summary, ..Plan::default() };
        let Found { entry, problem } = self.find(registered).await?;
        if let Some(Problem::Newer { revision, app_version }) = problem {
            plan.ignored = Some(format!("revision {revision} was applied by {app_version}"));
            return Ok(plan);
        }
        let mut rate = None;
        if let Some(entry) = entry {
            plan.state = entry.state_of(definition);
            if entry.revision == definition.revision {
                rate = rate_of(&entry);
                plan.quarantined = entry.quarantined;
            }
        }
        let would_wait =
            |id: &&&str| earlier.iter().any(|other| other.id == **id && other.waits_for.is_some());
        let waiting = definition.requires.iter().find(would_wait);
        plan.waits_for = waiting.map(|id| format!("{id}, which would wait"));
        if plan.state == State::Paused {
            plan.waits_for = Some("an operator's `resume`".to_owned());
            return Ok(plan);
        }
        let Shared { options, foreground, .. } = &*self.shared;
        let rate = rate.unwrap_or_else(|| options.throttle.usual_rate(foreground.can_tell()));
        match registered.migration.steps().await {
            Ok(steps) => self.plan_steps(&steps, &mut plan, rate).await?,
            Err(error) => plan.waits_for = Some(dependency(error)?),
        }
        Ok(plan)
    }

    async fn plan_steps(
        &self,
        steps: &Steps,
        plan: &mut Plan,
        rate: f64,
    ) -> Result<(), RunErrorKind> {
        for (position, step) in steps.iter().enumerate() {
            let (data, earlier) = (self.data(&plan.quarantined), &steps[..position]);
            match step.plan(PlanContext { data, earlier, rate }).await {
                Ok(planned) => plan.steps.extend(planned),
                Err(error) => plan.waits_for = Some(dependency(error)?),
            }
        }
        Ok(())
    }

    /// Compares the data with all migrations, whatever the ledger says; a disagreement about the
    /// ledger is reported separately. Writes nothing.
    ///
    /// # Errors
    ///
    /// [`RunErrorKind::Dependency`] if a required service is unavailable;
    /// [`RunErrorKind::Database`].
    pub async fn verify(&self) -> Result<Vec<Verification>, RunError> {
        let Shared { service, migrations, ledger, .. } = &*self.shared;
        let documents = ledger.documents().await.map_err(RunErrorKind::from)?;
        let report = LedgerReport::new(service, migrations, &documents, None);
        let mut verifications = Vec::new();
        for (registered, report) in migrations.iter().zip(report.migrations) {
            let verification = self.verify_one(registered, report).await;
            verifications
                .push(verification.map_err(|error| RunErrorKind::from(error).of(registered.id()))?);
        }
        Ok(verifications)
    }

    async fn verify_one(
        &self,
        registered: &Registered,
        MigrationReport { id, problem, entry, .. }: MigrationReport,
    ) -> Result<Verification, StepsError> {
        let quarantined = entry.map(|entry| entry.quarantined).unwrap_or_default();
        let mut violations: Vec<Violation> = Vec::new();
        for step in registered.migration.steps().await? {
            violations.extend(step.verify(self.data(&quarantined)).await?);
        }
        let ok = violations.iter().all(|one| one.kind == ViolationKind::Skipped);
        Ok(Verification { id, ok, violations, problem })
    }
}

/// Returns a description of the service that a plan has to wait for; fails with any other error.
fn dependency(error: StepsError) -> Result<String, RunErrorKind> {
    match error {
        StepsError::Dependency { name, cause } => Ok(format!("{name}: {cause}")),
        StepsError::Database(error) => Err(error.into()),
    }
}

/// Returns the documents a second of an interrupted run.
fn rate_of(entry: &Entry) -> Option<f64> {
    entry.progress.as_ref().map(|progress| progress.rate).filter(|rate| *rate > 0.0)
}
