//! The ports of a process.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::settings;

/// The number of connections that the operating system accepts before the process does: as many as the
/// process may have ([`settings::Server::max_connections`]), so that it refuses none while it is busy
/// with others. Linux limits it to `net.core.somaxconn`, 4,096 by default; std's is 128.
const LISTEN_QUEUE_LENGTH: i32 = 4_096;

/// A port that cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens on the port.
    #[error(
        "port {port} on {host} is in use: stop what listens there, or choose another port with {remedy}"
    )]
    InUse {
        /// The configured host.
        host: String,
        /// The configured port.
        port: u16,
        /// The options and variables that set the port.
        remedy: &'static str,
    },
    /// The address is not one of this machine's, or the port needs privileges.
    #[error("cannot listen on {host} port {port} (`{section}.host`, `{section}.port`)")]
    Refused {
        /// The configured host.
        host: String,
        /// The configured port.
        port: u16,
        /// The part of the settings.
        section: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// A configured address.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'a> {
    host: &'a str,
    port: u16,
    section: &'static str,
    remedy: &'static str,
}

impl<'a> Endpoint<'a> {
    /// Returns the address of the HTTP server.
    pub fn of_server(settings: &'a settings::Server) -> Self {
        Self {
            host: &settings.host,
            port: settings.port,
            section: "server",
            remedy: "--port or TURBULENCE__SERVER__PORT",
        }
    }

    /// Returns the address of the metrics, or `None` if none is configured.
    pub fn of_metrics(settings: &'a settings::Metrics) -> Option<Self> {
        Some(Self {
            host: &settings.host,
            port: settings.port?,
            section: "metrics",
            remedy: "TURBULENCE__METRICS__PORT",
        })
    }

    /// Listens on the first address of the host that can be bound, as [`TcpListener::bind`] does.
    /// Returns the address with the port that was taken.
    pub fn bind(self) -> Result<(TcpListener, SocketAddr), BindError> {
        let listener = listen(self.host, self.port).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        listener.map_err(|source| self.refused(source))
    }

    fn refused(self, source: io::Error) -> BindError {
        let Self { port, section, remedy, .. } = self;
        let host = self.host.to_owned();
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { host, port, remedy },
            _ => BindError::Refused { host, port, section, source },
        }
    }
}

fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in (host, port).to_socket_addrs()? {
        result = listen_on(address);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart need not wait until the connections of the process before are forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_QUEUE_LENGTH)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
