//! The object store, which is a folder.
//!
//! A file is visible as a whole or not at all: it is written under another name, and renamed at its end.

use std::{
    error::Error as _,
    fs,
    future::ready,
    io, iter,
    ops::Range,
    path::{self, PathBuf},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, GetResultPayload, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutPayload, local::LocalFileSystem, path::Path,
};
use tokio::task::spawn_blocking;
use url::Url;

use crate::domain::name::FileName;

/// The size of the parts in which a file is written, in bytes: large enough that the disk, not
/// the calls, takes the time.
pub(crate) const PART_BYTES: usize = 256 * 1024;

/// The size of the parts in which a file is read, in bytes.
pub(crate) const READ_BYTES: usize = 256 * 1024;

/// The files.
#[derive(Debug, Clone)]
pub struct Files {
    store: Arc<dyn ObjectStore>,
    folder: PathBuf,
}

/// A store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A path that cannot be opened or created.
    #[error("the folder {} cannot be used: {source}", folder.display())]
    Folder {
        /// The path.
        folder: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A store that cannot be opened.
    #[error("{0}")]
    Store(#[from] object_store::Error),
    /// An address of another kind of store.
    #[error(
        "{0}:// is no folder: files are stored in a folder, given as a path or as file:///path"
    )]
    NoFolder(String),
}

/// A file that is being written. If it is dropped before its end, nothing of it is visible.
pub struct FileWriter {
    upload: Box<dyn MultipartUpload>,
    part: BytesMut,
}

/// The facts of a stored file.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The size in bytes.
    pub bytes: u64,
    /// The time of the last change.
    pub modified: DateTime<Utc>,
}

type Result<T> = std::result::Result<T, object_store::Error>;

impl Files {
    /// Opens the store that a setting names: a path, or a URL. A folder is created if it is missing.
    pub fn open(setting: &str) -> std::result::Result<Self, OpenError> {
        Self::open_folder(folder_of(setting)?)
    }

    /// Opens the store that a setting names. Returns `None` if the folder does not exist, which means that
    /// nothing was uploaded.
    pub fn open_existing(setting: &str) -> std::result::Result<Option<Self>, OpenError> {
        let folder = folder_of(setting)?;
        if folder.exists() { Self::open_folder(folder).map(Some) } else { Ok(None) }
    }

