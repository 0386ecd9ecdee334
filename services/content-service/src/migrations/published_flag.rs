//! Stories from the time before there were drafts are published.

use std::sync::Arc;

use migrations::{Definition, Fill, FixedMigration, MigrationKind, Skip, Steps};
use mongo_kit::lenient;
use mongodb::bson::{Document, doc};

use super::{Context, STORIES, definition, lacks};
use crate::store::{drafts, kind::absent_values};

pub(super) fn migration(_: &Context<'_>) -> FixedMigration {
    let summary = "stories say whether they are published";
    let definition = Definition {
        // Since 2 it skips what plainly says that it is a draft.
        revision: 2,
        ..definition("0001_published_flag", MigrationKind::Backfill, summary)
    };
    let unsaid = |which: Document| doc! { "$and": [lacks("is_published"), which] };
    let publish = |key: &'static str, which| {
        Arc::new(Fill::set(key, STORIES, which, doc! { "is_published": true }))
    };
    // What is deleted does not become public, so that it is counted by itself.
    let mut not_deleted = lenient::flag_values(false);
    not_deleted.extend(absent_values());
    let shown = doc! { "deleted": { "$in": not_deleted, "$not": { "$type": "array" } } };
    let steps: Steps = vec![
        publish(
            "stories without is_published become public",
            unsaid(doc! { "$and": [shown.clone(), drafts::not_a_draft()] }),
        ),
        publish(
            "deleted stories without is_published → true",
            unsaid(doc! { "$nor": [shown, drafts::is_draft()] }),
        ),
        Arc::new(Skip {
            key: "stories without is_published that say that they are drafts".into(),
            reason: "their `status`, `draft`, `published` or `visibility` keeps them from the \
                     public: an editor publishes them"
                .to_owned(),
            documents: Some((STORIES, unsaid(drafts::is_draft()))),
        }),
    ];
    FixedMigration::new(definition, steps)
}
