//! The times for which the gateway waits for others.

use std::time::Duration;

/// The times for which the gateway waits for others. Opening a connection has its own limit,
/// [`service_kit::web::http_client::CONNECT_TIMEOUT`].
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the head of a response, after the request has been sent. Thirty seconds are more than the
    /// services allow themselves, and less than the minute after which common load balancers give up
    /// (nginx `proxy_read_timeout`, AWS ALB).
    pub response_head: Duration,
    /// For the next chunk of a body, in either direction, from its sender or its receiver.
    pub body_idle: Duration,
    /// For the response to a probe.
    pub probe: Duration,
    /// Between two probes of a replica: a replica that recovers is used after that time.
    pub probe_interval: Duration,
}

impl Timeouts {
    /// Returns the times for media-service, which first waits for others and then renders pictures, each
    /// for less than a minute.
    pub(crate) fn of_media(self) -> Self {
        Self { response_head: 4 * self.response_head, body_idle: 4 * self.body_idle, ..self }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            response_head: Duration::from_secs(30),
            body_idle: Duration::from_secs(30),
            probe: Duration::from_secs(1),
            probe_interval: Duration::from_secs(1),
        }
    }
}
