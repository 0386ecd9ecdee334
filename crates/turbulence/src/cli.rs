//! The command line.

use std::{io::IsTerminal, num::NonZeroU32, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use service_kit::runtime::settings::Sources;

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
    /// Print the description of the API (OpenAPI 3.1), as the gateway answers it at /openapi.json
    Openapi,
    /// Say what is wrong with the data and what to do about it; repair what can be
    Doctor(Doctor),
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
    /// First load the files of this folder, as `turbulence import` does, unless the database has
    /// content
    #[arg(long, value_name = "DIR", conflicts_with = "demo")]
    pub(crate) import: Option<PathBuf>,
    /// First load a small example site, unless the database has content
    #[arg(long)]
    pub(crate) demo: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Folder with a file for each collection: stories, projects, pages, users, sections. Each as
    /// *.jsonl, *.ndjson or *.json (MongoDB Extended JSON, what `mongoexport` writes) or *.bson (what
    /// `mongodump` writes), each also with .gz
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) database: Database,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Migrate {
    /// What to do
    #[command(subcommand)]
    pub(crate) action: MigrateAction,
    #[command(flatten)]
    pub(crate) options: MigrateOptions,
}

/// What the exit codes of `migrate` mean.
const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed; one line on standard error says why
  2    wrong command line, or an id that no migration has
  3    something is not applied (status --check), or is paused (up)
  4    the lease was not obtained, is renewed by a process that lives, or has another fence
  5    the ledger is not what this program wrote: `migrate repair`
  6    the data is not as it has to be, or documents are set aside
  7    MongoDB or another service that is needed does not answer
  130  interrupted at a checkpoint; the next run goes on there";

#[derive(Debug, Subcommand)]
pub(crate) enum MigrateAction {
    /// Where the migrations stand: what is done, what runs, what waits and for what
    Status {
        /// End with exit code 3 if anything is not applied, 5 if ledger and program do not agree,
        /// 6 if documents are set aside
        #[arg(long)]
        check: bool,
    },
    /// What a run would do now, without writing anything
    Plan,
    /// Apply what is not applied: first of sections, then of content
    Up(MigrateUp),
    /// Undo what migrations wrote, the last one first; refused where that cannot be proven
    Down(MigrateDown),
    /// Compare the data with what has to hold; exit code 6 where it does not
    Verify,
    /// Let no further batch of a migration happen until it is resumed
    Pause(MigrationId),
    /// Let a migration that is paused go on where it stopped
    Resume(MigrationId),
    /// Let a migration that failed, and the documents that it set aside, be tried again
    Retry(MigrationId),
    /// Make ledger and program agree: accept the checksums of this program, begin entries anew that
    /// cannot be read
    Repair,
    /// Take the lease away from a process that cannot be reached
    ForceUnlock(ForceUnlock),
}

#[derive(Debug, Args)]
pub(crate) struct MigrateUp {
    /// Only up to this migration and including it; one of content comes after all of sections
    #[arg(long, value_name = "ID")]
    pub(crate) to: Option<String>,
    /// As fast as the database can, without leaving time to requests
    #[arg(long)]
    pub(crate) no_throttle: bool,
    /// Change no more documents in a second
    #[arg(long, value_name = "N")]
    pub(crate) documents_per_second: Option<NonZeroU32>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct MigrateDown {
    /// Roll back what comes after this migration in its service; it stays applied itself
    #[arg(long, value_name = "ID")]
    pub(crate) to: Option<String>,
    /// Roll back all migrations of the service that `--service` names
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
    /// The fence under which the process holds the lease; `migrate status` shows it
    #[arg(long, value_name = "N")]
    pub(crate) fence: i64,
    /// Even from a process that still renews it
    #[arg(long)]
    pub(crate) yes: bool,
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

#[derive(Debug, Args)]
#[command(after_help = DOCTOR_EXIT_CODES)]
pub(crate) struct Doctor {
    /// Repair what can be repaired without losing anything: first say what that is, then ask
    #[arg(long)]
    pub(crate) repair: bool,
    /// Repair without asking
    #[arg(long, requires = "repair")]
    pub(crate) yes: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: Database,
}

/// What the exit codes of `doctor` mean.
const DOCTOR_EXIT_CODES: &str = "\
Exit codes:
  0    nothing is wrong, or nothing is any more
  1    failed; one line on standard error says why
  2    wrong command line
  6    something is wrong: the answer says what to do
  7    MongoDB does not answer
  130  interrupted";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    /// sections-service
    Sections,
    /// content-service
    Content,
}

impl Service {
    /// As its ledger is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sections => "sections",
            Self::Content => "content",
        }
    }

    /// Returns the service whose ledger is called so.
    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::Sections, Self::Content].into_iter().find(|service| service.name() == name)
    }
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

impl Migrate {
    /// Where the settings come from, with the options of the command line.
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

    /// Whether a limit on the rate that the settings have is not to hold.
    pub(crate) fn is_unlimited(&self) -> bool {
        let MigrateAction::Up(up) = &self.action else { return false };
        up.no_throttle && up.documents_per_second.is_none()
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
