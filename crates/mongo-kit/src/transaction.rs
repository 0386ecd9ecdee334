//! Transactions that are repeated after a transient error.
//!
//! The driver's own loop repeats a transaction for two minutes. Here the caller decides how long.

use std::time::{Duration, Instant};

use mongodb::{
    ClientSession,
    error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, WriteFailure},
    options::{ReadConcern, WriteConcern},
};

use crate::is_unknown_commit;

/// The pause before a commit whose outcome is unknown is repeated: the driver has already repeated it
/// once, and pauses for as long between two looks at a server.
const COMMIT_PAUSE: Duration = Duration::from_millis(500);

/// The error code of a command that was interrupted because its session was ended (MongoDB manual,
/// "Error codes": `Interrupted`). The server does not label it as transient.
const INTERRUPTED: i32 = 11601;

/// An error of the work in a transaction.
pub trait TransactionError: From<Error> {
    /// Returns the error of the database, if it is one.
    fn database_error(&self) -> Option<&Error>;
}

impl TransactionError for Error {
    fn database_error(&self) -> Option<&Error> {
        Some(self)
    }
}

/// The work of a transaction.
///
/// A trait instead of an async closure: the future of a closure that borrows is not `Send`.
pub trait Work {
    /// The result of the work.
    type Output;

    /// The reason why the work fails.
    type Error: TransactionError;

    /// Does the work in the transaction of the session. It may run several times until an attempt is
    /// committed: it must change nothing but the database, and that with the session only. Its reads
    /// see one state of the database.
    fn run(
        &mut self,
        session: &mut ClientSession,
    ) -> impl Future<Output = Result<Self::Output, Self::Error>>;
}

/// Does `work` in a transaction of the session: see [`Writer::transact`](crate::Writer::transact).
pub(crate) async fn transact<W: Work>(
    session: &mut ClientSession,
    commit_timeout: Duration,
    mut next_pause: impl FnMut(&Error) -> Option<Duration>,
    mut work: W,
) -> Result<W::Output, W::Error> {
    loop {
        let Failed { error, in_commit } = match attempt(session, commit_timeout, &mut work).await {
            Ok(output) => return Ok(output),
            Err(failed) => failed,
        };
        // An interrupted commit may have taken place.
        let may_repeat = |error: &&Error| {
            error.contains_label(TRANSIENT_TRANSACTION_ERROR)
                || (!in_commit && is_interrupted(error))
        };
        let transient = error.database_error().filter(may_repeat);
        let Some(pause) = transient.and_then(&mut next_pause) else { return Err(error) };
        tokio::time::sleep(pause).await;
    }
}

/// An attempt that failed.
struct Failed<E> {
    error: E,
    in_commit: bool,
}

fn is_interrupted(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Command(error) => error.code == INTERRUPTED,
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == INTERRUPTED,
        _ => false,
    }
}

async fn attempt<W: Work>(
    session: &mut ClientSession,
    commit_timeout: Duration,
    work: &mut W,
) -> Result<W::Output, Failed<W::Error>> {
    let began = session
        .start_transaction()
        .read_concern(ReadConcern::snapshot())
        .write_concern(WriteConcern::majority())
        .await;
    began.map_err(|error| Failed { error: error.into(), in_commit: false })?;
    match work.run(session).await {
        Ok(output) => {
            let committed = commit(session, commit_timeout).await;
            committed.map_err(|error| Failed { error: error.into(), in_commit: true })?;
            Ok(output)
        }
        Err(error) => {
            // Fails if the server has already aborted it.
            let _ = session.abort_transaction().await;
            Err(Failed { error, in_commit: false })
        }
    }
}

async fn commit(session: &mut ClientSession, timeout: Duration) -> Result<(), Error> {
    let began = Instant::now();
    loop {
        match session.commit_transaction().await {
            Err(error) if is_unknown_commit(&error) && began.elapsed() < timeout => {
                tokio::time::sleep(COMMIT_PAUSE).await;
            }
            result => return result,
        }
    }
}
