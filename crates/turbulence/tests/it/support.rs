//! The program as a process: starting it, reading its output, stopping it.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use test_support::{TestDatabase, eventually, mongodb_uri};
use tokio::sync::{
    Mutex, MutexGuard,
    watch::{self, Receiver},
};

/// Time after which a condition that does not hold fails the test.
const DEADLINE: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_turbulence");

/// The last line of what a start prints.
pub(crate) const LAST_LINE: &str = "Ctrl-C stops everything.";

/// Serialises the tests that start a MongoDB of their own, so that only one runs beside the shared
/// MongoDB.
pub(crate) async fn own_mongod() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// A folder to run the program in.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Returns the command of the program in this folder, without settings of the environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(PROGRAM), arguments)
    }

    /// The same of another version of the program.
    pub(crate) fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.0.path()).env("RUST_BACKTRACE", "0");
        for (name, _) in std::env::vars() {
            if name.starts_with("TURBULENCE__") || name.starts_with("OTEL_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        // No request is on its way to a service that a test stops.
        command.env("TURBULENCE__SERVER__DRAIN_SECONDS", "0");
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        Turbulence::spawn(self.command(arguments)).ended().await
    }
}

/// A folder to run the program in, and a database for it on the shared MongoDB.
pub(crate) struct Site {
    pub(crate) folder: Folder,
    pub(crate) database: TestDatabase,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self { folder: Folder::new(), database: TestDatabase::new().await }
    }

    /// Returns the command of the program on this site's database.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.folder.command(arguments);
        command.args(["--mongodb-uri", mongodb_uri(), "--database", self.database.name()]);
        // The other databases of the shared MongoDB are sites of other tests.
        command.arg("--create");
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        Turbulence::spawn(self.command(arguments)).ended().await
    }

    /// `turbulence up` on a free port.
    pub(crate) fn up(&self, arguments: &[&str]) -> Turbulence {
        self.up_with(arguments, &[])
    }

    /// `turbulence up` on a free port, with environment variables.
    pub(crate) fn up_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Turbulence {
        let mut command = self.command(&[&["up", "--port", "0"], arguments].concat());
        command.envs(environment.iter().copied());
        Turbulence::spawn(command)
    }

    /// The names of all collections in the database, in order.
    pub(crate) async fn collections(&self) -> Vec<String> {
        let mut names = self.database.database().list_collection_names().await.unwrap();
        names.sort();
        names
    }

    /// Replaces the parts that differ from run to run, and the names and numbers of the indexes.
    pub(crate) fn redact(&self, text: &str) -> String {
        let address = self.database.connection().addresses();
        let text = text.replace(self.database.name(), "[database]").replace(&address, "[mongodb]");
        let lines = text.lines().filter(|line| !line.starts_with("      index "));
        lines.map(redact_line).collect::<Vec<_>>().join("\n")
    }
}

/// Returns `true` if a line contains this about a migration.
pub(crate) fn says(text: &str, id: &str, what: &str) -> bool {
    text.lines().any(|line| line.contains(id) && line.contains(what))
}

