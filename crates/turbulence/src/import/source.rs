//! The files of a folder that are loaded, and those that are refused. Nothing is ignored silently.

use std::{
    fs::{self, FileType, Metadata},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use super::{
    collections,
    documents::{Content, Format, Input},
    error::ImportError,
};

/// The formats that are loaded, for a message.
pub(super) const FORMATS: &str = "*.jsonl, *.ndjson, *.json or *.bson, each also with .gz";

/// How many entries that cannot be loaded are named.
const NAMED: usize = 10;

/// The place that documents come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A folder with a file for each collection, or what `mongodump` writes.
    Folder(PathBuf),
    /// The example site that this program carries.
    Demo,
}

/// The content of a source.
#[derive(Debug)]
pub(super) struct Listing {
    /// One for each collection, in the order of [`collections`].
    pub(super) inputs: Vec<Input>,
    /// The names of files that hold no documents: they are named to the person, and not loaded.
    pub(super) unread: Vec<String>,
}

impl Source {
    /// Lists the inputs. Opens no file.
    pub(super) fn list(&self) -> Result<Listing, ImportError> {
        match self {
            Self::Demo => Ok(Listing { inputs: demo(), unread: Vec::new() }),
            Self::Folder(folder) => {
                let entries = entries(folder)?;
                match database_folder(folder, &entries)? {
                    Some(database) => {
                        let mut listing = list(&database, &entries_of(&database)?)?;
                        // The others are about the whole.
                        let files = entries.iter().filter(|entry| !entry.metadata.is_dir());
                        listing.unread.extend(files.map(Entry::file_name));
                        Ok(listing)
                    }
                    None => list(folder, &entries),
                }
            }
        }
    }
}

/// An entry of a folder.
struct Entry {
    path: PathBuf,
    /// The name in lower case: exports from other systems are called `STORIES.JSON`, too.
    name: String,
    metadata: Metadata,
}

/// The role of an entry.
enum Role {
    Documents(Input),
    /// `mongodump` describes a collection in it.
    Metadata(String),
    /// It holds no documents.
    Empty,
    Unloadable(&'static str),
}

fn entries(folder: &Path) -> Result<Vec<Entry>, ImportError> {
    let metadata = fs::metadata(folder).map_err(|source| cannot_read(folder, source))?;
    if !metadata.is_dir() {
        let name = folder.display().to_string();
        let (kind, remedy) = match special(metadata.file_type()) {
            Some(kind) => (kind, "name a folder with files"),
            None => (
                "a file",
                "name the folder that it is in; an archive of `mongodump` has to be unpacked with \
                 `mongorestore` first",
            ),
        };
        return Err(ImportError::NoFolder { name, kind, remedy });
    }
    entries_of(folder)
}

fn entries_of(folder: &Path) -> Result<Vec<Entry>, ImportError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| cannot_read(folder, source))? {
        let path = entry.map_err(|source| cannot_read(folder, source))?.path();
        // Of what a link leads to.
        let metadata = fs::metadata(&path).map_err(|source| cannot_read(&path, source))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        entries.push(Entry { path, name, metadata });
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(entries)
}

fn cannot_read(path: &Path, source: std::io::Error) -> ImportError {
    ImportError::Read { what: path.display().to_string(), source }
}

/// The one folder of a database in what `mongodump` writes, `dump/<database>/`; `None` if `folder`
/// holds files of collections itself.
fn database_folder(folder: &Path, entries: &[Entry]) -> Result<Option<PathBuf>, ImportError> {
    let is_content = |entry: &&Entry| !is_prelude(&entry.name) && !is_about_files(&entry.name);
    let content: Vec<_> = entries.iter().filter(is_content).collect();
    match content[..] {
        [one] if one.metadata.is_dir() => Ok(Some(one.path.clone())),
        [first, _, ..] if content.iter().all(|entry| entry.metadata.is_dir()) => {
            // `admin` comes first, and is nobody's site.
            let example = content.iter().find(|entry| entry.name != "admin").unwrap_or(&first);
            Err(ImportError::SeveralFolders {
                folder: folder.display().to_string(),
                example: example.path.display().to_string(),
            })
        }
        _ => Ok(None),
    }
}

