//! Connections that a test can cut, through a TCP proxy on a port of its own.

use std::{io, net::Ipv4Addr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
};

/// A TCP proxy between a client and a server. It runs on the runtime of the test until it is dropped.
pub struct Link {
    port: u16,
    state: watch::Sender<State>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    resets: u64,
}

impl Link {
    /// Starts a link to an address, such as `127.0.0.1:27017`.
    pub async fn to(address: impl Into<String>) -> Self {
        let address = address.into();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, seen) = watch::channel(State::default());
        tokio::spawn(accept(listener, address, seen));
        Self { port, state }
    }

    /// Returns the port of the link on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the connection string of a MongoDB at the other end. A client with it connects through
    /// this link only, and not to the members of the replica set.
    pub fn mongodb_uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    /// Stops all traffic in both directions. Connections stay open and new ones are accepted, as with a
    /// cable that is cut.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.is_cut = true);
    }

    /// Resumes the traffic, beginning with the bytes that were held back.
    pub fn restore(&self) {
        self.state.send_modify(|state| state.is_cut = false);
    }

    /// Resets all connections on both sides. New ones are possible.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }
}

async fn accept(listener: TcpListener, address: String, mut state: watch::Receiver<State>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.unwrap();
                tokio::spawn(copy_both_ways(client, address.clone(), state.clone()));
            }
            _ = until(&mut state, |_| false) => return,
        }
    }
}

/// Copies the bytes between two sides until one of them closes the connection.
async fn copy_both_ways(
    mut client: TcpStream,
    address: String,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let (to_server, to_client) = (state.clone(), state.clone());
    let resets = state.borrow().resets;
    let reset = until(&mut state, |state| state.resets != resets);
    tokio::pin!(reset);

    let mut server = tokio::select! {
        server = connect_to_server(&address, to_server.clone()) => server?,
        _ = &mut reset => return client.set_zero_linger(),
    };
    let (from_client, into_client) = client.split();
    let (from_server, into_server) = server.split();
    tokio::select! {
        ended = async {
            tokio::try_join!(
                copy(from_client, into_server, to_server),
                copy(from_server, into_client, to_client),
            )
        } => ended.map(|_| ()),
        _ = reset => {
            client.set_zero_linger()?;
            server.set_zero_linger()
        }
    }
}

async fn connect_to_server(
    address: &str,
    mut state: watch::Receiver<State>,
) -> io::Result<TcpStream> {
    until(&mut state, |state| !state.is_cut).await?;
    TcpStream::connect(address).await
}

async fn copy(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let mut held = match from.read(&mut buffer).await? {
            0 => break,
            read => &buffer[..read],
        };
        while !held.is_empty() {
            until(&mut state, |state| !state.is_cut).await?;
            to.writable().await?;
            // `cut` waits for the end of this borrow, so that no byte is written after it returns.
            let state = state.borrow();
            if state.is_cut {
                continue;
            }
            match to.try_write(held) {
                Ok(written) => held = &held[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    // The end of the stream is held back as well.
    until(&mut state, |state| !state.is_cut).await?;
    to.shutdown().await
}

/// Waits for a state. It is an error if the link is dropped.
async fn until(
    state: &mut watch::Receiver<State>,
    condition: impl FnMut(&State) -> bool,
) -> io::Result<()> {
    let seen = state.wait_for(condition).await;
    seen.map(|_| ()).map_err(|_| io::ErrorKind::ConnectionAborted.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mongodb::{
        Client,
        bson::{Document, doc},
    };
    use tokio::time::timeout;

    use super::*;
    use crate::{DEADLINE, TestDatabase};

    /// Wait for bytes that must not arrive. On the loopback, others arrive much sooner.
    const SILENCE: Duration = Duration::from_millis(200);

    /// Starts a link to an echo server.
    async fn link_to_echo() -> Link {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        Link::to(address).await
    }

    async fn connect(link: &Link) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, link.port())).await.unwrap()
    }

    async fn send(stream: &mut TcpStream, word: &str) {
        stream.write_all(word.as_bytes()).await.unwrap();
    }

    async fn assert_receives(stream: &mut TcpStream, word: &str) {
        let mut received = vec![0; word.len()];
        timeout(DEADLINE, stream.read_exact(&mut received)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(received).unwrap(), word);
    }

    async fn assert_receives_nothing(stream: &mut TcpStream) {
        let received = timeout(SILENCE, stream.peek(&mut [0])).await;
        assert!(received.is_err(), "{received:?}");
    }

    #[tokio::test]
    async fn a_cut_link_is_silent_and_delivers_everything_once_restored() {
        let link = link_to_echo().await;
        let mut old = connect(&link).await;
        send(&mut old, "before").await;
        assert_receives(&mut old, "before").await;

        link.cut();
        let mut new = connect(&link).await;
        send(&mut old, "held").await;
        send(&mut new, "new").await;
        assert_receives_nothing(&mut old).await;
        assert_receives_nothing(&mut new).await;

        link.restore();
        assert_receives(&mut old, "held").await;
        assert_receives(&mut new, "new").await;
    }

    #[tokio::test]
    async fn a_reset_ends_the_open_connections_and_no_later_one() {
        let link = link_to_echo().await;
        let mut old = connect(&link).await;
        send(&mut old, "before").await;
        assert_receives(&mut old, "before").await;

        link.reset();
        let error = timeout(DEADLINE, old.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

        let mut new = connect(&link).await;
        send(&mut new, "after").await;
        assert_receives(&mut new, "after").await;
    }

    #[tokio::test]
    async fn the_end_of_one_direction_leaves_the_other_open() {
        let link = link_to_echo().await;
        let mut stream = connect(&link).await;

        send(&mut stream, "last words").await;
        stream.shutdown().await.unwrap();

        let mut received = String::new();
        timeout(DEADLINE, stream.read_to_string(&mut received)).await.unwrap().unwrap();
        assert_eq!(received, "last words");
    }

    #[tokio::test]
    async fn a_cut_off_client_of_mongodb_continues_after_the_link_is_restored() {
        let database = TestDatabase::new().await;
        let link = database.link().await;
        let client = Client::with_uri_str(link.mongodb_uri()).await.unwrap();
        let stories = client.database(database.name()).collection::<Document>("stories");
        stories.insert_one(doc! { "_id": 1 }).await.unwrap();

        link.cut();
        let mut transaction = tokio::spawn(async move {
            let mut session = client.start_session().await?;
            session.start_transaction().await?;
            stories.insert_one(doc! { "_id": 2 }).session(&mut session).await?;
            session.commit_transaction().await
        });
        assert!(timeout(SILENCE, &mut transaction).await.is_err(), "the client is not cut off");
        assert_eq!(database.count("stories", doc! {}).await, 1);

        link.restore();
        timeout(DEADLINE, transaction).await.unwrap().unwrap().unwrap();
        assert_eq!(database.count("stories", doc! {}).await, 2);
    }
}
