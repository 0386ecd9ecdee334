//! The databases of the services: usually one for all of them.

use mongo_kit::{ConnectError, check_database_name};
use mongodb::Database;

use crate::{
    cli::{Service, ServiceDatabases},
    collections::has_site,
};

/// The databases of the services.
pub(crate) struct Databases {
    /// The database of services without one of their own.
    pub(crate) main: Database,
    others: Vec<(Service, Database)>,
}

impl Databases {
    /// Returns the databases that the options name.
    pub(crate) fn new(main: &Database, options: &ServiceDatabases) -> Result<Self, ConnectError> {
        let mut others = Vec::new();
        for (service, name) in &options.databases_of {
            check_database_name(name)?;
            others.push((*service, main.client().database(name)));
        }
        Ok(Self { main: main.clone(), others })
    }

    /// Returns one database for all services.
    pub(crate) fn of_one(database: &Database) -> Self {
        Self { main: database.clone(), others: Vec::new() }
    }

    /// Returns the database of a service.
    pub(crate) fn of(&self, service: Service) -> &Database {
        let own = self.others.iter().rev().find(|(one, _)| *one == service);
        own.map_or(&self.main, |(_, database)| database)
    }

    /// Returns each database once.
    pub(crate) fn all(&self) -> Vec<&Database> {
        let mut all: Vec<&Database> = vec![&self.main];
        for database in self.others.iter().map(|(_, database)| database) {
            if !all.iter().any(|one| one.name() == database.name()) {
                all.push(database);
            }
        }
        all
    }

    /// Returns the name of a database that a service needs and that has no site, if there is one.
    pub(crate) async fn without_site(&self) -> mongodb::error::Result<Option<String>> {
        for service in Service::ALL {
            let database = self.of(service);
            if !has_site(database).await? {
                return Ok(Some(database.name().to_owned()));
            }
        }
        Ok(None)
    }
}
