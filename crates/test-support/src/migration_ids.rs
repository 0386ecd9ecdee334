//! The ids of the migrations of all services, so that tests name a migration without its number.

use std::{sync::OnceLock, thread};

use mongo_kit::Connection;
use service_kit::runtime::{
    clock::Clock,
    settings::{Settings, Sources},
};

/// Returns the id of the migration with this name, which is the id without its number.
pub fn migration_id(name: &str) -> &'static str {
    let is_named = |id: &&str| id.split_once('_').is_some_and(|(_, rest)| rest == name);
    let found = ids().iter().copied().find(is_named);
    found.unwrap_or_else(|| panic!("no migration has the name {name}: {:?}", ids()))
}

/// Returns the ids of the engines of all services.
fn ids() -> &'static [&'static str] {
    static IDS: OnceLock<Vec<&'static str>> = OnceLock::new();
    IDS.get_or_init(|| {
        // On a thread of its own, because callers may or may not be in a runtime.
        let ids = thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                // Nothing is sent to this address: an engine connects when it runs.
                let connection = Connection::new("mongodb://127.0.0.1:1", "ids", "test").await;
                let (connection, settings) = (connection.unwrap(), default_settings());
                let sections =
                    content_service::sections_client(&settings.sections.url, &settings.internal);
                let clock = Clock::system();
                let engines = [
                    sections_service::engine(&connection, clock.clone(), &settings),
                    content_service::engine(&connection, clock, &settings, &sections),
                    media_service::engine(&connection, &settings),
                ];
                engines.iter().flat_map(|engine| engine.ids().collect::<Vec<_>>()).collect()
            })
        });
        ids.join().expect("the engines have migrations")
    })
}

fn default_settings() -> Settings {
    Settings::load(0, &Sources::default()).unwrap()
}
