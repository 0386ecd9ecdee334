//! mongod under a supervisor that ends it when our process is gone, for whatever reason.
//!
//! The supervisor is a shell at the other end of a pipe. Each line that we write is the name of a
//! signal for mongod. When the pipe closes, which the system does even for a process that was
//! killed, it sends SIGTERM. It lives just as long as mongod does, and then removes the folder if
//! that is temporary.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{Error, KILL_TIMEOUT, home::Home};

/// Descriptor 3 keeps the pipe, as a shell gives /dev/null to background commands for stdin.
const SUPERVISOR: &str = r#"
disposable=$1
shift
exec 3<&0
"$@" >&2 3<&- &
mongod=$!
{
    while read -r signal <&3; do kill -s "$signal" "$mongod"; done
    kill "$mongod"
} 2>/dev/null &
watcher=$!
echo "$mongod"
wait "$mongod"
status=$?
kill "$watcher" 2>/dev/null
[ -z "$disposable" ] || rm -rf -- "$disposable"
exit "$status"
"#;

const POLL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Process {
    supervisor: Child,
    pid: u32,
    disposable: bool,
}

impl Process {
    pub(crate) fn spawn(mongod: &Path, arguments: &[String], home: &Home) -> Result<Self, Error> {
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(home.disposable().map_or(OsStr::new(""), Path::as_os_str))
            .arg(mongod)
            .args(arguments)
            .arg("--dbpath")
            .arg(home.db())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(home.log()?)
            // Ctrl-C in a terminal is for us: our services still need the database to drain.
            .process_group(0)
            .spawn()
            .map_err(Error::io("run", "sh"))?;

        let mut pid = String::new();
        if let Some(stdout) = supervisor.stdout.take() {
            // The shell answers at once, so this does not hold up the runtime.
            let read = BufReader::new(stdout).read_line(&mut pid);
            read.map_err(Error::io("read the process id from", "sh"))?;
        }
        let pid = pid.trim().parse().map_err(|_| Error::Ended {
            reason: format!("its supervisor gave no process id but {pid:?}"),
        })?;
        Ok(Self { supervisor, pid, disposable: home.disposable().is_some() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal by name. A closed pipe is no error: then mongod has ended already.
    pub(crate) fn signal(&mut self, name: &str) {
        if let Some(pipe) = &mut self.supervisor.stdin
            && let Err(error) = writeln!(pipe, "{name}")
        {
            tracing::debug!(pid = self.pid, "cannot send {name} to mongod: {error}");
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

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody reads temporary data again. Other data deserves a clean end, with or without us.
        self.signal(if self.disposable { "KILL" } else { "TERM" });
        let deadline = Instant::now() + KILL_TIMEOUT;
        while matches!(self.supervisor.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
    }
}
