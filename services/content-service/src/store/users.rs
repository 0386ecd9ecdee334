//! Users.

use std::collections::HashSet;

use async_trait::async_trait;
use data_service::database_error;
use futures_util::TryStreamExt;
use models::User;
use mongo_kit::{
    document::{Unreadable, readable},
    lenient::{FieldReader, stored_id_text},
};
use mongodb::{
    Collection, Database,
    bson::{self, Bson, RawDocument, RawDocumentBuf, doc},
    error::Result,
    options::{Collation, CollationStrength},
};
use service_kit::{auth::authenticator::Users, web::error::ApiError};

use super::collections::USERS;

/// Reads users. They are few, and what is asked for is remembered for some seconds by who asks.
pub(crate) struct UserStore(Collection<RawDocumentBuf>);

impl UserStore {
    pub(crate) fn new(database: &Database) -> Self {
        Self(database.collection(USERS))
    }

    /// Returns the user with this address, or the oldest if several have it. The case of ASCII letters
    /// is ignored; nothing else is, because another spelling is an address that was not verified.
    pub(crate) async fn by_email(&self, email: &str) -> Result<Option<User>> {
        // The collation also treats other characters as equal, such as the Kelvin sign and `k`, and
        // ignores control characters.
        let collation = Collation::builder()
            .locale("en".to_owned())
            .strength(CollationStrength::Secondary)
            .build();
        let found = self.0.find(doc! { "email": email }).collation(collation);
        let mut found = found.sort(doc! { "_id": 1 }).await?;
        while let Some(document) = found.try_next().await? {
            let user = readable(read(&document));
            if let Some(user) = user.filter(|user| user.email.eq_ignore_ascii_case(email)) {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }

    /// The ids of all users, as content refers to them, and those who cannot be read, with what is
    /// wrong with each.
    pub(crate) async fn ids(&self) -> Result<(HashSet<String>, Vec<(String, String)>)> {
        let fields = doc! { "email": 1, "name": 1, "role": 1 };
        let mut documents = self.0.find(doc! {}).projection(fields).await?;
        let (mut ids, mut broken) = (HashSet::new(), Vec::new());
        while let Some(document) = documents.try_next().await? {
            let id = match read(&document) {
                Ok(user) => user.id,
                Err(unreadable) => {
                    let (id, what) = unreadable.into_parts();
                    broken.push((id.clone(), what));
                    id
                }
            };
            ids.insert(id);
        }
        Ok((ids, broken))
    }
}

#[async_trait]
impl Users for UserStore {
    async fn by_email(&self, email: &str) -> std::result::Result<Option<User>, ApiError> {
        self.by_email(email).await.map_err(database_error)
    }
}

/// Reads a user. One without an address or a role can do nothing.
fn read(document: &RawDocument) -> std::result::Result<User, Unreadable> {
    let mut reader = FieldReader::new(document);
    let unreadable = |reason: &str| Unreadable::new(USERS, document, reason);
    let id = reader.value("_id").and_then(|id| stored_id_text(id).ok());
    let role = reader.choice("role", |role| bson::deserialize_from_bson(Bson::from(role)).ok());
    Ok(User {
        id: id.ok_or_else(|| unreadable("its _id is no ObjectId, text, number or UUID"))?,
        email: reader.text("email").ok_or_else(|| unreadable("it has no email"))?,
        name: reader.text("name"),
        role: role.ok_or_else(|| unreadable("its role is neither admin nor author"))?,
    })
}
