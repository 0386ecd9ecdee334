//! Work that would block an async worker, on threads of its own.

use std::sync::Arc;

use tokio::{
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
};

/// Runs work off the async workers, a limited number at once. The others wait in the order of their
/// arrival. Clones share the limit.
#[derive(Debug, Clone)]
pub struct Offload(Arc<Semaphore>);

impl Offload {
    /// Returns a limit of so many at once.
    pub fn new(max_concurrent: usize) -> Self {
        Self(Arc::new(Semaphore::new(max_concurrent)))
    }

    /// Runs the work and returns its result. Once started, it runs to its end even if the caller leaves.
    ///
    /// # Errors
    ///
    /// If the work panics or the process ends.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // The semaphore is never closed.
        let permit = self.0.clone().acquire_owned().await.ok();
        spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
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
}
