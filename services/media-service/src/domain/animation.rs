//! Blocks of GIF files (CompuServe, "Graphics Interchange Format", version 89a).

/// A GIF without its metadata.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gif {
    pub(super) width: u32,
    pub(super) height: u32,
    /// The number of pictures; an animation has several.
    pub(super) frames: usize,
    /// The size of the largest picture, which may be larger than what is shown.
    pub(super) largest: (u32, u32),
    pub(super) file: Vec<u8>,
}

/// The blocks of a file are not complete, or one of them has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The bytes of a file, of which some are copied.
struct Blocks<'a> {
    rest: &'a [u8],
    kept: Vec<u8>,
}

impl<'a> Blocks<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn copy(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.take(length)?;
        self.kept.extend(taken);
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1)?.first().copied().ok_or(Malformed)
    }

    /// Takes a table of colours, if the flags of a block say that there is one.
    fn copy_colours(&mut self, flags: u8) -> Result<(), Malformed> {
        if flags & 0x80 != 0 {
            self.copy(3 << ((flags & 7) + 1))?;
        }
        Ok(())
    }

    /// Takes blocks of data up to the empty one that ends them.
    fn take_data(&mut self) -> Result<&'a [u8], Malformed> {
        let all = self.rest;
        loop {
            let length = self.byte()?;
            self.take(length.into())?;
            if length == 0 {
                return all.get(..all.len() - self.rest.len()).ok_or(Malformed);
            }
        }
    }
}

/// Reads the blocks of a file to its end. Keeps those that a browser needs: comments, metadata, and
/// whatever follows the file, are removed.
pub(super) fn gif(file: &[u8]) -> Result<Gif, Malformed> {
    let mut blocks = Blocks { rest: file, kept: Vec::with_capacity(file.len()) };
    let header = blocks.copy(13)?;
    let (width, height) = size(header.get(6..))?;
    blocks.copy_colours(header.get(10).copied().ok_or(Malformed)?)?;
    let (mut frames, mut largest) = (0, (0, 0));
    loop {
        match blocks.byte()? {
            b'!' => {
                let label = blocks.byte()?;
                let data = blocks.take_data()?;
                // How a frame is shown, and how often the animation runs.
                let is_kept = match label {
                    0xf9 => true,
                    0xff => {
                        data.starts_with(b"\x0bNETSCAPE2.0") || data.starts_with(b"\x0bANIMEXTS1.0")
                    }
                    _ => false,
                };
                if is_kept {
                    blocks.kept.extend([b'!', label]);
                    blocks.kept.extend(data);
                }
            }
            b',' => {
                blocks.kept.push(b',');
                let head = blocks.copy(9)?;
                let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
                largest = std::cmp::max_by_key(largest, size(head.get(4..))?, |size| pixels(*size));
                let flags = head.last().copied().ok_or(Malformed)?;
                blocks.copy_colours(flags)?;
                // The size of the first code.
                blocks.copy(1)?;
                let data = blocks.take_data()?;
                blocks.kept.extend(data);
                frames += 1;
            }
            b';' if frames > 0 => {
                blocks.kept.push(b';');
                return Ok(Gif { width, height, frames, largest, file: blocks.kept });
            }
            _ => return Err(Malformed),
        }
    }
}

/// Returns the width and height at the beginning of these bytes.
fn size(bytes: Option<&[u8]>) -> Result<(u32, u32), Malformed> {
    let Some([w0, w1, h0, h1, ..]) = bytes else { return Err(Malformed) };
    let number = |low, high| u32::from(u16::from_le_bytes([low, high]));
    Ok((number(*w0, *w1), number(*h0, *h1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 × 1 pixels, with a table of two colours.
    const HEADER: &[u8] = b"GIF89a\x02\0\x01\0\x80\0\0\0\0\0\xff\xff\xff";
    const LOOP: &[u8] = b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0";
    const CONTROL: &[u8] = b"!\xf9\x04\x04\x0a\0\0\0";
    const FRAME: &[u8] = b",\0\0\0\0\x02\0\x01\0\0\x02\x02\x44\x0a\0";
    const COMMENT: &[u8] = b"!\xfe\x05place\x02me\0";
    const XMP: &[u8] = b"!\xff\x0bXMP DataXMP\x03<x>\0";

    #[test]
    fn an_animation_keeps_its_frames_and_loses_its_metadata() {
        let frames = [CONTROL, FRAME, CONTROL, FRAME].concat();
        let whole = [HEADER, LOOP, COMMENT, &frames, XMP, b";<script>"].concat();
        let expected = [HEADER, LOOP, &frames, b";"].concat();
        let found = gif(&whole).unwrap();
        assert_eq!((found.width, found.height, found.frames), (2, 1, 2));
        assert_eq!(found.largest, (2, 1));
        assert_eq!(found.file, expected);
        for length in 0..whole.len() - "<script>".len() {
            assert_eq!(gif(&whole[..length]), Err(Malformed), "{length}");
        }
        assert_eq!(gif(&[HEADER, b";"].concat()), Err(Malformed));
        assert_eq!(gif(&[HEADER, FRAME, b"?;"].concat()), Err(Malformed));
    }
}
