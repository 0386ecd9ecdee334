//! The program at a terminal, which `script` (util-linux) provides.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    time::Duration,
};

use crate::support::Folder;

/// Time after which a command that does not end fails the test.
const DEADLINE: Duration = Duration::from_secs(60);

/// A terminal.
pub(crate) struct Terminal<'a> {
    folder: &'a Folder,
    columns: u16,
    input: &'static str,
}

/// The result of a command at a terminal.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) code: i32,
    /// Everything that was sent to the terminal.
    pub(crate) screen: String,
}

impl<'a> Terminal<'a> {
    pub(crate) fn new(folder: &'a Folder) -> Self {
        Self { folder, columns: 80, input: "" }
    }

    pub(crate) fn columns(self, columns: u16) -> Self {
        Self { columns, ..self }
    }

    /// Types this text at once.
    pub(crate) fn input(self, input: &'static str) -> Self {
        Self { input, ..self }
    }

    /// Returns the command of the program at the terminal.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let program = self.folder.command(&[]);
        let words = [program.get_program().to_str().unwrap()].into_iter();
        let words: Vec<_> = words.chain(arguments.iter().copied()).map(quoted).collect();
        let line = format!("stty cols {}; exec {}", self.columns, words.join(" "));
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
        command.current_dir(self.folder.path("")).env("TERM", "xterm");
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(self, arguments: &[&str]) -> Shown {
        let mut child = self.command(arguments).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(self.input.as_bytes()).unwrap();
        let run = tokio::task::spawn_blocking(move || {
            let mut screen = Vec::new();
            child.stdout.take().unwrap().read_to_end(&mut screen).unwrap();
            let code = child.wait().unwrap().code().unwrap();
            // An earlier end of the input would be typed as Ctrl-D.
            drop(input);
            Shown { code, screen: String::from_utf8_lossy(&screen).into_owned() }
        });
        tokio::time::timeout(DEADLINE, run).await.expect("the command ends").unwrap()
    }
}

impl Shown {
    /// Returns the lines that remain on the screen, without the trailing blanks.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![String::new()];
        for text in self.screen.split('\n') {
            // What follows a carriage return replaces what was before it.
            let last = text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
            lines.push(without_escapes(last).trim_end().to_owned());
        }
        lines
    }
}

/// Removes the control sequences of a terminal (ECMA-48, "CSI").
fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => _ = rest.find(char::is_ascii_alphabetic),
            _ => plain.push(c),
        }
    }
    plain
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
