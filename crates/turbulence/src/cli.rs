//! The command line.

use std::{io::IsTerminal, num::NonZeroU32, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use service_kit::runtime::{
    process::ServiceOptions,
    settings::{Settings, SettingsError, Sources},
};

/// The content backend of a site whose navigation is data.
///
/// New here? `turbulence up --demo` starts everything with a small example site, including a MongoDB
/// of its own, and prints the addresses to open next.
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
    #[command(flatten)]
    Operator(OperatorCommand),
    /// Run only sections-service, as the program `sections-service` does
    Sections(ServiceOptions),
    /// Run only content-service, as the program `content-service` does
    Content(ServiceOptions),
    /// Run only media-service, as the program `media-service` does, or import files of a former site
    Media(Media),
    /// Run only the gateway, as the program `gateway` does
    Gateway(ServiceOptions),
    /// Run only the console, as the program `console-service` does
    Console(ServiceOptions),
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Media {
    #[command(subcommand)]
    pub(crate) action: Option<MediaAction>,
    #[command(flatten)]
    pub(crate) options: ServiceOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MediaAction {
    /// Store the pictures and videos of a former site under their names
    Import(MediaImport),
}

#[derive(Debug, Args)]
#[command(after_help = MEDIA_IMPORT_EXIT_CODES)]
pub(crate) struct MediaImport {
    /// Folder with a copy of the files that the former site had below /uploads; or an address below which
    /// it has them, of which the files are fetched that content refers to and that the store lacks
    #[arg(value_name = "DIR|URL")]
    pub(crate) source: String,
    /// Show what would be stored, without storing anything
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) database: Database,
}

/// The exit codes of `media import`.
const MEDIA_IMPORT_EXIT_CODES: &str = "\
Exit codes:
  0    success; the store has every file
  1    failure; the last line on standard error gives the reason
  2    invalid command line
  6    files are missing or were not stored; the output names them
  7    MongoDB is not available
  130  interrupted; the same command continues";

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Start everything in one process: all services, the gateway and, without `--mongodb-uri`, a
    /// MongoDB
    Up(Up),
    /// Load an export or the collections of a site into an empty database
    Import(Import),
    /// Write all data and media of a site to a folder, also while the site is running
    Export(Export),
    /// Below `media`.
    #[command(skip)]
    MediaImport(MediaImport),
    /// Show, run or undo the migrations of a database
    Migrate(Migrate),
    /// Print the description of the API (OpenAPI 3.1) that the gateway serves at /openapi.json
    Openapi,
    /// Check the data for problems, show their remedies, and repair what can be repaired
    Doctor(Doctor),
    /// Show what removing Turbulence from a database would undo, and do it with `--yes`
    Uninstall(Uninstall),
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
    /// Load the files of this folder first, as `turbulence import` does, unless the database has
    /// content
    #[arg(long, value_name = "DIR", conflicts_with = "demo")]
    pub(crate) import: Option<PathBuf>,
    /// Load a small example site first, unless the database has content
    #[arg(long)]
    pub(crate) demo: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Folder with a file for each collection of the site, such as stories.jsonl. Formats are *.jsonl,
    /// *.ndjson and *.json (MongoDB Extended JSON, written by `mongoexport`) and *.bson (written by
    /// `mongodump`), each optionally followed by .gz. Or a folder that `turbulence export` has written
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Check the files and the database, without writing anything
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) databases: ServiceDatabases,
    #[command(flatten)]
    pub(crate) database: Database,
}

#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXIT_CODES)]
pub(crate) struct Export {
    /// Folder for the export, which does not exist or is empty
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Leave out the files of pictures and videos
    #[arg(long)]
    pub(crate) without_media: bool,
    #[command(flatten)]
    pub(crate) databases: ServiceDatabases,
    #[command(flatten)]
    pub(crate) database: Database,
}

/// The exit codes of `export`.
const EXPORT_EXIT_CODES: &str = "\
Exit codes:
  0    success; the folder has the whole export
  1    failure; the last line on standard error gives the reason, and nothing is left of the export
  2    invalid command line
  7    MongoDB is not available
  130  interrupted; nothing is left of the export";

/// The databases of services that do not share one.
#[derive(Debug, Args)]
pub(crate) struct ServiceDatabases {
    /// Name of the database of a service that has one of its own on the same server, such as
    /// `sections=site_sections`; can be repeated. --database names that of the others
    #[arg(long = "database-of", value_name = "SERVICE=NAME", value_parser = service_database)]
    pub(crate) databases_of: Vec<(Service, String)>,
}

