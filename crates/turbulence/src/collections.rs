//! The collections of the services.

use data_service::Collections;
use models::ContentType;
use mongo_kit::Connection;
use mongodb::{Database, error::Result};

use crate::cli::Service;

/// Returns the collections of a service, or those of all services.
pub(crate) fn collections(only: Option<Service>) -> Vec<Collections> {
    match only {
        Some(Service::Sections) => vec![sections_service::COLLECTIONS],
        Some(Service::Content) => vec![content_service::COLLECTIONS],
        Some(Service::Media) => vec![media_service::COLLECTIONS],
        None => vec![
            sections_service::COLLECTIONS,
            content_service::COLLECTIONS,
            media_service::COLLECTIONS,
        ],
    }
}

/// Returns the names of all collections that a service uses, or all services.
pub(crate) fn all_names(only: Option<Service>) -> Vec<String> {
    collections(only).iter().flat_map(Collections::all).collect()
}

/// Returns the names of the collections of a site that can be imported.
pub(crate) fn site_names() -> Vec<&'static str> {
    collections(None).iter().flat_map(|one| one.site).copied().collect()
}

/// Returns `true` if the database contains a site: sections, content, or a collection that a service
/// created. Many programs have users.
pub(crate) async fn has_site(database: &Database) -> Result<bool> {
    let names = database.list_collection_names().await?;
    let created: Vec<_> = collections(None).iter().flat_map(Collections::created).collect();
    let is_of_site = |name: &str| {
        sections_service::COLLECTIONS.site.contains(&name)
            || ContentType::ALL.iter().any(|kind| kind.collection() == name)
            || created.iter().any(|one| one == name)
    };
    Ok(names.iter().any(|name| is_of_site(name)))
}

/// Returns the names of the databases of the server that contain a site. Those that the user may not
/// read are left out.
pub(crate) async fn databases_with_site(connection: &Connection) -> Vec<String> {
    let client = connection.client();
    let mut found = Vec::new();
    for name in client.list_database_names().await.unwrap_or_default() {
        if has_site(&client.database(&name)).await.unwrap_or(false) {
            found.push(name);
        }
    }
    found
}
