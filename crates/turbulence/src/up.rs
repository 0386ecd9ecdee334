//! `turbulence up`: the whole system in one process.

mod site;
mod summary;
mod token;

use std::process::ExitCode;

use service_kit::{
    runtime::{listen::Endpoint, process::Signals},
    web::tls::Tls,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cli,
    database::{Database, NewSite},
    error::Error,
    export::files::media_store,
    import::{self, source::Source},
    wait,
};
use site::Site;
use token::Token;

/// Runs `turbulence up` until a signal stops it.
pub(crate) async fn run(arguments: &cli::Up, signals: &Signals) -> Result<ExitCode, Error> {
    let shutdown = signals.shutdown.clone();
    let sources = arguments.sources();
    // A port that is in use and a wrong certificate are reported before anything is started.
    let server = arguments.settings()?.server;
    drop(Endpoint::of_server(&server).bind()?);
    drop(Tls::load(&server.tls)?);
    let result = async {
        let database =
            Database::open_with(&arguments.database, sources, NewSite::Ask, &shutdown).await?;
        let result = with_database(arguments, &database, &shutdown).await;
        let closed = database.close().await;
        result.and(closed)
    };
    match result.await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // The command runs until it is stopped, so that an early stop is a success for a program.
        // A person is told what was reached.
        Err(error @ (Error::Interrupted | Error::InterruptedStart(_)))
            if !signals.is_interrupt() =>
        {
            tracing::info!("{error}");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error),
    }
}

async fn with_database(
    arguments: &cli::Up,
    database: &Database,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    database.check_collections(None).await?;
    let data_dir = &arguments.database.data_dir;
    let source = match (&arguments.import, arguments.demo) {
        (Some(folder), _) => Some(Source::Folder(folder.clone())),
        (None, true) => Some(Source::Demo),
        (None, false) => None,
    };
    let loaded = tokio::select! {
        loaded = import::load_at_start(database, &arguments.database, source, shutdown) => loaded?,
        () = shutdown.cancelled() => return Err(Error::Interrupted),
    };
    let token = Token::find(&database.settings, data_dir)?;
    let mut settings = database.settings.clone();
    settings.media.store = Some(media_store(&settings, &arguments.database));
    let mut site = Site::start(&settings, &token, shutdown).await?;

    let (address, services) = (site.address.clone(), site.services.clone());
    let console = summary::console(&address, site.sign_in_code.as_deref());
    let report = async {
        let data = database.describe(data_dir);
        let is_serving = site::wait_until_serving(&address, &services).await;
        summary::head(&address, is_serving, &console, &loaded, &token, &data).print();
        wait::until_settled_or_stuck(&services).await;
        summary::summary(&address, &services, &token).await.print();
    };
    tokio::pin!(report);
    let mut is_reported = false;
    let mut result = Ok(());
    loop {
        tokio::select! {
            () = &mut report, if !is_reported && !shutdown.is_cancelled() => is_reported = true,
            ended = site.tasks.join_next() => {
                // The first part that ends stops the others.
                shutdown.cancel();
                let Some(ended) = ended else { break };
                let ended = ended.unwrap_or_else(|_| Err(Error::Panicked));
                result = result.and(ended);
            }
        }
    }
    match summary::reached(&site.services) {
        Some(reached) if !is_reported => result.and(Err(Error::InterruptedStart(reached))),
        _ => result,
    }
}
