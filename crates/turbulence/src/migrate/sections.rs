//! A sections-service for as long as a command runs: content-service asks it for slugs.

use data_service::{Migrate, StartupError};
use service_kit::{Settings, settings::HttpUrl};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{cli::MigrateAction, failure::Failure};

/// The service, running. It migrates nothing by itself.
pub(super) struct Sections {
    url: HttpUrl,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), StartupError>>,
}

impl Sections {
    /// Starts one if the command needs it.
    pub(super) async fn start(
        settings: &Settings,
        action: &MigrateAction,
    ) -> Result<Option<Self>, Failure> {
        let service = match action {
            // What content would be linked to after the sections' own migrations.
            MigrateAction::Plan => sections_service::bind_preview(settings).await?,
            MigrateAction::Up(_) | MigrateAction::Verify => {
                sections_service::bind(settings).await?
            }
            _ => return Ok(None),
        };
        let url = HttpUrl::from(service.address());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(service.run(Migrate::Never, stop.clone()));
        Ok(Some(Self { url, stop, serving }))
    }

    pub(super) fn url(&self) -> &HttpUrl {
        &self.url
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        // What went wrong with it has been seen by its caller.
        let _ = self.serving.await;
    }
}
