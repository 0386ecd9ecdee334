//! The services and the gateway, running in this process.

use std::time::Duration;

use console_service::Console;
use data_service::Migrate;
use gateway::Gateway;
use migrations::Status;
use service_kit::{
    runtime::settings::{Settings, secret::Secret},
    web::http_client,
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::token::Token;
use crate::{error::Error, wait};

/// Time that the gateway has to notice that the services are ready. It checks every second.
const GATEWAY_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval between two requests for the readiness of the gateway.
const GATEWAY_INTERVAL: Duration = Duration::from_millis(50);

/// The services whose migrations are shown, with the statuses of these migrations.
pub(super) type Services = [(&'static str, watch::Receiver<Vec<Status>>); 3];

/// The running parts of the system.
pub(super) struct Site {
    pub(super) services: Services,
    /// The address of the gateway.
    pub(super) address: String,
    /// A code that signs in to the console once, if there is one token that is known here.
    pub(super) sign_in_code: Option<String>,
    pub(super) tasks: JoinSet<Result<(), Error>>,
}

impl Site {
    /// Starts the services on free loopback ports, and the gateway with its settings.
    pub(super) async fn start(
        settings: &Settings,
        token: &Token,
        shutdown: &CancellationToken,
    ) -> Result<Self, Error> {
        let mut settings = settings.clone();
        if let Some(file) = &token.generated_in {
            settings.auth.static_token_file = Some(file.clone());
        }
        // Generated for these processes alone, which live as long as the secret.
        settings.internal.secret.get_or_insert_with(Secret::generate);
        let mut inner = settings.on_loopback();
        // Each service calls the other, so that sections-service gets the address of content-service
        // once that one has a port.
        let (content_url_sender, content_url) = watch::channel(inner.content.url.clone());
        let sections = sections_service::bind_beside(&inner, content_url).await?;
        inner.sections.url = sections.address().into();
        let content = content_service::bind(&inner).await?;
        content_url_sender.send_replace(content.address().into());
        inner.content.url = content.address().into();
        let media = media_service::bind(&inner).await?;
        settings.upstreams.sections = sections.address().into();
        settings.upstreams.content = content.address().into();
        settings.upstreams.media = media.address().into();
        let console = Console::bind(&inner)?;
        settings.upstreams.console = console.address().into();
        let sign_in_code = token.secret.as_ref().map(|token| console.sign_in_code(token));
        let gateway = Gateway::bind(&settings).await?;

        let services = [
            ("sections", sections.statuses()),
            ("content", content.statuses()),
            ("media", media.statuses()),
        ];
        let address = gateway.local_url();
        let mut tasks = JoinSet::new();
        let [one, two, three, four, five] = [(); 5].map(|()| shutdown.clone());
        tasks.spawn(async { Ok(sections.run(Migrate::AtStart, one).await?) });
        tasks.spawn(async { Ok(content.run(Migrate::AtStart, two).await?) });
        tasks.spawn(async { Ok(media.run(Migrate::AtStart, three).await?) });
        tasks.spawn(async { Ok(gateway.run(four).await?) });
        let own_gateway = address.clone();
        tasks.spawn(async { Ok(console.run_beside(own_gateway, five).await?) });
        Ok(Self { services, address, sign_in_code, tasks })
    }
}

/// Waits until the gateway is ready, which does not require that all migrations are complete. Returns
/// `false` if a migration on which the readiness depends is stuck, or the gateway fails to notice.
pub(super) async fn wait_until_serving(address: &str, services: &Services) -> bool {
    let Ok(client) = http_client::own_gateway_client(GATEWAY_TIMEOUT) else { return false };
    let url = format!("{address}/health/ready");
    let serving = async {
        while !client.get(&url).send().await.is_ok_and(|response| response.status().is_success()) {
            tokio::time::sleep(GATEWAY_INTERVAL).await;
        }
    };
    let stuck = async {
        wait::until_settled_or_stuck(services).await;
        let is_blocked = |status: &Status| status.blocking && !status.is_settled;
        if !services.iter().any(|(_, statuses)| statuses.borrow().iter().any(is_blocked)) {
            tokio::time::sleep(GATEWAY_TIMEOUT).await;
            tracing::warn!("the gateway does not become ready");
        }
    };
    tokio::select! {
        () = serving => true,
        () = stuck => false,
    }
}
