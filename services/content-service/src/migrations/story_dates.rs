//! The two dates of stories from the time when they had one.

use std::sync::Arc;

use migrations::{Assign, Fill, FixedMigration, MigrationKind, Step};
use mongodb::bson::doc;

use super::{Context, STORIES, definition, lacks};

/// The id of the migration.
pub(super) const STORY_DATES: &str = "0002_story_dates";

pub(super) fn migration(_: &Context<'_>) -> FixedMigration {
    let step = |field: &str| -> Arc<dyn Step> {
        let mut filter = lacks(field);
        filter.insert("date", doc! { "$ne": null });
        Arc::new(Fill {
            key: format!("stories without {field} ← date").into(),
            collection: STORIES,
            filter,
            assign: Assign::Expressions(doc! { field: "$date" }),
        })
    };
    let steps = ["createdDate", "updatedDate"].map(step).into();
    let summary = "stories have both of their dates";
    FixedMigration::new(definition(STORY_DATES, MigrationKind::Backfill, summary), steps)
}
