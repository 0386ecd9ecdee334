//! The answers that the gateway keeps, so that what is read often costs no request to a service.
//!
//! An [`Entry`] (`entry`) is used without a request as long as no content that it depends on has
//! changed, and a change would have been heard (`clocks`); else the service confirms it or sends
//! another one. `key` decides which requests can be answered from memory; `flight` makes one request to the
//! service however many clients wait for the same answer; each entry is compressed once.
//! `counts` are the metrics. The proxy (`proxy/cached.rs`) connects these with the services.

mod clocks;
mod counts;
mod entry;
mod flight;
mod key;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{HttpRequest, HttpResponse};
use moka::{notification::RemovalCause, sync};
use service_kit::{runtime::settings, web::upstream::Upstream};

pub(crate) use self::{
    clocks::{Clocks, Currency},
    counts::Outcome,
    entry::{CACHE_STATUS, Content, Entry, Labels},
    flight::{Flight, Flights, Role},
    key::ReadRoutes,
};
use self::{counts::Counts, entry::Variants};

/// The size from which an entry is counted at once, in bytes. The library counts smaller ones together,
/// up to 64 of them.
const COUNTED_AT_ONCE: u32 = 64 * 1024;

/// All entries, shared by the workers of the server.
#[derive(Debug)]
pub(crate) struct Cache {
    store: sync::Cache<Arc<str>, Arc<Entry>>,
    pub(crate) routes: ReadRoutes,
    pub(crate) clocks: Clocks,
    /// The service that owns what is not content.
    pub(crate) sections: Arc<Upstream>,
    pub(crate) flights: Arc<Flights>,
    variants: Variants,
    stale_if_error: Duration,
    counts: Arc<Counts>,
}

impl Cache {
    /// Returns an empty cache, or `None` if the settings turn it off.
    pub(crate) fn new(
        settings: &settings::Cache,
        routes: ReadRoutes,
        sections: Arc<Upstream>,
    ) -> Option<Arc<Self>> {
        if settings.max_bytes == 0 {
            return None;
        }
        let counts = Arc::new(Counts::default());
        let evicted = Arc::clone(&counts);
        let store = sync::Cache::builder()
            .weigher(|key: &Arc<str>, entry: &Arc<Entry>| entry.weight(key))
            .max_capacity(settings.max_bytes)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    evicted.evicted();
                }
            })
            .build();
        counts.export(&store);
        Some(Arc::new(Self {
            store,
            routes,
            clocks: Clocks::default(),
            sections,
            flights: Arc::default(),
            variants: Variants::default(),
            stale_if_error: Duration::from_secs(settings.stale_if_error_seconds.into()),
            counts,
        }))
    }

    /// Returns an entry and its currency at a moment.
    pub(crate) fn find(&self, key: &str, now: Instant) -> Option<(Arc<Entry>, Currency)> {
        let entry = self.store.get(key)?;
        let currency = entry.currency(&self.clocks, now);
        Some((entry, currency))
    }

    /// Keeps an entry if nothing that it depends on has changed since it was computed. Returns `true`
    /// if it did.
    pub(crate) fn keep(&self, key: &str, entry: &Arc<Entry>) -> bool {
        let is_current = entry.currency(&self.clocks, Instant::now()) != Currency::Changed;
        if is_current {
            self.insert(key, entry);
        }
        is_current
    }

    fn insert(&self, key: &str, entry: &Arc<Entry>) {
        self.store.insert(key.into(), Arc::clone(entry));
        if entry.weight(key) >= COUNTED_AT_ONCE {
            self.store.run_pending_tasks();
        }
    }

    /// Returns `true` if an entry may be used although the service does not answer.
    pub(crate) fn may_be_stale(&self, entry: &Entry, now: Instant) -> bool {
        entry.currency(&self.clocks, now) != Currency::Changed
            && entry.age(now) <= self.stale_if_error
    }

    /// Returns the answer to a client from an entry: in the best coding that the client takes, without
    /// a body if the client has it, and none for `HEAD`.
    pub(crate) async fn respond(
        &self,
        key: &str,
        entry: &Arc<Entry>,
        request: &HttpRequest,
        labels: Labels<'_>,
    ) -> HttpResponse {
        let (response, is_larger) = entry.respond(request, labels, &self.variants).await;
        // A coding was made: the entry takes more memory than before.
        if is_larger && self.store.get(key).is_some_and(|kept| Arc::ptr_eq(&kept, entry)) {
            self.insert(key, entry);
        }
        response
    }

    /// Counts a request that could be answered from memory.
    pub(crate) fn count(&self, outcome: Outcome) {
        self.counts.count(outcome);
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::{StatusCode, header::HeaderMap};
    use service_kit::web::upstream::Options;

    use super::*;

    /// The memory, the size of a body, and the number of hot and of other URLs.
    const MAX_BYTES: u64 = 8 * 1024 * 1024;
    const BODY_BYTES: usize = 1024;
    const HOT: usize = 1_000;
    const OTHERS: usize = 100_000;

    fn cache() -> Arc<Cache> {
        let settings = settings::Cache { max_bytes: MAX_BYTES, ..settings::Cache::default() };
        let routes = ReadRoutes::of_description(b"{}", |_| true);
        let address = "http://127.0.0.1:1".parse().unwrap();
        let sections = Upstream::new("sections-service", address, Options::default());
        Cache::new(&settings, routes, sections).unwrap()
    }

    /// Looks up an answer, and keeps it if it is not there. Returns `true` if it was.
    fn read(cache: &Cache, key: &str, bytes: usize) -> bool {
        let now = Instant::now();
        let is_there = cache.find(key, now).is_some();
        if !is_there {
            let body = vec![b'x'; bytes];
            let content = Arc::new(Content::new(StatusCode::OK, HeaderMap::new(), &body));
            assert!(cache.keep(key, &Entry::new(content, None, now, None)));
        }
        is_there
    }

    #[test]
    fn many_urls_stay_within_the_memory_and_leave_the_hot_ones() {
        let cache = cache();
        let hot = |number: usize| format!("/stories/slug/hot-{}", number % HOT);
        for number in 0..10 * HOT {
            read(&cache, &hot(number), BODY_BYTES);
        }
        let mut hits = 0;
        for number in 0..OTHERS {
            read(&cache, &format!("/stories/slug/other-{number}"), BODY_BYTES);
            hits += usize::from(read(&cache, &hot(number), BODY_BYTES));
        }
        cache.store.run_pending_tasks();
        assert!(cache.store.weighted_size() <= MAX_BYTES, "{}", cache.store.weighted_size());
        assert!(hits * 10 > OTHERS * 9, "{hits} of {OTHERS}");
        assert!(cache.store.entry_count() > 1_000, "{}", cache.store.entry_count());
    }

    #[test]
    fn large_answers_are_counted_at_once() {
        let cache = cache();
        for number in 0..100 {
            read(&cache, &format!("/stories?offset={number}"), 1024 * 1024);
            assert!(cache.store.weighted_size() <= MAX_BYTES, "{number}");
        }
    }

    #[test]
    fn nothing_is_kept_without_memory() {
        let settings = settings::Cache { max_bytes: 0, ..settings::Cache::default() };
        let routes = ReadRoutes::of_description(b"{}", |_| true);
        let address = "http://127.0.0.1:1".parse().unwrap();
        let sections = Upstream::new("sections-service", address, Options::default());
        assert!(Cache::new(&settings, routes, sections).is_none());
    }
}
