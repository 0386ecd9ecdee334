//! One mongod on its port, with its folder and its process.

use std::{
    mem,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    error::Error,
    home::Home,
    membership,
    options::{Options, arguments},
    process::Process,
    timeouts::{KILL_TIMEOUT, START_TIMEOUT},
};

/// The interval in which a mongod that runs is checked. A client notices its end at once, and waits
/// three seconds for another one.
const ENDED_POLL: Duration = Duration::from_millis(250);

/// The number of checks between two of the size of the log: a minute.
const POLLS_PER_ROTATION: u32 = 240;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) port: u16,
    binary: PathBuf,
    arguments: Vec<String>,
    // In this order: `home` removes the folder before the supervisor would.
    home: Home,
    pub(crate) process: Process,
}

impl Node {
    pub(crate) async fn spawn(binary: &Path, options: &Options, port: u16) -> Result<Self, Error> {
        let arguments = arguments(options, port);
        let mut home = Home::open(&options.data).await?;
        let process = Process::spawn(binary, &arguments, &mut home)?;
        let binary = binary.to_owned();
        Ok(Self { port, binary, arguments, home, process })
    }

    /// Starts mongod again after it has ended.
    pub(crate) fn respawn(&mut self) -> Result<(), Error> {
        let process = Process::spawn(&self.binary, &self.arguments, &mut self.home)?;
        mem::replace(&mut self.process, process).keep_folder();
        Ok(())
    }

    /// Waits until mongod ends by itself. Returns its last words, or else its exit status.
    pub(crate) async fn ended(&mut self) -> String {
        let (mut poll, mut polls) = (tokio::time::interval(ENDED_POLL), 0_u32);
        loop {
            poll.tick().await;
            if let Some(status) = self.process.try_exit() {
                return self.home.last_error().unwrap_or(status);
            }
            polls = polls.wrapping_add(1);
            if polls.is_multiple_of(POLLS_PER_ROTATION)
                && let Err(error) = self.home.rotate_log()
            {
                tracing::debug!("cannot rotate the log of mongod: {error}");
            }
        }
    }

    /// Returns the path of the log.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.home.log_path()
    }

    /// Waits until mongod is a member of the replica set.
    pub(crate) async fn join(&mut self, members: &[u16]) -> Result<(), Error> {
        let (port, pid) = (self.port, self.process.pid());
        let mut obstacle = None;
        tokio::select! {
            joined = membership::join(port, pid, members, &mut obstacle) => {
                joined.map_err(Error::Client)?;
            }
            status = self.process.exit() => {
                return Err(Error::Ended { reason: self.home.last_error().unwrap_or(status) });
            }
            () = tokio::time::sleep(START_TIMEOUT) => {
                let reason = obstacle.or_else(|| self.home.last_error());
                return Err(Error::NotReady {
                    seconds: START_TIMEOUT.as_secs(),
                    reason: reason.unwrap_or_else(|| "its log has no error".to_owned()),
                });
            }
        }
        tracing::debug!(pid, port, "mongod is ready");
        Ok(())
    }

    /// Kills mongod if it runs, and waits for its end.
    pub(crate) async fn kill(&mut self) -> Result<(), Error> {
        if self.process.end("KILL", KILL_TIMEOUT).await {
            Ok(())
        } else {
            Err(Error::NotStopped { pid: self.process.pid() })
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Temporary data is not needed again. Other data needs a clean shutdown, also after this
        // process has ended.
        let signal = if self.home.disposable().is_some() { "KILL" } else { "TERM" };
        self.process.end_blocking(signal, KILL_TIMEOUT);
    }
}
