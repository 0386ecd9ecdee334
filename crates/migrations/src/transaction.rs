//! Transactions that can be told to stop.
//!
//! The driver's own loop repeats a transaction for two minutes, whatever happens to the lease
//! meanwhile. This one looks at `stop` before each attempt.

use std::time::Duration;

use async_trait::async_trait;
use mongodb::{
    ClientSession,
    bson::{self, Document, RawDocumentBuf, doc},
    error::{Error, Result, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::{ReadConcern, WriteConcern},
};
use tokio_util::sync::CancellationToken;

use crate::failpoint;

/// How often a transaction is repeated whose failure can pass: a conflict with another writer, an
/// election. After that it is a matter for the engine, which pauses longer between attempts.
const ATTEMPTS: u32 = 8;

/// The first pause before another attempt; the next ones are twice as long: 1.3 s in all.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// What happens in a transaction. It may happen several times, until one of them is committed.
#[async_trait]
pub(crate) trait Work: Sync {
    /// What comes of it.
    type Output: Send;

    /// Does it, in the session's transaction.
    async fn run(&self, session: &mut ClientSession) -> Result<Self::Output>;
}

/// Does the work in a transaction, and returns when the majority of the replica set has it.
pub(crate) async fn transact<W: Work>(
    session: &mut ClientSession,
    stop: &CancellationToken,
    work: &W,
) -> Result<W::Output> {
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        let error = match once(session, work).await {
            Ok(output) => return Ok(output),
            Err(error) => error,
        };
        let is_transient = error.contains_label(TRANSIENT_TRANSACTION_ERROR);
        if !is_transient || attempt == ATTEMPTS || stop.is_cancelled() {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
        attempt += 1;
    }
}

async fn once<W: Work>(session: &mut ClientSession, work: &W) -> Result<W::Output> {
    session
        .start_transaction()
        .read_concern(ReadConcern::snapshot())
        .write_concern(WriteConcern::majority())
        .await?;
    failpoint::at("transaction_before_write").await;
    let output = match work.run(session).await {
        Ok(output) => output,
        Err(error) => {
            // Fails where the server has ended it already.
            let _ = session.abort_transaction().await;
            return Err(error);
        }
    };
    failpoint::at("transaction_before_commit").await;
    commit(session).await?;
    failpoint::at("transaction_after_commit").await;
    Ok(output)
}

/// Asks again where it is not known whether the commit has happened: a second one is harmless.
async fn commit(session: &mut ClientSession) -> Result<()> {
    let mut result = session.commit_transaction().await;
    for _ in 1..ATTEMPTS {
        match &result {
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {
                result = session.commit_transaction().await;
            }
            _ => break,
        }
    }
    result
}

/// Carried by the driver's error: the server refused a write because of what it is about.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message} (error {code})")]
pub(crate) struct Rejected {
    pub(crate) code: i32,
    pub(crate) message: String,
}

/// How the server answers the command `update` (MongoDB manual, "update").
#[derive(Debug, serde::Deserialize)]
struct UpdateAnswer {
    n: i64,
    #[serde(rename = "nModified")]
    modified: i64,
    #[serde(default, rename = "writeErrors")]
    write_errors: Vec<WriteError>,
}

#[derive(Debug, serde::Deserialize)]
struct WriteError {
    code: i32,
    errmsg: String,
}

/// How many documents statements matched, and how many they changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) matched: i64,
    pub(crate) modified: i64,
}

impl std::ops::AddAssign for Changed {
    fn add_assign(&mut self, other: Self) {
        self.matched += other.matched;
        self.modified += other.modified;
    }
}

/// How long the server may work on one command before it gives up, in milliseconds. Far below the
/// minute after which it ends a transaction (`transactionLifetimeLimitSeconds`).
const MAX_TIME_MS: i64 = 10_000;

/// `BSONObjectTooLarge` (MongoDB manual, "Error Codes").
pub(crate) const TOO_LARGE: i32 = 10_334;

/// The most bytes of a command or a document: 16 MiB (MongoDB manual, "Limits"), less room for
/// what the driver adds. The server cuts the connection at some that are larger.
const LARGEST_DOCUMENT: usize = 16 * 1024 * 1024 - 64 * 1024;

/// A document as it is sent; refused where it is too large for that.
pub(crate) fn encoded<T: serde::Serialize>(value: &T) -> Result<RawDocumentBuf> {
    fitting(bson::serialize_to_raw_document_buf(value)?)
}

fn fitting(encoded: RawDocumentBuf) -> Result<RawDocumentBuf> {
    if encoded.as_bytes().len() > LARGEST_DOCUMENT {
        let message = "it is too large for one transaction".to_owned();
        return Err(Error::custom(Rejected { code: TOO_LARGE, message }));
    }
    Ok(encoded)
}

/// Runs update statements in the session's transaction.
pub(crate) async fn update(
    database: &mongodb::Database,
    collection: &str,
    statements: Vec<Document>,
    session: &mut ClientSession,
) -> Result<Changed> {
    let command = doc! { "update": collection, "updates": statements, "maxTimeMS": MAX_TIME_MS };
    // Not by way of serde, which takes several times as long.
    let command = fitting(RawDocumentBuf::try_from(command)?)?;
    let answer = database.run_raw_command(command).session(session).await?;
    let answer: UpdateAnswer = bson::deserialize_from_document(answer).map_err(Error::custom)?;
    match answer.write_errors.into_iter().next() {
        None => Ok(Changed { matched: answer.n, modified: answer.modified }),
        Some(WriteError { code, errmsg: message }) => {
            Err(Error::custom(Rejected { code, message }))
        }
    }
}
