//! The times that a client has for each part of a request and a response.

use std::time::Duration;

#[cfg(doc)]
use crate::runtime::settings::MAX_BODY_BYTES;

/// The number of bytes of a response that a client has to take within [`Timeouts::reader`].
pub(super) const MIN_PROGRESS_BYTES: usize = 64 * 1024;

/// The times that a client has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// For the handshake of TLS.
    pub(crate) handshake: Duration,
    /// For the head of a request.
    pub(crate) head: Duration,
    /// For the body of a request, and again for each [`MAX_BODY_BYTES`] of it.
    pub(crate) body: Duration,
    /// For taking [`MIN_PROGRESS_BYTES`] of a response, or what is left of it.
    pub(crate) reader: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // Three round trips, and a signature.
            handshake: Duration::from_secs(10),
            // Heads have a few hundred bytes.
            head: Duration::from_secs(10),
            // The largest body of JSON, 4 MiB, at 280 kbit/s.
            body: Duration::from_secs(120),
            // 17 kbit/s, slower than any network in use.
            reader: Duration::from_secs(30),
        }
    }
}
