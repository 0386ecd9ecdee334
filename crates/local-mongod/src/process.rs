//! mongod under a supervisor that ends it when our process is gone, for whatever reason.
//!
//! The supervisor is a shell at the other end of a pipe. Each line that we write is the name of a
//! signal for mongod, and answered when that is sent. When the pipe closes, which the system does
//! even for a process that was killed, it sends SIGTERM. It lives just as long as mongod does. If
//! the folder is temporary, it leaves somebody who removes it when the pipe closes, unless told to
//! keep it for another mongod.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{Error, home::Home};

/// Descriptor 3 keeps the pipe, as a shell gives /dev/null to background commands for stdin.
///
/// The system hangs up on the group of a stopped mongod when our process is gone (`_exit`, POSIX),
/// and answers to a process that is gone meet a broken pipe: neither must end a shell. A stopped
/// mongod hears no SIGTERM before it is continued.
const SUPERVISOR: &str = r#"
trap '' HUP
disposable=$1
shift
exec 3<&0
"$@" >&2 3<&- &
mongod=$!
{
    trap '' PIPE
    while read -r signal <&3; do
        kill -s "$signal" "$mongod"
        echo
    done
    kill "$mongod"
    kill -s CONT "$mongod"
} 2>/dev/null &
watcher=$!
echo "$mongod"
wait "$mongod"
status=$?
kill "$watcher" 2>/dev/null
if [ -n "$disposable" ]; then
    {
        exec >/dev/null 2>&1
        while read -r word <&3; do [ "$word" != keep ] || exit; done
        rm -rf -- "$disposable"
    } &
fi
exit "$status"
"#;

const POLL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Process {
    supervisor: Child,
    signals: ChildStdin,
    answers: BufReader<ChildStdout>,
    pid: u32,
}

impl Process {
    pub(crate) fn spawn(
        mongod: &Path,
        arguments: &[String],
        home: &mut Home,
    ) -> Result<Self, Error> {
        let log = home.begin_log()?;
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(home.disposable().map_or(OsStr::new(""), Path::as_os_str))
            .arg(mongod)
            .args(arguments)
            .arg("--dbpath")
            .arg(home.db())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C in a terminal is for us: our services still need the database to drain.
            .process_group(0)
            .spawn()
            .map_err(Error::io("run", "sh"))?;
        let (Some(signals), Some(answers)) = (supervisor.stdin.take(), supervisor.stdout.take())
        else {
            return Err(Error::io("open the pipes of", "sh")(io::ErrorKind::BrokenPipe.into()));
        };

        let mut answers = BufReader::new(answers);
        let pid = next_line(&mut answers).map_err(Error::io("read the process id from", "sh"))?;
        let pid = pid.trim().parse().map_err(|_| Error::Ended {
            reason: format!("its supervisor gave no process id but {pid:?}"),
        })?;
        Ok(Self { supervisor, signals, answers, pid })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal by name. A closed pipe is no error: then mongod has ended already.
    pub(crate) fn signal(&mut self, name: &str) {
        let sent = writeln!(self.signals, "{name}").and_then(|()| next_line(&mut self.answers));
        if let Err(error) = sent {
            tracing::debug!(pid = self.pid, "cannot send {name} to mongod: {error}");
        }
    }

    /// Sends a signal that ends mongod, and tells whether it ended in time.
    pub(crate) async fn end(&mut self, signal: &str, patience: Duration) -> bool {
        self.signal(signal);
        let ended = tokio::time::timeout(patience, self.exit()).await.is_ok();
        if !ended {
            tracing::warn!(pid = self.pid, signal, ?patience, "mongod has not ended");
        }
        ended
    }

    /// The same for a place that cannot be async.
    pub(crate) fn end_blocking(&mut self, signal: &str, patience: Duration) {
        self.signal(signal);
        let deadline = Instant::now() + patience;
        while matches!(self.supervisor.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
    }

    /// Leaves the temporary folder to the next process in it.
    pub(crate) fn keep_folder(mut self) {
        if let Err(error) = writeln!(self.signals, "keep") {
            tracing::debug!(pid = self.pid, "the folder of mongod is not kept: {error}");
        }
    }

    /// Waits until mongod has ended, and tells how.
    pub(crate) async fn exit(&mut self) -> String {
        let mut poll = tokio::time::interval(POLL);
        loop {
            poll.tick().await;
            match self.supervisor.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return status.to_string(),
                Err(error) => return error.to_string(),
            }
        }
    }
}

/// The shell answers at once, so this does not hold up the runtime.
fn next_line(answers: &mut BufReader<ChildStdout>) -> io::Result<String> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    Ok(line)
}
