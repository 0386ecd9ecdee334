//! Copying the files of media.
//!
//! They are copied before the documents are read, and those that were added in between after that. So
//! each file that a document names is in the export, also if the site has removed it in between.

use std::collections::{BTreeMap, HashSet};

use futures_util::TryStreamExt;
use media_service::{FileName, Files};
use service_kit::runtime::settings::Settings;
use tokio_util::sync::CancellationToken;

use crate::{
    archive::{
        error::ArchiveError,
        folder::{ExportFolder, Facts},
        manifest::{Media, MediaFile, media_path},
    },
    cli,
    error::Error,
    progress,
};

/// The number of names that a message has at most.
const MAX_NAMED: usize = 5;

/// The files that were copied.
pub(super) struct Copies {
    store: String,
    /// `None` if the folder of media does not exist.
    files: Option<Files>,
    copied: BTreeMap<FileName, Facts>,
}

/// Returns the error of the folder of media.
pub(crate) fn media_error(error: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Media(error.to_string())
}

impl Copies {
    /// Begins to copy the files of the folder of media that a setting names.
    pub(super) fn new(store: String, files: Option<Files>) -> Self {
        Self { store, files, copied: BTreeMap::new() }
    }

    /// Copies all files.
    pub(super) async fn copy_all(
        &mut self,
        folder: &ExportFolder,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let Some(files) = self.files.clone() else { return Ok(()) };
        let bar = progress::bytes("Copying media", 0);
        let mut all = files.list();
        while let Some((name, facts)) = all.try_next().await.map_err(media_error)? {
            bar.inc_length(facts.bytes);
            self.copy(&name, folder, shutdown).await?;
            bar.inc(facts.bytes);
        }
        tracing::info!(files = self.copied.len(), "media copied");
        Ok(())
    }

    /// Copies a file, unless it was removed since.
    async fn copy(
        &mut self,
        name: &FileName,
        folder: &ExportFolder,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let Some(files) = &self.files else { return Ok(()) };
        let Some(facts) = files.facts(name).await.map_err(media_error)? else { return Ok(()) };
        let mut file = folder.file(&media_path(name.as_str()))?;
        if facts.bytes > 0 {
            // An open file can be read although it is removed.
            let mut parts = match files.read(name, 0..facts.bytes).await {
                Ok(parts) => parts,
                Err(error) => {
                    if files.facts(name).await.map_err(media_error)?.is_some() {
                        return Err(media_error(error).into());
                    }
                    drop(file);
                    folder.remove(&media_path(name.as_str()))?;
                    return Ok(());
                }
            };
            while let Some(part) = parts.try_next().await.map_err(media_error)? {
                if shutdown.is_cancelled() {
                    return Err(Error::Interrupted);
                }
                file.write(&part)?;
            }
        }
        self.copied.insert(name.clone(), file.finish()?);
        Ok(())
    }

    /// Copies the files that documents name and that were added since the others were copied, leaves out
    /// those that were removed with their documents, and writes the list.
    pub(super) async fn finish(
        &mut self,
        named: &HashSet<FileName>,
        folder: &ExportFolder,
        shutdown: &CancellationToken,
    ) -> Result<Media, Error> {
        let mut missing = Vec::new();
        let mut names: Vec<_> = named.iter().collect();
        names.sort();
        for name in names {
            if !self.copied.contains_key(name) {
                self.copy(name, folder, shutdown).await?;
            }
            if !self.copied.contains_key(name) {
                missing.push(name.to_string());
            }
        }
        if !named.is_empty() && missing.len() == named.len() {
            let (store, count) = (self.store.clone(), missing.len());
            return Err(ArchiveError::NoMedia { store, count }.into());
        }
        if !missing.is_empty() {
            let shown = missing.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
            let rest = if missing.len() > MAX_NAMED { ", …" } else { "" };
            crate::lines::warn(format_args!(
                "the folder of media lacks {} of the files that the collection `media` names: \
                 {shown}{rest}. The manifest names all",
                missing.len()
            ));
        }
        self.remove_deleted(named, folder).await?;
        let mut list = folder.file("media.jsonl")?;
        for (name, Facts { bytes, sha256 }) in &self.copied {
            let file = MediaFile { name: name.to_string(), bytes: *bytes, sha256: sha256.clone() };
            list.write(format!("{}\n", serde_json::to_string(&file)?).as_bytes())?;
        }
        let bytes = self.copied.values().map(|facts| facts.bytes).sum();
        let Facts { sha256, .. } = list.finish()?;
        Ok(Media { count: self.copied.len() as u64, bytes, sha256, missing })
    }

    /// Removes the copies of files that no document names and that are gone from the site.
    async fn remove_deleted(
        &mut self,
        named: &HashSet<FileName>,
        folder: &ExportFolder,
    ) -> Result<(), Error> {
        let Some(files) = &self.files else { return Ok(()) };
        let unnamed: Vec<_> =
            self.copied.keys().filter(|name| !named.contains(name)).cloned().collect();
        for name in unnamed {
            if files.facts(&name).await.map_err(media_error)?.is_none() {
                folder.remove(&media_path(name.as_str()))?;
                self.copied.remove(&name);
            }
        }
        Ok(())
    }
}

/// Returns the folder of media of a command, as `turbulence up` has it.
pub(crate) fn media_store(settings: &Settings, options: &cli::Database) -> String {
    let in_data_dir = || options.data_dir.join("media").display().to_string();
    settings.media.store.clone().unwrap_or_else(in_data_dir)
}
