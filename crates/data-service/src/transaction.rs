//! Transactions of requests.

use std::{
    marker::PhantomData,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use mongo_kit::{TransactionError, Work, Writers};
use mongodb::{
    ClientSession,
    error::{Error, ErrorKind},
};
use service_kit::web::error::ApiError;

use crate::database_error;

/// The time after which a transaction is not repeated any more: a client waits for the answer.
/// Within this time, others can be found to have been killed.
const RETRY_TIMEOUT: Duration = Duration::from_secs(4);

/// The time for which a commit of unknown outcome is repeated. The driver looks for a primary for 3 s
/// at each attempt.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause before the first repetition. It doubles each time and has a random part, so that
/// writers that conflicted do not conflict again.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause: about ten transactions of others.
const MAX_PAUSE: Duration = Duration::from_millis(200);

/// The reason why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Abort<E> {
    /// The database failed.
    #[error("the transaction failed")]
    Database(#[from] Error),
    /// The work was refused.
    #[error("{0}")]
    Refused(E),
}

impl<E> TransactionError for Abort<E> {
    fn database_error(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::Refused(_) => None,
        }
    }
}

impl<E: Into<ApiError>> From<Abort<E>> for ApiError {
    fn from(abort: Abort<E>) -> Self {
        match abort {
            Abort::Database(error) => database_error(error),
            Abort::Refused(error) => error.into(),
        }
    }
}

/// Does work in a transaction, and returns when the majority of the replica set has it.
///
/// The work may run several times until an attempt is committed: it must change nothing but the
/// database, and that with the session only. Its reads see one state of the database.
pub async fn transact<T, E>(
    writers: &Writers,
    work: impl AsyncFnMut(&mut ClientSession) -> Result<T, Abort<E>>,
) -> Result<T, Abort<E>> {
    let began = Instant::now();
    let mut writer = writers.start_session().await?;
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(MAX_PAUSE)
        .without_max_times()
        .with_jitter()
        .build();
    let next_pause = |error: &Error| {
        // The selection of a server has already taken as long as a request waits.
        let is_selection = matches!(&*error.kind, ErrorKind::ServerSelection { .. });
        let is_over = is_selection || began.elapsed() >= RETRY_TIMEOUT;
        if is_over { None } else { pauses.next() }
    };
    writer.transact(COMMIT_TIMEOUT, next_pause, Closure { work, result: PhantomData }).await
}

/// The work of a transaction as an async closure.
struct Closure<F, T, E> {
    work: F,
    result: PhantomData<fn() -> (T, E)>,
}

impl<F, T, E> Work for Closure<F, T, E>
where
    F: AsyncFnMut(&mut ClientSession) -> Result<T, Abort<E>>,
{
    type Output = T;
    type Error = Abort<E>;

    async fn run(&mut self, session: &mut ClientSession) -> Result<T, Abort<E>> {
        (self.work)(session).await
    }
}
