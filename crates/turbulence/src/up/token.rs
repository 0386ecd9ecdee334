//! The token of the site's editors.

use std::{
    fs::{self, OpenOptions},
    io::{self, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use service_kit::runtime::settings::{Settings, auth::AuthMode, secret::Secret};

use crate::error::Error;

/// The token of the site's editors.
pub(super) struct Token {
    /// `None` if an identity provider authenticates the editors, or a file has their tokens.
    pub(super) secret: Option<Secret>,
    /// The file with the token if it was generated. A token that is written there takes effect at once.
    pub(super) generated_in: Option<PathBuf>,
    /// The token, or the way to get one, for the summary.
    pub(super) description: String,
}

impl Token {
    /// Returns the configured token, or else the one in the data folder, which is generated at the
    /// first start.
    pub(super) fn find(settings: &Settings, data_dir: &Path) -> Result<Self, Error> {
        let provider = match settings.auth.mode {
            AuthMode::Static => None,
            AuthMode::Google => Some("Google"),
            AuthMode::Oidc => Some("the identity provider"),
        };
        if let Some(provider) = provider {
            let description = format!("one that {provider} issued to a user of the site");
            return Ok(Self { secret: None, generated_in: None, description });
        }
        if let Some(secret) = settings.auth.static_token.clone() {
            let description = "the configured one".to_owned();
            return Ok(Self { secret: Some(secret), generated_in: None, description });
        }
        if let Some(file) = &settings.auth.static_token_file {
            let description = format!("one in {}", file.display());
            return Ok(Self { secret: None, generated_in: None, description });
        }
        let file = data_dir.join("token");
        let token = read_or_generate(&file)
            .map_err(|source| Error::Token { file: file.display().to_string(), source })?;
        // Elsewhere than at a terminal, the output is kept in a journal, which others may read.
        let description = if io::stdout().is_terminal() {
            token.expose().to_owned()
        } else {
            let path = std::path::absolute(&file).unwrap_or_else(|_| file.clone());
            format!("in the file {}", path.display())
        };
        Ok(Self { secret: Some(token), generated_in: Some(file), description })
    }
}

fn read_or_generate(file: &Path) -> io::Result<Secret> {
    match fs::read_to_string(file) {
        Ok(text) => {
            if let Some(token) = text.lines().map(str::trim).find(|line| !line.is_empty()) {
                return token.parse().map_err(io::Error::other);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let token = Secret::generate();
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    writeln!(file, "{}", token.expose())?;
    Ok(token)
}
