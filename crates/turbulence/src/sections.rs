//! A sections-service for as long as a command runs: content-service asks it for slugs.

use data_service::{DataService, Migrate, StartupError};
use service_kit::runtime::settings::url::HttpUrl;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The service, running. It migrates nothing by itself.
pub(crate) struct Sections {
    url: HttpUrl,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), StartupError>>,
}

impl Sections {
    pub(crate) fn start(service: DataService) -> Self {
        let url = HttpUrl::from(service.address());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(service.run(Migrate::Never, stop.clone()));
        Self { url, stop, serving }
    }

    pub(crate) fn url(&self) -> &HttpUrl {
        &self.url
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // What went wrong with it has been seen by its caller.
        let _ = self.serving.await;
    }
}
