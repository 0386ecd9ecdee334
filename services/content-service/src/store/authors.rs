//! The names of the users that items belong to.

use std::{collections::HashMap, sync::Arc, time::Duration};

use data_service::changes::{Cached, Changes, Family, Read};
use futures_util::TryStreamExt;
use models::ObjectId;
use mongo_kit::{
    Connection,
    feed::WatchedCollection,
    lenient::{FieldReader, stored_id_text},
};
use mongodb::{
    Collection,
    bson::{RawDocumentBuf, doc},
    error::Result,
};

use super::{collections::USERS, kind::Kind};
use crate::domain::content::Author;

/// The key of everything that depends on users.
pub(crate) const USERS_KEY: &str = "users";

/// The most users whose names are read: those who write for a site are some dozens. The items of further
/// ones have no author.
const MAX_USERS: i64 = 10_000;

/// Names by the id of the user.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<String, String>);

/// Reads the names of users once until one changes.
pub(crate) struct Authors {
    users: Collection<RawDocumentBuf>,
    names: Arc<Cached<Arc<Names>>>,
}

impl Authors {
    pub(super) fn new(connection: &Connection, changes: &Changes) -> Self {
        let names = Cached::new(changes, vec![USERS_KEY.to_owned()], Duration::ZERO);
        Self { users: connection.database().collection(USERS), names }
    }

    pub(super) async fn names(&self) -> Result<Read<Arc<Names>>> {
        self.names.get(names(self.users.clone())).await
    }
}

async fn names(users: Collection<RawDocumentBuf>) -> Result<Arc<Names>> {
    // The oldest first, so that they are the same for all replicas.
    let found = users.find(doc! {}).sort(doc! { "_id": 1 }).limit(MAX_USERS);
    let mut found = found.projection(doc! { "name": 1 }).await?;
    let mut names = HashMap::new();
    while let Some(user) = found.try_next().await? {
        let mut reader = FieldReader::new(&user);
        let id = reader.value("_id").and_then(|id| stored_id_text(id).ok());
        let name = reader.text("name").map(|name| name.trim().to_owned());
        // A user without a name may have the address in its place, which is not for the public.
        let name = name.filter(|name| !name.is_empty() && !name.contains('@'));
        if let (Some(id), Some(name)) = (id, name) {
            names.entry(id).or_insert(name);
        }
    }
    Ok(Arc::new(Names(names)))
}

impl Names {
    /// Adds the author to an item.
    pub(crate) fn sign<K: Kind>(&self, mut item: K) -> K {
        let author = item.meta().user_id.as_deref().and_then(|id| self.of(id));
        item.meta_mut().author = author;
        item
    }

    /// Returns the name of the user with this id.
    pub(super) fn of(&self, id: &str) -> Option<Author> {
        // The digits of an ObjectId may be of either case.
        let spelled = id.parse::<ObjectId>().map(|id| id.to_string());
        let name = spelled.ok().and_then(|id| self.0.get(&id)).or_else(|| self.0.get(id))?;
        Some(Author { name: name.clone() })
    }
}

/// Returns the family of the keys of users.
pub(crate) fn family() -> Family {
    Family {
        name: USERS_KEY,
        collections: vec![WatchedCollection { name: USERS, fields: &[] }],
        keys: |_| vec![USERS_KEY.to_owned()],
        public: vec![USERS_KEY.to_owned()],
    }
}
