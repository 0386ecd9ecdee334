//! The socket of a connection, with limits of time.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{
    limits::{Connection, Place},
    timeouts::MIN_PROGRESS_BYTES,
    transport::Transport,
};

/// The socket of a connection.
#[derive(Debug)]
pub(crate) struct GuardedStream {
    transport: Transport,
    place: Place,
    /// `true` if a client that closes its side gets no response any more.
    closes_with_client: bool,
    /// The number of requests when the deadline was set, or found to be unnecessary.
    seen_requests: usize,
    /// The end of the time for the head of the next request.
    head_deadline: Option<Pin<Box<Sleep>>>,
    /// The last bytes from the client.
    tail: Vec<u8>,
    stall: Option<Stall>,
}

/// A client that does not take what is written.
#[derive(Debug)]
struct Stall {
    deadline: Pin<Box<Sleep>>,
    written: usize,
}

impl GuardedStream {
    /// Returns the socket of a connection that has a place.
    pub(crate) fn new(transport: Transport, place: Place, closes_with_client: bool) -> Self {
        Self {
            transport,
            place,
            closes_with_client,
            seen_requests: 0,
            head_deadline: None,
            tail: Vec::new(),
            stall: None,
        }
    }

    /// Returns the state that requests share with this socket.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.place.connection
    }

    fn note_read(&mut self, bytes: &[u8]) {
        let kept = self.tail.len().min(3);
        self.tail.drain(..self.tail.len() - kept);
        self.tail.extend_from_slice(bytes.get(bytes.len().saturating_sub(4)..).unwrap_or(bytes));
        let is_complete = self.tail.ends_with(b"\r\n\r\n") || self.tail.ends_with(b"\n\n");
        self.connection().is_head_complete.store(is_complete, Ordering::Relaxed);
    }

    /// Limits the time for the head of the next request, from its first byte on. Those bytes may have
    /// arrived together with the request before, which does not tell where it ended; it has no body
    /// if they are the beginning of a head.
    fn poll_head_deadline(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let connection = &self.place.connection;
        let requests = connection.requests.load(Ordering::Relaxed);
        if connection.is_in_flight() || requests != self.seen_requests {
            self.head_deadline = None;
        }
        if connection.is_in_flight() || requests == 0 {
            // The server itself limits the time for the first head, and answers 408.
            return Poll::Pending;
        }
        self.seen_requests = requests;
        // The rest of a body that was not read is discarded, for that time.
        let is_incomplete = !connection.is_head_complete.load(Ordering::Relaxed)
            || connection.is_body_pending.load(Ordering::Relaxed);
        if is_incomplete && self.head_deadline.is_none() {
            self.head_deadline = Some(Box::pin(sleep(self.place.connections.timeouts().head)));
        }
        match &mut self.head_deadline {
            Some(deadline) => {
                deadline.as_mut().poll(context).map(|()| io::ErrorKind::TimedOut.into())
            }
            None => Poll::Pending,
        }
    }

    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if self.connection().is_closing.load(Ordering::Acquire) {
            return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
        }
        if self.stall.is_none() {
            self.connection().set_stalled(true);
        }
        let timeout = self.place.connections.timeouts().reader;
        let stall = self
            .stall
            .get_or_insert_with(|| Stall { deadline: Box::pin(sleep(timeout)), written: 0 });
        stall.deadline.as_mut().poll(context).map(|()| io::ErrorKind::TimedOut.into())
    }

    fn end_stall(&mut self) {
        if self.stall.take().is_some() {
            self.connection().set_stalled(false);
        }
    }

    fn note_written(&mut self, written: io::Result<usize>) -> io::Result<usize> {
        if let (Ok(count), Some(stall)) = (&written, &mut self.stall) {
            stall.written += count;
            if stall.written >= MIN_PROGRESS_BYTES {
                self.end_stall();
            }
        }
        written
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.connection().waker.register(context.waker());
        if this.connection().is_closing.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        let Poll::Ready(result) = Pin::new(&mut this.transport).poll_read(context, buffer) else {
            return this.poll_head_deadline(context).map(Err);
        };
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        if result.is_ok() && bytes.is_empty() {
            let connection = this.connection();
            // While a body is missing, the request is answered with an error.
            let is_gone = this.closes_with_client
                && connection.is_in_flight()
                && !connection.is_body_pending.load(Ordering::Relaxed);
            if is_gone {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        this.note_read(bytes);
        Poll::Ready(result)
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.transport).poll_write(context, bytes) {
            Poll::Ready(written) => Poll::Ready(this.note_written(written)),
            Poll::Pending => this.poll_stalled(context).map(Err),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.transport).poll_write_vectored(context, slices) {
            Poll::Ready(written) => Poll::Ready(this.note_written(written)),
            Poll::Pending => this.poll_stalled(context).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.transport).poll_flush(context) {
            // Called once everything is written.
            Poll::Ready(Ok(())) => this.end_stall(),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            // TLS keeps the end of a response until the client has taken what is before.
            Poll::Pending => return this.poll_stalled(context).map(Err),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(context)
    }
}
