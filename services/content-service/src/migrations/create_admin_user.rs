//! The first user, whom the settings name.

use std::sync::Arc;

use async_trait::async_trait;
use migrations::{Definition, Insert, Migration, MigrationKind, Skip, Steps, StepsError};
use mongodb::bson::{DateTime, Document, doc};

use super::{Context, admin::Admin, definition};
use crate::store::collections::USERS;

/// The id of the migration.
pub(super) const CREATE_ADMIN_USER: &str = "0004_create_admin_user";

/// Creates the user whom the settings name.
pub(super) struct CreateAdminUser(Admin);

pub(super) fn migration(context: &Context<'_>) -> CreateAdminUser {
    CreateAdminUser(context.admin.clone())
}

#[async_trait]
impl Migration for CreateAdminUser {
    fn definition(&self) -> Definition {
        let summary = "the user whom the settings name exists";
        definition(CREATE_ADMIN_USER, MigrationKind::Seed, summary)
    }

    fn specification(&self) -> Document {
        doc! { "collection": USERS, "role": "admin", "unless": "a user has the email" }
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        let Some(email) = &self.0.email else {
            return Ok(vec![Arc::new(Skip {
                key: "no user is created".into(),
                reason: "`admin.email` is not set".to_owned(),
                documents: None,
            })]);
        };
        let now = DateTime::from_millis(self.0.clock.now().timestamp_millis());
        let user = doc! {
            "_id": self.0.new_id,
            "email": email,
            "name": self.0.name.as_ref().unwrap_or(email),
            "role": "admin",
            "createdDate": now,
            "updatedDate": now,
        };
        Ok(vec![Arc::new(Insert {
            key: "the admin".into(),
            collection: USERS,
            unless: doc! { "email": email },
            documents: vec![user],
        })])
    }
}
