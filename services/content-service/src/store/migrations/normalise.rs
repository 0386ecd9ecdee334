//! Fields that early stories lack.

use async_trait::async_trait;
use migrations::{Assign, Definition, Fill, Kind, Migration, Step, StepsError};
use mongodb::{bson::doc, options::UpdateModifications};

use super::{definition, lacks};
use crate::store::STORIES;

/// Stories from before there were drafts are published.
pub(super) struct PublishedFlag;

#[async_trait]
impl Migration for PublishedFlag {
    fn definition(&self) -> Definition {
        definition("0001_published_flag", Kind::Backfill, "stories say whether they are published")
    }

    async fn steps(&self) -> Result<Vec<Step>, StepsError> {
        Ok(vec![Fill::set(
            "stories without is_published → true",
            STORIES,
            lacks("is_published"),
            doc! { "is_published": true },
        )])
    }
}

/// Stories from before there were two dates get them from their one date.
pub(super) struct StoryDates;

#[async_trait]
impl Migration for StoryDates {
    fn definition(&self) -> Definition {
        definition("0002_story_dates", Kind::Backfill, "stories have both of their dates")
    }

    async fn steps(&self) -> Result<Vec<Step>, StepsError> {
        let from_date = |field: &str| {
            let mut filter = lacks(field);
            filter.insert("date", doc! { "$ne": null });
            let update = UpdateModifications::Pipeline(vec![doc! { "$set": { field: "$date" } }]);
            Step::Fill(Fill {
                what: format!("stories without {field} ← date"),
                collection: STORIES,
                filter,
                assign: Assign::Update(update),
            })
        };
        Ok(vec![from_date("createdDate"), from_date("updatedDate")])
    }
}
