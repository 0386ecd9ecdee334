//! The beginning of a connection with TLS.

use std::io;

use models::{ErrorCode, Problem};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::Tls;

/// The first byte of a connection with TLS: the type of a handshake record (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// The largest number of bytes that are read after an answer to plain HTTP.
const MAX_DISCARDED_BYTES: u64 = 64 * 1024;

impl Tls {
    /// Performs the handshake. A client that speaks plain HTTP is told to use TLS.
    pub(crate) async fn accept(&self, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        // Also 0 bytes if the client is gone, for which the handshake has an error.
        let read = stream.peek(&mut first).await?;
        if read == 1 && first[0] != HANDSHAKE {
            refuse_plain_http(&mut stream).await?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.acceptor.accept(stream).await
    }
}

async fn refuse_plain_http(stream: &mut TcpStream) -> io::Result<()> {
    let detail = "This port speaks HTTPS only: begin the address with `https://`.";
    let body = serde_json::to_string(&Problem::new(ErrorCode::BadRequest, detail))?;
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await?;
    // Closing a socket with unread bytes resets it, and the client might not get the answer.
    let mut rest = stream.take(MAX_DISCARDED_BYTES);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}
