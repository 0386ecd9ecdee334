//! Copies a body from one connection to another with bounded memory.
//!
//! [`copy_body`] reads a source and writes to a [`BodySender`]; the [`BodyReceiver`] is the body of
//! the outgoing message. Between them is a short queue, so that a slow receiver slows down the source.
//! A body is complete only if the sender has marked its end: a source that fails, for whatever reason,
//! truncates the outgoing body too, and never looks like a shorter one.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::{sync::mpsc, time::timeout};

/// The number of chunks in the queue. With their size: a quarter of a megabyte for each body.
const QUEUE_LENGTH: usize = 4;

/// The largest chunk, in bytes. A client that takes 64 KiB within
/// [`body_idle`](crate::timeouts::Timeouts::body_idle) (17 kbit/s by default) counts as slow, not as
/// gone.
const CHUNK_MAX_LENGTH: usize = 64 * 1024;

/// The receiving end: the body of a message.
#[derive(Debug)]
pub(crate) struct BodyReceiver {
    parts: mpsc::Receiver<Part>,
    has_ended: bool,
}

/// The sending end, used by [`copy_body`].
#[derive(Debug)]
pub(crate) struct BodySender(mpsc::Sender<Part>);

#[derive(Debug)]
enum Part {
    Chunk(Bytes),
    /// The mark of a complete body.
    End,
}

/// A body that ended before it was complete.
#[derive(Debug, thiserror::Error)]
#[error("the body is truncated")]
pub(crate) struct Truncated;

/// The reason why a body was not copied to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError<E> {
    /// Reading from the source failed.
    #[error("the sender closed the connection")]
    Source(#[source] E),
    /// The source sent nothing for too long.
    #[error("nothing arrived for {0:?}")]
    SourceIdle(Duration),
    /// The receiver took nothing for too long.
    #[error("the receiver took nothing for {0:?}")]
    ReceiverIdle(Duration),
    /// The receiver is gone.
    #[error("the receiver closed the connection")]
    ReceiverGone,
}

/// Returns the two ends of a new body.
pub(crate) fn body_channel() -> (BodySender, BodyReceiver) {
    let (sender, parts) = mpsc::channel(QUEUE_LENGTH);
    (BodySender(sender), BodyReceiver { parts, has_ended: false })
}

/// Copies all of `source`. Fails if the source sends nothing, or the receiver takes nothing, for
/// longer than `idle`.
pub(crate) async fn copy_body<E>(
    source: impl Stream<Item = Result<Bytes, E>>,
    sender: BodySender,
    idle: Duration,
) -> Result<(), CopyError<E>> {
    let BodySender(sender) = sender;
    let send = async |part| match timeout(idle, sender.send(part)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(CopyError::ReceiverGone),
        Err(_) => Err(CopyError::ReceiverIdle(idle)),
    };
    let mut source = pin!(source);
    loop {
        let next = tokio::select! {
            next = timeout(idle, source.next()) => next.map_err(|_| CopyError::SourceIdle(idle))?,
            () = sender.closed() => return Err(CopyError::ReceiverGone),
        };
        let Some(bytes) = next else { return send(Part::End).await };
        let mut bytes = bytes.map_err(CopyError::Source)?;
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK_MAX_LENGTH));
            send(Part::Chunk(chunk)).await?;
        }
    }
}

impl Stream for BodyReceiver {
    type Item = Result<Bytes, Truncated>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let part = ready!(self.parts.poll_recv(context));
        self.has_ended = !matches!(part, Some(Part::Chunk(_)));
        Poll::Ready(match part {
            Some(Part::Chunk(chunk)) => Some(Ok(chunk)),
            Some(Part::End) => None,
            None => Some(Err(Truncated)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{TryStreamExt, stream};

    use super::*;

    const IDLE: Duration = Duration::from_millis(20);

    type Chunk<E> = Result<Bytes, E>;

    async fn read(body: BodyReceiver) -> Result<Vec<u8>, Truncated> {
        body.try_fold(Vec::new(), async |all, chunk| Ok([all, chunk.to_vec()].concat())).await
    }

    #[tokio::test]
    async fn all_bytes_arrive_in_order() {
        let sent: Vec<u8> = (0..=255).cycle().take(3 * CHUNK_MAX_LENGTH + 7).collect();
        let chunks = [&sent[..10], &[], &sent[10..]].map(Bytes::copy_from_slice);
        let (sender, body) = body_channel();
        let source = stream::iter(chunks).map(Ok::<_, Infallible>);
        let (copied, received) = tokio::join!(copy_body(source, sender, IDLE), read(body));
        copied.unwrap();
        assert!(received.unwrap() == sent);
    }

    #[tokio::test]
    async fn a_source_that_fails_truncates_the_body() {
        let source = stream::iter([Ok(Bytes::from_static(b"half")), Err("gone")]);
        let (sender, body) = body_channel();
        let (copied, received) = tokio::join!(copy_body(source, sender, IDLE), read(body));
        assert!(matches!(copied, Err(CopyError::Source("gone"))));
        received.unwrap_err();
    }

    #[tokio::test]
    async fn a_source_that_is_silent_truncates_the_body() {
        let (sender, body) = body_channel();
        let source = stream::pending::<Chunk<Infallible>>();
        let (copied, received) = tokio::join!(copy_body(source, sender, IDLE), read(body));
        assert!(matches!(copied, Err(CopyError::SourceIdle(_))));
        received.unwrap_err();
    }

    #[tokio::test]
    async fn a_copy_that_is_cancelled_truncates_the_body() {
        let (sender, body) = body_channel();
        drop(copy_body(stream::empty::<Chunk<Infallible>>(), sender, IDLE));
        read(body).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_receiver_that_takes_nothing_stops_the_copy() {
        let (sender, body) = body_channel();
        let source = stream::repeat(Bytes::from_static(b"more")).map(Ok::<_, Infallible>);
        assert!(matches!(copy_body(source, sender, IDLE).await, Err(CopyError::ReceiverIdle(_))));
        drop(body);
    }

    #[tokio::test]
    async fn a_receiver_that_is_dropped_stops_a_copy_that_waits() {
        let (sender, body) = body_channel();
        drop(body);
        let source = stream::pending::<Chunk<Infallible>>();
        assert!(matches!(copy_body(source, sender, IDLE).await, Err(CopyError::ReceiverGone)));
    }
}
