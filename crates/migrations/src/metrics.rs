//! The metrics of the engine (OpenTelemetry; off unless the process exports metrics).

use std::{sync::OnceLock, time::Duration};

use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge, Histogram},
};

use crate::state::entry::State;

struct Instruments {
    documents: Counter<u64>,
    quarantined: Counter<u64>,
    batches: Histogram<f64>,
    states: Gauge<u64>,
}

fn instruments() -> &'static Instruments {
    static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();
    INSTRUMENTS.get_or_init(|| {
        let meter = global::meter("migrations");
        Instruments {
            documents: meter
                .u64_counter("migration.documents")
                .with_unit("{document}")
                .with_description("Documents that backfills have changed")
                .build(),
            quarantined: meter
                .u64_counter("migration.documents.set_aside")
                .with_unit("{document}")
                .with_description("Documents that backfills could not change")
                .build(),
            batches: meter
                .f64_histogram("migration.batch.duration")
                .with_unit("s")
                .with_description("How long the transactions of backfills take")
                .build(),
            states: meter
                .u64_gauge("migration.state")
                .with_description("1 for the present state of a migration in this process")
                .build(),
        }
    })
}

fn of(migration: &'static str) -> KeyValue {
    KeyValue::new("migration.id", migration)
}

/// Counts a committed batch.
pub(crate) fn batch(migration: &'static str, taken: Duration, modified: i64) {
    let instruments = instruments();
    instruments.documents.add(u64::try_from(modified).unwrap_or_default(), &[of(migration)]);
    instruments.batches.record(taken.as_secs_f64(), &[of(migration)]);
}

/// Counts a quarantined document.
pub(crate) fn quarantined(migration: &'static str) {
    instruments().quarantined.add(1, &[of(migration)]);
}

/// Records that a migration went from one state to another.
pub(crate) fn state(migration: &'static str, before: State, after: State) {
    let states = &instruments().states;
    let at = |state: State| [of(migration), KeyValue::new("migration.state", state.as_str())];
    states.record(0, &at(before));
    states.record(1, &at(after));
}
