//! The size of the batches and commands of a fill, and the pauses between them.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use mongodb::{Client, Database, bson::doc};
use tokio_util::sync::CancellationToken;

use super::{
    adaptive_size::AdaptiveSize,
    foreground,
    throttle::{ALERT_BATCH_TIME, BATCH_TIME, MAX_BATCH_SIZE, Pace, Throttle},
};
use crate::state::entry::ThrottledBy;

/// The longest pause between two commands of a batch, whose transaction is open in that time. The
/// missing part is added to the pause after the batch.
const MAX_PAUSE_BETWEEN_COMMANDS: Duration = Duration::from_millis(20);

/// The longest pauses of one batch together, repeated attempts of its transaction included: the
/// longer it is open, the more likely it conflicts with another writer, and then an attempt without
/// pauses is the one that succeeds.
const MAX_PAUSE_PER_BATCH: Duration = Duration::from_millis(300);

/// The longest pause after a batch.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The smallest number of batches a second under a limit of documents a second.
const BATCHES_PER_SECOND: u32 = 10;

/// The time between two checks whether secondaries lag.
const FLOW_CONTROL_INTERVAL: Duration = Duration::from_secs(1);

/// The weight of the last batch in the rate that is shown.
const RATE_WEIGHT: f64 = 0.2;

// The foreground is observed between batches: it is noticed within its window.
const _: () = assert!(
    foreground::INTERVAL.as_millis() + ALERT_BATCH_TIME.end.as_millis()
        < foreground::WINDOW.as_millis(),
    "foreground work is noticed too late",
);

/// Decides the size of the next batch and of its commands, and when they may begin.
pub(super) struct Pacer {
    throttle: Throttle,
    pace: Pace,
    max_batch_size: u64,
    batch_size: AdaptiveSize,
    /// The size of the commands of a batch, or `None` if one command changes all of it.
    command_size: Option<AdaptiveSize>,
    /// The pauses between the commands of the present batch.
    paused: Duration,
    rate_limit: Option<DefaultDirectRateLimiter>,
    rate: Rate,
    flow_control: Option<FlowControl>,
}

impl Pacer {
    /// Returns a pacer for batches of at most `max_batch_size` documents.
    pub(super) fn new(
        throttle: Throttle,
        pace: Pace,
        flow_control: Option<FlowControl>,
        max_batch_size: u64,
    ) -> Self {
        let mut max_batch_size = max_batch_size.min(MAX_BATCH_SIZE);
        let rate_limit = throttle.documents_per_second.map(|limit| {
            let burst =
                NonZeroU32::new(limit.get() / BATCHES_PER_SECOND).unwrap_or(NonZeroU32::MIN);
            max_batch_size = max_batch_size.min(burst.get().into());
            RateLimiter::direct(Quota::per_second(limit).allow_burst(burst))
        });
        Self {
            throttle,
            pace,
            max_batch_size,
            batch_size: pace.batch_size(max_batch_size),
            command_size: pace.command_size(),
            paused: Duration::ZERO,
            rate_limit,
            rate: Rate::default(),
            flow_control,
        }
    }

    /// Returns the number of documents for the next batch.
    pub(super) fn batch_size(&self) -> u64 {
        self.batch_size.get()
    }

