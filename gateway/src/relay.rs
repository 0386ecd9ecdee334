//! Moves a body from one connection to another without ever holding much of it.
//!
//! [`pump`] reads at one end and [`Relay`] is the body at the other; between them is a short
//! queue. A reader that is slow slows the pump down, and thereby whoever sends. A body counts as
//! complete only when the pump has said so: one that breaks off, for whatever reason, breaks off
//! at the other end too.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::{sync::mpsc, time::timeout};

/// How many pieces wait between the two ends. With their size: a quarter of a megabyte a body.
const PIECES_IN_QUEUE: usize = 4;

/// The largest piece, in bytes. A client that takes 64 KiB within [`crate::Timeouts::body_idle`]
/// (17 kbit/s with the default) is slow, not gone.
const PIECE_MAX_LENGTH: usize = 64 * 1024;

/// The end that is read: the body of a message.
#[derive(Debug)]
pub(crate) struct Relay {
    parts: mpsc::Receiver<Part>,
    has_ended: bool,
}

/// The end that is written, by [`pump`] alone.
#[derive(Debug)]
pub(crate) struct Inlet(mpsc::Sender<Part>);

#[derive(Debug)]
enum Part {
    Piece(Bytes),
    /// What came before is all of it.
    End,
}

/// A body broke off before its end.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off")]
pub(crate) struct BrokenOff;

/// Why a body could not be moved to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped<E> {
    /// Reading failed.
    #[error("the sender broke off")]
    Source(#[source] E),
    /// Nothing came.
    #[error("nothing came for {0:?}")]
    SourceIdle(Duration),
    /// Nothing was taken.
    #[error("nothing was taken for {0:?}")]
    SinkIdle(Duration),
    /// Nobody is there to take it.
    #[error("the receiver left")]
    SinkGone,
}

/// The two ends of a new relay.
pub(crate) fn relay() -> (Inlet, Relay) {
    let (sender, parts) = mpsc::channel(PIECES_IN_QUEUE);
    (Inlet(sender), Relay { parts, has_ended: false })
}

/// Moves all of `source`. Neither end may make the other wait longer than `idle` for a piece.
pub(crate) async fn pump<E>(
    source: impl Stream<Item = Result<Bytes, E>>,
    inlet: Inlet,
    idle: Duration,
) -> Result<(), Stopped<E>> {
    let Inlet(sink) = inlet;
    let put = async |part| match timeout(idle, sink.send(part)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Stopped::SinkGone),
        Err(_) => Err(Stopped::SinkIdle(idle)),
    };
    let mut source = pin!(source);
    loop {
        let next = tokio::select! {
            next = timeout(idle, source.next()) => next.map_err(|_| Stopped::SourceIdle(idle))?,
            () = sink.closed() => return Err(Stopped::SinkGone),
        };
        let Some(chunk) = next else { return put(Part::End).await };
        let mut chunk = chunk.map_err(Stopped::Source)?;
        while !chunk.is_empty() {
            let piece = chunk.split_to(chunk.len().min(PIECE_MAX_LENGTH));
            put(Part::Piece(piece)).await?;
        }
    }
}

impl Stream for Relay {
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let part = ready!(self.parts.poll_recv(context));
        self.has_ended = !matches!(part, Some(Part::Piece(_)));
        Poll::Ready(match part {
            Some(Part::Piece(piece)) => Some(Ok(piece)),
            Some(Part::End) => None,
            None => Some(Err(BrokenOff)),
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

    async fn read(relay: Relay) -> Result<Vec<u8>, BrokenOff> {
        relay.try_fold(Vec::new(), async |all, piece| Ok([all, piece.to_vec()].concat())).await
    }

    #[tokio::test]
    async fn all_bytes_arrive_in_order() {
        let sent: Vec<u8> = (0..=255).cycle().take(3 * PIECE_MAX_LENGTH + 7).collect();
        let chunks = [&sent[..10], &[], &sent[10..]].map(Bytes::copy_from_slice);
        let (inlet, relay) = relay();
        let source = stream::iter(chunks).map(Ok::<_, Infallible>);
        let (pumped, received) = tokio::join!(pump(source, inlet, IDLE), read(relay));
        pumped.unwrap();
        assert!(received.unwrap() == sent);
    }

    #[tokio::test]
    async fn a_source_that_fails_breaks_the_body_off() {
        let source = stream::iter([Ok(Bytes::from_static(b"half")), Err("gone")]);
        let (inlet, relay) = relay();
        let (pumped, received) = tokio::join!(pump(source, inlet, IDLE), read(relay));
        assert!(matches!(pumped, Err(Stopped::Source("gone"))));
        received.unwrap_err();
    }

    #[tokio::test]
    async fn a_source_that_is_silent_breaks_the_body_off() {
        let (inlet, relay) = relay();
        let source = stream::pending::<Chunk<Infallible>>();
        let (pumped, received) = tokio::join!(pump(source, inlet, IDLE), read(relay));
        assert!(matches!(pumped, Err(Stopped::SourceIdle(_))));
        received.unwrap_err();
    }

    #[tokio::test]
    async fn a_pump_that_is_dropped_breaks_the_body_off() {
        let (inlet, relay) = relay();
        drop(pump(stream::empty::<Chunk<Infallible>>(), inlet, IDLE));
        read(relay).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_stops_the_pump() {
        let (inlet, relay) = relay();
        let source = stream::repeat(Bytes::from_static(b"more")).map(Ok::<_, Infallible>);
        assert!(matches!(pump(source, inlet, IDLE).await, Err(Stopped::SinkIdle(_))));
        drop(relay);
    }

    #[tokio::test]
    async fn a_reader_that_leaves_stops_a_pump_that_waits() {
        let (inlet, relay) = relay();
        drop(relay);
        let source = stream::pending::<Chunk<Infallible>>();
        assert!(matches!(pump(source, inlet, IDLE).await, Err(Stopped::SinkGone)));
    }
}
