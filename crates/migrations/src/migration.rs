//! A migration: its definition and its steps.

use std::{ops::Deref, sync::Arc};

use async_trait::async_trait;
use mongodb::bson::{Document, doc};

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

/// A migration with the same steps at every start: they depend neither on settings nor on data nor
/// on other services, and the specification is that of the steps.
#[derive(Debug, Clone)]
pub struct FixedMigration {
    definition: Definition,
    steps: Steps,
}

impl FixedMigration {
    /// Returns a migration with these steps, in the order in which they run.
    pub fn new(definition: Definition, steps: Steps) -> Self {
        Self { definition, steps }
    }
}

#[async_trait]
impl Migration for FixedMigration {
    fn definition(&self) -> Definition {
        self.definition.clone()
    }

    fn specification(&self) -> Document {
        doc! { "steps": self.steps.iter().map(|step| step.specification()).collect::<Vec<_>>() }
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        Ok(self.steps.clone())
    }
}

/// Declares a module for each migration, and a function that returns the migrations in this order.
///
/// Each module has a function `migration` that takes the context and returns the [`Migration`]:
///
/// ```ignore
/// migrations::list! {
///     /// Returns the migrations of the service.
///     fn all(&Context):
///
///     article_language,
///     article_slugs,
/// }
/// ```
///
/// `cargo fmt` does not find modules that a macro declares: pass their files to `rustfmt`.
#[macro_export]
macro_rules! list {
    (
        $(#[$attribute:meta])* $visibility:vis fn $name:ident(&$context:ty):
        $($module:ident),+ $(,)?
    ) => {
        $(mod $module;)+

        $(#[$attribute])*
        $visibility fn $name(
            context: &$context,
        ) -> ::std::vec::Vec<::std::sync::Arc<dyn $crate::Migration>> {
            ::std::vec![$(::std::sync::Arc::new($module::migration(context))),+]
        }
    };
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
