//! The tokens of the mode `static`: one of the settings, or those of a file.
//!
//! The file is read again once it may have changed, so that a token can be replaced without a restart:
//! add the new one, give it to the editors, remove the old one.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::runtime::settings::{
    auth::Auth,
    secret::{InvalidSecret, Secret},
};

/// The shortest time between two readings of the file. A change takes effect after that time.
const REREAD_INTERVAL: Duration = Duration::from_secs(1);

/// The largest file that is read, in bytes: a token has some 64.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The tokens that are valid.
pub(super) struct StaticTokens {
    configured: Option<Secret>,
    file: Option<TokenFile>,
}

struct TokenFile {
    path: PathBuf,
    reread_interval: Duration,
    content: Mutex<Content>,
}

#[derive(Default)]
struct Content {
    read_at: Option<Instant>,
    tokens: Vec<Secret>,
    /// The reason why the file cannot be used, to log each reason once.
    problem: Option<String>,
}

/// The reason why the file cannot be used.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is longer than {MAX_FILE_BYTES} bytes")]
    TooLong,
    #[error("its line {line} has no token: {reason}")]
    Line { line: usize, reason: InvalidSecret },
}

impl StaticTokens {
    pub(super) fn new(settings: &Auth) -> Self {
        let file = settings.static_token_file.clone().map(|path| TokenFile {
            path,
            reread_interval: REREAD_INTERVAL,
            content: Mutex::default(),
        });
        let this = Self { configured: settings.static_token.clone(), file };
        // A file that cannot be used is reported at the start.
        this.accepts("");
        this
    }

    /// Returns `true` if the token is valid now.
    pub(super) fn accepts(&self, token: &str) -> bool {
        let is_configured = self.configured.as_ref().is_some_and(|secret| secret.is(token));
        is_configured || self.file.as_ref().is_some_and(|file| file.accepts(token))
    }
}

impl TokenFile {
    fn accepts(&self, token: &str) -> bool {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        if content.read_at.is_none_or(|read_at| read_at.elapsed() >= self.reread_interval) {
            content.update(&self.path);
        }
        content.tokens.iter().any(|secret| secret.is(token))
    }
}

impl Content {
    /// Reads the file. While it cannot be used no token of it is valid, so that the removal of a token
    /// never fails unnoticed.
    fn update(&mut self, path: &Path) {
        let (tokens, problem) = match read(path) {
            Ok(tokens) => (tokens, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let path = path.display();
        match &problem {
            Some(reason) if self.problem.as_ref() != Some(reason) => tracing::error!(
                %path, reason,
                "no token of the file `auth.static_token_file` is valid: correct the file"
            ),
            None if self.read_at.is_some() && has_changed(&self.tokens, &tokens) => {
                tracing::info!(%path, tokens = tokens.len(), "the static tokens have changed");
            }
            _ => {}
        }
        *self = Self { read_at: Some(Instant::now()), tokens, problem };
    }
}

fn has_changed(before: &[Secret], after: &[Secret]) -> bool {
    before.len() != after.len() || before.iter().zip(after).any(|(one, two)| !one.is(two.expose()))
}

/// Reads a file with one token a line. Empty lines are ignored.
fn read(path: &Path) -> Result<Vec<Secret>, FileError> {
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(FileError::TooLong);
    }
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let parse = |(index, line): (usize, &str)| {
        line.parse().map_err(|reason| FileError::Line { line: index + 1, reason })
    };
    lines.map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "an old token of the site";
    const NEW: &str = "a new token of the site";

    fn tokens(path: &Path) -> StaticTokens {
        let settings = Auth { static_token_file: Some(path.to_owned()), ..Auth::default() };
        let mut tokens = StaticTokens::new(&settings);
        if let Some(file) = &mut tokens.file {
            file.reread_interval = Duration::ZERO;
        }
        tokens
    }

    #[test]
    fn a_changed_file_takes_effect_without_a_restart() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{OLD}\n")).unwrap();
        let tokens = tokens(file.path());
        assert!(tokens.accepts(OLD) && !tokens.accepts(NEW) && !tokens.accepts(""));
        fs::write(file.path(), format!("\n{OLD}\r\n{NEW}\n\n")).unwrap();
        assert!(tokens.accepts(OLD) && tokens.accepts(NEW));
        fs::write(file.path(), NEW).unwrap();
        assert!(!tokens.accepts(OLD) && tokens.accepts(NEW));
        // As Kubernetes and editors replace a file.
        let other = tempfile::NamedTempFile::new_in(file.path().parent().unwrap()).unwrap();
        fs::write(other.path(), OLD).unwrap();
        fs::rename(other.path(), file.path()).unwrap();
        assert!(tokens.accepts(OLD) && !tokens.accepts(NEW));
    }

    #[test]
    fn a_file_that_cannot_be_used_makes_no_token_valid() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let tokens = tokens(&path);
        assert!(!tokens.accepts(OLD) && !tokens.accepts(""));
        for text in ["short", "", "\n", &format!("{OLD}\nshort"), &"x".repeat(70_000)] {
            fs::write(&path, OLD).unwrap();
            assert!(tokens.accepts(OLD));
            fs::write(&path, text).unwrap();
            assert!(!tokens.accepts(OLD) && !tokens.accepts("short") && !tokens.accepts(""));
        }
        fs::write(&path, [0xff; 32]).unwrap();
        assert!(!tokens.accepts(OLD));
    }

    #[test]
    fn messages_contain_no_part_of_a_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{OLD}\nhunter2")).unwrap();
        let message = read(file.path()).unwrap_err().to_string();
        assert!(message.contains("line 2") && !message.contains("hunter2"), "{message}");
    }
}