fn list(folder: &Path, entries: &[Entry]) -> Result<Listing, ImportError> {
    let shown = folder.display().to_string();
    let (mut inputs, mut unread, mut described) = (Vec::<Input>::new(), Vec::new(), Vec::new());
    let mut refused = Vec::new();
    for entry in entries {
        match entry.role() {
            Role::Documents(input) => inputs.push(input),
            Role::Metadata(collection) => described.push((entry, collection)),
            Role::Empty => unread.push(entry.file_name()),
            Role::Unloadable(why) => refused.push((entry, why)),
        }
    }
    for (entry, collection) in described {
        if inputs.iter().any(|input| input.collection == collection) {
            unread.push(entry.file_name());
        } else if collections().any(|name| name == collection) {
            let why = "its documents are missing: `mongodump` writes those of a view only with \
                       --viewsAsCollections";
            refused.push((entry, why));
        } else {
            refused.push((entry, OTHER_COLLECTION));
        }
    }
    if !refused.is_empty() {
        refused.sort_by(|(one, _), (other, _)| one.path.cmp(&other.path));
        let named = refused.iter().take(NAMED);
        let named = named.map(|(entry, why)| format!("{} ({why})", entry.file_name()));
        let mut named = named.collect::<Vec<_>>().join(", ");
        if let rest @ 1.. = refused.len().saturating_sub(NAMED) {
            named += &format!(" and {rest} more");
        }
        return Err(ImportError::Unloadable { folder: shown, entries: named });
    }
    inputs.sort_by_key(|input| collections().position(|name| name == input.collection));
    for pair in inputs.windows(2) {
        if let [first, second] = pair
            && first.collection == second.collection
        {
            let (first, second) = (first.name.clone(), second.name.clone());
            return Err(ImportError::TwoFiles { first, second, collection: pair[0].collection });
        }
    }
    if inputs.is_empty() {
        return Err(ImportError::NoFiles { folder: shown });
    }
    unread.sort();
    Ok(Listing { inputs, unread })
}

/// The reason to refuse the file of a collection that no site has.
const OTHER_COLLECTION: &str = "no collection of a site";

impl Entry {
    fn role(&self) -> Role {
        let name = &*self.name;
        if self.metadata.is_dir() {
            return Role::Unloadable("a folder");
        }
        if let Some(kind) = special(self.metadata.file_type()) {
            return Role::Unloadable(kind);
        }
        if is_prelude(name) || is_about_files(name) {
            return Role::Empty;
        }
        if name.starts_with('.') {
            return Role::Unloadable("a hidden file");
        }
        let (stem, is_gzip) = match name.strip_suffix(".gz") {
            Some(stem) => (stem, true),
            None => (name, false),
        };
        if stem == "oplog.bson" {
            return Role::Unloadable("the oplog of `mongodump`, which is not replayed");
        }
        if let Some(collection) = stem.strip_suffix(".metadata.json") {
            return Role::Metadata(collection.to_owned());
        }
        let (stem, format) = match stem.rsplit_once('.') {
            Some((stem, "jsonl" | "ndjson" | "json")) => (stem, Format::Json),
            Some((stem, "bson")) => (stem, Format::Bson),
            Some((_, "csv" | "tsv")) => {
                return Role::Unloadable("CSV has no types: use `mongoexport --type=json`");
            }
            _ => return Role::Unloadable("no format that is loaded"),
        };
        let Some(collection) = collections().find(|collection| *collection == stem) else {
            let is_system = stem == "system" || stem.starts_with("system.");
            let why = if is_system { "a system collection of MongoDB" } else { OTHER_COLLECTION };
            return Role::Unloadable(why);
        };
        Role::Documents(Input {
            collection,
            name: self.path.display().to_string(),
            bytes: self.metadata.len(),
            content: Content::File { path: self.path.clone(), format, is_gzip },
        })
    }

    fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().display().to_string()
    }
}

/// Returns whether `mongodump` describes the server in a file of this name.
fn is_prelude(name: &str) -> bool {
    matches!(name, "prelude.json" | "prelude.json.gz")
}

/// Whether people or systems leave files of this name beside others: a README, a licence, notes of
/// a file manager.
fn is_about_files(name: &str) -> bool {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let is_text = matches!(extension, "" | "md" | "txt");
    is_text && matches!(stem, "readme" | "license" | "licence")
        || matches!(name, ".ds_store" | "thumbs.db" | "desktop.ini")
        || name.starts_with("._")
}

/// The name of a file type whose content has no end or that waits for another process.
fn special(kind: FileType) -> Option<&'static str> {
    if kind.is_fifo() {
        Some("a named pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else {
        None
    }
}

fn demo() -> Vec<Input> {
    [
        ("stories", include_str!("../../demo/stories.jsonl")),
        ("projects", include_str!("../../demo/projects.jsonl")),
        ("pages", include_str!("../../demo/pages.jsonl")),
        ("users", include_str!("../../demo/users.jsonl")),
    ]
    .into_iter()
    .map(|(collection, text)| Input {
        collection,
        name: format!("demo {collection}"),
        bytes: text.len() as u64,
        content: Content::Text(text),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressBar;

    use super::*;

    #[test]
    fn the_demo_can_be_read() {
        for input in demo() {
            let bar = ProgressBar::hidden();
            let documents = input.documents(&bar).unwrap();
            assert!(documents.map(Result::unwrap).count() > 0, "{}", input.name);
        }
    }
}
