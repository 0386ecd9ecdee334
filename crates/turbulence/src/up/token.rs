//! The token of the site's editors.

use std::{
    fs::{self, OpenOptions},
    io::{self, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use secrecy::SecretString;
use service_kit::runtime::settings::{Settings, auth::AuthMode};
use uuid::Uuid;

use crate::error::Error;

/// The token of the site's editors.
pub(super) struct Token {
    /// `None` if an identity provider authenticates the editors.
    pub(super) secret: Option<SecretString>,
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
            return Ok(Self { secret: None, description });
        }
        if let Some(secret) = settings.auth.static_token.clone() {
            let description = "the configured one".to_owned();
            return Ok(Self { secret: Some(secret), description });
        }
        let file = data_dir.join("token");
        let token = read_or_generate(&file)
            .map_err(|source| Error::Token { file: file.display().to_string(), source })?;
        // Elsewhere than at a terminal, the output is kept in a journal, which others may read.
        let description = match io::stdout().is_terminal() {
            true => token.clone(),
            false => {
                format!("in the file {}", std::path::absolute(&file).unwrap_or(file).display())
            }
        };
        Ok(Self { description, secret: Some(token.into()) })
    }
}

fn read_or_generate(file: &Path) -> io::Result<String> {
    match fs::read_to_string(file) {
        Ok(token) if !token.trim().is_empty() => return Ok(token.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    // 122 random bits from the operating system (RFC 9562, version 4).
    let token = Uuid::new_v4().simple().to_string();
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    writeln!(file, "{token}")?;
    Ok(token)
}
