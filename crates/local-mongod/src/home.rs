//! The folder of a mongod: its data, its log, and the locks that exclude other processes.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{error::Error, options::DataDir, timeouts::STOP_TIMEOUT};

const POLL: Duration = Duration::from_millis(20);

/// The log of mongod.
const LOG: &str = "mongod.log";

/// The older part of the log.
const ROTATED_LOG: &str = "mongod.log.1";

/// The size at which a log is rotated. A start writes about 60 kB, and so does a week without faults:
/// the two files contain the last months, and take no more than 32 MiB.
const MAX_LOG_BYTES: u64 = 16 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    /// The lock of this process: one process at a time uses the folder.
    lock: File,
    /// The log, open for appending. It is locked too, and mongod inherits it as its stderr: it stays
    /// locked until mongod has ended, even if the process that started it was killed.
    log: File,
    /// A reader at the beginning of the current run's log. It stays valid if the file is removed.
    log_reader: File,
    temporary: Option<TempDir>,
}

impl Home {
    pub(crate) async fn open(data: &DataDir) -> Result<Self, Error> {
        let (dir, temporary) = match data {
            DataDir::Persistent(dir) => (dir.clone(), None),
            DataDir::Temporary => {
                let temporary = TempDir::with_prefix("turbulence-mongod-")
                    .map_err(Error::io("make a folder in", std::env::temp_dir()))?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let db = dir.join("db");
        fs::create_dir_all(&db).map_err(Error::io("make the folder", &db))?;

        let lock_path = dir.join("turbulence.lock");
        let lock = File::create(&lock_path).map_err(Error::io("open", &lock_path))?;
        if !try_lock(&lock, &lock_path)? {
            return Err(Error::InUse { dir });
        }

        let log_path = dir.join(LOG);
        let mut options = File::options();
        let log = options.append(true).create(true).open(&log_path);
        let log = log.map_err(Error::io("open", &log_path))?;
        if !wait_for_lock(&log, &log_path).await? {
            return Err(Error::InUse { dir });
        }
        let log_reader = File::open(&log_path).map_err(Error::io("open", &log_path))?;

        Ok(Self { dir, lock, log, log_reader, temporary })
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.dir.join("db")
    }

    /// Returns the path of the log.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    /// Returns the log file for the next run of mongod, rotated if possible.
    pub(crate) fn begin_log(&mut self) -> Result<File, Error> {
        if let Err(error) = self.rotate_log() {
            tracing::warn!("cannot rotate the log of mongod in {}: {error}", self.dir.display());
        }
        self.log_reader
            .seek(SeekFrom::End(0))
            .and_then(|_| self.log.try_clone())
            .map_err(Error::io("open the log in", &self.dir))
    }

    /// Moves the content of a large log to another file, which replaces the one before. The log stays
    /// the same file, to which mongod appends. Lines that mongod writes during the copy may be lost.
    pub(crate) fn rotate_log(&mut self) -> io::Result<()> {
        if self.log.metadata()?.len() < MAX_LOG_BYTES {
            return Ok(());
        }
        let path = self.log_path();
        fs::copy(&path, self.dir.join(ROTATED_LOG))?;
        self.log.set_len(0)?;
        self.log_reader.rewind()
    }

    /// Returns the folder to remove when mongod has ended.
    pub(crate) fn disposable(&self) -> Option<&Path> {
        self.temporary.as_ref().map(TempDir::path)
    }

    /// Returns the last error of the current run's log, and the path of the log.
    pub(crate) fn last_error(&mut self) -> Option<String> {
        let mut log = Vec::new();
        self.log_reader.read_to_end(&mut log).ok()?;
        let line = last_error(&String::from_utf8_lossy(&log))?;
        Some(match self.temporary {
            Some(_) => line,
            None => format!("{line} (see {})", self.log_path().display()),
        })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Closing is not always enough: another thread that is starting a program has a copy of the
        // descriptor for a moment.
        if let Err(error) = self.lock.unlock() {
            tracing::debug!("cannot unlock {}: {error}", self.dir.display());
        }
    }
}

fn try_lock(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
    }
}

/// Waits for the lock, which the mongod of a killed process holds until it has shut down.
async fn wait_for_lock(file: &File, path: &Path) -> Result<bool, Error> {
    let deadline = tokio::time::Instant::now() + STOP_TIMEOUT;
    let mut poll = tokio::time::interval(POLL);
    while poll.tick().await < deadline {
        if try_lock(file, path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns mongod's last error, or else the first plain line: an error of the loader, or one from before
/// the log was open.
fn last_error(log: &str) -> Option<String> {
    let plain = |line: &&str| !line.is_empty() && !line.starts_with('{');
    let errors = || log.lines().rev().filter_map(error_in);
    // The last lines of a crash are about the crash itself, and an earlier one has the cause.
    let error = errors().find(|error| error.has_cause).or_else(|| errors().next());
    let error = error.map(|error| error.text);
    error.or_else(|| log.lines().find(plain).map(str::to_owned))
}

/// An error of mongod's log.
struct LoggedError {
    text: String,
    has_cause: bool,
}

/// Returns message and cause of a line of severity "error" or "fatal" (MongoDB manual, "Log Messages").
fn error_in(line: &str) -> Option<LoggedError> {
    let line: Value = serde_json::from_str(line).ok()?;
    let message = line["msg"].as_str()?.trim();
    // A line that begins with `***` follows the line with the fatal error.
    if !matches!(line["s"].as_str()?, "E" | "F") || message.starts_with("***") {
        return None;
    }
    Some(match cause(&line["attr"]) {
        Some(cause) => LoggedError { text: format!("{message}: {cause}"), has_cause: true },
        None => LoggedError { text: message.to_owned(), has_cause: false },
    })
}

/// Returns the cause in the attributes of an error, which differ between the parts of mongod.
fn cause(attributes: &Value) -> Option<String> {
    let error = &attributes["error"];
    let of_storage = &attributes["message"];
    let texts = [error, &error["errmsg"], &attributes["reason"], of_storage];
    if let Some(text) = texts.into_iter().find_map(Value::as_str) {
        return Some(text.to_owned());
    }
    // WiredTiger's own errors are objects.
    let message = of_storage["msg"].as_str()?;
    Some(match of_storage["error_str"].as_str() {
        Some(error) => format!("{message}: {error}"),
        None => message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_that_cannot_be_rotated_does_not_prevent_a_start() {
        let mut home = Home::open(&DataDir::Temporary).await.unwrap();
        home.log.set_len(MAX_LOG_BYTES).unwrap();
        let rotated = home.dir.join(ROTATED_LOG);
        fs::create_dir(&rotated).unwrap();
        assert!(home.rotate_log().is_err());
        home.begin_log().unwrap();
        assert_eq!(home.log.metadata().unwrap().len(), MAX_LOG_BYTES);
        fs::remove_dir(&rotated).unwrap();
        home.begin_log().unwrap();
        assert_eq!(home.log.metadata().unwrap().len(), 0);
    }

    #[test]
    fn the_last_error_of_the_log_is_reported_with_its_cause() {
        let log = r#"
{"s":"I","msg":"starting"}
{"s":"E","msg":"DBException, terminating","attr":{"error":"NonExistentPath: no such folder"}}
{"s":"F","msg":"\n\n***aborting after fassert() failure\n\n"}
{"s":"I","msg":"bye"}"#;
        assert_eq!(
            last_error(log).as_deref(),
            Some("DBException, terminating: NonExistentPath: no such folder")
        );
    }

    #[test]
    fn an_error_with_a_cause_is_more_than_the_crash_that_it_leads_to() {
        let log = r#"
{"s":"E","msg":"WiredTiger error message","attr":{"error":28,"message":{"msg":"journal: write","error_str":"No space left on device"}}}
{"s":"F","msg":"Fatal assertion","attr":{"msgid":28558,"file":"x.cpp","line":5}}
{"s":"F","msg":"\n\n***aborting after fassert() failure\n\n"}"#;
        assert_eq!(
            last_error(log).as_deref(),
            Some("WiredTiger error message: journal: write: No space left on device")
        );
        let log = r#"{"s":"F","msg":"Terminating.","attr":{"reason":"13: Permission denied"}}"#;
        assert_eq!(last_error(log).as_deref(), Some("Terminating.: 13: Permission denied"));
    }

    #[test]
    fn without_an_error_in_the_log_the_first_plain_line_is_reported() {
        let log = "{\"s\":\"I\",\"msg\":\"starting\"}\nmongod: no libcrypto.so.3\ntry --help\n";
        assert_eq!(last_error(log).as_deref(), Some("mongod: no libcrypto.so.3"));
        assert_eq!(last_error(""), None);
    }
}
