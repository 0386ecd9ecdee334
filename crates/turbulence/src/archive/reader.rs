//! Reading and checking the folder of an export.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
};

use indicatif::ProgressBar;
use media_service::FileName;
use mongodb::bson::RawDocumentBuf;
use ring::digest::{Context, SHA256};
use tokio_util::sync::CancellationToken;

use super::{
    error::ArchiveError,
    folder::{Facts, LOCK, hex},
    line::{self, MAX_LINE_BYTES},
    manifest::{Collection, Documents, FORMAT, FORMAT_VERSION, Head, Manifest, MediaFile},
};
use crate::progress;

/// The size of the buffer between a file and its reader in bytes.
const READ_BYTES: usize = 256 * 1024;

/// The size of the largest manifest in bytes: one of a site with a million missing files.
const MAX_MANIFEST_BYTES: u64 = 256 * 1024 * 1024;

/// The size of the largest file with a digest that is read, in bytes: the digest and a name.
const MAX_DIGEST_BYTES: u64 = 1024;

type Result<T> = std::result::Result<T, ArchiveError>;

/// The folder of an export.
#[derive(Debug)]
pub(crate) struct Archive {
    folder: PathBuf,
    pub(crate) manifest: Manifest,
}

impl Archive {
    /// Opens a folder. Returns `None` if it is not that of an export.
    pub(crate) fn open(folder: &Path) -> Result<Option<Self>> {
        // Written last: one that was killed after that is whole.
        if folder.join(LOCK).exists() && !folder.join("manifest.sha256").exists() {
            return Err(ArchiveError::Interrupted { folder: folder.display().to_string() });
        }
        let path = folder.join("manifest.json");
        // Errors of the folder itself are found by those who read it as another one.
        if let Err(error) = fs::symlink_metadata(&path)
            && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        {
            return Ok(None);
        }
        let text = read_small(&path, MAX_MANIFEST_BYTES)?;
        let invalid = |error: serde_json::Error| ArchiveError::damaged(&path, error.to_string());
        let head: Head = serde_json::from_slice(&text).map_err(invalid)?;
        if head.format != FORMAT {
            let problem = format!("its format is \"{}\" instead of \"{FORMAT}\"", head.format);
            return Err(ArchiveError::damaged(&path, problem));
        }
        if head.format_version > FORMAT_VERSION {
            return Err(ArchiveError::Newer {
                folder: folder.display().to_string(),
                version: head.program_version,
                own: env!("CARGO_PKG_VERSION"),
                reason: format!(
                    "its format has the version {}, and this program reads those up to \
                     {FORMAT_VERSION}",
                    head.format_version
                ),
            });
        }
        check_manifest(folder, &text)?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(invalid)?;
        for collection in &manifest.collections {
            check_name(&path, &collection.name)?;
        }
        Ok(Some(Self { folder: folder.to_owned(), manifest }))
    }

    /// Returns the path of a file of the export.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// Returns the folder as a person knows it.
    pub(crate) fn display(&self) -> String {
        self.folder.display().to_string()
    }

