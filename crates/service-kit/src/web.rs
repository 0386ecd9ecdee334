//! HTTP: the server and what surrounds every request, the parts of a request and of a response, and
//! the clients.

pub mod body;
pub mod changes;
pub mod coding;
pub mod conditional;
mod connection;
pub mod error;
pub mod extract;
mod field_error;
pub mod health;
pub mod http_client;
pub mod internal;
pub(crate) mod known_addresses;
pub(crate) mod metrics;
mod observe;
pub mod openapi;
pub mod origin;
pub mod outbound;
pub mod overload;
pub mod rate_limit;
pub mod request_id;
pub mod routing;
mod security_headers;
pub mod server;
pub mod time_limit;
pub mod tls;
pub(crate) mod turns;
pub mod upstream;

pub use connection::HeldAtMost;
