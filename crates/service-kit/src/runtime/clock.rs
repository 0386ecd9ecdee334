//! The clock, so that tests can set the time.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};

/// A source of the current time.
///
/// ```
/// use service_kit::runtime::clock::Clock;
///
/// let noon = "2026-05-01T12:00:00Z".parse()?;
/// assert_eq!(Clock::fixed(noon).timestamp(), "2026-05-01T12:00:00.000Z");
/// # Ok::<_, chrono::ParseError>(())
/// ```
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// Returns the clock of the machine.
    pub fn system() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the machine's clock"
        )]
        Self(Arc::new(Utc::now))
    }

    /// Returns a clock that always shows this time.
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self(Arc::new(move || at))
    }

    /// Returns a clock that shows the time of another source, or that of the machine as long as the
    /// source has none.
    pub fn of(source: impl Fn() -> Option<DateTime<Utc>> + Send + Sync + 'static) -> Self {
        let system = Self::system();
        Self(Arc::new(move || source().unwrap_or_else(|| system.now())))
    }

    /// Returns the current time.
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }

    /// Returns the current time in the format of the API: RFC 3339 in UTC, with milliseconds.
    pub fn timestamp(&self) -> String {
        self.now().to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
