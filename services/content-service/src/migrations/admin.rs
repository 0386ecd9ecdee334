//! The user whom the settings name, for the migrations about it.

use mongo_kit::lenient::id_text;
use mongodb::{
    Collection, Database,
    bson::{Document, doc, oid::ObjectId},
};
use service_kit::runtime::{clock::Clock, settings};

use crate::store::collections::USERS;

/// The user whom the settings name.
#[derive(Clone)]
pub(super) struct Admin {
    users: Collection<Document>,
    pub(super) clock: Clock,
    pub(super) email: Option<String>,
    pub(super) name: Option<String>,
    /// The `_id` of the user whom the settings name, if this process creates it.
    pub(super) new_id: ObjectId,
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

    /// Returns the id of the user whom the settings name, who may still have to be created; without
    /// that setting, of the first admin.
    pub(super) async fn id(&self) -> mongodb::error::Result<Option<String>> {
        let filter = match &self.email {
            Some(email) => doc! { "email": email },
            None => doc! { "role": "admin" },
        };
        let admin = self.users.find_one(filter).sort(doc! { "_id": 1 }).await?;
        let id = admin.and_then(|admin| admin.get("_id").map(id_text));
        // A plan is made before the user is created, and describes a run that creates it first.
        Ok(id.or_else(|| self.email.as_ref().map(|_| self.new_id.to_hex())))
    }
}
