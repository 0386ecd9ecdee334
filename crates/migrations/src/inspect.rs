//! Reporting what a migration leaves as it is: what a filter finds, and what an inspection finds.

use std::collections::HashSet;

use mongodb::{Database, bson::Document};

use crate::{Engine, Inspection, LeftOut, Patience, Step, StepsError};

/// The most documents, in all collections of an inspection together, that each start of a service
/// reads again: for longer than a tenth of a second a start should not be held up by a report.
const MAX_DOCUMENTS_AT_START: u64 = 20_000;

impl Step {
    /// Returns what the step reports, or `None` if it is not a step that reports something.
    pub(crate) async fn report(
        &self,
        database: &Database,
    ) -> Result<Option<Vec<LeftOut>>, StepsError> {
        match self {
            Self::LeaveOut(leave_out) => {
                Ok(Some(Vec::from_iter(leave_out.report(database).await?)))
            }
            Self::Inspect(inspection) => Ok(Some(inspection.inspector.inspect().await?)),
            Self::Fill(_) | Self::Index(_) | Self::Insert(_) => Ok(None),
        }
    }
}

impl Engine {
    /// Returns whether the inspections among the steps of an applied migration find anything else
    /// than the ledger has.
    ///
    /// A command always inspects again. A service does where that is quick, or where its start has
    /// changed something: reading millions of documents at each start would cost the site more
    /// than the news is worth, and `migrate up` or `migrate verify` are there for them.
    pub(crate) async fn has_news(
        &self,
        steps: &[Step],
        recorded: &[LeftOut],
        patience: Patience,
    ) -> Result<bool, StepsError> {
        let inspections: Vec<&Inspection> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Inspect(inspection) => Some(inspection),
                _ => None,
            })
            .collect();
        if inspections.is_empty() {
            return Ok(false);
        }
        let has_changed_something =
            self.statuses().borrow().iter().any(|status| !status.parts.is_empty());
        if patience == Patience::Service
            && !has_changed_something
            && self.count(&inspections).await? > MAX_DOCUMENTS_AT_START
        {
            return Ok(false);
        }
        let mut found = Vec::new();
        for inspection in &inspections {
            found.extend(inspection.inspector.inspect().await?);
        }
        let is_of_filter = |left: &LeftOut| {
            steps.iter().any(|step| matches!(step, Step::LeaveOut(one) if left.is_of(one)))
        };
        let recorded = recorded.iter().filter(|left| !is_of_filter(left));
        Ok(!recorded.eq(&found))
    }

    /// Returns roughly how many documents the collections of some inspections have.
    async fn count(&self, inspections: &[&Inspection]) -> mongodb::error::Result<u64> {
        let names: HashSet<_> = inspections.iter().flat_map(|one| one.collections).collect();
        let mut count = 0;
        for name in names {
            let collection = self.0.database.collection::<Document>(name);
            count += collection.estimated_document_count().await?;
        }
        Ok(count)
    }
}
