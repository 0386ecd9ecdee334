//! The folder of an export while it is written: one beside its final place, which gets its name at the
//! end. So a folder of the final name is always whole.

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{BufWriter, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ring::digest::{Context, SHA256};

use super::error::ArchiveError;

/// The end of the name of a folder that is being filled.
const PARTIAL: &str = ".partial";

/// The file that marks a folder that is being filled. The process that fills it holds its lock.
pub(crate) const LOCK: &str = "turbulence-export.lock";

/// The folder of the files with documents.
pub(crate) const COLLECTIONS_FOLDER: &str = "collections";

/// The entries that may be in a folder that an interrupted export has left.
const ENTRIES: [&str; 6] =
    [LOCK, COLLECTIONS_FOLDER, "media", "media.jsonl", "manifest.json", "manifest.sha256"];

type Result<T> = std::result::Result<T, ArchiveError>;

/// The folder of an export that is being written. Dropped before its end, it is removed.
pub(crate) struct ExportFolder {
    target: PathBuf,
    partial: PathBuf,
    lock: Option<File>,
}

/// A file that is being written, with its size and digest.
pub(crate) struct HashedFile {
    path: PathBuf,
    file: BufWriter<File>,
    digest: Context,
    bytes: u64,
}

/// The size and the digest of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl ExportFolder {
    /// Begins an export to a folder that does not exist or is empty.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let named = |path: &Path| path.display().to_string();
        // Without the slash at the end of a path, and without `.`, which cannot be renamed.
        let target = match target.canonicalize() {
            Ok(target) => target,
            // A link that leads nowhere cannot be replaced by a folder.
            Err(_) if target.is_symlink() => {
                return Err(ArchiveError::NotAFolder { path: named(target) });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => target.components().collect(),
            Err(error) => return Err(ArchiveError::read(target, error)),
        };
        match fs::read_dir(&target).map(|mut entries| entries.next().is_some()) {
            Ok(true) => return Err(ArchiveError::NotEmpty { folder: named(&target) }),
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return Err(ArchiveError::NotAFolder { path: named(&target) });
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(ArchiveError::read(&target, error));
            }
            _ => {}
        }
        if is_in_use(&target) {
            return Err(ArchiveError::NotReplaceable { folder: named(&target) });
        }
        let Some(name) = target.file_name() else {
            return Err(ArchiveError::NotAFolder { path: named(&target) });
        };
        let mut partial_name = name.to_owned();
        partial_name.push(PARTIAL);
        let partial = target.with_file_name(partial_name);
        make_folder(&partial)?;
        let lock = take_over(&partial)?;
        Ok(Self { target, partial, lock: Some(lock) })
    }

    /// Returns `true` if the folder is below another one.
    pub(crate) fn is_within(&self, other: &Path) -> bool {
        let real = |path: &Path| path.canonicalize().ok();
        real(&self.partial).zip(real(other)).is_some_and(|(own, other)| own.starts_with(other))
    }

    /// Creates a file by its path in the folder, with the folders above it. One that exists is an error: on a
    /// disk that does not tell capitals from small letters, it may be another one.
    pub(crate) fn file(&self, path: &str) -> Result<HashedFile> {
        let path = self.partial.join(path);
        if let Some(parent) = path.parent() {
            make_folder(parent)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(|error| ArchiveError::write(&path, error))?;
        let digest = Context::new(&SHA256);
        Ok(HashedFile { path, file: BufWriter::with_capacity(1 << 18, file), digest, bytes: 0 })
    }

    /// Removes a file by its path in the folder.
    pub(crate) fn remove(&self, path: &str) -> Result<()> {
        let path = self.partial.join(path);
        fs::remove_file(&path).map_err(|error| ArchiveError::write(&path, error))
    }

    /// Removes a folder by its path in the folder, if it exists.
    pub(crate) fn remove_folder(&self, path: &str) -> Result<()> {
        let path = self.partial.join(path);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(ArchiveError::write(&path, error))
            }
            _ => Ok(()),
        }
    }

    /// Gives the folder its name. Before that, all its files are on the disk.
    pub(crate) fn complete(mut self) -> Result<PathBuf> {
        let failed = |error| ArchiveError::write(&self.target, error);
        sync_folders(&self.partial).map_err(failed)?;
        // Replaces an empty folder of this name.
        fs::rename(&self.partial, &self.target).map_err(failed)?;
        self.lock = None;
        // Not earlier: another export of this name would take the folder for that of a killed one.
        fs::remove_file(self.target.join(LOCK)).map_err(failed)?;
        if let Some(parent) = self.target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        }
        Ok(self.target.clone())
    }
}

impl Drop for ExportFolder {
    fn drop(&mut self) {
        if self.lock.take().is_some()
            && let Err(error) = fs::remove_dir_all(&self.partial)
        {
            let partial = self.partial.display();
            tracing::warn!(%error, "{partial}, of the interrupted export, cannot be removed");
        }
    }
}

/// Returns `true` for a folder that cannot be replaced by another one, or not without harm: another file
/// system is mounted on it, or this process runs in it.
fn is_in_use(folder: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).ok().map(|facts| facts.dev());
    let is_mounted = match (device(folder), folder.parent().and_then(device)) {
        (Some(own), Some(of_parent)) => own != of_parent,
        _ => false,
    };
    is_mounted || env::current_dir().is_ok_and(|current| current == folder)
}

