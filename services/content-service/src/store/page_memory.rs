//! The memory of the pages that are read at the same time.
//!
//! Until its response is made, a page is in memory three times: as documents of the database, as items,
//! and as JSON. Hundreds of readers at once would need more than the process has, all the more if their
//! clients have left, since a handler runs to its end. So a page waits until there is memory for it.
//! Large pages have memory of their own, so that the others do not wait for them.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use mongodb::error::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The size of the documents of a large page, in bytes.
const LARGE_PAGE_BYTES: usize = 1024 * 1024;

/// The documents of all pages that are not large, in KiB: some 200 pages of ten usual items. With their
/// items and their JSON, they take a quarter of the 256 MiB of a process.
const PAGES_MAX_KIB: usize = 16 * 1024;

/// The most large pages that are read at once. Each needs up to 16 MiB (`list::MAX_PAGE_BYTES` as items
/// and, while its buffer grows, twice as JSON, and the documents of one batch), and takes a core for
/// some tens of milliseconds.
const MAX_LARGE_PAGES: usize = 3;

/// The most readers of pages known to be large that wait for their turn: they wait a quarter of a
/// second, the latency beyond which the service counts as overloaded.
const MAX_WAITING: usize = 16;

/// The number of documents that are read at once for a large page: with the default limit, all of them
/// and the one that tells whether there is another page.
const LARGE_BATCH: u32 = 11;

/// The memory of the pages of the process.
static PAGES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(PAGES_MAX_KIB)));
static LARGE_PAGES: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(MAX_LARGE_PAGES)));

/// The readers of pages known to be large that wait.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// There are more readers of large pages than can be answered in time.
#[derive(Debug)]
pub(crate) struct TooManyLargePages;

/// The size that the items of a list had lately.
#[derive(Debug, Default)]
pub(super) struct ItemSizes {
    /// In bytes of a stored document; 0 if none was read yet.
    average: AtomicUsize,
}

/// The memory of a page, for as long as it lives.
#[derive(Debug)]
pub(crate) struct PageMemory {
    is_large: bool,
    // The semaphores are never closed.
    _permit: Option<OwnedSemaphorePermit>,
}

impl PageMemory {
    /// Returns the number of documents that may be read at once; `None` for as many as the database
    /// returns.
    pub(super) fn batch_size(&self) -> Option<u32> {
        self.is_large.then_some(LARGE_BATCH)
    }
}

/// A reader that waits.
struct Waiting;

impl Waiting {
    /// Returns `None` if there are too many.
    fn begin() -> Option<Self> {
        let is_room = |waiting| (waiting < MAX_WAITING).then_some(waiting + 1);
        WAITING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_room).ok().map(|_| Self)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ItemSizes {
    /// Waits for the memory of a page with so many items. A list that was not read yet may have large
    /// pages.
    ///
    /// # Errors
    ///
    /// [`TooManyLargePages`] if the page is large and too many readers wait.
    pub(super) async fn reserve(&self, items: usize) -> Result<PageMemory> {
        let average = self.average.load(Ordering::Relaxed);
        let bytes = average * items;
        if (1..=LARGE_PAGE_BYTES).contains(&bytes) {
            let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
            let permit = Arc::clone(&PAGES).acquire_many_owned(kib).await.ok();
            return Ok(PageMemory { is_large: false, _permit: permit });
        }
        let pages = Arc::clone(&LARGE_PAGES);
        let permit = if let Ok(permit) = Arc::clone(&pages).try_acquire_owned() {
            Some(permit)
        } else {
            let _waiting = match average {
                0 => None,
                _ => Some(Waiting::begin().ok_or_else(|| Error::custom(TooManyLargePages))?),
            };
            pages.acquire_owned().await.ok()
        };
        Ok(PageMemory { is_large: true, _permit: permit })
    }

    /// Notes the size of the documents of a page. Smaller pages count after some others, since the
    /// pages of a list differ.
    pub(super) fn observe(&self, bytes: usize, items: usize) {
        let Some(average) = bytes.checked_div(items) else { return };
        let before = self.average.load(Ordering::Relaxed);
        self.average.store(average.max(before / 2).max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::task::yield_now;

    use super::*;

    // One test, because the large pages are those of the process.
    #[tokio::test]
    async fn only_a_few_large_pages_are_read_at_once_and_others_are_refused() {
        let (small, large, unknown) =
            (ItemSizes::default(), ItemSizes::default(), ItemSizes::default());
        small.observe(10 * 9_000, 10);
        large.observe(50 * 480_000, 50);
        let held = join_all((0..MAX_LARGE_PAGES).map(|_| large.reserve(51))).await;
        assert!(held.iter().all(|page| page.as_ref().unwrap().batch_size().is_some()));
        assert!(small.reserve(51).await.unwrap().batch_size().is_none());
        // A large item alone is no large page.
        assert!(large.reserve(2).await.unwrap().batch_size().is_none());

        let sizes = Arc::new(large);
        let wait = || {
            let sizes = Arc::clone(&sizes);
            tokio::spawn(async move { sizes.reserve(51).await.map(drop) })
        };
        let waiting: Vec<_> = (0..MAX_WAITING).map(|_| wait()).collect();
        while WAITING.load(Ordering::Relaxed) < MAX_WAITING {
            yield_now().await;
        }
        let refused = sizes.reserve(51).await.unwrap_err();
        assert!(refused.get_custom::<TooManyLargePages>().is_some());
        let new = tokio::spawn(async move { unknown.reserve(11).await.map(drop) });
        yield_now().await;
        drop(held);
        for waited in waiting.into_iter().chain([new]) {
            waited.await.unwrap().unwrap();
        }
        assert_eq!(WAITING.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_list_counts_as_large_until_some_small_pages_were_read() {
        let sizes = ItemSizes::default();
        sizes.observe(480_000, 1);
        let mut pages = 0;
        while sizes.average.load(Ordering::Relaxed) > 9_000 {
            sizes.observe(9_000 * 10, 10);
            pages += 1;
        }
        assert!((3..10).contains(&pages), "{pages}");
        sizes.observe(0, 0);
        assert_eq!(sizes.average.load(Ordering::Relaxed), 9_000);
    }
}
