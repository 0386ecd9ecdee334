//! The last change of every key of a service.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use models::changes::{FeedMessage, Revision, key_family};
use tokio::sync::watch;

/// The time after which a feed that is silent no longer confirms anything. Its messages come every
/// 25 ms, so that three may be late.
pub const LEASE: Duration = Duration::from_millis(100);

/// The number of slots for the revisions of keys, half a megabyte. Keys that share a slot change
/// together, which costs a request and is never wrong; 65,536 are many more than the keys that change
/// in the time for which most answers are kept.
const SLOTS: usize = 1 << 16;

/// The largest number of families: many more than there are kinds of content.
const MAX_FAMILIES: usize = 64;

/// The distance by which a replica may be behind another one, as a difference of revisions: a minute.
/// A feed that is further behind belongs to another database, such as one that was set up again.
const MAX_LAG: u64 = 60 << 32;

/// The last change of every key of a service, as far as this process knows it: from the feed of the
/// service, and from writes that it has seen itself.
///
/// All methods may be called by many threads; [`is_current`](Self::is_current) and
/// [`is_live`](Self::is_live), which every request needs, wait for no lock.
#[derive(Debug)]
pub struct KeyClock {
    started_at: Instant,
    hasher: RandomState,
    slots: Box<[AtomicU64]>,
    families: Mutex<HashMap<String, Arc<Family>>>,
    /// The newest revision known, from the feed or from a write.
    newest: AtomicU64,
    /// The newest revision of a change.
    newest_change: AtomicU64,
    /// The highest revision that the feed has named.
    heard: AtomicU64,
    /// The revision up to which the feed has sent all changes.
    watermark: AtomicU64,
    /// The end of the lease, in nanoseconds after `started_at`.
    live_until: AtomicU64,
    generation: AtomicU64,
    /// Changes with each change, so that others can wait for one.
    changed: watch::Sender<()>,
}

/// The state of all keys with the same first segment.
#[derive(Debug, Default)]
struct Family {
    /// The revision at which all keys may have changed.
    reset: AtomicU64,
    /// `true` while the feed does not report the changes of the family.
    is_suspended: AtomicBool,
}

/// The number of times that a service began to count its revisions again. Revisions of different
/// generations cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(u64);

/// The keys of an answer, prepared for [`KeyClock::is_current`].
#[derive(Debug, Clone)]
pub struct Keys {
    generation: Generation,
    slots: Box<[u16]>,
    families: Box<[Arc<Family>]>,
}

impl Keys {
    /// Returns the memory that they take, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.slots) + size_of_val(&*self.families)
    }
}

/// A message that cannot follow those before it: the connection is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the revisions of the feed jumped back")]
pub struct OutOfOrder;

impl Default for KeyClock {
    fn default() -> Self {
        Self {
            started_at: Instant::now(),
            hasher: RandomState::new(),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            families: Mutex::default(),
            newest: AtomicU64::new(0),
            newest_change: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            watermark: AtomicU64::new(0),
            live_until: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            changed: watch::Sender::default(),
        }
    }
}

impl KeyClock {
    /// Returns the newest revision that is known.
    pub fn newest(&self) -> Revision {
        Revision::new(self.newest.load(Ordering::Acquire))
    }

    /// Returns the revision of the newest change that is known, if there is one. What was true at it or
    /// later includes all changes that this process knows of.
    pub fn newest_change(&self) -> Option<Revision> {
        let newest = Revision::new(self.newest_change.load(Ordering::Acquire));
        (newest != Revision::ZERO).then_some(newest)
    }

    /// Returns the revision up to which the feed has reported all changes. What is read afterwards was
    /// true at that revision or later.
    pub fn watermark(&self) -> Revision {
        Revision::new(self.watermark.load(Ordering::Acquire))
    }

    /// Returns the generation of the revisions. It is taken before a request is sent, since the answer
    /// may arrive in another one.
    pub fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    /// Returns a receiver that is notified after each change of any key.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Returns `true` if the feed was heard within [`LEASE`], so that a change would be known.
    pub fn is_live(&self) -> bool {
        self.is_live_at(Instant::now())
    }

