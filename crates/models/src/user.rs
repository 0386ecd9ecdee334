//! Users and their rights.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The rights of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The user may do everything.
    Admin,
    /// The user may write content and change their own.
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

/// A user in the communication between services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// The id of the user. It is any text: an existing database may have other ids than `ObjectId`s.
    pub id: String,
    /// The e-mail address that identity providers have for the user.
    pub email: String,
    /// The display name.
    #[schema(required = true)]
    pub name: Option<String>,
    /// The rights of the user.
    pub role: Role,
}
