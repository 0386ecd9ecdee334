//! A migration: its definition and its steps.

use std::{ops::Deref, sync::Arc};

use async_trait::async_trait;
use mongodb::bson::Document;

use crate::{
    definition::{Declaration, Definition},
    error::StepsError,
    steps::Steps,
};

/// A condition that must hold in a database, and the steps that establish it.
#[async_trait]
pub trait Migration: Send + Sync {
    /// Returns the id of the migration and its properties.
    fn definition(&self) -> Definition;

    /// Returns the declared behaviour of the migration, independent of data and settings:
    /// collections, filters, values, keys of indexes. The checksum in the ledger covers it together
    /// with id and revision, so that a released migration cannot change unnoticed.
    /// [`Step::specification`](crate::Step::specification) returns the part of one step.
    fn specification(&self) -> Document;

    /// Returns the steps, which may depend on settings, on the data and on other services. Must not
    /// write.
    async fn steps(&self) -> Result<Steps, StepsError>;
}

/// A migration of an engine, with its declaration.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) migration: Arc<dyn Migration>,
    declaration: Declaration,
}

impl Registered {
    pub(crate) fn new(migration: Arc<dyn Migration>) -> Self {
        let declaration = Declaration::new(migration.definition(), migration.specification());
        Self { migration, declaration }
    }
}

impl Deref for Registered {
    type Target = Declaration;

    fn deref(&self) -> &Declaration {
        &self.declaration
    }
}