    /// Like [`is_live`](Self::is_live), at a moment that the caller has already.
    pub fn is_live_at(&self, now: Instant) -> bool {
        self.nanoseconds(now) < self.live_until.load(Ordering::Acquire)
    }

    /// Prepares the keys of an answer. Returns `None` if the feed does not report one of the families.
    pub fn keys<'a>(
        &self,
        generation: Generation,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Option<Keys> {
        let known = self.families();
        let mut families: Vec<Arc<Family>> = Vec::new();
        let mut slots = Vec::new();
        for key in keys {
            let family = known.get(key_family(key))?;
            if !families.iter().any(|one| Arc::ptr_eq(one, family)) {
                families.push(Arc::clone(family));
            }
            slots.push(self.slot(key));
        }
        slots.sort_unstable();
        slots.dedup();
        Some(Keys { generation, slots: slots.into(), families: families.into() })
    }

    /// Returns `true` if a family is one of this service.
    pub fn has_family(&self, family: &str) -> bool {
        self.families().contains_key(family)
    }

    /// Returns `true` if none of the keys is known to have changed after the revision. Unless the
    /// clock [is live](Self::is_live), there may be a change that is not known.
    pub fn is_current(&self, keys: &Keys, revision: Revision) -> bool {
        let revision = revision.number();
        let is_before = |change: &AtomicU64| change.load(Ordering::Acquire) <= revision;
        keys.generation == self.generation()
            && keys.families.iter().all(|family| {
                // In this order: a family is resumed after its reset is known.
                !family.is_suspended.load(Ordering::Acquire) && is_before(&family.reset)
            })
            && keys.slots.iter().all(|slot| is_before(&self.slots[usize::from(*slot)]))
    }

