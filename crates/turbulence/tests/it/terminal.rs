//! The program at a terminal, which `script` (util-linux) provides: what a person sees.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use mongodb::bson::{doc, oid::ObjectId};
use test_support::mongodb_uri;

use crate::{
    legacy,
    support::{Folder, LAST_LINE, Site, own_mongod},
};

/// Time after which a command that does not end fails the test.
const DEADLINE: Duration = Duration::from_secs(60);

/// A terminal.
pub(crate) struct Terminal<'a> {
    folder: &'a Folder,
    columns: u16,
    /// The text that is typed, and the words on the screen that it waits for.
    input: Option<(&'static str, &'static str)>,
}

/// The result of a command at a terminal.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) code: i32,
    /// Everything that was sent to the terminal.
    pub(crate) screen: String,
    pub(crate) took: Duration,
}

impl<'a> Terminal<'a> {
    pub(crate) fn new(folder: &'a Folder) -> Self {
        Self { folder, columns: 80, input: None }
    }

    fn columns(self, columns: u16) -> Self {
        Self { columns, ..self }
    }

    /// Types a text once these words are on the screen.
    pub(crate) fn types(self, text: &'static str, words: &'static str) -> Self {
        Self { input: Some((text, words)), ..self }
    }

    /// Returns the command of the program at the terminal.
    fn command(&self, arguments: &[&str]) -> Command {
        let program = self.folder.command(&[]);
        let words = [program.get_program().to_str().unwrap()].into_iter();
        let words: Vec<_> = words.chain(arguments.iter().copied()).map(quoted).collect();
        let line = format!("stty rows 24 cols {}; exec {}", self.columns, words.join(" "));
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
        let began = Instant::now();
        let mut child = self.command(arguments).spawn().unwrap();
        let (mut typed, mut input) = (child.stdin.take().unwrap(), self.input);
        let mut output = child.stdout.take().unwrap();
        let run = tokio::task::spawn_blocking(move || {
            let (mut screen, mut buffer) = (Vec::new(), [0; 8192]);
            // The terminal is gone with the program: reading then fails, or ends.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                screen.extend_from_slice(&buffer[..length]);
                let text = String::from_utf8_lossy(&screen);
                if let Some((text, _)) = input.take_if(|(_, words)| text.contains(*words)) {
                    typed.write_all(text.as_bytes()).unwrap();
                }
            }
            let code = child.wait().unwrap().code().unwrap();
            let screen = String::from_utf8_lossy(&screen).into_owned();
            Shown { code, screen, took: began.elapsed() }
        });
        tokio::time::timeout(DEADLINE, run).await.unwrap().unwrap()
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

impl Site {
    /// Returns arguments with those for the database of the site.
    fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let options = ["--create", "--mongodb-uri", mongodb_uri(), "--database"];
        [arguments, &options, &[self.database.name()]].concat()
    }
}

/// Asserts that no line is longer than the terminal, unless it is one word, and that no line is the
/// remainder of a spinner.
fn assert_is_legible(shown: &Shown, columns: usize) {
    for line in shown.lines() {
        let is_long = line.chars().count() > columns && line.trim().contains(' ');
        assert!(!is_long, "{line}");
        let glyphs = '\u{2800}'..='\u{28ff}';
        assert!(!line.trim().starts_with(|c| glyphs.contains(&c)), "{line:?}: {shown:#?}");
    }
}

#[tokio::test]
async fn results_are_wrapped_at_words_below_a_heading_and_above_a_total() {
    let site = Site::new().await;
    legacy::write(&site.folder);
    site.run(&["import", legacy::FOLDER]).await.success();
    let name = site.database.name().to_owned();
    for (arguments, heading, total) in [
        (&["migrate", "plan"][..], "Changes of the next run", "Total: "),
        (&["migrate", "up"], "Results of the migrations", "Total: "),
        (&["migrate", "status"], "State of the migrations", "Total: "),
        (&["migrate", "verify"], "State of the data", "Total: "),
        (&["doctor"], "Problems in the data", "Total: 2 problems in 2 documents"),
    ] {
        let shown = Terminal::new(&site.folder).columns(60).run(&site.arguments(arguments)).await;
        assert_is_legible(&shown, 60);
        let lines = shown.lines();
        let place = |words: &str| lines.iter().position(|line| line.starts_with(words));
        let [first, second, last] = [&*format!("Database {name}"), heading, total].map(place);
        assert!(first.is_some() && first < second && second < last, "{arguments:?}: {shown:#?}");
        if arguments != ["migrate", "up"] {
            // No word is broken.
            let ended = site.run(arguments).await;
            let text = lines.join(" ");
            let words: Vec<_> = text.split_whitespace().collect();
            for word in ended.stdout.split_whitespace() {
                assert!(words.contains(&word), "{word}: {shown:#?}");
            }
        }
    }
}

#[tokio::test]
async fn a_start_shows_the_token_and_leaves_no_spinner_behind() {
    let _turn = own_mongod().await;
    let folder = Folder::new();
    let up = ["up", "--demo", "--port", "0"];
    let shown = Terminal::new(&folder).columns(70).types("\u{3}", LAST_LINE).run(&up).await;
    assert_eq!(shown.code, 0, "{shown:#?}");
    assert_is_legible(&shown, 70);
    let token = std::fs::read_to_string(folder.path(".turbulence/token")).unwrap();
    assert!(shown.screen.contains(token.trim()), "{shown:#?}");
    for words in ["Starting MongoDB", "10 stories   and 2 drafts", "3 pages     and 1 draft\r\n"] {
        assert!(shown.screen.contains(words), "{words}: {shown:#?}");
    }
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_named_at_once() {
    let folder = Folder::new();
    let status = ["migrate", "status", "--mongodb-uri", "mongodb://127.0.0.1:1/?replicaSet=rs0"];
    let words = "Connecting to MongoDB at 127.0.0.1:1";
    let shown = Terminal::new(&folder).types("\u{3}", words).run(&status).await;
    assert_eq!(shown.code, 130, "{shown:#?}");
    // It would give up after twelve seconds.
    assert!(shown.took < Duration::from_secs(10), "{shown:#?}");
}

#[tokio::test]
async fn a_repair_says_what_it_will_do_before_it_asks() {
    let site = Site::new().await;
    site.run(&["migrate", "up"]).await.success();
    let rule = doc! { "path": "/nowhere", "section_id": ObjectId::from_bytes([8; 12]).to_hex() };
    site.database.insert("section_redirects", [rule]).await;
    let repair = site.arguments(&["doctor", "--repair"]);
    let asked = "Change them? [y/N]";
    let shown = Terminal::new(&site.folder).types("n\n", asked).run(&repair).await;
    assert_eq!(shown.code, 6, "{shown:#?}");
    let action = "section_redirects: 1 to a section that does not exist: each is removed";
    let text = shown.lines().join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(action), "{shown:#?}");
    assert!(text.find(action) < text.find(asked), "{shown:#?}");
    assert_eq!(site.database.count("section_redirects", doc! {}).await, 1);
    let shown = Terminal::new(&site.folder).types("y\n", asked).run(&repair).await;
    assert_eq!(shown.code, 0, "{shown:#?}");
    assert_eq!(site.database.count("section_redirects", doc! {}).await, 0);
}
