//! The metrics of the cache.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use moka::sync;
use opentelemetry::{KeyValue, global};

use super::entry::Entry;

/// The way in which a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// From memory.
    Hit,
    /// From memory, after the service confirmed it.
    Revalidated,
    /// By the service.
    Miss,
    /// From memory, since the service did not answer.
    Stale,
    /// By the service, since such requests are never answered from memory.
    Bypass,
}

const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Hit, "hit"),
    (Outcome::Revalidated, "revalidated"),
    (Outcome::Miss, "miss"),
    (Outcome::Stale, "stale"),
    (Outcome::Bypass, "bypass"),
];

/// The numbers of a cache since the start of the process.
#[derive(Debug, Default)]
pub(super) struct Counts {
    requests: [AtomicU64; OUTCOMES.len()],
    evictions: AtomicU64,
}

impl Counts {
    pub(super) fn count(&self, outcome: Outcome) {
        self.requests[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evicted(&self) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
    }

    /// Exports the numbers whenever metrics are collected.
    pub(super) fn export(self: &Arc<Self>, store: &sync::Cache<Arc<str>, Arc<Entry>>) {
        let meter = global::meter("gateway");
        let counts = Arc::clone(self);
        meter
            .u64_observable_counter("turbulence.cache.requests")
            .with_description("Reads by the way in which they were answered")
            .with_unit("{request}")
            .with_callback(move |observer| {
                for (outcome, name) in OUTCOMES {
                    let number = counts.requests[outcome as usize].load(Ordering::Relaxed);
                    observer.observe(number, &[KeyValue::new("cache.outcome", name)]);
                }
            })
            .build();
        let counts = Arc::clone(self);
        meter
            .u64_observable_counter("turbulence.cache.evictions")
            .with_description("Answers that made room for others")
            .with_unit("{entry}")
            .with_callback(move |observer| {
                observer.observe(counts.evictions.load(Ordering::Relaxed), &[]);
            })
            .build();
        let entries = store.clone();
        meter
            .u64_observable_gauge("turbulence.cache.entries")
            .with_description("Answers that are kept")
            .with_unit("{entry}")
            .with_callback(move |observer| observer.observe(entries.entry_count(), &[]))
            .build();
        let store = store.clone();
        meter
            .u64_observable_gauge("turbulence.cache.size")
            .with_description("Memory of the answers that are kept")
            .with_unit("By")
            .with_callback(move |observer| observer.observe(store.weighted_size(), &[]))
            .build();
    }
}