    /// Records that keys changed with this revision, as the answer to a write says.
    pub fn raise<'a>(&self, keys: impl IntoIterator<Item = &'a str>, revision: Revision) {
        for key in keys {
            let slot = usize::from(self.slot(key));
            self.slots[slot].fetch_max(revision.number(), Ordering::AcqRel);
        }
        self.record_change(revision);
        self.changed.send_replace(());
    }

    /// Records that anything of these families may have changed after the newest revision, or of all
    /// families without a name.
    pub fn raise_families(&self, names: Option<&[&str]>) {
        let next = self.newest().next();
        for (name, family) in self.families().iter() {
            if names.is_none_or(|names| names.contains(&name.as_str())) {
                family.reset.fetch_max(next.number(), Ordering::AcqRel);
            }
        }
        self.changed.send_replace(());
    }

    /// Takes over a message of the feed that was received at a moment.
    pub fn apply(&self, message: &FeedMessage, received: Instant) -> Result<(), OutOfOrder> {
        match message {
            FeedMessage::Hello { families, revision, .. } => {
                if self.is_far_behind(*revision) {
                    self.forget();
                }
                self.begin(families, *revision);
            }
            FeedMessage::Changed { revision, keys } => {
                self.check(*revision)?;
                self.raise(keys.iter().map(String::as_str), *revision);
                self.heard.fetch_max(revision.number(), Ordering::AcqRel);
            }
            FeedMessage::Reset { revision, families } => {
                self.check(*revision)?;
                let known = self.families();
                for family in families.iter().filter_map(|name| known.get(name)) {
                    family.reset_to(*revision);
                }
                drop(known);
                self.record_change(*revision);
                self.heard.fetch_max(revision.number(), Ordering::AcqRel);
                self.changed.send_replace(());
            }
            FeedMessage::Suspended { families } => {
                let known = self.families();
                for family in families.iter().filter_map(|name| known.get(name)) {
                    family.is_suspended.store(true, Ordering::Release);
                }
                drop(known);
                self.changed.send_replace(());
            }
            FeedMessage::Watermark { revision, age_ms } => {
                self.check(*revision)?;
                self.newest.fetch_max(revision.number(), Ordering::AcqRel);
                self.watermark.fetch_max(revision.number(), Ordering::AcqRel);
                // A replica that is behind another one confirms nothing until it has caught up.
                if self.heard.fetch_max(revision.number(), Ordering::AcqRel) <= revision.number() {
                    self.renew(received, Duration::from_millis(*age_ms));
                }
            }
        }
        Ok(())
    }

    /// Takes over the families of a feed that begins at a revision.
    fn begin(&self, names: &[String], revision: Revision) {
        let last = self.watermark();
        let is_gap = last == Revision::ZERO || last < revision;
        let mut known = self.families();
        for name in names {
            if !known.contains_key(name) && known.len() < MAX_FAMILIES {
                let family = Family::default();
                family.is_suspended.store(true, Ordering::Release);
                known.insert(name.clone(), Arc::new(family));
            }
        }
        for (name, family) in known.iter() {
            if !names.contains(name) {
                family.is_suspended.store(true, Ordering::Release);
            } else if is_gap || family.is_suspended.load(Ordering::Acquire) {
                family.reset_to(revision);
                self.record_change(revision);
            }
        }
        drop(known);
        for known in [&self.newest, &self.heard, &self.watermark] {
            known.fetch_max(revision.number(), Ordering::AcqRel);
        }
        self.changed.send_replace(());
    }

    /// Forgets everything: the revisions of the service begin again.
    fn forget(&self) {
        // In this order: nothing is current until all is forgotten, and nothing that was known before
        // is so afterwards.
        self.live_until.store(0, Ordering::Release);
        let resets: Vec<_> = self.families().values().map(Arc::clone).collect();
        for family in &resets {
            family.is_suspended.store(true, Ordering::Release);
            family.reset.store(0, Ordering::Release);
        }
        let known = [&self.newest, &self.newest_change, &self.heard, &self.watermark];
        for known in self.slots.iter().chain(known) {
            known.store(0, Ordering::Release);
        }
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.changed.send_replace(());
    }

    fn record_change(&self, revision: Revision) {
        for newest in [&self.newest, &self.newest_change] {
            newest.fetch_max(revision.number(), Ordering::AcqRel);
        }
    }

    /// Refuses a revision that is far behind those before it, and forgets these.
    fn check(&self, revision: Revision) -> Result<(), OutOfOrder> {
        if self.is_far_behind(revision) {
            self.forget();
            return Err(OutOfOrder);
        }
        Ok(())
    }

    fn is_far_behind(&self, revision: Revision) -> bool {
        revision.number().saturating_add(MAX_LAG) < self.heard.load(Ordering::Acquire)
    }

    /// Prolongs the lease by a confirmation of the database that is this old.
    fn renew(&self, received: Instant, age: Duration) {
        if let Some(rest) = LEASE.checked_sub(age) {
            let until = self.nanoseconds(received + rest);
            self.live_until.fetch_max(until, Ordering::AcqRel);
        }
    }

    fn nanoseconds(&self, moment: Instant) -> u64 {
        let elapsed = moment.saturating_duration_since(self.started_at);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }

    fn slot(&self, key: &str) -> u16 {
        // The upper bits: any are as good as others.
        (self.hasher.hash_one(key) >> 48) as u16
    }

    fn families(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Family>>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Family {
    /// Records that all keys may have changed with this revision, and that later changes are reported.
    fn reset_to(&self, revision: Revision) {
        self.reset.fetch_max(revision.number(), Ordering::AcqRel);
        self.is_suspended.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: u64) -> Revision {
        // Seconds apart from each other, as those of MongoDB may be.
        Revision::new((1_000 + number) << 32)
    }

    fn hello(number: u64) -> FeedMessage {
        let families = ["stories", "pages"].map(str::to_owned).to_vec();
        FeedMessage::Hello { service: "content".to_owned(), families, revision: revision(number) }
    }

    fn changed(number: u64, keys: &[&str]) -> FeedMessage {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        FeedMessage::Changed { revision: revision(number), keys }
    }

    fn watermark(number: u64) -> FeedMessage {
        FeedMessage::Watermark { revision: revision(number), age_ms: 0 }
    }

    fn reset(number: u64, family: &str) -> FeedMessage {
        FeedMessage::Reset { revision: revision(number), families: vec![family.to_owned()] }
    }

    fn suspended(family: &str) -> FeedMessage {
        FeedMessage::Suspended { families: vec![family.to_owned()] }
    }

    fn clock(messages: &[FeedMessage]) -> KeyClock {
        let clock = KeyClock::default();
        apply(&clock, messages);
        clock
    }

    fn apply(clock: &KeyClock, messages: &[FeedMessage]) {
        for message in messages {
            clock.apply(message, Instant::now()).unwrap();
        }
    }

    fn keys(clock: &KeyClock, keys: &[&str]) -> Keys {
        clock.keys(clock.generation(), keys.iter().copied()).unwrap()
    }

    #[test]
    fn an_answer_is_current_until_one_of_its_keys_changes() {
        let clock = clock(&[hello(10), watermark(10)]);
        let a = keys(&clock, &["stories/slug/a", "pages"]);
        let b = keys(&clock, &["stories/slug/b"]);
        assert!(clock.is_current(&a, revision(10)) && clock.is_current(&b, revision(10)));
        assert!(!clock.is_current(&a, revision(9)), "changes before the feed are not known");
        apply(&clock, &[changed(11, &["stories", "stories/slug/a"])]);
        assert!(!clock.is_current(&a, revision(10)));
        assert!(clock.is_current(&a, revision(11)) && clock.is_current(&b, revision(10)));
        apply(&clock, &[changed(12, &["pages"]), watermark(12)]);
        assert!(!clock.is_current(&a, revision(11)));
        assert_eq!((clock.newest(), clock.watermark()), (revision(12), revision(12)));
        assert!(clock.keys(clock.generation(), ["events/1"]).is_none());
    }

    #[test]
    fn a_write_that_was_seen_counts_before_the_feed_reports_it() {
        let clock = clock(&[hello(10), watermark(10)]);
        let (a, b) = (keys(&clock, &["stories/a"]), keys(&clock, &["stories/b"]));
        clock.raise(["stories/a"], revision(11));
        assert!(!clock.is_current(&a, revision(10)) && clock.is_current(&b, revision(10)));
        assert_eq!((clock.newest(), clock.watermark()), (revision(11), revision(10)));
        // It is ahead of the feed, which goes on to confirm what it has sent.
        assert!(clock.is_live());
        clock.raise_families(Some(&["pages"]));
        assert!(clock.is_current(&b, revision(11)));
        clock.raise_families(None);
        assert!(!clock.is_current(&b, revision(11)) && clock.is_current(&b, revision(12)));
    }

    #[test]
    fn a_family_that_is_not_reported_is_not_current_until_its_reset() {
        let clock = clock(&[hello(10), watermark(10)]);
        let (story, page) = (keys(&clock, &["stories/a"]), keys(&clock, &["pages/a"]));
        apply(&clock, &[suspended("stories"), watermark(20)]);
        assert!(!clock.is_current(&story, revision(20)) && clock.is_current(&page, revision(10)));
        apply(&clock, &[reset(30, "stories"), suspended("unknown"), reset(30, "unknown")]);
        assert!(!clock.is_current(&story, revision(20)) && clock.is_current(&story, revision(30)));
        assert!(clock.is_current(&page, revision(10)));
    }

    #[test]
    fn a_feed_that_continues_keeps_what_is_current_and_one_with_a_gap_does_not() {
        let clock = clock(&[hello(10), watermark(20)]);
        let a = keys(&clock, &["stories/a"]);
        apply(&clock, &[hello(20)]);
        assert!(clock.is_current(&a, revision(10)));
        apply(&clock, &[hello(15), changed(16, &["stories/b"])]);
        assert!(clock.is_current(&a, revision(10)));
        apply(&clock, &[hello(21)]);
        assert!(!clock.is_current(&a, revision(20)) && clock.is_current(&a, revision(21)));
        // Changes that were not sent before the connection was cut are not sent by another one.
        apply(&clock, &[suspended("stories"), watermark(30), hello(30)]);
        assert!(!clock.is_current(&a, revision(21)) && clock.is_current(&a, revision(30)));
        // A service of another version reports other families.
        let families = vec!["pages".to_owned()];
        apply(
            &clock,
            &[FeedMessage::Hello { service: String::new(), families, revision: revision(30) }],
        );
        assert!(!clock.is_current(&a, revision(40)));
    }

    #[test]
    fn revisions_that_begin_again_make_everything_unknown() {
        let clock = clock(&[hello(1_000), changed(1_001, &["stories/a"]), watermark(1_001)]);
        let old = keys(&clock, &["stories/b"]);
        let late = clock.generation();
        let error = clock.apply(&watermark(900), Instant::now());
        assert_eq!(error, Err(OutOfOrder));
        assert!(!clock.is_live() && !clock.is_current(&old, revision(1_000)));
        apply(&clock, &[hello(900), watermark(900)]);
        assert!(clock.is_live() && !clock.is_current(&old, revision(1_000)));
        let late = clock.keys(late, ["stories/b"]).unwrap();
        assert!(!clock.is_current(&late, revision(1_000)));
        let new = keys(&clock, &["stories/a"]);
        assert!(clock.is_current(&new, revision(900)));
        assert_eq!((clock.newest(), clock.newest_change()), (revision(900), Some(revision(900))));
        // A new connection says so at its beginning.
        apply(&clock, &[hello(100), watermark(100)]);
        assert!(!clock.is_current(&new, revision(900)));
    }

    #[test]
    fn the_newest_change_is_not_later_than_a_change() {
        let clock = clock(&[hello(10), watermark(20)]);
        assert_eq!((clock.newest_change(), clock.newest()), (Some(revision(10)), revision(20)));
        apply(&clock, &[changed(21, &["stories"]), watermark(30), hello(30)]);
        assert_eq!((clock.newest_change(), clock.newest()), (Some(revision(21)), revision(30)));
        apply(&clock, &[reset(31, "pages"), suspended("stories"), watermark(40)]);
        assert_eq!(clock.newest_change(), Some(revision(31)));
        apply(&clock, &[hello(40)]);
        assert_eq!(clock.newest_change(), Some(revision(40)), "the feed was suspended");
        clock.raise(["stories/a"], revision(41));
        assert_eq!(clock.newest_change(), Some(revision(41)));
    }

    #[test]
    fn a_replica_that_is_behind_another_one_confirms_nothing() {
        let clock = clock(&[hello(10), watermark(20)]);
        let later = Instant::now() + LEASE;
        assert!(clock.is_live() && !clock.is_live_at(later));
        for (number, is_confirmed) in [(19, false), (20, true)] {
            clock.apply(&watermark(number), later).unwrap();
            assert_eq!(clock.is_live_at(later), is_confirmed, "{number}");
        }
    }

    #[test]
    fn the_lease_counts_from_the_moment_of_the_confirmation() {
        let clock = clock(&[hello(10)]);
        let now = Instant::now();
        assert!(!clock.is_live_at(now), "the beginning confirms nothing");
        let confirm = |age_ms| {
            let message = FeedMessage::Watermark { revision: revision(10), age_ms };
            clock.apply(&message, now).unwrap();
        };
        for age_ms in [100, 10_000, u64::MAX] {
            confirm(age_ms);
            assert!(!clock.is_live_at(now), "{age_ms}");
        }
        confirm(60);
        assert!(clock.is_live_at(now + Duration::from_millis(39)));
        assert!(!clock.is_live_at(now + Duration::from_millis(40)));
        confirm(90);
        assert!(clock.is_live_at(now + Duration::from_millis(39)), "it does not end earlier");
    }

    #[test]
    fn the_number_of_families_is_bounded() {
        let families = (0..10_000).map(|number| format!("family-{number}")).collect();
        let hello = FeedMessage::Hello { service: String::new(), families, revision: revision(1) };
        let clock = clock(&[hello]);
        assert_eq!(clock.families().len(), MAX_FAMILIES);
    }
}
