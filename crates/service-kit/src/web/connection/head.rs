//! The part of a head that has arrived.
//!
//! The parser begins at the start of a head whenever it gets a part of it. If a client sends a long head
//! in small parts, that costs the square of its length. The parser therefore gets a head when it is
//! complete, and a long one each time that its length has doubled, so that it can refuse it.

use bytes::BytesMut;
use tokio::io::ReadBuf;

/// The length up to which a head is kept until it is complete: the longest head that servers accept
/// (Node.js has 16 KiB for all headers, nginx 8 KiB for each).
const USUAL_MAX_BYTES: usize = 16 * 1024;

/// The part of a head that has arrived.
#[derive(Debug, Default)]
pub(super) struct PartialHead {
    /// The bytes that the parser has not got.
    kept: BytesMut,
    /// The number of bytes of this head that the parser has got.
    given: usize,
    /// `true` if the parser gets the bytes.
    is_due: bool,
    end: End,
}

/// The position with respect to the empty line that ends a head (RFC 9112 §2.1, §2.2).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum End {
    /// After nothing, or after a head.
    #[default]
    Complete,
    InLine,
    AfterLine,
    /// After the end of a line and a carriage return.
    AfterReturn,
}

impl End {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::AfterLine | Self::AfterReturn, b'\n') => Self::Complete,
            (_, b'\n') => Self::AfterLine,
            (Self::AfterLine, b'\r') => Self::AfterReturn,
            _ => Self::InLine,
        }
    }
}

impl PartialHead {
    /// Takes over bytes of a head until the parser gets them. Returns `true` if it gets them at once,
    /// since they complete a head, or belong to a body.
    pub(super) fn arrived(&mut self, bytes: &[u8], is_body: bool) -> bool {
        let is_whole = self.passes_end(bytes, is_body) || is_body;
        let length = self.given + self.kept.len() + bytes.len();
        if !is_whole && length < USUAL_MAX_BYTES.max(2 * self.given) {
            self.kept.extend_from_slice(bytes);
            return false;
        }
        self.given = if is_whole { 0 } else { length };
        if self.kept.is_empty() {
            return true;
        }
        self.kept.extend_from_slice(bytes);
        self.is_due = true;
        false
    }

    /// Gives bytes that were kept to the parser, if it gets them now. Returns `true` if it did.
    pub(super) fn give(&mut self, buffer: &mut ReadBuf<'_>, is_body: bool) -> bool {
        if is_body {
            // They arrived before the request had begun.
            self.give_all();
        }
        if !self.is_due {
            return false;
        }
        let count = buffer.remaining().min(self.kept.len());
        buffer.put_slice(&self.kept.split_to(count));
        if self.kept.is_empty() {
            (self.kept, self.is_due) = (BytesMut::new(), false);
        }
        true
    }

    /// Lets the parser have everything, as nothing else follows.
    pub(super) fn give_all(&mut self) {
        self.is_due |= !self.kept.is_empty();
    }

    /// Returns `true` if the last byte can be the end of a head.
    pub(super) fn is_complete(&self) -> bool {
        self.end == End::Complete
    }

    /// Returns the memory of a long head, in bytes: the part that the parser has, and as much again.
    pub(super) fn long_bytes(&self) -> usize {
        2 * self.given
    }

    /// Follows the lines. Returns `true` if a head ends in these bytes.
    fn passes_end(&mut self, bytes: &[u8], is_body: bool) -> bool {
        // Within a body, only the last bytes matter: the next head may follow them.
        const END: usize = 4;
        let skipped = if is_body { bytes.len().saturating_sub(END) } else { 0 };
        if skipped > 0 {
            self.end = End::InLine;
        }
        bytes.iter().skip(skipped).fold(false, |has_ended, byte| {
            self.end = self.end.after(*byte);
            has_ended || self.end == End::Complete
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns what the parser got, in the parts in which it got them, of a client that sends these.
    fn parts<'a>(sent: impl IntoIterator<Item = &'a [u8]>) -> (PartialHead, Vec<Vec<u8>>) {
        let (mut head, mut got) = (PartialHead::default(), Vec::new());
        for bytes in sent {
            if head.arrived(bytes, false) {
                got.push(bytes.to_vec());
            }
            let mut part = Vec::new();
            let mut memory = [0; 1_000];
            let mut buffer = ReadBuf::new(&mut memory);
            while head.give(&mut buffer, false) {
                part.extend_from_slice(buffer.filled());
                buffer.clear();
            }
            if !part.is_empty() {
                got.push(part);
            }
        }
        (head, got)
    }

    #[test]
    fn a_head_is_given_as_a_whole_however_it_is_sent() {
        for head in ["GET / HTTP/1.1\r\nhost: h\r\n\r\n", "GET / HTTP/1.1\nhost: h\n\n", "a\n\r\n"]
        {
            let (_, got) = parts(head.as_bytes().chunks(1));
            assert_eq!(got, [head.as_bytes()]);
        }
        let (head, got) = parts([&b"GET / HTTP/1.1\r\n"[..], b"\ra: b\r\r\n", b"c: d"]);
        assert!(got.is_empty() && !head.is_complete());
    }

    #[test]
    fn a_head_without_an_end_costs_the_parser_a_multiple_of_its_length() {
        let line = format!("a: {}\r\n", "x".repeat(1_000));
        let sent = line.repeat(130);
        for part in [1, 7, 1_000, 100_000] {
            let (head, got) = parts(sent.as_bytes().chunks(part));
            let got: Vec<_> = got.iter().map(Vec::len).collect();
            // It begins at the start for each part.
            let parsed = got.iter().scan(0, |sum, part| {
                *sum += part;
                Some(*sum)
            });
            let parsed: usize = parsed.sum();
            assert!(parsed <= 2 * sent.len() + part, "{part}: {got:?}");
            // It gets enough to refuse it.
            assert!(got.iter().sum::<usize>() >= sent.len() / 2, "{part}: {got:?}");
            assert!(head.kept.len() <= sent.len() / 2 && head.long_bytes() > 0);
        }
    }

    #[test]
    fn bytes_of_a_body_are_given_at_once_and_those_before_it_first() {
        let mut head = PartialHead::default();
        assert!(!head.arrived(b"{\"title\":", false));
        let mut memory = [0; 100];
        let mut buffer = ReadBuf::new(&mut memory);
        assert!(!head.give(&mut buffer, false));
        assert!(head.give(&mut buffer, true));
        assert_eq!(buffer.filled(), b"{\"title\":");
        assert!(!head.give(&mut buffer, true));
        assert!(head.arrived(b"1}", true) && !head.is_complete());
        assert!(head.arrived(b"a long body that ends like a head\r\n\r\n", true));
        assert!(head.is_complete());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_changes_its_place(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3_000), 0..40)
        ) {
            let (mut head, got) = parts(sent.iter().map(Vec::as_slice));
            let mut got = got.concat();
            got.extend_from_slice(&std::mem::take(&mut head.kept));
            prop_assert_eq!(got, sent.concat());
        }
    }
}
