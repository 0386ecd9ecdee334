//! Work that would block an async worker, on threads of its own.

use std::{io, sync::Arc, thread};

use tokio::sync::{Semaphore, oneshot};

/// The amount by which a low priority is lower than that of requests (nice(2)): the work gets a tenth of
/// a core that both need, and a request that arrives does not wait until its turn ends.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Runs work off the async workers, a limited number at once. The others wait in the order of their
/// arrival. Clones share the limit.
#[derive(Debug, Clone)]
pub struct Offload {
    permits: Arc<Semaphore>,
    has_low_priority: bool,
}

/// The work has no result.
#[derive(Debug, thiserror::Error)]
pub enum OffloadError {
    /// No thread could be started.
    #[error("no thread can be started")]
    Start(#[source] io::Error),
    /// The work panicked.
    #[error("the work panicked")]
    Panic,
}

impl Offload {
    /// Returns a limit of so many at once.
    pub fn new(max_concurrent: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max_concurrent)), has_low_priority: false }
    }

    /// Gives the work a lower priority than requests. Where it differs from that of a process, on
    /// Linux.
    #[must_use]
    pub fn with_low_priority(self) -> Self {
        Self { has_low_priority: true, ..self }
    }

    /// Runs the work and returns its result. Once started, it runs to its end even if the caller leaves.
    ///
    /// # Errors
    ///
    /// If the work panics, or no thread can be started.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OffloadError> {
        // The semaphore is never closed.
        let permit = self.permits.clone().acquire_owned().await.ok();
        let has_low_priority = self.has_low_priority;
        let (sender, receiver) = oneshot::channel();
        // A thread of its own, since a low priority cannot be raised again. It costs some ten
        // microseconds.
        let thread = thread::Builder::new().name("offload".to_owned()).spawn(move || {
            if has_low_priority {
                lower_priority();
            }
            let result = work();
            drop(permit);
            // The caller may have left.
            let _ = sender.send(result);
        });
        thread.map_err(OffloadError::Start)?;
        receiver.await.map_err(|_| OffloadError::Panic)
    }
}

/// Lowers the priority of this thread.
fn lower_priority() {
    // Elsewhere, the priority is that of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "cannot lower the priority of a thread");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    };

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn no_more_than_the_limit_run_at_once() {
        let offload = Offload::new(2);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        // Two must meet: one at a time would never end.
        let both = Arc::new(Barrier::new(2));
        let all = (0..10).map(|number| {
            let (running, most, both) = (running.clone(), most.clone(), both.clone());
            offload.run(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                both.wait();
                running.fetch_sub(1, Ordering::SeqCst);
                number
            })
        });
        let results: Vec<usize> = join_all(all).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(results, (0..10).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_gives_its_place_back() {
        let offload = Offload::new(1);
        let panicked = offload.run(|| panic!("work that panics")).await;
        assert!(matches!(panicked, Err::<(), _>(OffloadError::Panic)));
        assert_eq!(offload.run(|| 1).await.unwrap(), 1);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_low_priority_is_that_of_the_work_alone() {
        // The nineteenth field of proc(5), `/proc/[pid]/stat`.
        let niceness = || -> i32 {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let (_, fields) = stat.rsplit_once(')').unwrap();
            fields.split_whitespace().nth(16).unwrap().parse().unwrap()
        };
        let before = niceness();
        assert_eq!(Offload::new(1).run(niceness).await.unwrap(), before);
        let low = Offload::new(1).with_low_priority().run(niceness).await.unwrap();
        assert_eq!(low, (before + NICENESS).min(19));
        assert_eq!(niceness(), before);
    }
}
