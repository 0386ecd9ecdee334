//! Leaving room for others while documents are changed.

use std::{
    num::NonZeroU32,
    ops::Range,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use mongodb::{Client, bson::doc};
use tokio_util::sync::CancellationToken;

use crate::{ThrottledBy, foreground::Foreground};

/// How long a batch should take at full speed: long enough that its commit does not dominate,
/// short enough that a foreground write that meets it does not wait noticeably. A gentle one is
/// as long with its rests.
const BATCH_TIME: Range<Duration> = Duration::from_millis(200)..Duration::from_millis(500);

/// The same where the pace changes as soon as the site is in use, which is noticed between batches.
pub(crate) const ALERT_BATCH_TIME: Range<Duration> =
    Duration::from_millis(100)..Duration::from_millis(200);

/// The same where time is left to others, without the rests between its commands.
const GENTLE_BATCH_TIME: Range<Duration> = Duration::from_millis(10)..Duration::from_millis(40);

/// How long one command of a batch should take where time is left to others: less than the time
/// slice of a processor (about 3 ms on Linux), so that a request that shares one with the database
/// goes on at once.
const COMMAND_TIME: Range<Duration> = Duration::from_micros(500)..Duration::from_millis(1);

/// Documents in the first command of such a batch, and the fewest in one that takes its time: what
/// it still takes then is the way to the server and back.
const SMALLEST_TIMED_COMMAND: usize = 4;

/// The longest rest between two commands: the transaction is open meanwhile. What is missing is
/// added to the pause after the batch.
const LONGEST_REST: Duration = Duration::from_millis(20);

/// The longest rests of one batch together, other attempts of its transaction included: the longer
/// it is open, the more likely it meets another writer, and then an attempt without a rest is the
/// one that succeeds.
const LONGEST_RESTS: Duration = Duration::from_millis(300);

/// Documents in the first batch. The size then follows the time that a batch takes.
const FIRST_BATCH: u64 = 1_000;

/// The same where time is left to others.
const FIRST_GENTLE_BATCH: u64 = 100;

/// The size below which a batch does not shrink because of its time: what it still takes then is
/// mostly the commit's, and that of a smaller one takes as long.
const SMALLEST_TIMED_BATCH: u64 = 50;

/// The most documents in a batch. A document costs no less in a larger one, but two pages of them
/// are held in memory.
const LARGEST_BATCH: u64 = 4_000;

/// The same where time is left to others: the page, the journal and the commit of a batch are not cut
/// in pieces, and requests wait for them.
const LARGEST_GENTLE_BATCH: u64 = 500;

/// How many batches share a second's worth of documents.
const BATCHES_A_SECOND: u32 = 10;

/// How often the server is asked whether its secondaries lag.
const FLOW_CONTROL_INTERVAL: Duration = Duration::from_secs(1);

/// The longest pause at once: for so long nobody looks whether the work is to stop.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Documents a second that a backfill changes at full speed on two cores, roughly
/// (`docs/BENCHMARKS.md` of Turbulence).
const USUAL_RATE: f64 = 30_000.0;

/// The same of the time in which commands run, where time is left to others.
const USUAL_GENTLE_RATE: f64 = 2_500.0;

/// The smallest share of the time in which batches run, whatever is asked for.
const SMALLEST_DUTY_CYCLE: f64 = 0.01;

/// How much weight the last batch has in the rate that is shown.
const RATE_WEIGHT: f64 = 0.2;

/// How fast documents may be changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttle {
    /// The most documents a second; none for as many as possible.
    pub documents_per_second: Option<NonZeroU32>,
    /// The share of the time in which commands run that change documents while others use the
    /// database, from 0.01 to 1; what is beyond counts as the nearer of both. Below 1 batches are
    /// small then and their commands are short, with rests between them in which requests in the
    /// foreground go on. While nobody else uses the database, the share is 1. An engine that does
    /// not count its own operations ([`Options::operations`](crate::Options::operations)) cannot
    /// tell, and always leaves room.
    pub duty_cycle: f64,
    /// Whether to pause while the server reports that its secondaries lag.
    pub heeds_flow_control: bool,
}

impl Throttle {
    /// As fast as the database can.
    pub const OFF: Self =
        Self { documents_per_second: None, duty_cycle: 1.0, heeds_flow_control: true };