    /// Returns the number of documents for the commands of the next batch.
    pub(super) fn command_size(&self) -> usize {
        let size = self.command_size.as_ref().map(AdaptiveSize::get);
        size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX)
    }

    /// Changes the pace from the next batch on.
    pub(super) fn set_pace(&mut self, pace: Pace) {
        if self.pace != pace {
            self.pace = pace;
            self.batch_size = pace.batch_size(self.max_batch_size);
            self.command_size = pace.command_size();
        }
    }

    /// Returns `true` if the work leaves time to other clients.
    pub(super) fn is_gentle(&self) -> bool {
        self.pace == Pace::Gentle
    }

    /// Returns the documents a second of the last batches.
    pub(super) fn rate(&self) -> f64 {
        self.rate.per_second
    }

    /// Makes the next batches smaller because the server refused one for its size or time.
    pub(super) fn halve_batches(&mut self) {
        self.batch_size.halve();
    }

    /// Adapts the size of commands to one of `documents` that took `taken`.
    pub(super) fn observe_command(&mut self, documents: usize, taken: Duration) {
        let documents = u64::try_from(documents).unwrap_or(u64::MAX);
        // The last command of a batch has fewer documents, and takes less time.
        if let Some(size) = self.command_size.as_mut().filter(|size| documents >= size.get()) {
            size.observe(documents, taken);
        }
    }

    /// Pauses between a command that took `taken` and the next one of its batch.
    pub(super) async fn pause_between_commands(
        &mut self,
        taken: Duration,
        stop: &CancellationToken,
    ) {
        let left = MAX_PAUSE_PER_BATCH.saturating_sub(self.paused);
        let pause = self.idle_time(taken).min(MAX_PAUSE_BETWEEN_COMMANDS).min(left);
        if !pause.is_zero() {
            let began = tokio::time::Instant::now();
            sleep(pause, stop).await;
            self.paused += began.elapsed();
        }
    }

    /// Adapts the size of batches to one of `documents` that took `elapsed`, and waits until the
    /// next one may begin. Returns the main reason for waiting.
    pub(super) async fn pause_after_batch(
        &mut self,
        documents: u64,
        elapsed: Duration,
        stop: &CancellationToken,
    ) -> Option<ThrottledBy> {
        let paused = std::mem::take(&mut self.paused);
        let taken = elapsed.saturating_sub(paused);
        let size = self.batch_size.get();
        if paused >= MAX_PAUSE_PER_BATCH {
            self.batch_size.shrink(size);
        } else {
            self.batch_size.observe(size, taken);
        }
        // With the pool of connections warm, a commit that takes this long waits for secondaries.
        let is_slow = taken > BATCH_TIME.end * 2;
        let mut throttled_by = is_slow.then_some(ThrottledBy::Replication);

        let idle = self.idle_time(taken).saturating_sub(paused).min(MAX_PAUSE);
        let (rate_limited, ()) =
            tokio::join!(wait_for(self.rate_limit.as_ref(), documents, stop), sleep(idle, stop));
        if rate_limited > idle {
            throttled_by = Some(ThrottledBy::RateLimit);
        } else if self.is_gentle() {
            throttled_by = Some(ThrottledBy::DutyCycle);
        }
        if let Some(flow_control) = &mut self.flow_control
            && flow_control.wait(stop).await
        {
            throttled_by = Some(ThrottledBy::FlowControl);
        }
        self.rate.observe(documents, Instant::now());
        throttled_by
    }

    /// Returns the time to leave to other clients after work that took `taken`.
    fn idle_time(&self, taken: Duration) -> Duration {
        match self.pace {
            Pace::Gentle => taken.mul_f64(1.0 / self.throttle.duty_cycle - 1.0),
            Pace::Unthrottled | Pace::Alert => Duration::ZERO,
        }
    }
}

/// Waits until the limit of documents a second allows this many more. Returns the time waited.
async fn wait_for(
    limiter: Option<&DefaultDirectRateLimiter>,
    documents: u64,
    stop: &CancellationToken,
) -> Duration {
    let began = Instant::now();
    let documents = u32::try_from(documents).ok().and_then(NonZeroU32::new);
    let (Some(limiter), Some(documents)) = (limiter, documents) else { return Duration::ZERO };
    let mut has_waited = false;
    // A batch is never larger than the capacity of the limiter.
    while let Ok(Err(not_until)) = limiter.check_n(documents)
        && !stop.is_cancelled()
    {
        has_waited = true;
        sleep(not_until.wait_time_from(DefaultClock::default().now()), stop).await;
    }
    if has_waited { began.elapsed() } else { Duration::ZERO }
}

