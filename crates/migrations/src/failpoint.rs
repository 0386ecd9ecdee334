//! Places at which a test can stop a process, to kill it, pause it or cut it off there.
//!
//! With the feature `failpoints`, `FAILPOINTS="transaction_before_commit=2*off->return"` stops a
//! process when it reaches that place for the third time (syntax: the crate `fail`). Without the
//! feature none of this is compiled.

/// Never returns if a test has chosen this place.
#[cfg_attr(not(feature = "failpoints"), expect(clippy::unused_async, reason = "see above"))]
pub(crate) async fn at(_place: &'static str) {
    #[cfg(feature = "failpoints")]
    {
        static SCENARIO: std::sync::Once = std::sync::Once::new();
        // Dropping it would clear the settings of the environment.
        SCENARIO.call_once(|| std::mem::forget(fail::FailScenario::setup()));
        if fail::eval(_place, |_| ()).is_some() {
            tracing::warn!(failpoint = _place, "stopped at a failpoint");
            std::future::pending::<()>().await;
        }
    }
}
