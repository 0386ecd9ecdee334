//! Server-sent events (HTML standard, §9.2) as far as feeds use them: the data of each event.

/// The largest event in bytes: a change names a handful of keys.
pub(super) const EVENT_MAX_BYTES: usize = 1024 * 1024;

/// Reads the data of events from a body that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    /// The bytes of a line that is not complete.
    line: Vec<u8>,
    /// The data of an event that is not complete.
    data: Vec<u8>,
}

/// An event that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {EVENT_MAX_BYTES} bytes")]
pub(super) struct TooLarge;

impl EventReader {
    /// Takes a piece of the body, and passes the data of each event that it completes to `event`.
    pub(super) fn read<E: From<TooLarge>>(
        &mut self,
        mut piece: &[u8],
        mut event: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            self.push(&piece[..end])?;
            piece = &piece[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if line.is_empty() {
                if !self.data.is_empty() {
                    event(&std::mem::take(&mut self.data))?;
                }
            } else if let Some(data) = line.strip_prefix(b"data:") {
                let data = data.strip_prefix(b" ").unwrap_or(data);
                if self.data.len() + data.len() > EVENT_MAX_BYTES {
                    return Err(TooLarge.into());
                }
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(data);
            }
        }
        self.push(piece)?;
        Ok(())
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), TooLarge> {
        if self.line.len() + piece.len() > EVENT_MAX_BYTES {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<String>, TooLarge> {
        let mut reader = EventReader::default();
        let mut events = Vec::new();
        for piece in pieces {
            reader.read(piece, |data| {
                events.push(String::from_utf8_lossy(data).into_owned());
                Ok::<_, TooLarge>(())
            })?;
        }
        Ok(events)
    }

    const BODY: &[u8] =
        b": comment\n\nid: 7\ndata: one\n\nevent: x\r\ndata:two\r\ndata: lines\r\n\r\n\
        retry: 5\n\ndata: not complete";

    #[test]
    fn the_data_of_complete_events_is_read() {
        assert_eq!(read(&[BODY]).unwrap(), ["one", "two\nlines"]);
    }

    #[test]
    fn an_event_without_an_end_is_refused_when_it_is_too_large() {
        let piece = vec![b'x'; 64 * 1024];
        let endless: Vec<&[u8]> = vec![&piece; 17];
        assert_eq!(read(&endless), Err(TooLarge));
        let line = [b"data:", &piece[..], b"\n"].concat();
        let lines: Vec<&[u8]> = vec![&line; 17];
        assert_eq!(read(&lines), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn the_places_where_a_body_is_cut_make_no_difference(
            cuts in prop::collection::vec(0..BODY.len(), 0..9)
        ) {
            let mut cuts = cuts;
            cuts.extend([0, BODY.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &BODY[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces).unwrap(), ["one", "two\nlines"]);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&[&bytes]);
        }
    }
}
