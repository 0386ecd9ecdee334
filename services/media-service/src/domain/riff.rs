//! Chunks of WebP files (RFC 9649): what is kept of an animation, and the colour profile of a picture.

/// The flags of a file with several chunks.
const HAS_PROFILE: u8 = 0x20;
const HAS_ALPHA: u8 = 0x10;
const IS_ANIMATED: u8 = 0x02;

/// An animation without its metadata.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Animation {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) file: Vec<u8>,
}

/// The chunks of a file are not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Incomplete;

/// Returns the animation in a WebP file, or `None` if it is a single picture. Keeps the chunks that a
/// browser needs: metadata, and whatever follows the file, are removed.
pub(super) fn animation(file: &[u8]) -> Result<Option<Animation>, Incomplete> {
    let chunks = chunks(file)?;
    let Some(&([b'V', b'P', b'8', b'X'], header)) = chunks.first() else { return Ok(None) };
    let [flags, _, _, _, size @ ..] = header else { return Err(Incomplete) };
    if flags & IS_ANIMATED == 0 {
        return Ok(None);
    }
    let [w0, w1, w2, h0, h1, h2, ..] = *size else { return Err(Incomplete) };
    let (width, height) = (number(w0, w1, w2) + 1, number(h0, h1, h2) + 1);
    let mut kept = Vec::with_capacity(file.len());
    let mut frames = 0;
    for (kind, content) in chunks {
        match kind {
            b"VP8X" => {
                let flags = flags & (HAS_PROFILE | HAS_ALPHA | IS_ANIMATED);
                push(&mut kept, b"VP8X", &[&[flags], header.get(1..10).unwrap_or_default()]);
            }
            b"ICCP" | b"ANIM" => push(&mut kept, kind, &[content]),
            b"ANMF" => {
                frames += 1;
                push(&mut kept, kind, &[content]);
            }
            _ => {}
        }
    }
    if frames == 0 {
        return Err(Incomplete);
    }
    Ok(Some(Animation { width, height, file: whole(&kept) }))
}

/// Adds a colour profile to a picture of this size that an encoder made.
pub(super) fn with_profile(picture: &[u8], profile: &[u8], width: u32, height: u32) -> Vec<u8> {
    let Ok(chunks) = chunks(picture) else { return picture.to_vec() };
    let has_alpha = chunks.iter().any(|(kind, _)| *kind == b"ALPH");
    let flags = HAS_PROFILE | if has_alpha { HAS_ALPHA } else { 0 };
    let [width, height] = [width, height].map(|side| side.saturating_sub(1).to_le_bytes());
    let [[w0, w1, w2, _], [h0, h1, h2, _]] = [width, height];
    let mut parts = Vec::with_capacity(picture.len() + profile.len() + 64);
    push(&mut parts, b"VP8X", &[&[flags, 0, 0, 0, w0, w1, w2, h0, h1, h2]]);
    push(&mut parts, b"ICCP", &[profile]);
    for (kind, content) in chunks.iter().filter(|(kind, _)| *kind != b"VP8X") {
        push(&mut parts, kind, &[content]);
    }
    whole(&parts)
}

/// The name of a chunk and its content.
type Chunk<'a> = (&'a [u8; 4], &'a [u8]);

/// Returns the chunks of a file.
fn chunks(file: &[u8]) -> Result<Vec<Chunk<'_>>, Incomplete> {
    let size = file.get(4..8).and_then(length).ok_or(Incomplete)?;
    let mut rest = file.get(8..8 + size).ok_or(Incomplete)?.get(4..).ok_or(Incomplete)?;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let (kind, after) = rest.split_first_chunk::<4>().ok_or(Incomplete)?;
        let length = after.get(..4).and_then(length).ok_or(Incomplete)?;
        let content = after.get(4..4 + length).ok_or(Incomplete)?;
        chunks.push((kind, content));
        // Chunks have an even length.
        rest = after.get(4 + length + length % 2..).unwrap_or_default();
    }
    Ok(chunks)
}

fn length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.try_into().ok().map(u32::from_le_bytes)?;
    usize::try_from(length).ok()
}

fn number(low: u8, middle: u8, high: u8) -> u32 {
    u32::from_le_bytes([low, middle, high, 0])
}

fn push(file: &mut Vec<u8>, kind: &[u8; 4], parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    file.extend(kind);
    file.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    parts.iter().for_each(|part| file.extend(*part));
    if length % 2 == 1 {
        file.push(0);
    }
}

/// Returns the file with these chunks.
fn whole(chunks: &[u8]) -> Vec<u8> {
    let size = u32::try_from(chunks.len() + 4).unwrap_or(u32::MAX);
    [b"RIFF", &size.to_le_bytes()[..], b"WEBP", chunks].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(parts: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut chunks = Vec::new();
        parts.iter().for_each(|(kind, content)| push(&mut chunks, kind, &[content]));
        whole(&chunks)
    }

    #[test]
    fn an_animation_keeps_its_frames_and_loses_its_metadata() {
        // 320 × 200, with a profile, Exif and XMP.
        let header = [0x2e, 0, 0, 0, 0x3f, 1, 0, 199, 0, 0];
        let kept =
            [(b"ICCP", &b"profile"[..]), (b"ANIM", &[0; 6]), (b"ANMF", b"one"), (b"ANMF", b"two!")];
        let parts =
            [&[(b"VP8X", &header[..])], &kept[..], &[(b"EXIF", b"place"), (b"XMP ", b"me")]];
        let mut whole = file(&parts.concat());
        whole.extend(b"<script>");
        let found = animation(&whole).unwrap().unwrap();
        assert_eq!((found.width, found.height), (320, 200));
        let header = [0x22, 0, 0, 0, 0x3f, 1, 0, 199, 0, 0];
        assert_eq!(found.file, file(&[&[(b"VP8X", &header[..])], &kept[..]].concat()));
        for length in 0..whole.len() - "<script>".len() {
            assert_eq!(animation(&whole[..length]), Err(Incomplete), "{length}");
        }
    }

    #[test]
    fn a_single_picture_is_no_animation() {
        assert_eq!(animation(&file(&[(b"VP8 ", b"picture")])), Ok(None));
        assert_eq!(animation(&file(&[(b"VP8X", &[0; 10]), (b"VP8L", b"x")])), Ok(None));
        assert_eq!(animation(&file(&[(b"VP8X", &[2; 10])])), Err(Incomplete));
    }

    #[test]
    fn a_profile_comes_before_the_picture() {
        let plain = file(&[(b"VP8 ", b"picture")]);
        let expected = [0x20, 0, 0, 0, 0xaf, 4, 0, 0, 0, 0];
        let parts = [(b"VP8X", &expected[..]), (b"ICCP", b"p3"), (b"VP8 ", b"picture")];
        assert_eq!(with_profile(&plain, b"p3", 1200, 1), file(&parts));
        let alpha = file(&[(b"VP8X", &[0; 10]), (b"ALPH", b"a"), (b"VP8 ", b"picture")]);
        assert_eq!(with_profile(&alpha, b"p3", 1, 1)[20], HAS_PROFILE | HAS_ALPHA);
    }
}
