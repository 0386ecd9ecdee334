//! The connections of a server: their number, and the time and memory that each may take.
//!
//! - [`Connections`] limits their number, in all and for each address. At a limit, the connection that
//!   has been idle for the longest time is closed; if none is idle, the new one is.
//! - [`Transport`] is TCP with or without TLS.
//! - [`GuardedStream`] is the socket of a connection. It ends a connection whose next head stays
//!   incomplete, or whose client does not read, and gives heads to the parser when they are complete.
//! - [`track`] is the middleware that tells the socket of requests in flight. It limits the time of the
//!   body of a request, and the memory of all responses that wait for their readers.

mod head;
mod limits;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod timeouts;
mod track;
mod transport;

pub(crate) use limits::Connections;
pub(crate) use stream::GuardedStream;
pub(crate) use timeouts::Timeouts;
pub use track::HeldAtMost;
pub(crate) use track::{Held, track};
pub(crate) use transport::Transport;