    /// Returns the collections whose documents are in the export.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (&Collection, &Documents)> {
        let all = self.manifest.collections.iter();
        all.filter_map(|collection| Some((collection, collection.documents.as_ref()?)))
    }

    /// Checks the sizes and the digests of all files, until `shutdown` is cancelled.
    pub(crate) fn check(&self, shutdown: &CancellationToken) -> Result<()> {
        let media = self.manifest.media.as_ref();
        let bytes: u64 = self.documents().map(|(_, documents)| documents.bytes).sum();
        let bytes = bytes + media.map_or(0, |media| media.bytes);
        tracing::info!(bytes, "checking the export");
        let bar = progress::bytes("Checking the export", bytes);
        for (collection, documents) in self.documents() {
            self.check_file(&collection.path(), &documents.facts(), &bar, shutdown)?;
        }
        if let Some(media) = media {
            let list = self.path("media.jsonl");
            let facts = facts_of(&list, &ProgressBar::hidden(), shutdown)?;
            if facts.sha256 != media.sha256 {
                return Err(ArchiveError::damaged(&list, WRONG_DIGEST));
            }
            let mut count = 0;
            for file in self.media()? {
                let file = file?;
                self.check_file(&file.path(), &file.facts(), &bar, shutdown)?;
                count += 1;
            }
            if count != media.count {
                let problem = format!("it has {count} lines instead of {}", media.count);
                return Err(ArchiveError::damaged(&list, problem));
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn check_file(
        &self,
        path: &str,
        expected: &Facts,
        bar: &ProgressBar,
        shutdown: &CancellationToken,
    ) -> Result<()> {
        let path = self.path(path);
        let found = facts_of(&path, bar, shutdown)?;
        if found.bytes != expected.bytes {
            let problem = format!("it has {} bytes instead of {}", found.bytes, expected.bytes);
            return Err(ArchiveError::damaged(&path, problem));
        }
        if found.sha256 != expected.sha256 {
            return Err(ArchiveError::damaged(&path, WRONG_DIGEST));
        }
        Ok(())
    }

    /// Reads the documents of a collection.
    pub(crate) fn read(
        &self,
        collection: &Collection,
        bar: &ProgressBar,
    ) -> Result<impl Iterator<Item = Result<RawDocumentBuf>> + use<>> {
        let path = self.path(&collection.path());
        let lines = Lines::open(&path, bar)?;
        Ok(lines.map(move |line| {
            let (number, line) = line?;
            line::decode(&line).map_err(|problem| {
                ArchiveError::damaged(&path, format!("line {number}: {problem}"))
            })
        }))
    }

    /// Reads the list of the files of media.
    pub(crate) fn media(&self) -> Result<impl Iterator<Item = Result<MediaFile>> + use<>> {
        let path = self.path("media.jsonl");
        let lines = Lines::open(&path, &ProgressBar::hidden())?;
        Ok(lines.map(move |line| {
            let (number, line) = line?;
            let damaged =
                |problem| ArchiveError::damaged(&path, format!("line {number}: {problem}"));
            let file: MediaFile =
                serde_json::from_str(&line).map_err(|error| damaged(error.to_string()))?;
            // Names lead to files below the folder.
            match file.name.parse::<FileName>().is_ok() {
                true => Ok(file),
                false => Err(damaged(format!("{:?} is not a name of a file", file.name))),
            }
        }))
    }
}

/// The problem of a file that was changed.
const WRONG_DIGEST: &str = "its SHA-256 is not the one in the manifest";

/// Checks the digest of the manifest.
fn check_manifest(folder: &Path, text: &[u8]) -> Result<()> {
    let digest = read_small(&folder.join("manifest.sha256"), MAX_DIGEST_BYTES)?;
    let digest = String::from_utf8_lossy(&digest);
    let digest = digest.split_whitespace().next().unwrap_or_default();
    if digest != hex(ring::digest::digest(&SHA256, text).as_ref()) {
        let problem = "its SHA-256 is not the one in manifest.sha256";
        return Err(ArchiveError::damaged(&folder.join("manifest.json"), problem));
    }
    Ok(())
}

/// Opens a file of the export. Anything else of its name is refused: opening a pipe would wait for ever.
pub(crate) fn open_file(path: &Path) -> Result<File> {
    match fs::metadata(path) {
        Ok(facts) if !facts.is_file() => Err(ArchiveError::damaged(path, "it is not a file")),
        Ok(_) => File::open(path).map_err(|error| cannot_read(path, error)),
        Err(error) => Err(cannot_read(path, error)),
    }
}

/// Reads a file of the export up to a number of bytes.
fn read_small(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open_file(path)?.take(max_bytes).read_to_end(&mut bytes);
    read.map_err(|error| ArchiveError::read(path, error))?;
    Ok(bytes)
}

/// Returns the error of a file of the export that cannot be read.
fn cannot_read(path: &Path, error: io::Error) -> ArchiveError {
    match error.kind() {
        ErrorKind::NotFound => ArchiveError::damaged(path, "it is missing"),
        _ => ArchiveError::read(path, error),
    }
}

/// Checks that a collection can have this name, and leads to a file below the folder.
fn check_name(manifest: &Path, name: &str) -> Result<()> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > 100 || !name.bytes().all(is_allowed) {
        let problem = format!("{name:?} is not a name of a collection of a site");
        return Err(ArchiveError::damaged(manifest, problem));
    }
    Ok(())
}

/// Reads a file to its end.
fn facts_of(path: &Path, bar: &ProgressBar, shutdown: &CancellationToken) -> Result<Facts> {
    let failed = |error| cannot_read(path, error);
    let mut file = bar.wrap_read(open_file(path)?);
    let (mut digest, mut bytes) = (Context::new(&SHA256), 0);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        if shutdown.is_cancelled() {
            return Err(ArchiveError::Cancelled);
        }
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok(Facts { bytes, sha256: hex(digest.finish().as_ref()) });
        }
        digest.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// The lines of a file with their numbers, without the line breaks.
struct Lines<R> {
    path: PathBuf,
    reader: R,
    number: u64,
}

impl Lines<()> {
    fn open(path: &Path, bar: &ProgressBar) -> Result<Lines<impl BufRead + use<>>> {
        let file = open_file(path)?;
        let reader = BufReader::with_capacity(READ_BYTES, bar.wrap_read(file));
        Ok(Lines { path: path.to_owned(), reader, number: 0 })
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<(u64, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let limited = self.reader.by_ref().take(MAX_LINE_BYTES as u64 + 1);
        self.number += 1;
        let damaged = |problem: &str| {
            ArchiveError::damaged(&self.path, format!("line {}: {problem}", self.number))
        };
        match { limited }.read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(Err(ArchiveError::read(&self.path, error))),
        }
        if line.pop() != Some(b'\n') {
            return Some(Err(damaged("it is too long, or the file ends within it")));
        }
        let line = String::from_utf8(line).map_err(|_| damaged("it is not UTF-8"));
        Some(line.map(|line| (self.number, line)))
    }
}
