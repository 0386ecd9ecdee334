//! The sender of a request and their role.

use models::Role;

use crate::web::error::ApiError;

/// A caller with a valid token, who may see drafts and write. As an extractor it answers 401 to a
/// request without a valid token, and 403 if the token belongs to no user of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The holder of the static token, an admin.
    Operator {
        /// The user with the address `admin.email`. `None` if the setting is missing, or if the
        /// user cannot be looked up at the moment: it can differ between two requests of the same
        /// operator.
        user_id: Option<String>,
    },
    /// A user whose address an identity provider has confirmed.
    User {
        /// The id of the user.
        id: String,
        /// The role of the user.
        role: Role,
    },
}

impl Caller {
    /// Returns the role.
    pub fn role(&self) -> Role {
        match self {
            Self::Operator { .. } => Role::Admin,
            Self::User { role, .. } => *role,
        }
    }

    /// Returns the id of the user that the caller is, if any.
    pub fn user_id(&self) -> Option<&str> {
        match self {
            Self::Operator { user_id } => user_id.as_deref(),
            Self::User { id, .. } => Some(id),
        }
    }

    /// Returns the id of the user who has signed in; `None` for the static token, which several people may
    /// have.
    pub fn signed_in_user(&self) -> Option<&str> {
        match self {
            Self::Operator { .. } => None,
            Self::User { id, .. } => Some(id),
        }
    }

    /// Refuses callers who are not admins with 403.
    pub fn require_admin(&self) -> Result<(), ApiError> {
        match self.role() {
            Role::Admin => Ok(()),
            Role::Author => Err(ApiError::forbidden("This needs the role `admin`.")),
        }
    }

    /// Refuses authors with 403 if the content belongs to another user or to none.
    pub fn require_owner(&self, owner: Option<&str>) -> Result<(), ApiError> {
        let is_owner = owner.is_some() && owner == self.user_id();
        if self.role() == Role::Admin || is_owner {
            return Ok(());
        }
        Err(ApiError::forbidden("An author can change only what is theirs."))
    }
}