    /// Beside a site that is in use.
    pub const GENTLE: Self = Self { duty_cycle: 0.1, ..Self::OFF };
}

impl Throttle {
    /// Returns whether time is left to others while they use the database.
    pub(crate) fn is_gentle(&self) -> bool {
        self.duty_cycle < 1.0
    }

    /// The pace while there is foreground work, or none.
    pub(crate) fn pace(&self, foreground: Foreground) -> Pace {
        match foreground {
            _ if !self.is_gentle() => Pace::Unthrottled,
            Foreground::Absent => Pace::Alert,
            Foreground::Present | Foreground::Unknown => Pace::Gentle,
        }
    }

    /// How long to do nothing after work that took so long, at a pace.
    fn idle(&self, pace: Pace, taken: Duration) -> Duration {
        match pace {
            Pace::Gentle => taken.mul_f64(1.0 / self.duty_cycle - 1.0),
            Pace::Unthrottled | Pace::Alert => Duration::ZERO,
        }
    }

    /// The same with a share of the time that makes sense.
    pub(crate) fn sane(self) -> Self {
        let is_sane = self.duty_cycle > SMALLEST_DUTY_CYCLE;
        let duty_cycle = if is_sane { self.duty_cycle.min(1.0) } else { SMALLEST_DUTY_CYCLE };
        Self { duty_cycle, ..self }
    }

    /// Documents a second that a run may be expected to change, on a site that is idle if that can
    /// be told.
    pub(crate) fn usual_rate(&self, can_tell: bool) -> f64 {
        let is_gentle = self.is_gentle() && !can_tell;
        let rate = if is_gentle { USUAL_GENTLE_RATE * self.duty_cycle } else { USUAL_RATE };
        self.documents_per_second.map_or(rate, |limit| rate.min(limit.get().into()))
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::GENTLE
    }
}

/// The way in which documents are changed at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as the database can, whoever else uses it.
    Unthrottled,
    /// As fast, in batches that are short enough to notice in time that the database is in use.
    Alert,
    /// With room for others.
    Gentle,
}

impl Pace {
    /// How long a batch should take.
    const fn batch_time(self) -> Range<Duration> {
        match self {
            Self::Unthrottled => BATCH_TIME,
            Self::Alert => ALERT_BATCH_TIME,
            Self::Gentle => GENTLE_BATCH_TIME,
        }
    }

    /// Documents in the first batch.
    const fn first_batch(self) -> u64 {
        match self {
            Self::Unthrottled | Self::Alert => FIRST_BATCH,
            Self::Gentle => FIRST_GENTLE_BATCH,
        }
    }

    /// The most documents in a batch.
    const fn largest_batch(self) -> u64 {
        match self {
            Self::Unthrottled | Self::Alert => LARGEST_BATCH,
            Self::Gentle => LARGEST_GENTLE_BATCH,
        }
    }

    /// Documents in a command at first.
    const fn first_command(self) -> usize {
        match self {
            Self::Unthrottled | Self::Alert => usize::MAX,
            Self::Gentle => SMALLEST_TIMED_COMMAND,
        }
    }
}

/// How the commands of a batch leave room for others.
#[derive(Debug)]
pub(crate) struct Rests {
    throttle: Throttle,
    state: Mutex<RestState>,
}

#[derive(Debug)]
struct RestState {
    pace: Pace,
    /// Documents in a command.
    size: usize,
    rested: Duration,
}

impl Rests {
    pub(crate) fn new(throttle: Throttle) -> Self {
        let pace = throttle.pace(Foreground::Unknown);
        let state = RestState { pace, size: pace.first_command(), rested: Duration::ZERO };
        Self { throttle, state: Mutex::new(state) }
    }

    /// Changes the pace from the next batch on.
    pub(crate) fn set_pace(&self, pace: Pace) {
        let mut state = self.state();
        if state.pace != pace {
            (state.pace, state.size) = (pace, pace.first_command());
        }
    }

    /// How many documents the commands of the next batch change at most.
    pub(crate) fn size(&self) -> usize {
        self.state().size
    }

    /// Learns from a command that changed `documents` and took `taken`.
    pub(crate) fn learn(&self, documents: usize, taken: Duration) {
        let mut state = self.state();
        // The last command of a batch has fewer, and takes less time.
        if state.pace != Pace::Gentle || documents < state.size {
            return;
        }
        if taken < COMMAND_TIME.start {
            state.size = documents.saturating_mul(2);
        } else if taken > COMMAND_TIME.end {
            state.size = (documents / 2).max(SMALLEST_TIMED_COMMAND);
        }
    }

