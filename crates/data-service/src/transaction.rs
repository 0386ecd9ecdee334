//! Transactions that are repeated where repeating helps.
//!
//! The driver's own loop repeats a transaction for two minutes; a request cannot wait that long.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use mongodb::{
    Client, ClientSession,
    error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::{ReadConcern, WriteConcern},
};
use service_kit::web::error::ApiError;

use crate::database_error;

/// How often a transaction is repeated whose failure can pass: a conflict with another writer, an
/// election.
const FURTHER_ATTEMPTS: usize = 20;

/// How long after its beginning a transaction is still repeated. Somebody waits for the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first pause before another attempt; the next ones are twice as long, all jittered, so that
/// writers who met do not meet again.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause: some ten transactions of others.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Abort<E> {
    /// The database failed.
    #[error("the transaction failed")]
    Database(#[from] Error),
    /// What was to be done cannot be done.
    #[error("{0}")]
    Refused(E),
}

impl<E: Into<ApiError>> From<Abort<E>> for ApiError {
    fn from(abort: Abort<E>) -> Self {
        match abort {
            Abort::Database(error) => database_error(error),
            Abort::Refused(error) => error.into(),
        }
    }
}

/// Does the work in a transaction, and returns when the majority of the replica set has it.
///
/// The work may be done several times, until one of them is committed: it must change nothing but
/// the database, and that with the session alone. What it reads is one state of the database.
pub async fn transact<T, E>(
    client: &Client,
    mut work: impl AsyncFnMut(&mut ClientSession) -> Result<T, Abort<E>>,
) -> Result<T, Abort<E>> {
    let began = Instant::now();
    let mut session = client.start_session().await?;
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(FURTHER_ATTEMPTS)
        .with_jitter()
        .build();
    loop {
        let error = match once(&mut session, &mut work).await {
            Err(Abort::Database(error)) if can_pass(&error) => error,
            result => return result,
        };
        match pauses.next() {
            Some(pause) if began.elapsed() < PATIENCE => tokio::time::sleep(pause).await,
            _ => return Err(error.into()),
        }
    }
}

/// Whether the next attempt may succeed. Where no server could be selected, that took as long as a
/// request waits already.
fn can_pass(error: &Error) -> bool {
    error.contains_label(TRANSIENT_TRANSACTION_ERROR)
        && !matches!(&*error.kind, ErrorKind::ServerSelection { .. })
}

async fn once<T, E>(
    session: &mut ClientSession,
    work: &mut impl AsyncFnMut(&mut ClientSession) -> Result<T, Abort<E>>,
) -> Result<T, Abort<E>> {
    session
        .start_transaction()
        .read_concern(ReadConcern::snapshot())
        .write_concern(WriteConcern::majority())
        .await?;
    match work(session).await {
        Ok(output) => {
            commit(session).await?;
            Ok(output)
        }
        Err(abort) => {
            // Fails where the server has ended it already.
            let _ = session.abort_transaction().await;
            Err(abort)
        }
    }
}

/// Asks again where it is not known whether the commit has happened: a second one is harmless.
async fn commit(session: &mut ClientSession) -> Result<(), Error> {
    let mut result = session.commit_transaction().await;
    for _ in 0..FURTHER_ATTEMPTS {
        match &result {
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {
                result = session.commit_transaction().await;
            }
            _ => break,
        }
    }
    result
}
