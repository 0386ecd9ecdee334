//! A real MongoDB without set-up. It finds a `mongod` or downloads one, runs it as a one-node replica
//! set on a free loopback port, and stops it however the process that started it ends. For tests of
//! lost primaries there is a [`ReplicaSet`] of several nodes.
//!
//! - `binary` finds or downloads the server
//! - `home` is the folder of the server: data, log, locks
//! - `process` runs the server under a supervisor, so that none is ever left running
//! - `membership` makes the server a primary, or one of several members
//! - `node` combines the last three: [`LocalMongod`] has one node, [`ReplicaSet`] several
//! - `options` translates the options to the command line of the server
//!
//! ```no_run
//! use local_mongod::{DataDir, LocalMongod, Options};
//!
//! # async fn example() -> Result<(), local_mongod::Error> {
//! let options = Options { data: DataDir::Temporary, server_parameters: vec![], cache_mb: None };
//! let mongod = LocalMongod::start(options).await?;
//! println!("connect to {}", mongod.uri());
//! mongod.stop().await
//! # }
//! ```

mod binary;
mod error;
mod home;
mod membership;
mod node;
mod options;
mod process;
mod replica_set;
mod server;
mod timeouts;

pub use binary::{Download, MINIMUM_VERSION, binary, binary_with};
pub use error::Error;
pub use options::{DataDir, Options};
pub use replica_set::ReplicaSet;
pub use server::LocalMongod;
