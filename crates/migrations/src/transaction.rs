//! Transactions that end early if the lease is lost, and their update commands.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use mongo_kit::{Work, Writer};
use mongodb::{
    ClientSession, Database,
    bson::{self, Document, RawDocumentBuf, doc},
    error::{Error, Result},
};
use tokio_util::sync::CancellationToken;

use crate::failpoint;

/// The number of repetitions of a transaction that fails because of a conflict with another writer
/// or an election. After that the engine pauses longer between attempts.
const MAX_RETRIES: usize = 7;

/// The pause before the first repetition. It doubles each time, to 1.3 s in all.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The time for which a commit of unknown outcome is repeated: two elections with the default settings
/// of a replica set.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(24);

/// The time limit of the server for one command, in milliseconds. Far below the minute after which
/// it aborts a transaction (`transactionLifetimeLimitSeconds`).
const MAX_TIME_MS: i64 = 10_000;

/// `BSONObjectTooLarge` (MongoDB manual, "Error Codes").
pub(crate) const TOO_LARGE: i32 = 10_334;

/// The most bytes of a command or a document: 16 MiB (MongoDB manual, "Limits"), less room for the
/// fields that the driver adds. The server closes the connection at some larger ones.
const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024 - 64 * 1024;

/// Does `work` in a transaction, and returns when the majority of the replica set has it. Begins no
/// further attempt after `stop`.
pub(crate) async fn transact<W: Work<Error = Error>>(
    writer: &mut Writer,
    stop: &CancellationToken,
    work: W,
) -> Result<W::Output> {
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_times(MAX_RETRIES)
        .build();
    let next_pause = |_: &Error| if stop.is_cancelled() { None } else { pauses.next() };
    let output = writer.transact(COMMIT_TIMEOUT, next_pause, WithFailpoints(work)).await?;
    failpoint::at("transaction_after_commit").await;
    Ok(output)
}

/// Work that a test can stop before its write and before its commit.
struct WithFailpoints<W>(W);

impl<W: Work> Work for WithFailpoints<W> {
    type Output = W::Output;
    type Error = W::Error;

    async fn run(
        &mut self,
        session: &mut ClientSession,
    ) -> std::result::Result<W::Output, W::Error> {
        failpoint::at("transaction_before_write").await;
        let output = self.0.run(session).await?;
        failpoint::at("transaction_before_commit").await;
        Ok(output)
    }
}

/// Carried by the driver's error: the server refused a write because of its content.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message} (error {code})")]
pub(crate) struct Rejected {
    pub(crate) code: i32,
    pub(crate) message: String,
}

/// The server's answer to the command `update` (MongoDB manual, "update").
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

/// The numbers of documents that update statements matched and changed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UpdateResult {
    pub(crate) matched: i64,
    pub(crate) modified: i64,
}

impl std::ops::AddAssign for UpdateResult {
    fn add_assign(&mut self, other: Self) {
        self.matched += other.matched;
        self.modified += other.modified;
    }
}

/// Encodes a document; fails with [`Rejected`] if it is too large to be sent.
pub(crate) fn encode<T: serde::Serialize>(value: &T) -> Result<RawDocumentBuf> {
    check_size(bson::serialize_to_raw_document_buf(value)?)
}

fn check_size(encoded: RawDocumentBuf) -> Result<RawDocumentBuf> {
    if encoded.as_bytes().len() > MAX_DOCUMENT_BYTES {
        let message = "it is too large for one transaction".to_owned();
        return Err(Error::custom(Rejected { code: TOO_LARGE, message }));
    }
    Ok(encoded)
}

/// Runs update statements in the transaction of the session.
pub(crate) async fn update(
    database: &Database,
    collection: &str,
    statements: Vec<Document>,
    session: &mut ClientSession,
) -> Result<UpdateResult> {
    let command = doc! { "update": collection, "updates": statements, "maxTimeMS": MAX_TIME_MS };
    // Encoding by serde takes several times as long.
    let command = check_size(RawDocumentBuf::try_from(command)?)?;
    let answer = database.run_raw_command(command).session(session).await?;
    let answer: UpdateAnswer = bson::deserialize_from_document(answer).map_err(Error::custom)?;
    match answer.write_errors.into_iter().next() {
        None => Ok(UpdateResult { matched: answer.n, modified: answer.modified }),
        Some(WriteError { code, errmsg: message }) => {
            Err(Error::custom(Rejected { code, message }))
        }
    }
}