/// Sleeps until the pause is over or the run is to stop. A sleep of no time would take a millisecond.
async fn sleep(pause: Duration, stop: &CancellationToken) {
    if pause.is_zero() {
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}

/// The documents a second of the last batches: an exponential moving average.
#[derive(Debug, Default)]
struct Rate {
    per_second: f64,
    last_batch: Option<Instant>,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "a batch has at most thousands")]
    fn observe(&mut self, documents: u64, now: Instant) {
        if let Some(before) = self.last_batch.replace(now) {
            let elapsed = now.duration_since(before).as_secs_f64().max(1e-6);
            let rate = documents as f64 / elapsed;
            let is_first = self.per_second == 0.0;
            let weight = if is_first { 1.0 } else { RATE_WEIGHT };
            self.per_second += weight * (rate - self.per_second);
        }
    }
}

/// Waits while the server reports that its secondaries lag (MongoDB manual, "Flow Control").
pub(super) struct FlowControl {
    admin: Database,
    checked: Option<Instant>,
}

impl FlowControl {
    pub(super) fn new(client: &Client) -> Self {
        Self { admin: client.database("admin"), checked: None }
    }

    /// Returns `true` if it had to wait. A server that refuses to answer does not lag.
    async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let mut has_waited = false;
        while self.checked.is_none_or(|checked| checked.elapsed() >= FLOW_CONTROL_INTERVAL)
            && !stop.is_cancelled()
        {
            self.checked = Some(Instant::now());
            if !self.is_lagged().await {
                break;
            }
            has_waited = true;
            sleep(FLOW_CONTROL_INTERVAL, stop).await;
        }
        has_waited
    }

    async fn is_lagged(&self) -> bool {
        let command = doc! { "serverStatus": 1, "repl": 0, "metrics": 0, "wiredTiger": 0 };
        let status = self.admin.run_command(command).await;
        status.is_ok_and(|status| {
            let flow_control = status.get_document("flowControl");
            flow_control.is_ok_and(|state| state.get_bool("isLagged").unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn pacer(throttle: Throttle, pace: Pace) -> Pacer {
        Pacer::new(throttle, pace, None, u64::MAX)
    }

    #[tokio::test(start_paused = true)]
    async fn batches_grow_while_they_are_quick_and_shrink_while_they_are_slow() {
        let (mut pacer, stop) = (pacer(Throttle::OFF, Pace::Unthrottled), CancellationToken::new());
        let mut sizes = Vec::new();
        for taken in [1, 1, 1, 300, 600, 600] {
            pacer.pause_after_batch(pacer.batch_size(), taken * MILLI, &stop).await;
            sizes.push(pacer.batch_size());
        }
        assert_eq!(sizes, [2_000, 4_000, 4_000, 4_000, 2_000, 1_000]);
        pacer.halve_batches();
        assert_eq!(pacer.batch_size(), 500);
        pacer.set_pace(Pace::Gentle);
        assert_eq!(pacer.batch_size(), 100);
        pacer.halve_batches();
        pacer.set_pace(Pace::Gentle);
        assert_eq!(pacer.batch_size(), 50, "the pace is the same");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_shrinks_if_its_pauses_keep_the_transaction_open_for_too_long() {
        let (mut pacer, stop) = (pacer(Throttle::GENTLE, Pace::Gentle), CancellationToken::new());
        for _ in 0..20 {
            pacer.pause_between_commands(10 * MILLI, &stop).await;
        }
        pacer.pause_after_batch(100, 300 * MILLI + 20 * MILLI, &stop).await;
        assert_eq!(pacer.batch_size(), 50);
    }

    #[test]
    fn the_rate_follows_the_batches() {
        let (mut rate, mut now) = (Rate::default(), Instant::now());
        let mut after = |documents, elapsed: Duration| {
            now += elapsed;
            rate.observe(documents, now);
            rate.per_second.round()
        };
        // The time before the first batch is unknown.
        let none = after(100, Duration::ZERO);
        let first = after(100, 1_000 * MILLI);
        let faster = after(100, 500 * MILLI);
        let at_last = (0..50).map(|_| after(100, 500 * MILLI)).last().unwrap();
        assert_eq!([none, first, faster, at_last], [0.0, 100.0, 120.0, 200.0]);
    }

    #[test]
    fn a_command_gets_as_many_documents_as_its_time_allows() {
        let mut gentle = pacer(Throttle::GENTLE, Pace::Gentle);
        assert_eq!(gentle.command_size(), 8);
        for _ in 0..3 {
            // All commands of a batch have the size that applied at its beginning.
            gentle.observe_command(8, MILLI / 10);
        }
        assert_eq!(gentle.command_size(), 16);
        gentle.observe_command(16, MILLI / 10);
        gentle.observe_command(32, MILLI / 2);
        assert_eq!(gentle.command_size(), 32);
        gentle.observe_command(3, MILLI / 10);
        assert_eq!(gentle.command_size(), 32, "the last one of a batch has fewer documents");
        gentle.observe_command(32, 2 * MILLI);
        assert_eq!(gentle.command_size(), 16);
        gentle.observe_command(16, 50 * MILLI);
        gentle.observe_command(8, 50 * MILLI);
        assert_eq!(gentle.command_size(), 8);
        let mut at_full_speed = pacer(Throttle::OFF, Pace::Unthrottled);
        at_full_speed.observe_command(4_000, 500 * MILLI);
        assert_eq!(at_full_speed.command_size(), usize::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_follow_the_duty_cycle_and_are_limited_for_each_batch() {
        let throttle = Throttle { duty_cycle: 0.05, ..Throttle::OFF };
        let (mut pacer, stop) = (pacer(throttle, Pace::Gentle), CancellationToken::new());
        let pause = async |pacer: &mut Pacer, taken: Duration| {
            let began = tokio::time::Instant::now();
            pacer.pause_between_commands(taken, &stop).await;
            began.elapsed()
        };
        assert_eq!(pause(&mut pacer, MILLI).await, 19 * MILLI);
        assert_eq!(pause(&mut pacer, 10 * MILLI).await, MAX_PAUSE_BETWEEN_COMMANDS);
        for _ in 0..20 {
            pause(&mut pacer, 10 * MILLI).await;
        }
        assert_eq!(pacer.paused, MAX_PAUSE_PER_BATCH);
        assert_eq!(pause(&mut pacer, 10 * MILLI).await, Duration::ZERO);
        let began = tokio::time::Instant::now();
        let throttled_by = pacer.pause_after_batch(100, 400 * MILLI, &stop).await;
        // 100 ms of work make 1,900 ms of pauses, 300 ms of which are over.
        assert_eq!((began.elapsed(), throttled_by), (1_600 * MILLI, Some(ThrottledBy::DutyCycle)));
        assert_eq!(pause(&mut pacer, 10 * MILLI).await, MAX_PAUSE_BETWEEN_COMMANDS);
        stop.cancel();
        assert_eq!(pause(&mut pacer, 10 * MILLI).await, Duration::ZERO);
    }

    #[tokio::test]
    async fn a_limit_of_documents_a_second_is_kept_and_named() {
        let limit = NonZeroU32::new(1_000);
        let throttle = Throttle { documents_per_second: limit, ..Throttle::OFF };
        let (mut pacer, stop) = (pacer(throttle, Pace::Unthrottled), CancellationToken::new());
        assert_eq!(pacer.batch_size(), 100);
        assert_eq!(pacer.pause_after_batch(100, MILLI, &stop).await, None);
        let began = Instant::now();
        let throttled_by = pacer.pause_after_batch(100, MILLI, &stop).await;
        assert_eq!(throttled_by, Some(ThrottledBy::RateLimit));
        assert!(began.elapsed() >= 90 * MILLI, "{:?}", began.elapsed());
        assert_eq!(pacer.batch_size(), 100);
    }
}
