//! The first user, and the owner of content without a user.

use std::sync::Arc;

use async_trait::async_trait;
use migrations::{
    Definition, Fill, Insert, Migration, MigrationKind, Skip, Step, Steps, StepsError,
};
use mongo_kit::lenient::id_text;
use mongodb::{
    Collection, Database,
    bson::{DateTime, Document, doc, oid::ObjectId},
};
use service_kit::runtime::{clock::Clock, settings};

use super::{CONTENT, definition, lacks};
use crate::store::collections::USERS;

/// The user whom the settings name.
#[derive(Clone)]
pub(super) struct Admin {
    users: Collection<Document>,
    clock: Clock,
    email: Option<String>,
    name: Option<String>,
    /// The `_id` of the user whom the settings name, if this process creates it.
    new_id: ObjectId,
}

impl Admin {
    pub(super) fn new(database: &Database, clock: Clock, settings: &settings::Admin) -> Self {
        let given = |text: &Option<String>| {
            text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        Self {
            users: database.collection(USERS),
            clock,
            email: given(&settings.email),
            name: given(&settings.name),
            new_id: ObjectId::new(),
        }
    }

    /// The id of the user whom the settings name, who may still have to be created; without that
    /// setting, of the first admin.
    async fn id(&self) -> mongodb::error::Result<Option<String>> {
        let filter = match &self.email {
            Some(email) => doc! { "email": email },
            None => doc! { "role": "admin" },
        };
        let admin = self.users.find_one(filter).sort(doc! { "_id": 1 }).await?;
        let id = admin.and_then(|admin| admin.get("_id").map(id_text));
        // A plan is asked before `0004` has run, and says what a run will do after it.
        Ok(id.or_else(|| self.email.as_ref().map(|_| self.new_id.to_hex())))
    }
}

/// Creates the user whom the settings name.
pub(super) struct CreateAdminUser(pub(super) Admin);

#[async_trait]
impl Migration for CreateAdminUser {
    fn definition(&self) -> Definition {
        definition(
            "0004_create_admin_user",
            MigrationKind::Seed,
            "the user whom the settings name exists",
        )
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

/// Makes the admin the owner of content without a user.
pub(super) struct UserId(pub(super) Admin);

#[async_trait]
impl Migration for UserId {
    fn definition(&self) -> Definition {
        Definition {
            // Whoever is to own the content has to exist first.
            requires: &["0004_create_admin_user"],
            ..definition(
                "0005_user_id",
                MigrationKind::Backfill,
                "content without a user belongs to the admin",
            )
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
