//! The MongoDB that a command starts, and starts again if it ends.

use std::{path::Path, time::Duration};

use local_mongod::{DataDir, Download, LocalMongod, Options, binary_with};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{error::Error, lines::warn, progress};

/// The pause after the first start that failed. It doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two starts. A person who frees disk space waits no longer than that.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The time after which a mongod that has ended again counts as one that was healthy.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// A running mongod.
pub(crate) struct EmbeddedMongod {
    uri: String,
    stop: CancellationToken,
    task: JoinHandle<Result<(), local_mongod::Error>>,
}

impl EmbeddedMongod {
    /// Finds or downloads a mongod, and starts it with its data in a folder. After `shutdown` it is not
    /// started again: it may have received the same signal as this process.
    pub(crate) async fn start(data_dir: &Path, shutdown: CancellationToken) -> Result<Self, Error> {
        let bar = progress::download();
        let shown = bar.clone();
        binary_with(move |Download { received, total }| {
            shown.set_length(total);
            shown.set_position(received);
        })
        .await?;
        bar.finish_and_clear();
        let _spinner = progress::spinner("Starting MongoDB");
        let data = DataDir::Persistent(data_dir.to_owned());
        let options = Options { data, server_parameters: Vec::new(), cache_mb: None };
        let mongod = LocalMongod::start(options).await?;
        let (uri, stop) = (mongod.uri().to_owned(), CancellationToken::new());
        let task = tokio::spawn(keep_running(mongod, shutdown, stop.clone()));
        Ok(Self { uri, stop, task })
    }

    /// Returns the address for clients.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// Stops the server.
    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.stop.cancel();
        match self.task.await {
            Ok(stopped) => Ok(stopped?),
            Err(_) => Err(Error::Panicked),
        }
    }
}

/// Starts mongod again whenever it ends, until it is to stop.
async fn keep_running(
    mut mongod: LocalMongod,
    shutdown: CancellationToken,
    stop: CancellationToken,
) -> Result<(), local_mongod::Error> {
    let log = mongod.log_path();
    let log = log.display();
    let (mut started_at, mut pause) = (Instant::now(), Duration::ZERO);
    loop {
        let last_words = tokio::select! {
            last_words = mongod.ended() => last_words,
            () = stop.cancelled() => return mongod.stop().await,
        };
        if shutdown.is_cancelled() {
            stop.cancelled().await;
            return mongod.stop().await;
        }
        warn(format_args!(
            "MongoDB has ended ({last_words}) and is started again; its log is {log}"
        ));
        if started_at.elapsed() > HEALTHY_AFTER {
            pause = Duration::ZERO;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => {
                    stop.cancelled().await;
                    return mongod.stop().await;
                }
                () = stop.cancelled() => return mongod.stop().await,
            }
            pause = (pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE);
            let restarted = tokio::select! {
                restarted = mongod.restart() => restarted,
                () = stop.cancelled() => return mongod.stop().await,
            };
            match restarted {
                Ok(()) => break,
                Err(error) => warn(format_args!(
                    "MongoDB cannot be started again: {error}. The next attempt follows in {} s; its \
                     log is {log}",
                    pause.as_secs()
                )),
            }
        }
        warn(format_args!("MongoDB runs again"));
        started_at = Instant::now();
    }
}
