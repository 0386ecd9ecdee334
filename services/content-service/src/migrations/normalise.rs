//! Fields that early stories lack.

use std::sync::Arc;

use async_trait::async_trait;
use migrations::{
    Assign, Definition, Fill, Migration, MigrationKind, Skip, Step, Steps, StepsError,
};
use mongo_kit::lenient;
use mongodb::bson::{Document, doc};

use super::{STORIES, declared, definition, lacks};
use crate::store::{drafts, kind::absent_values};

/// Stories from before there were drafts are published.
pub(super) struct PublishedFlag;

#[async_trait]
impl Migration for PublishedFlag {
    fn definition(&self) -> Definition {
        Definition {
            // Since 2 it skips what plainly says that it is a draft.
            revision: 2,
            ..definition(
                "0001_published_flag",
                MigrationKind::Backfill,
                "stories say whether they are published",
            )
        }
    }

    fn specification(&self) -> Document {
        declared(&Self::all())
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        Ok(Self::all())
    }
}

impl PublishedFlag {
    fn all() -> Steps {
        let unsaid = |which: Document| doc! { "$and": [lacks("is_published"), which] };
        let publish = |key: &'static str, which| {
            Arc::new(Fill::set(key, STORIES, which, doc! { "is_published": true }))
        };
        // What is deleted does not become public, so that it is counted by itself.
        let mut not_deleted = lenient::flag_values(false);
        not_deleted.extend(absent_values());
        let shown = doc! { "deleted": { "$in": not_deleted, "$not": { "$type": "array" } } };
        vec![
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
        ]
    }
}

/// Stories from before there were two dates get them from their one date.
pub(super) struct StoryDates;

#[async_trait]
impl Migration for StoryDates {
    fn definition(&self) -> Definition {
        definition("0002_story_dates", MigrationKind::Backfill, "stories have both of their dates")
    }

    fn specification(&self) -> Document {
        declared(&Self::both())
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        Ok(Self::both())
    }
}

impl StoryDates {
    fn both() -> Steps {
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
        ["createdDate", "updatedDate"].map(step).into()
    }
}