/// Returns the lines about these migrations and those about none, without the number of migrations:
/// a new migration does not change them.
pub(crate) fn excerpt(text: &str, ids: &[&str]) -> String {
    let is_id = |word: &&str| {
        word.split_once('_').is_some_and(|(number, _)| {
            number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let mut is_shown = true;
    let lines = text.lines().filter(|line| {
        match line.split_whitespace().take(2).find(is_id) {
            Some(id) => is_shown = ids.contains(&id),
            // More deeply indented lines belong to the migration above.
            None => is_shown |= !line.starts_with("    "),
        }
        is_shown
    });
    let without_number = |line: &str| match line {
        _ if line.starts_with("Database ") => "Database [database] at [mongodb]".to_owned(),
        _ if line.trim_start().starts_with("Total: ") => {
            let words = line.split(' ').map(|word| match word.parse::<u64>() {
                Ok(_) => "[n]",
                Err(_) => word,
            });
            words.collect::<Vec<_>>().join(" ")
        }
        _ => without_number(line),
    };
    lines.map(without_number).collect::<Vec<_>>().join("\n")
}

/// Removes the numbers of migrations from a line about a service.
fn without_number(line: &str) -> String {
    match (line.split_once(": "), line.split_once(" applied")) {
        (Some((service, numbers)), Some((_, rest)))
            if numbers.starts_with(|first: char| first.is_ascii_digit())
                && !service.starts_with(' ') =>
        {
            format!("{service}: [n] of [n] applied{rest}")
        }
        _ => line.to_owned(),
    }
}

fn redact_line(line: &str) -> String {
    if let Some((begin, _)) = line.split_once(" indexes built") {
        let begin = begin.trim_end_matches(|c: char| c.is_ascii_digit());
        return format!("{begin}[n] indexes built");
    }
    let words = line.split_inclusive([' ', ',']).map(|word| {
        let bare = word.trim_end_matches([' ', ',', ':']);
        let end = &word[bare.len()..];
        let port = bare.strip_prefix("http://127.0.0.1:").map(str::parse::<u16>);
        if matches!(port, Some(Ok(_))) {
            return format!("http://127.0.0.1:[port]{end}");
        }
        if chrono::DateTime::parse_from_rfc3339(bare).is_ok() {
            format!("[date]{end}")
        } else if uuid::Uuid::try_parse(bare).is_ok() {
            format!("[process]{end}")
        } else {
            word.to_owned()
        }
    });
    words.collect()
}

/// A running process of the program. Killed at the end of the test.
pub(crate) struct Turbulence {
    child: Child,
    started: Instant,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

/// The exit status and the output of a process.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

/// The output of a start whose site is ready.
pub(crate) struct Summary {
    pub(crate) text: String,
    pub(crate) address: String,
    pub(crate) token: String,
    /// The path of the file with the token, as it is printed.
    token_file: String,
}

impl Turbulence {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let started = Instant::now();
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = follow(child.stdout.take().unwrap());
        let stderr = follow(child.stderr.take().unwrap());
        Self { child, started, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the time since the process was started.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.unwrap().success(), "kill -s {name}");
    }

    /// Waits until SIGTERM is one of the signals that the process handles (proc(5), `SigCgt`).
    pub(crate) async fn handles_signals(&self) {
        let file = format!("/proc/{}/status", self.pid());
        let is_handled = || {
            let status = fs::read_to_string(&file).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (15 - 1)) != 0
        };
        eventually("it handles signals", || std::future::ready(is_handled())).await;
    }

    /// Waits until the site is ready.
    pub(crate) async fn ready(&self) -> Summary {
        let text = output_with(&self.stdout, LAST_LINE).await;
        let Some(text) = text else {
            panic!("the site did not become ready:\n{}", self.stderr.borrow().as_str());
        };
        Summary::of(text)
    }

    /// Waits until these words are printed. Returns the output so far.
    pub(crate) async fn printed(&self, words: &str) -> String {
        let text = output_with(&self.stdout, words).await;
        text.unwrap_or_else(|| panic!("the output does not contain {words:?}"))
    }

    /// Waits until the log has these words.
    pub(crate) async fn logged(&self, words: &str) {
        if output_with(&self.stderr, words).await.is_none() {
            panic!("the log does not contain {words:?}:\n{}", self.stderr.borrow().as_str());
        }
    }

    /// Waits until a service listens. Returns its address.
    pub(crate) async fn listens(&self) -> String {
        self.logged("\"message\":\"listening\"").await;
        let log = self.log();
        let line = log.iter().find(|line| line["message"] == "listening").unwrap();
        format!("http://{}", line["address"].as_str().unwrap())
    }

    /// Returns the lines of the log so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        log(&self.stderr.borrow())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end of the process and of its output.
    pub(crate) async fn ended(self) -> Ended {
        self.ended_within(DEADLINE).await
    }

    /// Waits for the end of a process that may take longer.
    pub(crate) async fn ended_within(mut self, deadline: Duration) -> Ended {
        let ends = async {
            while self.child.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = tokio::time::timeout(deadline, ends).await;
        assert!(ended.is_ok(), "the process does not end");
        let took = self.started.elapsed();
        let status = self.child.wait().unwrap();
        let (stdout, stderr) =
            (whole_output(&mut self.stdout).await, whole_output(&mut self.stderr).await);
        Ended { status, stdout, stderr, took }
    }

    /// Stops the process with SIGTERM and asserts that it succeeds.
    pub(crate) async fn stop(self) -> Ended {
        self.signal("TERM");
        let ended = self.ended().await;
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
        ended
    }
}

impl Drop for Turbulence {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Returns the lines on standard error that are not log lines.
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| !line.starts_with('{')).collect()
    }

    /// Returns the one line with the reason of the failure.
    pub(crate) fn failure(&self, code: i32) -> &str {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        let messages = self.messages();
        let [line] = messages.as_slice() else { panic!("not one line: {self:#?}") };
        line
    }

    /// Returns the output of a command that succeeded.
    pub(crate) fn success(&self) -> &str {
        assert_eq!(self.status.code(), Some(0), "{self:#?}");
        assert_eq!(self.messages(), [""; 0], "{self:#?}");
        &self.stdout
    }

    /// Returns the results of a command below the line that names the database.
    pub(crate) fn results(&self) -> &str {
        let (first, results) = self.stdout.split_once("\n\n").unwrap();
        assert!(first.starts_with("Database ") && !first.contains('\n'), "{self:#?}");
        results
    }

    /// Returns the lines of the log.
    pub(crate) fn log(&self) -> Vec<Value> {
        log(&self.stderr)
    }
}

impl Summary {
    /// Parses the output, which contains at least the address and the place of the token.
    pub(crate) fn of(text: String) -> Self {
        let address = value(&text, "Address").to_owned();
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix("Token")).unwrap();
        let token_file = line.trim_start().strip_prefix("in the file ").unwrap_or_default();
        let token_file = token_file.to_owned();
        // It is missing if the token is configured or comes from an identity provider.
        let token = fs::read_to_string(&token_file).unwrap_or_default().trim().to_owned();
        Self { text, address, token, token_file }
    }

    /// Requests a path without a token.
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        test_support::get(&format!("{}{path}", self.address), None).await
    }

    /// Requests a path with the printed token.
    pub(crate) async fn get_as_editor(&self, path: &str) -> (StatusCode, Value) {
        test_support::get(&format!("{}{path}", self.address), Some(&self.token)).await
    }

    /// Returns the numbers of items of a kind for the public and for editors.
    pub(crate) async fn totals(&self, kind: &str) -> [Option<u64>; 2] {
        let (_, public) = self.get(&format!("/{kind}")).await;
        let (_, all) = self.get_as_editor(&format!("/{kind}?include_drafts=true")).await;
        [public["total"].as_u64(), all["total"].as_u64()]
    }

    /// Returns the port of the MongoDB.
    pub(crate) fn mongodb_port(&self) -> u16 {
        let uri = value(&self.text, "MongoDB");
        let (_, port) = uri.split('/').nth(2).unwrap().rsplit_once(':').unwrap();
        port.parse().unwrap()
    }

    /// Replaces the parts that differ from run to run.
    pub(crate) fn redacted(&self, site: &Site) -> String {
        let text = self.text.replace(&self.address, "[address]");
        let text = match &*self.token_file {
            "" => text,
            file => text.replace(file, "[token file]"),
        };
        site.redact(&text)
    }
}