    /// Rests between a command that took so long and the next one of its batch.
    pub(crate) async fn rest(&self, taken: Duration, stop: &CancellationToken) {
        let rest = {
            let state = self.state();
            let left = LONGEST_RESTS.saturating_sub(state.rested);
            self.throttle.idle(state.pace, taken).min(LONGEST_REST).min(left)
        };
        if rest.is_zero() {
            return;
        }
        let began = tokio::time::Instant::now();
        sleep(rest, stop).await;
        self.state().rested += began.elapsed();
    }

    /// How long it has rested since this was asked last: the next batch begins.
    pub(crate) fn take_rested(&self) -> Duration {
        std::mem::take(&mut self.state().rested)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, RestState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sleep(pause: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(pause.min(LONGEST_PAUSE)) => {}
        () = stop.cancelled() => {}
    }
}

/// Decides how large the next batch is and when it may begin.
#[derive(Debug)]
pub(crate) struct Pacer {
    throttle: Throttle,
    pace: Pace,
    client: Client,
    size: u64,
    largest: u64,
    /// Documents that may be changed now; negative while there is a debt to wait for.
    tokens: f64,
    refilled: Instant,
    rate: f64,
    last_batch: Option<Instant>,
    flow_control_asked: Option<Instant>,
}

impl Pacer {
    /// A pacer for batches of at most `largest` documents.
    pub(crate) fn new(throttle: Throttle, pace: Pace, client: &Client, largest: u64) -> Self {
        let mut largest = largest.min(LARGEST_BATCH);
        if let Some(limit) = throttle.documents_per_second {
            largest = largest.min((limit.get() / BATCHES_A_SECOND).max(1).into());
        }
        Self {
            throttle,
            pace,
            client: client.clone(),
            size: pace.first_batch().min(largest),
            largest,
            tokens: 0.0,
            refilled: Instant::now(),
            rate: 0.0,
            last_batch: None,
            flow_control_asked: None,
        }
    }

    /// How many documents the next batch is to look at.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Changes the pace from the next batch on. Returns whether that is another one.
    pub(crate) fn set_pace(&mut self, pace: Pace) -> bool {
        let is_other = self.pace != pace;
        if is_other {
            (self.pace, self.size) = (pace, pace.first_batch().min(self.largest));
        }
        is_other
    }

    /// Documents a second, lately.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// A batch was too much.
    pub(crate) fn halve(&mut self) {
        self.size = (self.size / 2).max(1);
    }

    /// Learns from a batch of `documents` that took `taken`, rests of `rested` not included, and
    /// waits until the next one may begin. Returns what it waited for longest.
    pub(crate) async fn wait(
        &mut self,
        documents: u64,
        taken: Duration,
        rested: Duration,
        stop: &CancellationToken,
    ) -> Option<ThrottledBy> {
        let wanted = self.pace.batch_time();
        if taken < wanted.start {
            self.size = (self.size * 2).min(self.largest).min(self.pace.largest_batch());
        } else if (taken > wanted.end || rested >= LONGEST_RESTS)
            && self.size > SMALLEST_TIMED_BATCH
        {
            self.size = (self.size / 2).max(SMALLEST_TIMED_BATCH);
        }
        // With the pool of connections warm, a commit that takes this long waits for others.
        let is_slow = taken > BATCH_TIME.end * 2;
        let mut throttled_by = is_slow.then_some(ThrottledBy::Replication);

        let idle = self.throttle.idle(self.pace, taken).saturating_sub(rested);
        let debt = self.debt(documents);
        if self.pace == Pace::Gentle || !debt.is_zero() {
            let by = if debt > idle { ThrottledBy::RateLimit } else { ThrottledBy::DutyCycle };
            throttled_by = Some(by);
            sleep(debt.max(idle), stop).await;
        }
        if self.secondaries_lag(stop).await {
            throttled_by = Some(ThrottledBy::FlowControl);
        }
        self.measure(documents);
        throttled_by
    }