/// Parses the database of a service.
fn service_database(text: &str) -> Result<(Service, String), String> {
    let (service, name) = text.split_once('=').unwrap_or((text, ""));
    let service = Service::from_name(service).filter(|_| !name.is_empty());
    let expected = "expected `sections=NAME`, `content=NAME` or `media=NAME`";
    Ok((service.ok_or(expected)?, name.to_owned()))
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Migrate {
    #[command(subcommand)]
    pub(crate) action: MigrateAction,
    #[command(flatten)]
    pub(crate) options: MigrateOptions,
}

/// The exit codes of `migrate`.
const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    failure; the last line on standard error gives the reason
  2    invalid command line, or unknown id of a migration
  3    a migration is not applied (status --check) or is paused (up)
  4    the lease was not acquired, is still renewed by its holder, or has another fence
  5    the ledger does not match this program: see `migrate repair`
  6    the data does not have the expected state, or documents are quarantined
  7    MongoDB or a required service is not available
  130  interrupted at a checkpoint, from which the next run continues";

#[derive(Debug, Subcommand)]
pub(crate) enum MigrateAction {
    /// Show the state of every migration, and the reason if one waits
    Status {
        /// Return exit code 3 if a migration is not applied, 5 if the ledger does not match this
        /// program, 6 if documents are quarantined
        #[arg(long)]
        check: bool,
    },
    /// Show the changes that a run would make, without writing anything
    Plan,
    /// Apply the pending migrations, of sections, of content and of media, in this order
    Up(MigrateUp),
    /// Undo the changes of migrations, of media, of content and of sections, the last migration first;
    /// refused unless the journal proves every change
    Down(MigrateDown),
    /// Check that the data has the expected state; exit code 6 if it does not
    Verify,
    /// Pause a migration before its next batch until it is resumed
    Pause(MigrationId),
    /// Resume a paused migration from its last checkpoint
    Resume(MigrationId),
    /// Retry a failed migration, or the documents that a migration quarantined
    Retry(MigrationId),
    /// Make the ledger match this program: accept its checksums, and reset entries that cannot be
    /// read
    Repair,
    /// Revoke the lease of a process that cannot be reached
    ForceUnlock(ForceUnlock),
}

#[derive(Debug, Args)]
pub(crate) struct MigrateUp {
    /// Stop after this migration; one of content comes after all of sections
    #[arg(long, value_name = "ID")]
    pub(crate) to: Option<String>,
    /// Run at full speed, without leaving capacity for requests
    #[arg(long)]
    pub(crate) no_throttle: bool,
    /// Maximum number of documents to change per second
    #[arg(long, value_name = "N")]
    pub(crate) documents_per_second: Option<NonZeroU32>,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct MigrateDown {
    /// Roll back the migrations of the service that come after this one, which stays applied
    #[arg(long, value_name = "ID")]
    pub(crate) to: Option<String>,
    /// Roll back all migrations, of all services or of the one that `--service` names (default)
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MigrationId {
    /// The migration, such as `0006_backfill_section_id`
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct ForceUnlock {
    /// The fence of the lease; `migrate status` shows it
    #[arg(long, value_name = "N")]
    pub(crate) fence: i64,
    /// Revoke the lease even if its holder still renews it
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateOptions {
    /// Service whose migrations are meant [default: all]
    #[arg(long, value_name = "SERVICE", global = true)]
    pub(crate) service: Option<Service>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: Database,
}

#[derive(Debug, Args)]
#[command(after_help = DOCTOR_EXIT_CODES)]
pub(crate) struct Doctor {
    /// Repair what can be repaired without losing data, after showing it and asking
    #[arg(long)]
    pub(crate) repair: bool,
    /// Repair without asking
    #[arg(long, requires = "repair")]
    pub(crate) yes: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: Database,
}

/// The exit codes of `doctor`.
const DOCTOR_EXIT_CODES: &str = "\
Exit codes:
  0    no problems found, or all repaired
  1    failure; the last line on standard error gives the reason
  2    invalid command line
  6    problems found; the output shows their remedies
  7    MongoDB is not available
  130  interrupted";

#[derive(Debug, Args)]
#[command(after_help = UNINSTALL_EXIT_CODES)]
pub(crate) struct Uninstall {
    /// Undo all migrations and remove everything that the services created; stop them first
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: Database,
}

/// The exit codes of `uninstall`.
const UNINSTALL_EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    failure; the last line on standard error gives the reason
  2    invalid command line
  3    a migration is paused
  4    a running service holds the lease
  5    the ledger does not match this program: see `migrate repair`
  7    MongoDB is not available
  130  interrupted at a checkpoint, from which the same command continues";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    /// sections-service
    Sections,
    /// content-service
    Content,
    /// media-service
    Media,
}

impl Service {
    /// All services, in the order in which they migrate.
    pub(crate) const ALL: [Self; 3] = [Self::Sections, Self::Content, Self::Media];

    /// Returns the name of the service in its ledger.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sections => "sections",
            Self::Content => "content",
            Self::Media => "media",
        }
    }

    /// Returns the service with this name in its ledger.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }
}

/// The options for the database of a command.
#[derive(Debug, Args)]
pub(crate) struct Database {
    /// Connection string of a MongoDB replica set; without it, the command starts a MongoDB with its
    /// data in the data folder
    #[arg(long, value_name = "URI", global = true)]
    mongodb_uri: Option<String>,
    /// Name of the database [default: the one in the connection string, or else turbulence]
    #[arg(long, value_name = "NAME", global = true)]
    database: Option<String>,
    /// Folder for the data of the MongoDB that is started, for uploaded files and for the token
    #[arg(long, value_name = "DIR", default_value = ".turbulence", global = true)]
    pub(crate) data_dir: PathBuf,
    /// Use a database without a site although other databases of the server contain sites
    #[arg(long, global = true)]
    pub(crate) create: bool,
    /// Settings file in TOML; environment variables and options take precedence
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl OperatorCommand {
    /// Returns the log filter that applies without `RUST_LOG`. On a terminal the progress is shown,
    /// so that only errors are logged.
    pub(crate) fn default_log_filter(&self) -> &'static str {
        match (self, std::io::stderr().is_terminal()) {
            (_, true) => "error",
            (Self::Up(_), false) => "info",
            (_, false) => "info,actix_server=warn",
        }
    }
}

impl Database {
    /// Returns the sources of the settings, including the options of the command line.
    pub(crate) fn sources(&self) -> Sources {
        let mut sources = Sources { file: self.config.clone(), ..Sources::from_environment() };
        // On the command line, the connection string beats a name from the environment.
        let in_uri = self.mongodb_uri.as_deref().and_then(mongo_kit::database_of);
        let name = self.database.clone().or(in_uri);
        let given = [("mongodb.uri", self.mongodb_uri.clone()), ("mongodb.database", name)];
        for (key, value) in given {
            sources.command_line.extend(value.map(|value| (key, value)));
        }
        sources
    }
}

impl MigrateAction {
    /// Returns the heading of the results, or `None` for a result of one sentence.
    pub(crate) fn title(&self) -> Option<&'static str> {
        Some(match self {
            Self::Status { .. } => "State of the migrations",
            Self::Plan => "Changes of the next run",
            Self::Up(_) => "Results of the migrations",
            Self::Down(_) => "Results of the roll-back",
            Self::Verify => "State of the data",
            Self::Repair => "Repair of the ledgers",
            Self::Pause(_) | Self::Resume(_) | Self::Retry(_) | Self::ForceUnlock(_) => {
                return None;
            }
        })
    }
}

impl Migrate {
    /// Returns the sources of the settings, including the options of the command line.
    pub(crate) fn sources(&self) -> Sources {
        let mut sources = self.options.database.sources();
        if let MigrateAction::Up(up) = &self.action {
            let throttle = up.no_throttle.then(|| ("migrations.throttle", "off".to_owned()));
            let limit = up.documents_per_second;
            let limit = limit.map(|limit| ("migrations.documents_per_second", limit.to_string()));
            sources.command_line.extend(throttle.into_iter().chain(limit));
        }
        sources
    }

    /// Returns `true` if the options override a rate limit of the settings.
    pub(crate) fn is_unlimited(&self) -> bool {
        let MigrateAction::Up(up) = &self.action else { return false };
        up.no_throttle && up.documents_per_second.is_none()
    }
}

impl Up {
    /// Loads the settings of the gateway and of the process.
    pub(crate) fn settings(&self) -> Result<Settings, SettingsError> {
        Settings::load(gateway::DEFAULT_PORT, &self.sources())
    }

    /// Returns the sources of the settings, including the options of the command line.
    pub(crate) fn sources(&self) -> Sources {
        let mut sources = self.database.sources();
        sources.command_line.extend(self.host.clone().map(|host| ("server.host", host)));
        let port = self.port.map(|port| ("server.port", port.to_string()));
        sources.command_line.extend(port);
        sources
    }
}
