//! A sections-service that runs as long as a command, so that content-service's code can resolve
//! slugs.

use data_service::{DataService, Migrate, StartupError};
use service_kit::runtime::settings::url::Replicas;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running sections-service, which runs no migrations by itself.
pub(crate) struct SectionsServer {
    url: Replicas,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), StartupError>>,
}

impl SectionsServer {
    /// Starts to serve.
    pub(crate) fn start(service: DataService) -> Self {
        let url = Replicas::from(service.address());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(service.run(Migrate::Never, shutdown.clone()));
        Self { url, shutdown, task }
    }

    /// Returns the address of the service.
    pub(crate) fn url(&self) -> &Replicas {
        &self.url
    }

    /// Stops the service.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        // An error of the service has already been returned to those who called it.
        let _ = self.task.await;
    }
}
