//! The gateway: the one address that clients know.
//!
//! It looks at the first segment of a path, hands the request to a replica of the service that
//! owns it, and hands the answer back: status, headers and bytes as they are. It keeps no data. A
//! request passes through the modules in this order:
//!
//! 1. `routes`: answers browsers that ask for permission (`cors`), refuses those who send too much
//!    and paths that can be read in two ways (`path`), finds the service;
//! 2. `proxy`: sends the request to a replica (`upstream`) with its `headers` put in order, moves
//!    both bodies (`relay`), and turns what goes wrong into the one error shape;
//! 3. `health`, beside them, asks each replica every second how it is, `migrations` sums up how far
//!    the migrations of its service are; `integrity` joins what the services find wrong;
//! 4. `docs` answers the description of the API, which `openapi` makes, and a page that shows it.
//!
//! The gateway is the edge: what a client says about where a request came from (`forwarded`,
//! `x-forwarded-*`) is dropped, and what the gateway sees itself is said instead.

mod cors;
mod docs;
mod headers;
mod health;
mod integrity;
mod migrations;
mod openapi;
mod path;
mod proxy;
mod relay;
mod routes;
mod startup;
mod upstream;

pub use cors::InvalidCors;
pub use openapi::openapi;
pub use startup::{DEFAULT_PORT, Gateway, NAME, StartupError, Timeouts, run};
