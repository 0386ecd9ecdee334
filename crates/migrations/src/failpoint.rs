//! Places at which a test can hold a process, to kill, pause or cut it off just there.
//!
//! With the feature `failpoints`, `FAILPOINTS="transaction_before_commit=2*off->return"` holds a
//! process when it comes to that place for the third time (syntax: the crate `fail`). Without the
//! feature nothing of this is compiled.

/// The process is held here for ever, if a test says so.
#[cfg_attr(not(feature = "failpoints"), expect(clippy::unused_async, reason = "see above"))]
pub(crate) async fn at(_place: &'static str) {
    #[cfg(feature = "failpoints")]
    {
        static SCENARIO: std::sync::Once = std::sync::Once::new();
        // Dropped, it would end what the environment says.
        SCENARIO.call_once(|| std::mem::forget(fail::FailScenario::setup()));
        if fail::eval(_place, |_| ()).is_some() {
            tracing::warn!(failpoint = _place, "held");
            std::future::pending::<()>().await;
        }
    }
}
