//! Loading a site's collections: all of them or none, into an empty database, once.
//!
//! Every line of every file is read before anything is written. The documents then go to staging
//! collections, and when all are there, these are renamed to what they are. A note in the database
//! says that the renaming has begun, so that a start after a kill at that very moment completes it.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::PathBuf,
    process::ExitCode,
};

use mongodb::{
    Collection, Database as Mongo,
    bson::{Bson, Document, doc},
    options::WriteConcern,
};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::{cli, database::Database, failure::Failure, progress};

/// The collections of a site.
const COLLECTIONS: [&str; 5] = ["sections", "stories", "projects", "pages", "users"];

/// The largest document of MongoDB in bytes (MongoDB manual, "Limits and Thresholds").
const LARGEST_DOCUMENT: usize = 16 * 1024 * 1024;

/// How many bytes of input go into one insertion: bounds the memory that a load takes.
const CHUNK_BYTES: usize = 1024 * 1024;

/// The note that renaming has begun.
const NOTE: &str = "turbulence_import";

/// Where the documents come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Files `<collection>.jsonl` in a folder.
    Folder(PathBuf),
    /// The example site that this program carries.
    Demo,
}

/// What was loaded.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// Nothing was asked for.
    Nothing,
    /// The database had content already.
    Skipped { collection: &'static str },
    /// These collections, with their numbers of documents.
    Collections(Vec<(&'static str, u64)>),
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("cannot read {what}")]
    Read { what: String, source: io::Error },
    #[error(
        "{folder} has none of the files sections.jsonl, stories.jsonl, projects.jsonl, \
         pages.jsonl, users.jsonl"
    )]
    NoFiles { folder: String },
    #[error(
        "{file} is no collection of a site (sections, stories, projects, pages, users): rename or \
         remove it; nothing was loaded"
    )]
    UnknownFile { file: String },
    #[error("{file}, line {line}: {problem}; nothing was loaded")]
    Line { file: String, line: usize, problem: String },
    #[error(
        "the collection {0} is not empty, and an import only loads into an empty database; \
         nothing was loaded"
    )]
    NotEmpty(&'static str),
    #[error("another import runs into the same database: let it finish; nothing was loaded")]
    NotAlone,
    #[error("MongoDB failed while documents were loaded; nothing was loaded")]
    Database(#[source] mongo_kit::DatabaseError),
}

impl From<mongodb::error::Error> for ImportError {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Runs `turbulence import`.
pub(crate) async fn run(
    arguments: &cli::Import,
    shutdown: CancellationToken,
) -> Result<ExitCode, Failure> {
    let database = Database::open(&arguments.database, &shutdown).await?;
    let source = Source::Folder(arguments.folder.clone());
    let result = tokio::select! {
        result = load(database.connection.database(), &source) => result.map_err(Failure::from),
        // What is staged is no part of the site; a renaming that has begun is completed later.
        () = shutdown.cancelled() => Err(Failure::Interrupted),
    };
    let closed = database.close().await;
    println!("Loaded {}. The next start links it to its sections.", numbers(&result?));
    closed?;
    Ok(ExitCode::SUCCESS)
}

/// Loads the source, unless the database has content already.
pub(crate) async fn load_once(
    database: &Mongo,
    source: Option<Source>,
) -> Result<Loaded, ImportError> {
    finish_interrupted(database).await?;
    let Some(source) = source else { return Ok(Loaded::Nothing) };
    match load(database, &source).await {
        Ok(collections) => Ok(Loaded::Collections(collections)),
        Err(ImportError::NotEmpty(collection)) => Ok(Loaded::Skipped { collection }),
        Err(error) => Err(error),
    }
}

impl Loaded {
    /// What to tell a person; none where nothing was asked for.
    pub(crate) fn describe(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Skipped { collection } => {
                Some(format!("nothing: the collection {collection} has content already"))
            }
            Self::Collections(collections) => Some(numbers(collections)),
        }
    }
}

fn numbers(collections: &[(&'static str, u64)]) -> String {
    let texts = collections.iter().map(|(name, count)| format!("{count} {name}"));
    texts.collect::<Vec<_>>().join(", ")
}

async fn load(database: &Mongo, source: &Source) -> Result<Vec<(&'static str, u64)>, ImportError> {
    finish_interrupted(database).await?;
    let inputs = source.inputs()?;
    for input in &inputs {
        if is_not_empty(&database.collection(input.collection)).await? {
            return Err(ImportError::NotEmpty(input.collection));
        }
    }
    for input in &inputs {
        input.check()?;
    }
    drop_staged(database).await?;
    let mut loaded = Vec::new();
    for input in &inputs {
        match stage(database, input).await {
            Ok(count) => loaded.push((input.collection, count)),
            Err(error) => {
                if let Err(error) = drop_staged(database).await {
                    tracing::warn!(%error, "the next load removes what this one has staged");
                }
                return Err(error);
            }
        }
    }
    for (collection, count) in &loaded {
        // Two imports at once would stage into each other's collections.
        if database.collection::<Document>(&staging(collection)).count_documents(doc! {}).await?
            != *count
        {
            return Err(ImportError::NotAlone);
        }
    }
    let names: Vec<_> = inputs.iter().map(|input| input.collection).collect();
    let note = doc! { "_id": "renaming", "collections": names };
    notes(database).insert_one(note).write_concern(WriteConcern::majority()).await?;
    finish_interrupted(database).await?;
    Ok(loaded)
}

/// Completes the renaming of staged collections, if it has begun.
async fn finish_interrupted(database: &Mongo) -> Result<(), ImportError> {
    let Some(note) = notes(database).find_one(doc! { "_id": "renaming" }).await? else {
        return Ok(());
    };
    let existing: HashSet<_> = database.list_collection_names().await?.into_iter().collect();
    let names = note.get_array("collections").into_iter().flatten().filter_map(Bson::as_str);
    for name in names.filter(|name| existing.contains(&staging(name))) {
        let target = database.collection(name);
        if !is_not_empty(&target).await? {
            // It may exist with indexes, which the next start builds anew. One with documents stays,
            // and the renaming fails.
            target.drop().await?;
        }
        let full = |name: &str| format!("{}.{name}", database.name());
        let rename = doc! {
            "renameCollection": full(&staging(name)),
            "to": full(name),
            "writeConcern": { "w": "majority" },
        };
        database.client().database("admin").run_command(rename).await?;
    }
    notes(database).drop().await?;
    Ok(())
}

fn notes(database: &Mongo) -> Collection<Document> {
    database.collection(NOTE)
}

fn staging(collection: &str) -> String {
    format!("{NOTE}_{collection}")
}

async fn is_not_empty(collection: &Collection<Document>) -> Result<bool, ImportError> {
    Ok(collection.find_one(doc! {}).projection(doc! { "_id": 1 }).await?.is_some())
}

/// Removes what a load that failed or was killed has left.
async fn drop_staged(database: &Mongo) -> mongodb::error::Result<()> {
    for collection in COLLECTIONS {
        database.collection::<Document>(&staging(collection)).drop().await?;
    }
    Ok(())
}

/// Inserts all documents of an input into its staging collection.
async fn stage(database: &Mongo, input: &Input) -> Result<u64, ImportError> {
    let staging = database.collection::<Document>(&staging(input.collection));
    let bar = progress::bytes(&format!("Loading {}", input.collection), input.bytes);
    let mut count = 0;
    let mut chunk = Vec::new();
    let mut chunk_bytes = 0;
    for line in input.documents()? {
        let Line { bytes, document, .. } = line?;
        bar.inc(bytes as u64);
        chunk.push(document);
        chunk_bytes += bytes;
        count += 1;
        if chunk_bytes >= CHUNK_BYTES {
            staging.insert_many(std::mem::take(&mut chunk)).await?;
            chunk_bytes = 0;
        }
    }
    if !chunk.is_empty() {
        staging.insert_many(chunk).write_concern(WriteConcern::majority()).await?;
    }
    bar.finish_and_clear();
    tracing::info!(collection = input.collection, count, "loaded");
    Ok(count)
}

impl Source {
    fn inputs(&self) -> Result<Vec<Input>, ImportError> {
        match self {
            Self::Demo => Ok(demo()),
            Self::Folder(folder) => {
                let shown = folder.display().to_string();
                let read = |source| ImportError::Read { what: shown.clone(), source };
                let mut inputs = Vec::new();
                for entry in fs::read_dir(folder).map_err(read)? {
                    let path = entry.map_err(read)?.path();
                    if path.extension().is_none_or(|extension| extension != "jsonl") {
                        continue;
                    }
                    let file = path.display().to_string();
                    let stem = path.file_stem().and_then(|stem| stem.to_str());
                    let collection = COLLECTIONS.into_iter().find(|name| Some(*name) == stem);
                    let collection = collection
                        .ok_or_else(|| ImportError::UnknownFile { file: file.clone() })?;
                    let bytes = fs::metadata(&path).map_err(read)?.len();
                    inputs.push(Input { collection, name: file, bytes, lines: Lines::File(path) });
                }
                if inputs.is_empty() {
                    return Err(ImportError::NoFiles { folder: shown });
                }
                inputs.sort_by_key(|input| COLLECTIONS.iter().position(|c| *c == input.collection));
                Ok(inputs)
            }
        }
    }
}

fn demo() -> Vec<Input> {
    [
        ("stories", include_str!("../demo/stories.jsonl")),
        ("projects", include_str!("../demo/projects.jsonl")),
        ("pages", include_str!("../demo/pages.jsonl")),
        ("users", include_str!("../demo/users.jsonl")),
    ]
    .into_iter()
    .map(|(collection, text)| Input {
        collection,
        name: format!("demo {collection}"),
        bytes: text.len() as u64,
        lines: Lines::Text(text),
    })
    .collect()
}

/// The documents of one collection.
struct Input {
    collection: &'static str,
    /// What a person calls it: the file.
    name: String,
    bytes: u64,
    lines: Lines,
}

/// A line of an input.
struct Line {
    /// Counted from 1.
    number: usize,
    bytes: usize,
    document: Document,
}

enum Lines {
    File(PathBuf),
    Text(&'static str),
}

impl Input {
    /// Reads everything once, so that a broken line is found before anything is written.
    fn check(&self) -> Result<(), ImportError> {
        let mut ids = HashSet::new();
        for line in self.documents()? {
            let Line { number, document, .. } = line?;
            if let Some(id) = document.get("_id") {
                if matches!(id, Bson::Array(_) | Bson::RegularExpression(_) | Bson::Undefined) {
                    let problem = format!("MongoDB refuses the _id {id}");
                    return Err(self.line_error(number, problem));
                }
                let is_new = ids.insert(id.to_string());
                if !is_new {
                    let problem = format!("a second document with the _id {id}");
                    return Err(self.line_error(number, problem));
                }
            }
        }
        Ok(())
    }

    /// The documents, line by line.
    fn documents(&self) -> Result<impl Iterator<Item = Result<Line, ImportError>>, ImportError> {
        let reader: Box<dyn BufRead> = match &self.lines {
            Lines::Text(text) => Box::new(text.as_bytes()),
            Lines::File(path) => {
                let read = |source| ImportError::Read { what: self.name.clone(), source };
                Box::new(BufReader::new(File::open(path).map_err(read)?))
            }
        };
        Ok(reader.lines().zip(1..).filter_map(|(text, number)| match text {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => {
                let line = |document| Line { number, bytes: text.len() + 1, document };
                Some(parse(&text).map(line).map_err(|problem| self.line_error(number, problem)))
            }
            Err(error) => Some(Err(self.line_error(number, error.to_string()))),
        }))
    }

    fn line_error(&self, line: usize, problem: String) -> ImportError {
        ImportError::Line { file: self.name.clone(), line, problem }
    }
}

/// A document in MongoDB Extended JSON, canonical or relaxed.
fn parse(line: &str) -> Result<Document, String> {
    if line.len() > LARGEST_DOCUMENT {
        return Err("longer than the 16 MiB that MongoDB takes".to_owned());
    }
    let object: Map<String, Value> = serde_json::from_str(line)
        .map_err(|error| format!("no JSON object: {}", in_line(&error)))?;
    Document::try_from(object).map_err(|error| format!("no Extended JSON: {error}"))
}

/// What is wrong with the JSON of a line, whose number is known better elsewhere.
fn in_line(error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    let place = format!(" at line {} column {column}", error.line());
    let problem = text.strip_suffix(&place).unwrap_or(&text);
    // Column 0 says that it is about the whole.
    if column == 0 { problem.to_owned() } else { format!("{problem} at column {column}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_can_be_read() {
        for input in demo() {
            input.check().unwrap();
            assert!(input.documents().unwrap().count() > 0, "{}", input.name);
        }
    }

    #[test]
    fn types_of_extended_json_survive() {
        let document = parse(
            r#"{"_id": {"$oid": "626e3e0035b0bc65bb5e1545"}, "n": {"$numberLong": "9007199254740993"},
                "d": {"$date": "2024-02-13T12:57:15.000Z"}, "i": 3, "f": 2.5}"#,
        )
        .unwrap();
        assert!(document.get_object_id("_id").is_ok());
        assert_eq!(document.get_i64("n").unwrap(), 9_007_199_254_740_993);
        assert_eq!(document.get_datetime("d").unwrap().timestamp_millis(), 1_707_829_035_000);
        assert_eq!((document.get_i32("i").unwrap(), document.get_f64("f").unwrap()), (3, 2.5));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for line in ["[1]", "{", "null", r#"{"_id": {"$oid": "short"}}"#, r#"{"a": 1} {"b": 2}"#] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
