//! `turbulence migrate`.

mod agreement;
mod down;
mod inspect;
mod lease;
mod ledger;
mod operate;
mod quarantine;
mod start;
mod up;

use content_service::SECTION_BACKFILL as BACKFILL;
use mongodb::bson::{DateTime, Document, doc};
use serde_json::Value;

use crate::{
    legacy,
    support::{Ended, Site},
};

/// Creates a site whose database predates the sections.
async fn legacy_site() -> Site {
    let site = Site::new().await;
    legacy::write(&site.folder);
    site.run(&["import", legacy::FOLDER]).await.success();
    site
}

/// Creates such a site and applies all migrations.
async fn migrated_site() -> Site {
    let site = legacy_site().await;
    site.run(&["migrate", "up"]).await.success();
    site
}

impl Site {
    async fn migrate(&self, arguments: &[&str]) -> Ended {
        self.run(&[&["migrate"], arguments].concat()).await
    }

    /// Runs a command that succeeds, and returns its output in JSON.
    async fn answer(&self, arguments: &[&str]) -> Value {
        let ended = self.migrate(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(ended.success()).unwrap()
    }

    /// Returns the ids of a service's migrations in their order.
    async fn ids(&self, service: &str) -> Vec<String> {
        let status = self.answer(&["status"]).await;
        let migrations = status[service]["migrations"].as_array().unwrap();
        migrations.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns the states in content's ledger of the migrations before this one, and of this one and
    /// those after it. `None` stands for a migration without an entry.
    async fn states_around(&self, id: &str) -> [Vec<Option<String>>; 2] {
        let mut states = [Vec::new(), Vec::new()];
        let ids = self.ids("content").await;
        let position = ids.iter().position(|one| one == id).unwrap();
        for (place, id) in ids.iter().enumerate() {
            let entry = self.entries("content").find_one(doc! { "_id": id }).await.unwrap();
            let state = entry.map(|entry| entry.get_str("state").unwrap().to_owned());
            states[usize::from(place >= position)].push(state);
        }
        states
    }

    fn entries(&self, service: &str) -> mongodb::Collection<Document> {
        self.database.collection(&format!("{service}_migrations"))
    }

    async fn entry(&self, id: &str) -> Document {
        self.database.one("content_migrations", doc! { "_id": id }).await
    }

    /// Changes fields of a ledger entry.
    async fn edit(&self, id: &str, fields: Document) {
        let edited =
            self.entries("content").update_one(doc! { "_id": id }, doc! { "$set": fields }).await;
        assert_eq!(edited.unwrap().modified_count, 1, "{id}");
    }

    /// Gives the lease of a service to another process. It expires in so many hours, or has expired
    /// if the number is negative.
    async fn lease(&self, service: &str, fence: i64, hours: i64) {
        let expires_at = DateTime::now().timestamp_millis() + hours * 3_600_000;
        let lease = doc! {
            "_id": "lease", "owner": "another", "fence": fence,
            "expires_at": DateTime::from_millis(expires_at),
        };
        let leases = self.database.collection(&format!("{service}_migration_lock"));
        let replaced = leases.replace_one(doc! { "_id": "lease" }, lease).upsert(true).await;
        replaced.unwrap();
    }

    /// Runs a command that fails, asserts that it wrote nothing, and returns its error.
    async fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let before = (self.database.hash().await, self.collections().await);
        let ended = self.migrate(arguments).await;
        let line = ended.failure(code).to_owned();
        let after = (self.database.hash().await, self.collections().await);
        assert_eq!(after, before, "{arguments:?}");
        line
    }
}

/// Replaces the collection of sections by a view that cannot be read, so that sections-service fails.
async fn break_sections(site: &Site) {
    let sections = site.database.collection("sections");
    sections.drop().await.unwrap();
    let broken = doc! { "$set": { "broken": { "$divide": ["$_id", 0] } } };
    let view = doc! { "create": "sections", "viewOn": "stories", "pipeline": [broken] };
    site.database.database().run_command(view).await.unwrap();
}

/// Returns the filter of content that belongs to an existing section.
fn linked() -> Document {
    doc! { "section_id": { "$regex": "^[0-9a-e]" } }
}

/// Returns the migration with this id in an output.
fn of<'a>(all: &'a Value, id: &str) -> &'a Value {
    all.as_array().unwrap().iter().find(|one| one["id"] == id).unwrap()
}
