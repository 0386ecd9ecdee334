//! A service behind the gateway whose responses a test determines, byte for byte.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::task::AbortOnDropHandle;

use super::{
    feed::{self, Feed},
    raw::{Connection, Head},
};

/// A server. It stops when it is dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) feed: Arc<Feed>,
    heads: Arc<Mutex<Vec<Head>>>,
    ready_status: Arc<AtomicU16>,
    _accepting: AbortOnDropHandle<()>,
}

/// A request without a response yet. Dropping it closes the connection.
pub(crate) struct Exchange {
    pub(crate) head: Head,
    pub(crate) connection: Connection,
}

/// Returns the response with this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

impl Exchange {
    /// Sends the response, and keeps the connection for the next request.
    pub(crate) async fn reply(mut self, bytes: impl AsRef<[u8]>) -> Option<Self> {
        self.connection.write(bytes.as_ref()).await;
        Some(self)
    }

    pub(crate) async fn body(&mut self) -> Result<Vec<u8>, &'static str> {
        self.connection.body(&self.head).await
    }
}

impl Upstream {
    /// Starts a server that passes every request except those to `/health/ready` and for its feed to `handle`. A
    /// connection that `handle` does not return is closed.
    pub(crate) async fn start<F, R>(handle: F) -> Self
    where
        F: Fn(Exchange) -> R + Send + Sync + 'static,
        R: Future<Output = Option<Exchange>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, handle)
    }

    pub(crate) fn on<F, R>(listener: TcpListener, handle: F) -> Self
    where
        F: Fn(Exchange) -> R + Send + Sync + 'static,
        R: Future<Output = Option<Exchange>> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let ready_status = Arc::new(AtomicU16::new(200));
        let (seen, status, handle) =
            (Arc::clone(&heads), Arc::clone(&ready_status), Arc::new(handle));
        let changes = Arc::<Feed>::default();
        let feed = Arc::clone(&changes);
        let accepting: JoinHandle<()> = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Sends without delay, as the services do.
                stream.set_nodelay(true).unwrap();
                let (seen, status, handle) = (seen.clone(), status.clone(), handle.clone());
                let changes = Arc::clone(&changes);
                connections.spawn(async move {
                    let mut connection = Connection::of(stream);
                    while let Some(head) = connection.head().await {
                        if head.target() == feed::PATH {
                            return changes.serve(connection).await;
                        }
                        let exchange = Exchange { head, connection };
                        let answered = if exchange.head.target() == "/health/ready" {
                            let answer = ready_answer(status.load(Ordering::Relaxed));
                            exchange.reply(answer).await
                        } else {
                            seen.lock().unwrap().push(exchange.head.clone());
                            handle(exchange).await
                        };
                        let Some(exchange) = answered else { return };
                        connection = exchange.connection;
                    }
                });
            }
        });
        let _accepting = AbortOnDropHandle::new(accepting);
        Self { address, feed, heads, ready_status, _accepting }
    }

    /// Starts a server that answers every request with these bytes.
    pub(crate) async fn answering(bytes: impl AsRef<[u8]>) -> Self {
        let bytes: Arc<[u8]> = bytes.as_ref().into();
        Self::start(move |mut exchange| {
            let bytes = Arc::clone(&bytes);
            async move {
                exchange.body().await.ok()?;
                exchange.reply(bytes).await
            }
        })
        .await
    }

    /// Returns the requests that arrived, except those to `/health/ready` and for the feed.
    pub(crate) fn heads(&self) -> Vec<Head> {
        self.heads.lock().unwrap().clone()
    }

    /// Returns the only request that arrived.
    pub(crate) fn only_head(&self) -> Head {
        let mut heads = self.heads();
        assert_eq!(heads.len(), 1, "{heads:?}");
        heads.remove(0)
    }

    /// Sets the status of `/health/ready`.
    pub(crate) fn set_ready_status(&self, status: u16) {
        self.ready_status.store(status, Ordering::Relaxed);
    }
}

fn ready_answer(status: u16) -> String {
    let body = format!(r#"{{"status":"{}"}}"#, if status == 200 { "ready" } else { "not_ready" });
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
