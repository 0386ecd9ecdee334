//! The key of a step in ledger and journal.

use std::{borrow::Cow, fmt};

use mongodb::bson::Bson;
use serde::{Deserialize, Serialize};

/// The stable key of a step. It identifies the step in the ledger and in the journal, and people
/// read it in reports.
///
/// An interrupted run finds its cursor by the key, also after an upgrade of the program. Never
/// change the key of a released step: the wording is part of the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepKey(Cow<'static, str>);

impl StepKey {
    /// Returns the text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for StepKey {
    fn from(key: &'static str) -> Self {
        Self(key.into())
    }
}

impl From<String> for StepKey {
    fn from(key: String) -> Self {
        Self(key.into())
    }
}

impl From<&StepKey> for Bson {
    fn from(key: &StepKey) -> Self {
        key.as_str().into()
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