/// Locks a folder that is to be filled, and removes the files of an interrupted export from it.
fn take_over(partial: &Path) -> Result<File> {
    let failed = |error| ArchiveError::write(partial, error);
    let (mut left, mut is_ours) = (Vec::new(), false);
    for entry in fs::read_dir(partial).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        is_ours |= name == LOCK;
        left.push(name);
    }
    let is_known = |name: &std::ffi::OsString| ENTRIES.iter().any(|known| name == known);
    let is_left_by_export = is_ours && left.iter().all(is_known);
    if !left.is_empty() && !is_left_by_export {
        return Err(ArchiveError::Foreign { folder: partial.display().to_string() });
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let lock = options.open(partial.join(LOCK)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(ArchiveError::Busy { folder: partial.display().to_string() });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    for name in left.into_iter().filter(|name| name != LOCK) {
        let path = partial.join(name);
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.map_err(|error| ArchiveError::write(&path, error))?;
    }
    Ok(lock)
}

/// Creates a folder that only its owner can open, with those above it.
fn make_folder(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| ArchiveError::write(path, error))
}

/// Writes the names of all files to the disk.
fn sync_folders(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

impl HashedFile {
    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|error| ArchiveError::write(&self.path, error))
    }

    /// Writes the file to the disk.
    pub(crate) fn finish(mut self) -> Result<Facts> {
        let written = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        written.map_err(|error| ArchiveError::write(&self.path, error))?;
        Ok(Facts { bytes: self.bytes, sha256: hex(self.digest.finish().as_ref()) })
    }
}

/// Returns bytes in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn write(folder: &ExportFolder, path: &str) {
        let mut file = folder.file(path).unwrap();
        file.write(b"abc").unwrap();
        let facts = file.finish().unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(facts, Facts { bytes: 3, sha256: abc.to_owned() });
    }

    #[test]
    fn an_export_appears_as_a_whole_and_only_its_owner_can_read_it() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("a/b");
        let folder = ExportFolder::create(&target).unwrap();
        write(&folder, "media/2024/x.webp");
        assert!(!target.exists());
        folder.complete().unwrap();
        assert_eq!(names(&home.path().join("a")), ["b"]);
        assert_eq!(names(&target), ["media"]);
        let mode = |path: &str| {
            let path = if path.is_empty() { target.clone() } else { target.join(path) };
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        let modes = ["", "media", "media/2024", "media/2024/x.webp"].map(mode);
        assert_eq!(modes, [0o700, 0o700, 0o700, 0o600]);
    }

    #[test]
    fn nothing_is_left_of_an_export_that_failed_and_one_that_was_killed_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("export");
        fs::create_dir(&target).unwrap();
        let folder = ExportFolder::create(&target).unwrap();
        write(&folder, "collections/stories.jsonl");
        assert!(matches!(ExportFolder::create(&target), Err(ArchiveError::Busy { .. })));
        drop(folder);
        assert_eq!(names(home.path()), ["export"]);
        // As a process leaves it that was killed.
        let partial = home.path().join("export.partial");
        fs::create_dir_all(partial.join("collections")).unwrap();
        fs::write(partial.join("collections/left.jsonl"), "left").unwrap();
        fs::write(partial.join(LOCK), "").unwrap();
        let folder = ExportFolder::create(&target).unwrap();
        write(&folder, "manifest.json");
        folder.complete().unwrap();
        assert_eq!(names(&target), ["manifest.json"]);
        assert!(matches!(ExportFolder::create(&target), Err(ArchiveError::NotEmpty { .. })));
    }

    #[test]
    fn a_file_does_not_replace_another_one() {
        let home = tempfile::tempdir().unwrap();
        let folder = ExportFolder::create(&home.path().join("export")).unwrap();
        write(&folder, "media/a.webp");
        assert!(matches!(folder.file("media/a.webp"), Err(ArchiveError::Write { .. })));
        folder.remove("media/a.webp").unwrap();
        write(&folder, "media/a.webp");
        for _ in 0..2 {
            folder.remove_folder("media").unwrap();
        }
        write(&folder, "media/a.webp");
    }

    #[test]
    fn files_of_others_are_not_removed() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("export");
        let partial = home.path().join("export.partial");
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join("mine.txt"), "mine").unwrap();
        assert!(matches!(ExportFolder::create(&target), Err(ArchiveError::Foreign { .. })));
        fs::write(partial.join(LOCK), "").unwrap();
        assert!(matches!(ExportFolder::create(&target), Err(ArchiveError::Foreign { .. })));
        assert!(partial.join("mine.txt").exists());
        fs::write(&target, "a file").unwrap();
        assert!(matches!(ExportFolder::create(&target), Err(ArchiveError::NotAFolder { .. })));
    }

    #[test]
    fn a_folder_that_could_not_be_replaced_at_the_end_is_refused_at_the_beginning() {
        let home = tempfile::tempdir().unwrap();
        let link = home.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(matches!(ExportFolder::create(&link), Err(ArchiveError::NotAFolder { .. })));
        assert_eq!(names(home.path()), ["link"]);
        // Through a link to a folder.
        let folder = home.path().join("folder");
        fs::create_dir(&folder).unwrap();
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("folder", &link).unwrap();
        write(&ExportFolder::create(&link).unwrap(), "manifest.json");
        assert!(!is_in_use(&folder));
        assert!(is_in_use(Path::new("/proc")), "another file system");
        assert!(is_in_use(&env::current_dir().unwrap()));
    }

    #[test]
    fn another_export_of_the_same_name_does_not_take_over_one_that_is_being_completed() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("export");
        let folder = ExportFolder::create(&target).unwrap();
        // It takes some time until the names of so many files are on the disk.
        let paths: Vec<_> = (0..200).map(|number| format!("media/{number}/x")).collect();
        paths.iter().for_each(|path| write(&folder, path));
        write(&folder, "manifest.sha256");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !target.exists() {
                    drop(ExportFolder::create(&target));
                }
            });
            folder.complete().unwrap();
        });
        assert!(paths.iter().all(|path| target.join(path).exists()));
        assert!(!target.join(LOCK).exists());
    }
}
