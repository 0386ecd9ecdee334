//! The owner of content without a user.

use std::sync::Arc;

use async_trait::async_trait;
use migrations::{Definition, Fill, Migration, MigrationKind, Skip, Step, Steps, StepsError};
use mongodb::bson::{Document, doc};

use super::{
    CONTENT, Context, admin::Admin, create_admin_user::CREATE_ADMIN_USER, definition, lacks,
};

/// Makes the admin the owner of content without a user.
pub(super) struct UserId(Admin);

pub(super) fn migration(context: &Context<'_>) -> UserId {
    UserId(context.admin.clone())
}

#[async_trait]
impl Migration for UserId {
    fn definition(&self) -> Definition {
        let summary = "content without a user belongs to the admin";
        Definition {
            // The owner of the content has to exist first.
            requires: &[CREATE_ADMIN_USER],
            ..definition("0005_user_id", MigrationKind::Backfill, summary)
        }
    }

    fn specification(&self) -> Document {
        doc! { "collections": CONTENT, "filter": lacks("user_id"), "user_id": "the admin" }
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        let admin = self.0.id().await?;
        let step = |collection| -> Arc<dyn Step> {
            match &admin {
                Some(id) => Arc::new(Fill::set(
                    format!("{collection} without user_id → the admin"),
                    collection,
                    lacks("user_id"),
                    doc! { "user_id": id },
                )),
                None => Arc::new(Skip {
                    key: format!("{collection} without user_id").into(),
                    reason: "there is no admin yet".to_owned(),
                    documents: Some((collection, lacks("user_id"))),
                }),
            }
        };
        Ok(CONTENT.into_iter().map(step).collect())
    }
}
