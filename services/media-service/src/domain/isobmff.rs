//! Boxes of ISO base media files (ISO/IEC 14496-12): MP4, QuickTime and AVIF.

use super::format::Format;

/// The largest number of boxes that are looked at, in a file of any size.
const MAX_BOXES: usize = 10_000;

/// Returns the format of a file that begins with these bytes, by the brands of its first box.
pub(super) fn format(begin: &[u8]) -> Option<Format> {
    let (kind, content, _) = next_box(begin)?;
    if kind != *b"ftyp" {
        return None;
    }
    let (major, rest) = content.split_first_chunk::<4>()?;
    // The minor version has four bytes.
    let brands = rest.get(4..).unwrap_or_default().chunks_exact(4);
    let has = |wanted: &[u8]| major == wanted || brands.clone().any(|brand| brand == wanted);
    match major {
        b"avif" | b"avis" => Some(Format::Avif),
        b"mif1" | b"msf1" => has(b"avif").then_some(Format::Avif),
        b"qt  " => Some(Format::QuickTime),
        b"isom" | b"iso2" | b"iso3" | b"iso4" | b"iso5" | b"iso6" | b"iso7" | b"iso8" | b"iso9"
        | b"mp41" | b"mp42" | b"mp71" | b"avc1" | b"dash" | b"M4V " | b"M4VH" | b"M4VP"
        | b"MSNV" | b"f4v " => Some(Format::Mp4),
        _ => None,
    }
}

/// Returns width and height of an AVIF picture: the largest `ispe` property of its items (ISO/IEC
/// 23008-12 §6.5.3). Returns `None` if the boxes do not fill the file, as in one that was cut off.
pub(super) fn picture_size(file: &[u8]) -> Option<(u32, u32)> {
    let mut rest = file;
    let mut largest = None;
    let mut boxes = 0;
    while !rest.is_empty() {
        boxes += 1;
        let (kind, content, after) = next_box(rest)?;
        if content.len() < declared_length(rest)? || boxes > MAX_BOXES {
            return None;
        }
        if kind == *b"meta" {
            // Version and flags come first.
            largest = sizes(content.get(4..)?)
                .max_by_key(|(width, height)| u64::from(*width) * u64::from(*height));
        }
        rest = after;
    }
    largest.filter(|(width, height)| *width > 0 && *height > 0)
}

/// Returns the sizes in the properties of the items of a `meta` box.
fn sizes(meta: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    let properties = find(meta, *b"iprp").and_then(|properties| find(properties, *b"ipco"));
    boxes(properties.unwrap_or_default()).filter(|(kind, _)| kind == b"ispe").filter_map(
        |(_, content)| {
            let number =
                |at: usize| content.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
            Some((number(4)?, number(8)?))
        },
    )
}

fn find(content: &[u8], wanted: [u8; 4]) -> Option<&[u8]> {
    boxes(content).find(|(kind, _)| *kind == wanted).map(|(_, content)| content)
}

/// Returns the boxes of a content, with their types.
fn boxes(mut content: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (kind, inner, rest) = next_box(content)?;
        content = rest;
        Some((kind, inner))
    })
    .take(MAX_BOXES)
}

/// Returns the type and the content of the first box, and what follows it. The content of a box that was
/// cut off is shorter than the box says.
fn next_box(bytes: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let (_, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let large = bytes.starts_with(&[0, 0, 0, 1]);
    let rest = if large { rest.get(8..)? } else { rest };
    let (content, after) = rest.split_at_checked(declared_length(bytes)?).unwrap_or((rest, &[]));
    Some((*kind, content, after))
}

/// Returns the length that the first box says that its content has: of 32 bits, of 64, or up to the end
/// of the file.
fn declared_length(bytes: &[u8]) -> Option<usize> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    match u32::from_be_bytes(*size) {
        0 => bytes.len().checked_sub(8),
        1 => {
            let size = rest.get(4..12)?.try_into().ok().map(u64::from_be_bytes)?;
            usize::try_from(size).ok()?.checked_sub(16)
        }
        size => usize::try_from(size).ok()?.checked_sub(8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
        [&size, &kind[..], content].concat()
    }

    fn avif(width: u32, height: u32) -> Vec<u8> {
        let size = |width: u32, height: u32| {
            boxed(b"ispe", &[[0; 4], width.to_be_bytes(), height.to_be_bytes()].concat())
        };
        let ipco = boxed(b"ipco", &[size(1, 1), size(width, height)].concat());
        let meta = boxed(b"meta", &[vec![0; 4], boxed(b"iprp", &ipco)].concat());
        [boxed(b"ftyp", b"avif\0\0\0\0avif"), meta, boxed(b"mdat", b"data")].concat()
    }

    #[test]
    fn the_size_of_a_picture_is_that_of_its_largest_item() {
        assert_eq!(picture_size(&avif(1600, 900)), Some((1600, 900)));
        assert_eq!(picture_size(&avif(0, 900)), Some((1, 1)));
        assert_eq!(picture_size(&boxed(b"ftyp", b"avif\0\0\0\0")), None);
    }

    #[test]
    fn a_file_that_was_cut_off_has_no_size() {
        let whole = avif(1600, 900);
        for length in 0..whole.len() {
            assert!(
                picture_size(&whole[..length]).is_none() || length == whole.len() - 12,
                "{length}"
            );
        }
        // A length of 64 bits that no memory has.
        let huge = [&[0, 0, 0, 1][..], b"ftyp", &[0xff; 8]].concat();
        assert_eq!((picture_size(&huge), format(&huge)), (None, None));
    }
}
