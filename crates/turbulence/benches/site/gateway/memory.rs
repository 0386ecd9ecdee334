//! Memory of answers, and which of them are kept.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{CONNECTIONS, start};
use crate::{connection::Connection, support::resident_kib, table::Table};

/// The number of URLs that are requested once, and of those that are requested often.
const URLS: usize = 1_000_000;
const HOT: usize = 1_000;

/// The number of other URLs between two hot ones.
const OTHERS: usize = 4;

/// The memory that all of it may take without answers, and that of the answers, in bytes.
const MAX_BYTES: u64 = 60_000_000;
const MAX_ANSWERS_BYTES: u64 = 64 * 1024 * 1024;

/// Requests many URLs once beside some that are requested again and again.
pub(super) fn memory(uri: &str, table: &mut Table) {
    let up = start(uri, &[]);
    let process = up.child.id().to_string();
    let [hits, asked] = [const { AtomicUsize::new(0) }; 2];
    thread::scope(|scope| {
        for first in 0..CONNECTIONS as usize {
            let (mut connection, hits, asked) = (Connection::open(&up.address), &hits, &asked);
            scope.spawn(move || {
                for number in (first..URLS).step_by(CONNECTIONS as usize) {
                    // Both kinds of look-ups that find nothing.
                    let path = match number % 2 {
                        0 => format!("/stories/slug/none-{number}"),
                        _ => format!("/resolve?path=/none-{number}"),
                    };
                    assert_eq!(connection.get(&path).status, 404, "{path}");
                    if !(number / CONNECTIONS as usize).is_multiple_of(OTHERS) {
                        continue;
                    }
                    // Each of them is published. The connections are at different ones.
                    let turn = number / CONNECTIONS as usize / OTHERS;
                    let hot = (turn * 7 + first * 31) % HOT * 2 + 1;
                    let answer = connection.get(&format!("/stories/slug/story-{hot}"));
                    assert_eq!(answer.status, 200, "{hot}");
                    // The first tenth fills the memory.
                    if number > URLS / 10 {
                        asked.fetch_add(1, Ordering::Relaxed);
                        let is_hit = answer.header("cache-status") == Some("turbulence; hit");
                        hits.fetch_add(usize::from(is_hit), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let resident = resident_kib(&process) * 1024;
    let most = MAX_BYTES + MAX_ANSWERS_BYTES;
    table.row(
        "resident memory of all three services after a million distinct URLs",
        format!("{} MB", resident / 1_000_000),
        "≤ 60 MB and the 64 MiB of answers",
        resident <= most,
    );
    let rate = hits.into_inner() as f64 / asked.into_inner() as f64;
    table.row("hits of a thousand hot URLs among them", format!("{rate:.3}"), "> 0.9", rate > 0.9);
}
