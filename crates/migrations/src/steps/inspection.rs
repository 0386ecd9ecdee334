//! Documents that are reported and that no filter can find.

use std::sync::Arc;

use async_trait::async_trait;
use mongodb::{
    Database,
    bson::{Document, doc},
};

use super::Step;
use crate::{
    error::StepsError,
    state::{entry::Skipped, step_key::StepKey},
};

/// A step that reads documents and reports some of them, for conditions that a filter cannot
/// express. It changes nothing and does not keep a migration from being applied; the ledger records
/// the report.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The stable key of the step.
    pub key: StepKey,
    /// The collections that are read.
    pub collections: &'static [&'static str],
    /// The code that reads them.
    pub inspector: Arc<dyn Inspect>,
}

/// Reads collections and reports documents.
#[async_trait]
pub trait Inspect: Send + Sync + std::fmt::Debug {
    /// Returns the report, in the same order each time.
    async fn inspect(&self) -> Result<Vec<Skipped>, StepsError>;
}

#[async_trait]
impl Step for Inspection {
    fn key(&self) -> StepKey {
        self.key.clone()
    }

    fn specification(&self) -> Document {
        doc! { "inspect": &self.key, "collections": self.collections.to_vec() }
    }

    fn collection(&self) -> Option<&'static str> {
        // It changes nothing that foreground work could wait for.
        None
    }

    async fn report(&self, _: &Database) -> Result<Vec<Skipped>, StepsError> {
        self.inspector.inspect().await
    }

    fn as_inspection(&self) -> Option<&Inspection> {
        Some(self)
    }
}
