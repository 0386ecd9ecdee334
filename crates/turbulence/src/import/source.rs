//! The sources of an import: a folder with files, or the demo. An entry of a folder that cannot be
//! loaded is an error; none is ignored silently.

use std::{
    fs::{self, FileType, Metadata},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use super::{
    error::ImportError,
    input::{Content, Format, Input},
};
use crate::collections::site_names;

/// Number of entries that a message names at most.
const MAX_NAMED: usize = 10;

/// The source of an import.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A folder with a file for each collection, or the output folder of `mongodump`.
    Folder(PathBuf),
    /// The example site that is compiled into this program.
    Demo,
}

/// The content of a source.
#[derive(Debug)]
pub(super) struct Listing {
    /// At most one input per collection, in the order of [`site_names`].
    pub(super) inputs: Vec<Input>,
    /// The names of files without documents, which are reported and not loaded.
    pub(super) ignored: Vec<String>,
}

impl Source {
    /// Lists the inputs without opening any file.
    pub(super) fn list(&self) -> Result<Listing, ImportError> {
        match self {
            Self::Demo => Ok(Listing { inputs: demo(), ignored: Vec::new() }),
            Self::Folder(folder) => {
                let entries = entries(folder)?;
                match database_folder(folder, &entries)? {
                    Some(database) => {
                        let mut listing = list(&database, &entries_of(&database)?)?;
                        // The files beside the folder describe the dump as a whole.
                        let files = entries.iter().filter(|entry| !entry.metadata.is_dir());
                        listing.ignored.extend(files.map(Entry::file_name));
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
    /// The name in lower case, since exports from other systems may be called `STORIES.JSON`.
    name: String,
    metadata: Metadata,
}

/// The role of an entry.
enum Role {
    Documents(Input),
    /// The description of a collection, written by `mongodump`.
    Metadata(String),
    /// A file without documents.
    Ignored,
    Unloadable(&'static str),
}

fn entries(folder: &Path) -> Result<Vec<Entry>, ImportError> {
    let metadata = fs::metadata(folder).map_err(|source| cannot_read(folder, source))?;
    if !metadata.is_dir() {
        let name = folder.display().to_string();
        let (kind, remedy) = match special(metadata.file_type()) {
            Some(kind) => (kind, "choose a folder with files"),
            None => (
                "a file",
                "choose the folder that contains it; unpack an archive of `mongodump` with \
                 `mongorestore` first",
            ),
        };
        return Err(ImportError::NotAFolder { name, kind, remedy });
    }
    entries_of(folder)
}

fn entries_of(folder: &Path) -> Result<Vec<Entry>, ImportError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| cannot_read(folder, source))? {
        let path = entry.map_err(|source| cannot_read(folder, source))?.path();
        // Follows symbolic links.
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

/// Returns the folder of the database in the output of `mongodump`, `dump/<database>/`, or `None` if
/// `folder` itself contains files of collections.
fn database_folder(folder: &Path, entries: &[Entry]) -> Result<Option<PathBuf>, ImportError> {
    let is_content = |entry: &&Entry| !is_prelude(&entry.name) && !is_accompanying(&entry.name);
    let content: Vec<_> = entries.iter().filter(is_content).collect();
    match content[..] {
        [one] if one.metadata.is_dir() => Ok(Some(one.path.clone())),
        [first, _, ..] if content.iter().all(|entry| entry.metadata.is_dir()) => {
            // `admin` comes first in the order, and is never a site.
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
    let (mut inputs, mut ignored, mut described) = (Vec::<Input>::new(), Vec::new(), Vec::new());
    let mut refused = Vec::new();
    for entry in entries {
        match entry.role() {
            Role::Documents(input) => inputs.push(input),
            Role::Metadata(collection) => described.push((entry, collection)),
            Role::Ignored => ignored.push(entry.file_name()),
            Role::Unloadable(reason) => refused.push((entry, reason)),
        }
    }
    for (entry, collection) in described {
        if inputs.iter().any(|input| input.collection == collection) {
            ignored.push(entry.file_name());
        } else if site_names().contains(&&*collection) {
            let reason = "its documents are missing: `mongodump` exports the documents of a view only \
                       with --viewsAsCollections";
            refused.push((entry, reason));
        } else {
            refused.push((entry, OTHER_COLLECTION));
        }
    }
    if !refused.is_empty() {
        return Err(unloadable(folder, refused));
    }
    let order = site_names();
    inputs.sort_by_key(|input| order.iter().position(|name| *name == input.collection));
    for pair in inputs.windows(2) {
        if let [first, second] = pair
            && first.collection == second.collection
        {
            let (first, second) = (first.name.clone(), second.name.clone());
            return Err(ImportError::TwoFiles { first, second, collection: pair[0].collection });
        }
    }
    if inputs.is_empty() {
        let folder = folder.display().to_string();
        return Err(ImportError::NoFiles { folder, collections: names_of_collections() });
    }
    ignored.sort();
    Ok(Listing { inputs, ignored })
}

/// Returns the error about entries that cannot be loaded, each with the reason.
fn unloadable(folder: &Path, mut refused: Vec<(&Entry, &'static str)>) -> ImportError {
    refused.sort_by(|(one, _), (other, _)| one.path.cmp(&other.path));
    let named = refused.iter().take(MAX_NAMED);
    let named = named.map(|(entry, reason)| format!("{} ({reason})", entry.file_name()));
    let mut entries = named.collect::<Vec<_>>().join(", ");
    if let rest @ 1.. = refused.len().saturating_sub(MAX_NAMED) {
        entries += &format!(" and {rest} more");
    }
    let folder = folder.display().to_string();
    ImportError::Unloadable { folder, entries, collections: names_of_collections() }
}

/// The reason to reject the file of an unknown collection.
const OTHER_COLLECTION: &str = "not a collection of a site";

/// Returns the names of all collections of a site for a message.
fn names_of_collections() -> String {
    let all = site_names();
    match all.split_last() {
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

impl Entry {
    fn role(&self) -> Role {
        let name = &*self.name;
        if self.metadata.is_dir() {
            return Role::Unloadable("a folder");
        }
        if let Some(kind) = special(self.metadata.file_type()) {
            return Role::Unloadable(kind);
        }
        if is_prelude(name) || is_accompanying(name) {
            return Role::Ignored;
        }
        if name.starts_with('.') {
            return Role::Unloadable("a hidden file");
        }
        let (stem, is_gzip) = match name.strip_suffix(".gz") {
            Some(stem) => (stem, true),
            None => (name, false),
        };
        if stem == "oplog.bson" {
            return Role::Unloadable("the oplog of `mongodump`, which cannot be replayed");
        }
        if let Some(collection) = stem.strip_suffix(".metadata.json") {
            return Role::Metadata(collection.to_owned());
        }
        let (stem, format) = match stem.rsplit_once('.') {
            Some((stem, "jsonl" | "ndjson" | "json")) => (stem, Format::Json),
            Some((stem, "bson")) => (stem, Format::Bson),
            Some((_, "csv" | "tsv")) => {
                return Role::Unloadable(
                    "CSV has no data types: export with `mongoexport --type=json`",
                );
            }
            _ => return Role::Unloadable("an unsupported format"),
        };
        let Some(collection) = site_names().into_iter().find(|name| *name == stem) else {
            let is_system = stem == "system" || stem.starts_with("system.");
            let reason =
                if is_system { "a system collection of MongoDB" } else { OTHER_COLLECTION };
            return Role::Unloadable(reason);
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

/// Returns `true` if `mongodump` describes the server in a file of this name.
fn is_prelude(name: &str) -> bool {
    matches!(name, "prelude.json" | "prelude.json.gz")
}

/// Returns `true` for the names of files that people or systems add to a folder: a README, a licence,
/// or data of a file manager.
fn is_accompanying(name: &str) -> bool {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let is_text = matches!(extension, "" | "md" | "txt");
    is_text && matches!(stem, "readme" | "license" | "licence")
        || matches!(name, ".ds_store" | "thumbs.db" | "desktop.ini")
        || name.starts_with("._")
}

/// Returns the name of a file type whose content may be endless or may block, and `None` for other
/// types.
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

/// The files of the demo with their names, which `build.rs` lists.
const DEMO: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/demo.rs"));

fn demo() -> Vec<Input> {
    let text_of = |collection: &str| DEMO.iter().find(|(name, _)| *name == collection);
    let collections = site_names().into_iter();
    collections
        .filter_map(|collection| {
            let (_, text) = text_of(collection)?;
            Some(Input {
                collection,
                name: format!("demo {collection}"),
                bytes: text.len() as u64,
                content: Content::Text(text),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressBar;
    use models::ContentType;

    use super::*;

    #[test]
    fn the_demo_is_readable() {
        assert_eq!(demo().len(), DEMO.len());
        for kind in ContentType::ALL {
            assert!(demo().iter().any(|input| input.collection == kind.collection()), "{kind:?}");
        }
        for input in demo() {
            let bar = ProgressBar::hidden();
            let documents = input.documents(&bar).unwrap();
            assert!(documents.map(Result::unwrap).count() > 0, "{}", input.name);
        }
    }
}
