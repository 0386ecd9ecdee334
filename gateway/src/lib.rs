//! The gateway: the one address that clients use.
//!
//! It finds the service that owns a path by the first segment, forwards the request to a replica of
//! that service, and returns the response with its status, headers and bytes unchanged. It stores no
//! data, except answers in memory.
//!
//! - `routing` maps paths to services. It answers CORS preflights (`cors`), applies the rate limit,
//!   and refuses ambiguous paths (`path`).
//! - `proxy` forwards one request: it selects a replica (`upstream`), rewrites the headers
//!   (`headers`), copies both bodies (`body`), and turns failures into the one error shape.
//! - `cache` keeps answers, and knows by the services' feeds of changes if they are still true.
//! - `aggregate` combines the answers of all services: `health` probes each replica every second,
//!   `migrations` summarises their progress, `integrity` joins their findings.
//! - `docs` serves the description of the API, which `openapi` assembles, and a page
//!   that shows it.
//!
//! The gateway is the edge of the system: it replaces the headers in which a client claims where a
//! request came from (`forwarded`, `x-forwarded-*`) by what it sees itself.
//!
//! To forward a new path, add its first segment to the table in `routing`.

mod aggregate;
mod cache;
mod docs;
mod openapi;
mod proxy;
mod routing;
mod startup;
mod timeouts;

pub use openapi::openapi;
pub use routing::cors::InvalidCors;
pub use startup::{DEFAULT_PORT, Gateway, NAME, StartupError, run};
pub use timeouts::Timeouts;
