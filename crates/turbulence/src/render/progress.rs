//! The progress of a migration's step.

use std::fmt::Write;

use migrations::Progress;

use super::format::{duration, number};

/// Returns the number of documents that a step has changed, of all.
pub(super) fn position(progress: &Progress) -> String {
    let Progress { step: what, modified, total, failed, .. } = progress;
    let mut text = format!("{what}: {} of {} documents", number(*modified), number(*total));
    if *failed > 0 {
        _ = write!(text, ", {} quarantined", number(*failed));
    }
    text
}

/// Returns the rate of a step, its remaining time, and the reason if it is throttled.
pub(crate) fn speed(progress: &Progress) -> String {
    let mut text = String::new();
    if let Some(seconds) = progress.eta_seconds() {
        #[expect(clippy::cast_possible_truncation, reason = "documents per second")]
        let rate = progress.rate.round() as i64;
        _ = write!(text, "{}/s, {} left", number(rate), duration(seconds));
    }
    if let Some(by) = progress.throttled_by {
        let separator = if text.is_empty() { "" } else { ", " };
        _ = write!(text, "{separator}throttled: {}", by.as_str());
    }
    text
}

#[cfg(test)]
mod tests {
    use migrations::ThrottledBy;
    use mongodb::bson::Bson;

    use super::*;

    #[test]
    fn a_throttled_step_shows_the_reason() {
        let mut progress = Progress {
            step: "a step".into(),
            cursor: Bson::Null,
            upper_id: Bson::Null,
            matched: 0,
            modified: 12_000,
            raced: 0,
            failed: 2,
            total: 1_000_002,
            rate: 0.0,
            throttled_by: Some(ThrottledBy::RateLimit),
            updated_at: None,
        };
        assert_eq!(speed(&progress), "throttled: rate limit");
        progress.rate = 1_000.0;
        assert_eq!(speed(&progress), "1,000/s, 16 min left, throttled: rate limit");
        assert_eq!(position(&progress), "a step: 12,000 of 1,000,002 documents, 2 quarantined");
    }
}
