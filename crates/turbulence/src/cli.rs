//! The command line.

use std::{io::IsTerminal, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use service_kit::settings::Sources;

/// The content backend of a site whose navigation is data.
///
/// New here? `turbulence up --demo` starts everything with a small example site, a MongoDB of its
/// own included, and prints what to open next.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything in one process: both services, the gateway and, unless an address is
    /// given, a MongoDB
    Up(Up),
    /// Load a site's collections into an empty database
    Import(Import),
    /// Look at the migrations of a database, or run them
    Migrate(Migrate),
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) database: Database,
    /// Address that the gateway listens on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR")]
    pub(crate) host: Option<String>,
    /// Port that the gateway listens on [default: 5001]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// First load the files `<collection>.jsonl` of this folder, unless the database has content
    #[arg(long, value_name = "DIR", conflicts_with = "demo")]
    pub(crate) import: Option<PathBuf>,
    /// First load a small example site, unless the database has content
    #[arg(long)]
    pub(crate) demo: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Folder with files `<collection>.jsonl`: stories, projects, pages, users, sections, as
    /// MongoDB Extended JSON with one document a line (what `mongoexport` writes)
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) database: Database,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// What to do
    #[command(subcommand)]
    pub(crate) action: MigrateAction,
    #[command(flatten)]
    pub(crate) options: MigrateOptions,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum MigrateAction {
    /// What the ledger says: what ran, when, by whom, how much, what was left and why
    Status,
    /// What a run would do now, without writing anything
    Plan,
    /// Apply what is not applied
    Up,
    /// Compare the data with what has to hold; exit code 6 where it does not
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateOptions {
    /// Only the migrations of this service [default: both]
    #[arg(long, value_name = "SERVICE", global = true)]
    pub(crate) service: Option<Service>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: Database,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    /// sections-service
    Sections,
    /// content-service
    Content,
}

/// Which database to work on.
#[derive(Debug, Args)]
pub(crate) struct Database {
    /// Connection string of a MongoDB replica set; without one, a MongoDB is started with its
    /// data in the data folder
    #[arg(long, value_name = "URI", global = true)]
    mongodb_uri: Option<String>,
    /// Name of the database [default: turbulence]
    #[arg(long, value_name = "NAME", global = true)]
    database: Option<String>,
    /// Folder for the data of the MongoDB that is started, and for the token
    #[arg(long, value_name = "DIR", default_value = ".turbulence", global = true)]
    pub(crate) data_dir: PathBuf,
    /// Settings file in TOML; the environment and the options beat it
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl Command {
    /// On a terminal the progress is what a person looks at, and the log is for trouble.
    pub(crate) fn default_log_filter(&self) -> &'static str {
        match (self, std::io::stderr().is_terminal()) {
            (_, true) => "error",
            (Self::Up(_), false) => "info",
            (_, false) => "info,actix_server=warn",
        }
    }
}

impl Database {
    /// Where the settings come from, with the options of the command line.
    pub(crate) fn sources(&self) -> Sources {
        let mut sources = Sources { file: self.config.clone(), ..Sources::from_environment() };
        let given = [("mongodb.uri", &self.mongodb_uri), ("mongodb.database", &self.database)];
        for (key, value) in given {
            sources.command_line.extend(value.clone().map(|value| (key, value)));
        }
        sources
    }
}

impl Up {
    /// Where the settings come from, with the options of the command line.
    pub(crate) fn sources(&self) -> Sources {
        let mut sources = self.database.sources();
        sources.command_line.extend(self.host.clone().map(|host| ("server.host", host)));
        let port = self.port.map(|port| ("server.port", port.to_string()));
        sources.command_line.extend(port);
        sources
    }
}
