//! The moments at which an item is published and unpublished by itself.

use chrono::{DateTime, Utc};
use models::{FieldError, Moment, Patch};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The name of the member with the moment of publication.
pub(crate) const PUBLISH_AT: &str = "publish_at";

/// The name of the member with the moment at which the publication ends.
pub(crate) const UNPUBLISH_AT: &str = "unpublish_at";

/// The moments at which an item is published and unpublished by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct ItemSchedule {
    /// The moment at which the draft will be published. It is null if there is none, and for an item that
    /// is published.
    #[serde(serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    pub(crate) publish_at: Option<DateTime<Utc>>,
    /// The moment at which the item will become a draft; null if there is none.
    #[serde(serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    pub(crate) unpublish_at: Option<DateTime<Utc>>,
}

/// The change of an [`ItemSchedule`] that a request makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SchedulePatch {
    /// The change of the moment of publication.
    pub(crate) publish_at: Patch<Moment>,
    /// The change of the moment at which the publication ends.
    pub(crate) unpublish_at: Patch<Moment>,
}

impl SchedulePatch {
    /// Returns the change with what follows from it: an item that is published before its time loses the
    /// moment of its publication. Refuses a moment that is past, a moment of publication of an item that is
    /// published, and an end before the beginning.
    pub(crate) fn checked(
        mut self,
        current: &ItemSchedule,
        is_published: bool,
        now: DateTime<Utc>,
    ) -> Result<Self, FieldError> {
        for (member, patch) in [(PUBLISH_AT, self.publish_at), (UNPUBLISH_AT, self.unpublish_at)] {
            if matches!(patch, Patch::Value(moment) if DateTime::from(moment) <= now) {
                return Err(FieldError::invalid(member, "must be in the future"));
            }
        }
        if is_published {
            if matches!(self.publish_at, Patch::Value(_)) {
                let message = "must be null for a published item; with \"is_published\": false, the \
                    item is hidden until then";
                return Err(FieldError::invalid(PUBLISH_AT, message));
            }
            if current.publish_at.is_some() {
                self.publish_at = Patch::Null;
            }
        }
        let after = |patch: Patch<Moment>, current: Option<DateTime<Utc>>| match patch.into_option()
        {
            Some(moment) => moment.map(DateTime::from),
            None => current,
        };
        let begin = after(self.publish_at, current.publish_at);
        let end = after(self.unpublish_at, current.unpublish_at);
        if begin.zip(end).is_some_and(|(begin, end)| end <= begin) {
            return Err(FieldError::invalid(UNPUBLISH_AT, "must be after \"publish_at\""));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000).unwrap() + TimeDelta::minutes(minutes)
    }

    fn moment(minutes: i64) -> Patch<Moment> {
        Patch::Value(at(minutes).try_into().unwrap())
    }

    fn current(publish: Option<i64>, unpublish: Option<i64>) -> ItemSchedule {
        ItemSchedule { publish_at: publish.map(at), unpublish_at: unpublish.map(at) }
    }

    fn patch(publish_at: Patch<Moment>, unpublish_at: Patch<Moment>) -> SchedulePatch {
        SchedulePatch { publish_at, unpublish_at }
    }

    #[test]
    fn moments_are_in_the_future_and_in_their_order() {
        let none = current(None, None);
        let refused = |patch: SchedulePatch, current: &ItemSchedule, is_published| {
            patch.checked(current, is_published, at(0)).unwrap_err().field
        };
        for minutes in [0, -1] {
            assert_eq!(refused(patch(moment(minutes), Patch::Absent), &none, false), PUBLISH_AT);
            assert_eq!(refused(patch(Patch::Absent, moment(minutes)), &none, true), UNPUBLISH_AT);
        }
        assert_eq!(refused(patch(moment(1), Patch::Absent), &none, true), PUBLISH_AT);
        assert_eq!(refused(patch(moment(2), moment(2)), &none, false), UNPUBLISH_AT);
        assert_eq!(
            refused(patch(moment(2), Patch::Absent), &current(None, Some(1)), false),
            UNPUBLISH_AT
        );
        assert_eq!(
            refused(patch(Patch::Absent, moment(1)), &current(Some(1), None), false),
            UNPUBLISH_AT
        );
        let both = patch(moment(1), moment(2));
        assert_eq!(both.checked(&none, false, at(0)), Ok(both));
    }

    #[test]
    fn an_item_that_is_published_before_its_time_keeps_the_end_alone() {
        let scheduled = current(Some(1), Some(2));
        let checked = SchedulePatch::default().checked(&scheduled, true, at(0)).unwrap();
        assert_eq!(checked, patch(Patch::Null, Patch::Absent));
        let sooner = patch(Patch::Absent, moment(1));
        let expected = patch(Patch::Null, moment(1));
        assert_eq!(sooner.checked(&scheduled, true, at(0)), Ok(expected));
        // A moment that is due and was not carried out yet stays as it is.
        let unchanged = SchedulePatch::default().checked(&scheduled, false, at(5));
        assert_eq!(unchanged, Ok(SchedulePatch::default()));
    }
}