    fn open_folder(folder: PathBuf) -> std::result::Result<Self, OpenError> {
        let opened = fs::create_dir_all(&folder).and_then(|()| path::absolute(&folder));
        let folder = match opened {
            Ok(folder) => folder,
            Err(source) => return Err(OpenError::Folder { folder, source }),
        };
        let store = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), folder })
    }

    /// Returns the folder.
    pub fn folder(&self) -> &path::Path {
        &self.folder
    }

    /// Returns the names of all files that can be served, with their sizes. Files that are being written
    /// are not among them.
    pub fn list(&self) -> BoxStream<'static, Result<(FileName, Facts)>> {
        let known = |meta: ObjectMeta| {
            let name = meta.location.as_ref().parse().ok()?;
            Some((name, Facts { bytes: meta.size, modified: meta.last_modified }))
        };
        let all = self.store.list(None);
        all.filter_map(move |meta| ready(meta.map(known).transpose())).boxed()
    }

    /// Stores a file.
    pub(crate) async fn put(&self, name: &FileName, file: Bytes) -> Result<()> {
        self.store.put(&path_of(name), file.into()).await.map(drop)
    }

    /// Begins to store a file of unknown length.
    pub async fn writer(&self, name: &FileName) -> Result<FileWriter> {
        let upload = self.store.put_multipart(&path_of(name)).await?;
        Ok(FileWriter { upload, part: BytesMut::new() })
    }

    /// Returns the facts of a file, or `None` if there is none.
    pub async fn facts(&self, name: &FileName) -> Result<Option<Facts>> {
        match self.store.head(&path_of(name)).await {
            Ok(meta) => Ok(Some(Facts { bytes: meta.size, modified: meta.last_modified })),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns bytes of a file.
    pub async fn read(
        &self,
        name: &FileName,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>> {
        let options =
            GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let found = self.store.get_opts(&path_of(name), options).await?;
        Ok(match found.payload {
            GetResultPayload::File(file, _) => parts(file, range).boxed(),
            GetResultPayload::Stream(stream) => {
                stream.map(|part| part.map_err(io::Error::other)).boxed()
            }
        })
    }

    /// Removes a file, and what is left of an attempt to store it. It need not exist.
    pub(crate) async fn delete(&self, name: &FileName) -> Result<()> {
        // The library writes to this name first.
        let staged = self.folder.join(format!("{name}#1"));
        // Usually there is none.
        let _ = spawn_blocking(move || fs::remove_file(staged)).await;
        match self.store.delete(&path_of(name)).await {
            Err(error) if !is_absent(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

impl FileWriter {
    /// Adds bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.part.extend_from_slice(bytes);
        while self.part.len() >= PART_BYTES {
            let part = self.part.split_to(PART_BYTES).freeze();
            self.upload.put_part(PutPayload::from(part)).await?;
        }
        Ok(())
    }

    /// Makes the file visible.
    pub async fn finish(mut self) -> Result<()> {
        if !self.part.is_empty() {
            self.upload.put_part(PutPayload::from(self.part.freeze())).await?;
        }
        self.upload.complete().await.map(drop)
    }

    /// Removes what was written.
    pub async fn abort(mut self) {
        if let Err(error) = self.upload.abort().await {
            tracing::warn!(%error, "what was written of a file cannot be removed");
        }
    }
}

/// Returns the folder that a setting names.
fn folder_of(setting: &str) -> std::result::Result<PathBuf, OpenError> {
    match Url::parse(setting) {
        Ok(url) if url.scheme() == "file" => {
            Ok(url.to_file_path().unwrap_or_else(|()| PathBuf::from(url.path())))
        }
        Ok(url) if setting.contains("://") => Err(OpenError::NoFolder(url.scheme().to_owned())),
        _ => Ok(PathBuf::from(setting)),
    }
}

fn path_of(name: &FileName) -> Path {
    // A name has no characters that a path of the store encodes.
    Path::from(name.as_str())
}

/// Returns `true` if there is no such file. A folder is none, and neither a name below a file nor one that
/// the file system does not allow is that of a file.
fn is_absent(error: &object_store::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory};
    let causes = iter::successors(error.source(), |&cause| cause.source());
    let mut kinds =
        causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    matches!(error, object_store::Error::NotFound { .. })
        || kinds.any(|kind| matches!(kind, InvalidFilename | IsADirectory | NotADirectory))
}

/// Reads parts of a file, each off the async workers.
fn parts(
    file: fs::File,
    range: Range<u64>,
) -> impl stream::Stream<Item = io::Result<Bytes>> + Send + 'static {
    let begin = Some((file, range));
    stream::unfold(begin, |state| async move {
        let (file, range) = state?;
        if range.is_empty() {
            return None;
        }
        let read = spawn_blocking(move || {
            let wanted = (range.end - range.start).min(READ_BYTES as u64);
            let mut part = vec![0; usize::try_from(wanted).unwrap_or(READ_BYTES)];
            read_at(&file, &mut part, range.start)?;
            Ok((Bytes::from(part), (file, range.start + wanted..range.end)))
        });
        Some(match read.await {
            Ok(Ok((part, rest))) => (Ok(part), Some(rest)),
            Ok(Err(error)) => (Err(error), None),
            Err(panic) => (Err(io::Error::other(panic)), None),
        })
    })
}

#[cfg(unix)]
fn read_at(file: &fs::File, part: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, part, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &fs::File, part: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek};
    file.seek(io::SeekFrom::Start(offset))?;
    file.read_exact(part)
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    async fn content(files: &Files, name: &FileName, range: Range<u64>) -> Vec<u8> {
        let parts: Vec<Bytes> = files.read(name, range).await.unwrap().try_collect().await.unwrap();
        parts.concat()
    }

    #[tokio::test]
    async fn a_file_is_read_as_it_was_written_and_is_invisible_until_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path().join("a/b").to_str().unwrap()).unwrap();
        let name: FileName = "2024/x.mp4".parse().unwrap();
        let sent: Vec<u8> = (0..=255).cycle().take(3 * PART_BYTES + 77).collect();
        let mut writer = files.writer(&name).await.unwrap();
        for part in sent.chunks(100_000) {
            writer.write(part).await.unwrap();
        }
        assert!(files.facts(&name).await.unwrap().is_none());
        writer.finish().await.unwrap();
        let length = files.facts(&name).await.unwrap().unwrap().bytes;
        assert_eq!(length, sent.len() as u64);
        assert!(content(&files, &name, 0..length).await == sent);
        let some = READ_BYTES - 1..READ_BYTES + 1;
        let range = some.start as u64..some.end as u64;
        assert!(content(&files, &name, range).await == sent[some]);
        files.delete(&name).await.unwrap();
        files.delete(&name).await.unwrap();
        assert!(files.facts(&name).await.unwrap().is_none());
        // A folder is no file, and nothing is below a file.
        fs::write(folder.path().join("a/b/file.mp4"), b"file").unwrap();
        for absent in ["2024", "file.mp4/x", "file.mp4/x/y.mp4"] {
            let absent: FileName = absent.parse().unwrap();
            assert!(files.facts(&absent).await.unwrap().is_none(), "{absent}");
        }
        assert!(files.facts(&"file.mp4".parse().unwrap()).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_file_that_was_not_finished() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path().to_str().unwrap()).unwrap();
        let name: FileName = "x.mp4".parse().unwrap();
        let mut writer = files.writer(&name).await.unwrap();
        writer.write(&[7; 2 * PART_BYTES]).await.unwrap();
        writer.abort().await;
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // As a process leaves it that was killed.
        fs::write(folder.path().join("x.mp4#1"), b"half").unwrap();
        files.delete(&name).await.unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_store_that_cannot_be_used_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().join("below").display().to_string();
        let error = Files::open(&path).unwrap_err().to_string();
        assert!(error.contains(&path), "{error}");
        assert!(Files::open("s3://bucket").unwrap_err().to_string().contains("is no folder"));
    }
}
