//! The migration engines of the services, and finding a migration by its id.

use migrations::Engine;
use mongo_kit::Connection;
use service_kit::runtime::{
    clock::Clock,
    settings::{Settings, url::Replicas},
};

use crate::{cli::Service, database::Database, error::Error};

/// Minimum length of a part of a word by which a migration is recognised.
const MIN_WORD_LENGTH: usize = 3;

/// The engines of all services, in the order in which they run.
pub(crate) struct Engines {
    /// The database of all engines.
    pub(crate) connection: Connection,
    all: Vec<Engine>,
    /// The service that was selected with `--service`.
    only: Option<Service>,
}

/// A migration that an id of the command line refers to.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) id: &'static str,
}

impl Engines {
    /// Creates the engines. `sections` is the address of sections-service.
    pub(crate) fn new(
        connection: &Connection,
        settings: &Settings,
        sections: &Replicas,
        only: Option<Service>,
    ) -> Result<Self, Error> {
        let client = content_service::sections_client(sections, &settings.internal);
        let clock = Clock::system();
        let all = vec![
            sections_service::engine(connection, clock.clone(), settings),
            content_service::engine(connection, clock, settings, &client),
            media_service::engine(connection, settings),
        ];
        Ok(Self { connection: connection.clone(), all, only })
    }

    /// Creates the engines of all services for a command that runs no migration.
    pub(crate) fn of_database(database: &Database) -> Result<Self, Error> {
        let settings = &database.settings;
        Self::new(&database.connection, settings, &settings.sections.url, None)
    }

    /// Returns the engines of the selected services, in the order in which they run.
    pub(crate) fn selected(&self) -> impl Iterator<Item = &Engine> {
        self.all.iter().filter(|engine| self.is_selected(engine))
    }

    /// Returns the engines of the selected services in the order in which they are rolled back:
    /// content refers to sections.
    pub(crate) fn selected_last_first(&self) -> impl Iterator<Item = &Engine> {
        self.all.iter().rev().filter(|engine| self.is_selected(engine))
    }

    /// Returns the engine of the service that was selected with `--service`.
    pub(crate) fn only(&self) -> Option<&Engine> {
        self.only.and_then(|_| self.selected().next())
    }

    /// Returns the engine of a service.
    pub(crate) fn of(&self, service: Service) -> Option<&Engine> {
        self.all.iter().find(|engine| engine.service() == service.name())
    }

    /// Returns the migration with this id.
    pub(crate) fn find(&self, id: &str) -> Result<Target<'_>, Error> {
        let targets = self
            .all
            .iter()
            .flat_map(|engine| ids(engine).into_iter().map(move |id| Target { engine, id }));
        let targets: Vec<_> = targets.collect();
        match targets.iter().find(|target| target.id == id) {
            Some(target) if self.is_selected(target.engine) => Ok(*target),
            Some(Target { engine, id }) => Err(Error::Usage(format!(
                "{id} is a migration of {service}: omit `--service`, or use `--service {service}`",
                service = engine.service()
            ))),
            None => Err(Error::Usage(unknown(id, &targets))),
        }
    }

    fn is_selected(&self, engine: &Engine) -> bool {
        self.only.is_none_or(|only| only.name() == engine.service())
    }
}

/// Returns the ids of a service's migrations in their order.
fn ids(engine: &Engine) -> Vec<&'static str> {
    engine.statuses().borrow().iter().map(|status| status.id).collect()
}

/// Returns the message about an unknown id, with the most similar ids or with all.
fn unknown(given: &str, targets: &[Target<'_>]) -> String {
    let likeness = |target: &Target<'_>| likeness(given, target.id);
    let best = targets.iter().map(likeness).max().unwrap_or_default();
    let text = |target: &Target<'_>| format!("{} ({})", target.id, target.engine.service());
    if best > 0 {
        let near = targets.iter().filter(|target| likeness(target) == best).map(text);
        let near = near.collect::<Vec<_>>().join(" or ");
        return format!("there is no migration \"{given}\": did you mean {near}?");
    }
    let all = targets.iter().map(text).collect::<Vec<_>>().join(", ");
    format!("there is no migration \"{given}\": the migrations are {all}")
}

/// Returns the number of words of an id that were given, in full or in part.
fn likeness(given: &str, id: &str) -> usize {
    let given = given.to_lowercase();
    let given: Vec<_> = given.split(|c: char| !c.is_alphanumeric()).collect();
    let is_similar = |word: &str, other: &str| match (word.parse::<u32>(), other.parse::<u32>()) {
        (Ok(word), Ok(other)) => word == other,
        _ => other.len() >= MIN_WORD_LENGTH && (word.starts_with(other) || other.starts_with(word)),
    };
    id.split('_').filter(|word| given.iter().any(|other| is_similar(word, other))).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeness_of_an_id_counts_its_number_and_its_words() {
        let id = "42_backfill_section_id";
        for (given, expected) in [
            (id, 3),
            ("42", 1),
            ("0042", 1),
            ("backfill", 1),
            ("0042_backfil_sections", 3),
            ("Backfill-Section", 2),
            ("43", 0),
            ("ba", 0),
            ("", 0),
            ("nonsense", 0),
        ] {
            assert_eq!(likeness(given, id), expected, "{given}");
        }
    }
}
