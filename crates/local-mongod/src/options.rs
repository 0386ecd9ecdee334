//! The options of a mongod, and its command line.

use std::path::PathBuf;

use crate::membership;

/// The smallest cache that mongod accepts (`--wiredTigerCacheSizeGB`, MongoDB manual), in megabytes.
const MINIMUM_CACHE_MB: u32 = 256;

/// The time after which the server ends an open transaction, whose locks others may be waiting for. The
/// default of 60 s is far more than the transactions of a site take, whose largest command has 10 s.
const TRANSACTION_SECONDS: u32 = 15;

/// The options of a mongod.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of the data.
    pub data: DataDir,
    /// Names and values for `--setParameter`.
    pub server_parameters: Vec<(String, String)>,
    /// WiredTiger's cache in megabytes, at least 256. By default 256 for temporary data and
    /// mongod's own choice (half of the memory) for persistent data.
    pub cache_mb: Option<u32>,
}

/// The folder of the data, and its lifetime.
#[derive(Debug, Clone)]
pub enum DataDir {
    /// This folder, which is created if missing: data in `db`, the log in `mongod.log`. One process at
    /// a time may use it.
    Persistent(PathBuf),
    /// A new folder that is removed at the end.
    Temporary,
}

/// Returns the command line for these options.
pub(crate) fn arguments(options: &Options, port: u16) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--bind_ip=127.0.0.1",
        "--nounixsocket",
        "--quiet",
        // A primary that is told to stop waits up to 15 s for a successor by default. Here it has no
        // successor, or no client.
        "--setParameter=shutdownTimeoutMillisForSignaledShutdown=100",
    ]
    .map(str::to_owned)
    .into();
    arguments.push(format!("--replSet={}", membership::NAME));
    arguments.push(format!("--port={port}"));

    let mut cache_mb = options.cache_mb;
    if matches!(options.data, DataDir::Persistent(_)) {
        let limit = format!("--setParameter=transactionLifetimeLimitSeconds={TRANSACTION_SECONDS}");
        arguments.push(limit);
    } else {
        cache_mb = cache_mb.or(Some(MINIMUM_CACHE_MB));
        arguments.push("--oplogSize=512".to_owned());
        arguments.push("--setParameter=diagnosticDataCollectionEnabled=false".to_owned());
    }
    if let Some(mb) = cache_mb {
        let gb = f64::from(mb.max(MINIMUM_CACHE_MB)) / 1024.0;
        arguments.push(format!("--wiredTigerCacheSizeGB={gb}"));
    }
    let parameters = options.server_parameters.iter();
    arguments.extend(parameters.map(|(name, value)| format!("--setParameter={name}={value}")));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_below_the_minimum_is_raised_to_it() {
        let cache = |cache_mb| {
            let options = Options { data: DataDir::Temporary, server_parameters: vec![], cache_mb };
            arguments(&options, 1)
                .into_iter()
                .find(|argument| argument.starts_with("--wiredTigerCacheSizeGB="))
                .unwrap()
        };

        assert_eq!(cache(Some(1)), "--wiredTigerCacheSizeGB=0.25");
        assert_eq!(cache(Some(1536)), "--wiredTigerCacheSizeGB=1.5");
    }
}
