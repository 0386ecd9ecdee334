//! Runs mongod under a supervisor that ends it when our process ends, for any reason.
//!
//! The supervisor is a shell at the other end of a pipe. Each line that we write is the name of a
//! signal for mongod, and the shell acknowledges it after sending. When the pipe closes, as it does
//! even if our process is killed, the shell sends SIGTERM. The shell ends together with mongod. If the
//! folder is temporary, a background process of the shell removes it when the pipe closes, unless it
//! reads the line `keep` before.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{error::Error, home::Home};

/// The supervisor. Descriptor 3 keeps the pipe, because a shell connects the stdin of background
/// commands to /dev/null.
///
/// The system sends SIGHUP to the process group of a stopped mongod when our process ends (`_exit`,
/// POSIX), and writing to a process that has ended causes SIGPIPE: neither must end a shell. A stopped
/// mongod handles SIGTERM only after SIGCONT.
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
            // Ctrl-C in a terminal must not end mongod: our services need the database to drain.
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
            reason: format!("its supervisor returned {pid:?} instead of a process id"),
        })?;
        Ok(Self { supervisor, signals, answers, pid })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal by name. A closed pipe is not an error: mongod has ended already.
    pub(crate) fn signal(&mut self, name: &str) {
        let sent = writeln!(self.signals, "{name}").and_then(|()| next_line(&mut self.answers));
        if let Err(error) = sent {
            tracing::debug!(pid = self.pid, "cannot send {name} to mongod: {error}");
        }
    }

    /// Sends a signal that ends mongod. Returns `true` if it ended in time.
    pub(crate) async fn end(&mut self, signal: &str, timeout: Duration) -> bool {
        self.signal(signal);
        let ended = tokio::time::timeout(timeout, self.exit()).await.is_ok();
        if !ended {
            tracing::warn!(pid = self.pid, signal, ?timeout, "mongod has not ended");
        }
        ended
    }

    /// Like [`Self::end`], but blocks.
    pub(crate) fn end_blocking(&mut self, signal: &str, timeout: Duration) {
        self.signal(signal);
        let deadline = Instant::now() + timeout;
        while matches!(self.supervisor.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
    }

    /// Keeps the temporary folder for the next mongod.
    pub(crate) fn keep_folder(mut self) {
        if let Err(error) = writeln!(self.signals, "keep") {
            tracing::debug!(pid = self.pid, "cannot keep the folder of mongod: {error}");
        }
    }

    /// Waits until mongod has ended. Returns its exit status as text.
    pub(crate) async fn exit(&mut self) -> String {
        let mut poll = tokio::time::interval(POLL);
        loop {
            poll.tick().await;
            if let Some(status) = self.try_exit() {
                return status;
            }
        }
    }

    /// Returns the exit status as text, or `None` while mongod runs.
    pub(crate) fn try_exit(&mut self) -> Option<String> {
        match self.supervisor.try_wait() {
            Ok(status) => status.map(|status| status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// Reads a line of the shell. It responds at once, so that this does not block the runtime.
fn next_line(answers: &mut BufReader<ChildStdout>) -> io::Result<String> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    Ok(line)
}
