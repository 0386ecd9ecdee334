//! Runs several mongods as one replica set, for tests of clients that lose their primary.

use std::{io, net::Ipv4Addr, time::Duration};

use tokio::{net::TcpSocket, task::JoinSet, time::timeout};

use crate::{
    binary::binary,
    error::Error,
    membership,
    node::Node,
    options::{DataDir, Options},
};

/// The longest wait for a primary. An election begins after two seconds and takes milliseconds; the rest
/// is for a busy machine.
const PRIMARY_TIMEOUT: Duration = Duration::from_secs(40);

const POLL: Duration = Duration::from_millis(50);

/// A running replica set whose nodes can be killed, stopped and started again, each by its port.
/// The data is temporary. Dropping it ends all nodes.
///
/// A primary that does not respond is replaced after two seconds, not after the usual ten.
#[derive(Debug)]
pub struct ReplicaSet {
    uri: String,
    nodes: Vec<Node>,
    _ports: Vec<ReservedPort>,
}

impl ReplicaSet {
    /// Starts mongods, and waits until one is the primary and the others are secondaries.
    /// `server_parameters` are names and values for `--setParameter`.
    ///
    /// # Errors
    ///
    /// Those of [`LocalMongod::start`](crate::LocalMongod::start), and [`Error::NoPrimary`].
    pub async fn start(
        nodes: usize,
        server_parameters: Vec<(String, String)>,
    ) -> Result<Self, Error> {
        let binary = binary().await?;
        let options = Options { data: DataDir::Temporary, server_parameters, cache_mb: None };
        let reserved: io::Result<Vec<_>> = (0..nodes).map(|_| ReservedPort::new()).collect();
        let reserved = reserved.map_err(Error::io("reserve a port on", "127.0.0.1"))?;
        let ports: Vec<_> = reserved.iter().map(|reserved| reserved.port).collect();

        let mut nodes = vec![];
        for port in &ports {
            nodes.push(Node::spawn(&binary, &options, *port).await?);
        }
        for node in &mut nodes {
            node.join(&ports).await?;
        }
        let set = Self { uri: membership::uri(&ports), nodes, _ports: reserved };
        set.primary().await?;
        Ok(set)
    }

    /// Returns the address for clients, with all nodes and the name of the set.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Returns the ports of the nodes on 127.0.0.1, also of those that do not run.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    /// Returns the port of the primary. Waits for one during an election.
    ///
    /// # Errors
    ///
    /// [`Error::NoPrimary`] if there is none after 40 seconds.
    pub async fn primary(&self) -> Result<u16, Error> {
        let elected = async {
            let mut poll = tokio::time::interval(POLL);
            loop {
                poll.tick().await;
                if let Some(primary) = self.last_elected().await {
                    return primary;
                }
            }
        };
        let seconds = PRIMARY_TIMEOUT.as_secs();
        timeout(PRIMARY_TIMEOUT, elected).await.map_err(|_| Error::NoPrimary { seconds })
    }

    /// Returns the primary of the latest election. A primary that was stopped or cut off reports itself
    /// as one until it learns of its successor.
    async fn last_elected(&self) -> Option<u16> {
        let elections = self.ports().into_iter().map(|port| async move {
            let election = membership::election(port).await?;
            Some((election, port))
        });
        let elected = elections.collect::<JoinSet<_>>().join_all().await;
        let (_, primary) = elected.into_iter().flatten().max()?;
        Some(primary)
    }

    /// Makes the primary step down, if necessary by force. It does not become the primary again for
    /// five seconds.
    ///
    /// # Errors
    ///
    /// [`Error::NoPrimary`] if there is none, and [`Error::StepDown`] if it refuses.
    pub async fn step_down(&self) -> Result<(), Error> {
        let primary = self.primary().await?;
        membership::step_down(primary).await.map_err(Error::StepDown)
    }

    /// Sends a signal, such as `STOP` or `CONT`, to a node.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchNode`] if no node has this port.
    pub fn signal(&mut self, port: u16, name: &str) -> Result<(), Error> {
        self.node(port)?.process.signal(name);
        Ok(())
    }

    /// Kills a node (SIGKILL) and waits for its end. Its data stays.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchNode`] if no node has this port, [`Error::NotStopped`] if it survives.
    pub async fn kill(&mut self, port: u16) -> Result<(), Error> {
        self.node(port)?.kill().await
    }

    /// Starts a node again on its data, after killing it if it still runs, and waits until it is a
    /// secondary, or the primary.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchNode`] if no node has this port, and those of
    /// [`LocalMongod::start`](crate::LocalMongod::start).
    pub async fn restart(&mut self, port: u16) -> Result<(), Error> {
        let ports = self.ports();
        let node = self.node(port)?;
        node.kill().await?;
        node.respawn()?;
        node.join(&ports).await
    }

    /// Kills all nodes and waits for their end.
    ///
    /// # Errors
    ///
    /// [`Error::NotStopped`] if one survives.
    pub async fn stop(mut self) -> Result<(), Error> {
        for node in &mut self.nodes {
            node.kill().await?;
        }
        Ok(())
    }

    fn node(&mut self, port: u16) -> Result<&mut Node, Error> {
        let node = self.nodes.iter_mut().find(|node| node.port == port);
        node.ok_or(Error::NoSuchNode { port })
    }
}

/// A port that mongod can bind and that no other process gets, even while mongod does not run.
/// Otherwise, a client that connects to the node might get its port, and so connect to itself.
///
/// Linux allows two sockets with `SO_REUSEADDR` on a port if one of them does not listen (socket(7)).
#[derive(Debug)]
struct ReservedPort {
    port: u16,
    _socket: TcpSocket,
}

impl ReservedPort {
    fn new() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self { port: socket.local_addr()?.port(), _socket: socket })
    }
}