/// Returns the first word after a label at the beginning of a line.
fn value<'a>(text: &'a str, label: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(label)).unwrap();
    line.split_whitespace().next().unwrap().trim_end_matches(',')
}

fn log(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Follows the output of a process.
fn follow(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = watch::channel(String::new());
    thread::spawn(move || {
        let mut rest = Vec::new();
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            rest.extend_from_slice(&buffer[..length]);
            // A read may end within a character, but not a line.
            if let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') {
                let lines: Vec<u8> = rest.drain(..=end).collect();
                sender.send_modify(|text| text.push_str(&String::from_utf8_lossy(&lines)));
            }
        }
        sender.send_modify(|text| text.push_str(&String::from_utf8_lossy(&rest)));
    });
    receiver
}

/// Waits for these words and returns the output so far, or `None` if the stream ends without them.
async fn output_with(stream: &Receiver<String>, words: &str) -> Option<String> {
    let mut stream = stream.clone();
    let wait = stream.wait_for(|text| text.contains(words));
    let found = tokio::time::timeout(DEADLINE, wait).await.ok()?.ok()?;
    Some(found.clone())
}

/// Returns the output up to the end of the stream.
async fn whole_output(stream: &mut Receiver<String>) -> String {
    let end = async { while stream.changed().await.is_ok() {} };
    let ended = tokio::time::timeout(DEADLINE, end).await;
    assert!(ended.is_ok(), "another process keeps the output open");
    stream.borrow().clone()
}
