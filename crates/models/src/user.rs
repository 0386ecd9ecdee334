//! Users: who may change what.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// Write content, and change what is theirs.
    Author,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin",
            Self::Author => "author",
        })
    }
}

/// A user as the services tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// The user's id. Text, as that of content: an existing database may hold odd ones.
    pub id: String,
    /// The address that identity providers know the user by.
    pub email: String,
    /// The name to show.
    #[schema(required = true)]
    pub name: Option<String>,
    /// What the user may do.
    pub role: Role,
}
