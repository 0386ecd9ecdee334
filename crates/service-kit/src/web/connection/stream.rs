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
    head::PartialHead,
    limits::{Connection, HeldMemory, Place},
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
    /// The part of the next head that has arrived.
    head: PartialHead,
    /// The memory of a head that is longer than usual.
    head_memory: Option<HeldMemory>,
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
            head: PartialHead::default(),
            head_memory: None,
            stall: None,
        }
    }

    /// Returns the state that requests share with this socket.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.place.connection
    }

    /// Notes what the client sent, the last bytes in the buffer. Keeps them if they are a part of a
    /// head, and returns `true` if the parser gets them now.
    fn note_read(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> io::Result<bool> {
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        let connection = &self.place.connection;
        let is_body = connection.is_body_pending.load(Ordering::Relaxed);
        let is_now = self.head.arrived(bytes, is_body);
        connection.is_head_complete.store(self.head.is_complete(), Ordering::Relaxed);
        if !is_now {
            buffer.set_filled(before);
        }
        match self.head.long_bytes() {
            0 => self.head_memory = None,
            bytes if self.head_memory.as_ref().is_none_or(|memory| memory.bytes() < bytes) => {
                let memory = self.place.connections.hold(bytes);
                self.head_memory = Some(memory.ok_or(io::ErrorKind::OutOfMemory)?);
            }
            _ => {}
        }
        Ok(is_now)
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
        loop {
            let is_body = this.connection().is_body_pending.load(Ordering::Relaxed);
            if this.head.give(buffer, is_body) {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            let Poll::Ready(result) = Pin::new(&mut this.transport).poll_read(context, buffer)
            else {
                return this.poll_head_deadline(context).map(Err);
            };
            if result.is_ok() && buffer.filled().len() == before {
                let connection = this.connection();
                // While a body is missing, the request is answered with an error.
                let is_gone = this.closes_with_client
                    && connection.is_in_flight()
                    && !connection.is_body_pending.load(Ordering::Relaxed);
                if is_gone {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                // The end follows once the parser has what came before it.
                this.head.give_all();
                this.head.give(buffer, is_body);
                return Poll::Ready(Ok(()));
            }
            if result.is_err() || this.note_read(buffer, before)? {
                return Poll::Ready(result);
            }
        }
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
