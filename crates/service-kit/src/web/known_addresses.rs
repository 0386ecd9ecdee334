//! The addresses from which a good token has come: requests from them are not held back by those of
//! strangers, who can invent tokens.

use std::{net::IpAddr, time::Duration};

use moka::sync::Cache;

/// The time for which an address is known: editors sign in every day.
const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The number of known addresses. Those of editors are some hundreds.
const CAPACITY: u64 = 10_000;

/// Known addresses. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct KnownAddresses(Cache<IpAddr, ()>);

impl Default for KnownAddresses {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(CAPACITY).time_to_live(TTL).build())
    }
}

impl KnownAddresses {
    /// Records that a good token has come from an address.
    pub(crate) fn add(&self, address: IpAddr) {
        self.0.insert(address, ());
    }

    /// Returns `true` if a good token has come from the address.
    pub(crate) fn contains(&self, address: &IpAddr) -> bool {
        self.0.contains_key(address)
    }
}