    /// How long to wait for the documents of the last batch (a token bucket that holds a second's
    /// worth).
    fn debt(&mut self, documents: u64) -> Duration {
        let Some(limit) = self.throttle.documents_per_second else { return Duration::ZERO };
        let limit = f64::from(limit.get());
        self.tokens += self.refilled.elapsed().as_secs_f64() * limit;
        self.refilled = Instant::now();
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most thousands")]
        let spent = documents as f64;
        self.tokens = self.tokens.min(limit / f64::from(BATCHES_A_SECOND)) - spent;
        Duration::from_secs_f64((-self.tokens / limit).max(0.0))
    }

    /// Waits while the server says so; whether it did. A server that does not let us ask is one
    /// that does not say so.
    async fn secondaries_lag(&mut self, stop: &CancellationToken) -> bool {
        let mut has_waited = false;
        if !self.throttle.heeds_flow_control {
            return false;
        }
        while self.flow_control_asked.is_none_or(|asked| asked.elapsed() >= FLOW_CONTROL_INTERVAL)
            && !stop.is_cancelled()
        {
            self.flow_control_asked = Some(Instant::now());
            let ask = doc! { "serverStatus": 1, "repl": 0, "metrics": 0, "wiredTiger": 0 };
            let status = self.client.database("admin").run_command(ask).await;
            let is_lagged = status.is_ok_and(|status| {
                let flow_control = status.get_document("flowControl");
                flow_control.is_ok_and(|state| state.get_bool("isLagged").unwrap_or_default())
            });
            if !is_lagged {
                break;
            }
            has_waited = true;
            sleep(FLOW_CONTROL_INTERVAL, stop).await;
        }
        has_waited
    }

    #[expect(clippy::cast_precision_loss, reason = "a batch has at most thousands")]
    fn measure(&mut self, documents: u64) {
        let now = Instant::now();
        if let Some(before) = self.last_batch.replace(now) {
            let elapsed = now.duration_since(before).as_secs_f64().max(1e-6);
            let rate = documents as f64 / elapsed;
            let is_first = self.rate == 0.0;
            self.rate = if is_first { rate } else { self.rate + RATE_WEIGHT * (rate - self.rate) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn a_command_gets_as_many_documents_as_its_time_allows() {
        let rests = Rests::new(Throttle::GENTLE);
        assert_eq!(rests.size(), 4);
        for _ in 0..3 {
            // All commands of a batch are of the size that it had at its beginning.
            rests.learn(4, MILLI / 10);
        }
        assert_eq!(rests.size(), 8);
        rests.learn(8, MILLI / 10);
        rests.learn(16, MILLI / 2);
        assert_eq!(rests.size(), 16);
        rests.learn(3, MILLI / 10);
        assert_eq!(rests.size(), 16, "the last one of a batch has fewer");
        rests.learn(16, 2 * MILLI);
        assert_eq!(rests.size(), 8);
        rests.learn(8, 50 * MILLI);
        rests.learn(4, 50 * MILLI);
        assert_eq!(rests.size(), 4);
        let at_full_speed = Rests::new(Throttle::OFF);
        at_full_speed.learn(4_000, 500 * MILLI);
        assert_eq!(at_full_speed.size(), usize::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn rests_are_as_long_as_the_share_says_and_end_before_they_keep_others_waiting() {
        let (rests, stop) = (Rests::new(Throttle::GENTLE), CancellationToken::new());
        let rest = async |taken: Duration| {
            let began = tokio::time::Instant::now();
            rests.rest(taken, &stop).await;
            began.elapsed()
        };
        assert_eq!(rest(MILLI).await, 9 * MILLI);
        assert_eq!(rest(10 * MILLI).await, LONGEST_REST);
        assert_eq!(rests.take_rested(), 29 * MILLI);
        let mut together = Duration::ZERO;
        for _ in 0..20 {
            together += rest(10 * MILLI).await;
        }
        assert_eq!(together, LONGEST_RESTS);
        assert_eq!(rests.take_rested(), LONGEST_RESTS);
        assert_eq!(rest(10 * MILLI).await, LONGEST_REST, "the next batch rests anew");
        stop.cancel();
        assert_eq!(rest(10 * MILLI).await, Duration::ZERO);
        let at_full_speed = Rests::new(Throttle::OFF);
        at_full_speed.rest(10 * MILLI, &CancellationToken::new()).await;
        assert_eq!(at_full_speed.take_rested(), Duration::ZERO);
    }
}
