//! Pictures: what is made of an upload.
//!
//! JPEG, PNG, and GIF and WebP that do not move become WebP in up to three widths, upright, without
//! metadata but for the colour profile. Animations keep their format and their size, and AVIF is not
//! changed at all: there is neither a decoder nor an encoder.
//!
//! [`Picture::inspect`] reads the head of a file and nothing else, so that its costs are known before
//! they are paid; [`Picture::render`] decodes it.

use std::{io::Cursor, iter};

use bytes::Bytes;
use image::{
    ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, imageops::FilterType,
    metadata::Orientation,
};
use models::media::SMALLER_WIDTHS;

use super::{animation, format::Format, isobmff, name::LARGEST_WIDTH, riff};

/// The quality of WebP, from 0 to 100: no difference is seen at a usual distance.
const QUALITY: f32 = 85.0;

/// The largest side of a WebP picture, in pixels (RFC 9649 §2.6).
const MAX_WEBP_SIDE: u32 = 16_383;

/// The memory of a pixel, in bytes: red, green, blue and alpha.
const PIXEL_BYTES: u64 = 4;

/// The memory of a pixel while it is encoded, in bytes: a copy of it, and its brightness and colours.
const ENCODER_PIXEL_BYTES: u64 = 6;

/// The marker of a scan of JPEG (ITU-T T.81, table B.1).
const START_OF_SCAN: u8 = 0xda;

/// The memory that a decoder may take, in bytes: twice the pixels of the default limit.
const MAX_DECODER_BYTES: u64 = 192 * 1024 * 1024;

/// The width to which large pictures are reduced before they are filtered, in pixels.
const REDUCED_WIDTH: u32 = 2 * LARGEST_WIDTH;

/// The memory that the filter may take, in bytes. Only pictures that are many times as high as wide need
/// more.
const MAX_FILTER_BYTES: u64 = 64 * 1024 * 1024;

/// The largest colour profile that is kept, in bytes. Those of screens and cameras have up to 4 KiB;
/// those of printers are of no use in RGB.
const MAX_PROFILE_BYTES: usize = 16 * 1024;

/// A picture that can be rendered.
#[derive(Debug)]
pub(crate) struct Picture {
    file: Bytes,
    plan: Plan,
}

#[derive(Debug)]
enum Plan {
    /// The file becomes WebP; the memory that it takes, in bytes.
    Encode(ImageFormat, u64),
    /// The file stays as it is; the memory that it takes to read its first picture, in bytes.
    Keep(Rendered, u64),
}

/// The files of a picture.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) format: Format,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) file: Bytes,
    /// The smaller ones, with their widths.
    pub(crate) smaller: Vec<(u32, Bytes)>,
}

/// The reason why a file becomes no picture.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PictureError {
    #[error("is not complete or is damaged: {0}")]
    Damaged(String),
    #[error(
        "has {width} × {height} pixels: at most {max} are allowed, or half as many with 16 bits for a \
         colour"
    )]
    TooManyPixels { width: u32, height: u32, max: u64 },
    #[error(
        "takes {bytes} bytes of memory while it is processed{cause}: at most {max} are allowed. \
         Save it with fewer pixels"
    )]
    TooMuchMemory { bytes: u64, cause: &'static str, max: u64 },
}

/// Returns the memory that all pictures together may take while they are processed, in bytes.
pub(crate) fn memory_limit(max_pixels: u64) -> u64 {
    max_pixels.saturating_mul(PIXEL_BYTES).saturating_add(MAX_FILTER_BYTES)
}

impl Picture {
    /// Reads the head of a file. Refuses pictures that take more memory than `max_pixels`.
    pub(crate) fn inspect(
        file: Bytes,
        format: Format,
        max_pixels: u64,
    ) -> Result<Self, PictureError> {
        let damaged = |reason: &str| PictureError::Damaged(reason.to_owned());
        let kept = |format, width, height, file: Bytes, memory| {
            is_small(width, height, PIXEL_BYTES, max_pixels)?;
            let smaller = Vec::new();
            Ok(Plan::Keep(Rendered { format, width, height, file, smaller }, memory))
        };
        let plan = match format {
            Format::Jpeg if !has_end_of_image(&file) => Err(damaged("its end is missing")),
            Format::Jpeg => encoded(&file, ImageFormat::Jpeg, max_pixels, coefficients(&file)),
            Format::Png => encoded(&file, ImageFormat::Png, max_pixels, 0),
            Format::Gif => match animation::gif(&file) {
                Ok(gif) => {
                    let frame = is_small(gif.largest.0, gif.largest.1, PIXEL_BYTES, max_pixels)?;
                    if gif.frames > 1 {
                        let bytes = memory(gif.width, gif.height, PIXEL_BYTES) + frame;
                        kept(format, gif.width, gif.height, gif.file.into(), bytes)
                    } else {
                        encoded(&file, ImageFormat::Gif, max_pixels, frame)
                    }
                }
                Err(animation::Malformed) => Err(damaged("one of its blocks has no meaning")),
            },
            Format::WebP => match riff::animation(&file) {
                Ok(Some(moving)) => {
                    // The frame, the canvas, and the picture that is made of both.
                    let bytes = memory(moving.width, moving.height, 3 * PIXEL_BYTES);
                    kept(format, moving.width, moving.height, moving.file.into(), bytes)
                }
                Ok(None) => encoded(&file, ImageFormat::WebP, max_pixels, 0),
                Err(riff::Incomplete) => Err(damaged("one of its chunks is cut off")),
            },
            Format::Avif => match isobmff::picture_size(&file) {
                Some((width, height)) => kept(format, width, height, file.clone(), 0),
                None => Err(damaged("one of its boxes is missing or cut off")),
            },
            Format::Mp4 | Format::QuickTime | Format::WebM => Err(damaged("it is a video")),
        };
        let picture = Self { file, plan: plan? };
        let (bytes, max) = (picture.memory(), memory_limit(max_pixels));
        if bytes <= max {
            return Ok(picture);
        }
        let cause = match format {
            Format::Jpeg if coefficients(&picture.file) > 0 => {
                ", since it is a progressive JPEG, which takes more than a baseline one"
            }
            Format::WebP => ", since it is a WebP, which takes more than other formats",
            Format::Gif => ", since it is a GIF, whose frames are held beside the whole picture",
            _ => "",
        };
        Err(PictureError::TooMuchMemory { bytes, cause, max })
    }

    /// Returns the memory that rendering takes, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        match &self.plan {
            Plan::Encode(_, bytes) | Plan::Keep(_, bytes) => *bytes,
        }
    }

    /// Makes the files. It takes up to some seconds.
    pub(crate) fn render(self) -> Result<Rendered, PictureError> {
        match self.plan {
            Plan::Encode(format, _) => encode(&self.file, format),
            Plan::Keep(kept, _) => {
                // An animation is shown by decoding it: its first picture has to be readable.
                match kept.format {
                    Format::Gif => drop(decode(&kept.file, ImageFormat::Gif)?),
                    Format::WebP => drop(decode(&kept.file, ImageFormat::WebP)?),
                    _ => {}
                }
                Ok(kept)
            }
        }
    }
}

/// Returns the plan to encode a file, from its head. `scratch` is the memory that its decoder takes beside
/// the pixels, in bytes.
fn encoded(
    file: &[u8],
    format: ImageFormat,
    max_pixels: u64,
    scratch: u64,
) -> Result<Plan, PictureError> {
    let decoder = decoder(file, format)?;
    let (width, height) = decoder.dimensions();
    let pixel_bytes = u64::from(decoder.color_type().bytes_per_pixel());
    let bytes = is_small(width, height, pixel_bytes, max_pixels)?;
    let scratch = match format {
        // Its planes, and the buffer from which they are copied.
        ImageFormat::WebP => memory(width, height, 4),
        _ => scratch,
    };
    let is_of_eight_bits = matches!(decoder.color_type(), ColorType::Rgb8 | ColorType::Rgba8);
    let has_alpha = decoder.color_type().has_alpha();
    // Either side may be the width.
    let of = |width, height| {
        let is_reduced = width > REDUCED_WIDTH;
        let reduced =
            if is_reduced { scaled(width, height, REDUCED_WIDTH) } else { (width, height) };
        let reduced_bytes = memory(reduced.0, reduced.1, if has_alpha { 4 } else { 3 });
        let copied = if is_reduced || !is_of_eight_bits {
            memory(reduced.0, reduced.1, pixel_bytes.max(PIXEL_BYTES))
        } else {
            0
        };
        let largest = scaled(width, height, LARGEST_WIDTH);
        let filtering = filter_memory(reduced, largest).min(MAX_FILTER_BYTES);
        let encoding = memory(largest.0, largest.1, ENCODER_PIXEL_BYTES);
        // Decoding, reducing, and making the files, one after the other.
        (bytes + scratch.max(copied)).max(reduced_bytes + filtering.max(encoding))
    };
    Ok(Plan::Encode(format, of(width, height).max(of(height, width))))
}

fn memory(width: u32, height: u32, pixel_bytes: u64) -> u64 {
    u64::from(width) * u64::from(height) * pixel_bytes
}

/// Returns the memory of the filter, in bytes: it first computes all columns in floating-point numbers.
fn filter_memory((width, _): (u32, u32), (_, new_height): (u32, u32)) -> u64 {
    memory(width, new_height, 16)
}

/// Returns the memory of a picture, in bytes, if it is allowed.
fn is_small(width: u32, height: u32, pixel_bytes: u64, max: u64) -> Result<u64, PictureError> {
    if width == 0 || height == 0 {
        return Err(PictureError::Damaged("it has no pixels".to_owned()));
    }
    let pixels = memory(width, height, 1);
    let bytes = pixels.saturating_mul(pixel_bytes);
    if pixels > max || bytes > max.saturating_mul(PIXEL_BYTES) {
        return Err(PictureError::TooManyPixels { width, height, max });
    }
    Ok(bytes)
}

/// Returns the size of a picture in pixels as far as the beginning of its file tells.
pub(crate) fn size_of(begin: &[u8], format: Format) -> Option<(u32, u32)> {
    let format = match format {
        Format::Avif => return isobmff::picture_size(begin),
        Format::Gif => ImageFormat::Gif,
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Png => ImageFormat::Png,
        Format::WebP => ImageFormat::WebP,
        Format::Mp4 | Format::QuickTime | Format::WebM => return None,
    };
    ImageReader::with_format(Cursor::new(begin), format).into_dimensions().ok()
}

fn decoder(file: &[u8], format: ImageFormat) -> Result<impl ImageDecoder + '_, PictureError> {
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    let mut limits = Limits::no_limits();
    // Of what a decoder allocates itself, such as compressed profiles. The pixels are counted before.
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    reader.into_decoder().map_err(|error| PictureError::Damaged(error.to_string()))
}

fn decode(file: &[u8], format: ImageFormat) -> Result<DynamicImage, PictureError> {
    DynamicImage::from_decoder(decoder(file, format)?)
        .map_err(|error| PictureError::Damaged(error.to_string()))
}

/// Decodes a file and encodes it in each width.
fn encode(file: &[u8], format: ImageFormat) -> Result<Rendered, PictureError> {
    let mut head = decoder(file, format)?;
    // A mark that cannot be read is none.
    let orientation = head.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = head.icc_profile().ok().flatten().filter(|profile| is_of_rgb(profile));
    let (width, height) = upright(orientation, head.dimensions());
    drop(head);
    let mut picture = decode(file, format)?;
    // The mean of neighbours first: it is quick, takes no memory of its own, and twice the width leaves
    // the filter below everything that it needs.
    if width > REDUCED_WIDTH {
        let (width, height) = upright(orientation, scaled(width, height, REDUCED_WIDTH));
        picture = picture.thumbnail_exact(width, height);
    }
    picture = match picture {
        DynamicImage::ImageRgb8(_) | DynamicImage::ImageRgba8(_) => picture,
        other if other.color().has_alpha() => other.into_rgba8().into(),
        other => other.into_rgb8().into(),
    };
    let render = |size: (u32, u32)| {
        let size = upright(orientation, size);
        let mut scaled = if (picture.width(), picture.height()) == size {
            if orientation == Orientation::NoTransforms {
                return webp(&picture, profile.as_deref());
            }
            picture.clone()
        } else {
            resized(&picture, size)
        };
        scaled.apply_orientation(orientation);
        webp(&scaled, profile.as_deref())
    };
    let (full_width, full_height) = scaled(width, height, LARGEST_WIDTH);
    let file = render((full_width, full_height))?;
    let mut smaller = Vec::new();
    for wanted in SMALLER_WIDTHS.into_iter().filter(|wanted| *wanted < full_width) {
        smaller.push((wanted, render(scaled(width, height, wanted))?));
    }
    let (width, height) = (full_width, full_height);
    Ok(Rendered { format: Format::WebP, width, height, file, smaller })
}

/// Scales a picture, with the best filter whose memory is allowed.
fn resized(picture: &DynamicImage, (width, height): (u32, u32)) -> DynamicImage {
    let before = (picture.width(), picture.height());
    if filter_memory(before, (width, height)) <= MAX_FILTER_BYTES {
        picture.resize_exact(width, height, FilterType::Lanczos3)
    } else {
        picture.thumbnail_exact(width, height)
    }
}

/// Returns a size, exchanging its sides if the orientation lays a picture on its side.
fn upright(orientation: Orientation, (width, height): (u32, u32)) -> (u32, u32) {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    }
}

/// Returns the size of a picture in at most this width. A picture is never enlarged.
fn scaled(width: u32, height: u32, wanted: u32) -> (u32, u32) {
    let new_width = width.min(wanted);
    let new_height = part(height, new_width, width);
    if new_height <= MAX_WEBP_SIDE {
        (new_width, new_height)
    } else {
        (part(width, MAX_WEBP_SIDE, height), MAX_WEBP_SIDE)
    }
}

/// Returns `side * new / old`, rounded, and at least one pixel.
fn part(side: u32, new: u32, old: u32) -> u32 {
    let old = u64::from(old.max(1));
    let product = u64::from(side) * u64::from(new);
    u32::try_from((product + old / 2) / old).unwrap_or(u32::MAX).max(1)
}

/// Returns `true` for a colour profile that fits the pixels (ICC.1, "Profile header").
fn is_of_rgb(profile: &[u8]) -> bool {
    profile.len() <= MAX_PROFILE_BYTES && profile.get(16..20) == Some(b"RGB ")
}

/// Encodes a picture of eight bits for a colour.
fn webp(picture: &DynamicImage, profile: Option<&[u8]>) -> Result<Bytes, PictureError> {
    let (pixels, width, height) = (picture.as_bytes(), picture.width(), picture.height());
    let encoder = match picture {
        DynamicImage::ImageRgba8(_) => webp::Encoder::from_rgba(pixels, width, height),
        _ => webp::Encoder::from_rgb(pixels, width, height),
    };
    let encoded = encoder.encode_simple(false, QUALITY);
    let encoded = encoded.map_err(|error| PictureError::Damaged(format!("{error:?}")))?;
    Ok(match profile {
        Some(profile) => riff::with_profile(&encoded, profile, width, height).into(),
        None => Bytes::copy_from_slice(&encoded),
    })
}

/// Returns `true` if a JPEG file has the marker of its end behind its data (ITU-T T.81, annex B). The
/// decoder itself fills what is missing with grey.
fn has_end_of_image(file: &[u8]) -> bool {
    // Thumbnails within segments have an end of their own.
    segments(file)
        .find(|(marker, _)| *marker == START_OF_SCAN)
        .is_some_and(|(_, rest)| rest.windows(2).any(|pair| pair == [0xff, 0xd9]))
}

/// Returns the segments of a JPEG file up to its first scan: the marker of each, and the file from its
/// length on.
fn segments(file: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = file.get(2..).unwrap_or_default();
    iter::from_fn(move || {
        // A byte of filling.
        while let [0xff, 0xff, ..] = rest {
            rest = rest.get(1..)?;
        }
        let [0xff, marker, segment @ ..] = rest else { return None };
        let length = usize::from(u16::from_be_bytes(*segment.first_chunk()?));
        let is_last = *marker == START_OF_SCAN;
        rest = segment.get(length..).filter(|_| !is_last).unwrap_or_default();
        Some((*marker, segment))
    })
}

/// Returns the memory of the coefficients of a JPEG file, in bytes: its decoder holds all of them if they
/// come in several scans, else none (ITU-T T.81, annexes B.2.2, B.2.3 and G).
fn coefficients(file: &[u8]) -> u64 {
    let (mut bytes, mut components, mut is_progressive) = (0, 0, false);
    for (marker, segment) in segments(file) {
        match (marker, segment) {
            (0xc0..=0xc2, [_, _, _, h1, h0, w1, w0, count, rest @ ..]) => {
                // A component has a number, its factors of sampling, and the number of a table.
                let factors = rest.chunks_exact(3).take((*count).into()).map(|each| each[1]);
                let (across, down) = factors.fold((1, 1), |(across, down), factor| {
                    (across.max(factor >> 4), down.max(factor & 15))
                });
                let padded = |side: [u8; 2], factor: u8| {
                    u64::from(u16::from_be_bytes(side)).next_multiple_of(8 * u64::from(factor))
                };
                let pixels = padded([*w1, *w0], across) * padded([*h1, *h0], down);
                bytes = 2 * u64::from(*count) * pixels;
                (components, is_progressive) = (*count, marker == 0xc2);
            }
            (START_OF_SCAN, [_, _, count, ..]) if is_progressive || *count < components => {
                return bytes;
            }
            _ => {}
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use image::{ImageEncoder, Rgb, RgbImage, codecs::jpeg::JpegEncoder};

    use super::*;

    const MAX: u64 = 24_000_000;

    /// Returns a picture whose left half is red and whose right half is blue.
    fn two_halves(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, _| {
            if x < width / 2 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) }
        })
    }

    fn file(picture: &RgbImage, format: ImageFormat) -> Bytes {
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format).unwrap();
        file.into_inner().into()
    }

    fn rendered(file: Bytes) -> Result<Rendered, PictureError> {
        let format = Format::of(&file).unwrap();
        Picture::inspect(file, format, MAX)?.render()
    }

    #[test]
    fn a_picture_becomes_lossy_webp_in_three_widths_and_is_never_enlarged() {
        for (size, expected, widths) in [
            ((2600, 1300), (1200, 600), &[750, 500][..]),
            ((1500, 1000), (1200, 800), &[750, 500]),
            ((1200, 900), (1200, 900), &[750, 500]),
            ((750, 30), (750, 30), &[500]),
            ((500, 500), (500, 500), &[]),
            ((1, 1), (1, 1), &[]),
        ] {
            for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP]
            {
                let made = rendered(file(&two_halves(size.0, size.1), format)).unwrap();
                assert_eq!((made.width, made.height), expected, "{size:?}");
                assert_eq!(
                    made.smaller.iter().map(|(width, _)| *width).collect::<Vec<_>>(),
                    widths
                );
                for (width, file) in made.smaller.iter().chain(&[(expected.0, made.file.clone())]) {
                    assert!(file.windows(4).any(|part| part == b"VP8 "), "lossless");
                    let shown = decode(file, ImageFormat::WebP).unwrap().into_rgb8();
                    assert_eq!(shown.width(), *width);
                    assert_eq!(shown.height(), part(size.1, *width, size.0));
                    if size.0 > 1 {
                        let [left, right] = [0, width - 1].map(|x| shown.get_pixel(x, 0).0);
                        assert!(left[0] > 200 && left[2] < 60, "{left:?}");
                        assert!(right[2] > 200 && right[0] < 60, "{right:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_tall_picture_fits_into_webp() {
        assert_eq!(scaled(800, 20_000, 1200), (655, 16_383));
        assert_eq!(scaled(1200, 16_384, 1200), (1200, 16_383));
        assert_eq!(scaled(24_000_000, 1, 1200), (1200, 1));
        let made = rendered(file(&two_halves(20, 20_000), ImageFormat::Png)).unwrap();
        assert_eq!((made.width, made.height), (16, 16_383));
    }

    /// Returns a JPEG file with an Exif orientation and the place where it was taken.
    fn with_exif(picture: &RgbImage, orientation: u8) -> Bytes {
        let mut exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
        exif.extend(b"52.5200N 13.4050E");
        let mut file = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut file, 95);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.encode_image(picture).unwrap();
        assert!(file.windows(8).any(|part| part == b"52.5200N"));
        file.into()
    }

    #[test]
    fn a_picture_is_upright_and_its_metadata_is_gone() {
        // The left half is red: at the left, at the right, at the right, at the left, and so on (Exif
        // 2.32, tag Orientation).
        for (orientation, expected) in [
            (1, "left"),
            (2, "right"),
            (3, "right"),
            (4, "left"),
            (5, "top"),
            (6, "top"),
            (7, "bottom"),
            (8, "bottom"),
        ] {
            let made = rendered(with_exif(&two_halves(1600, 800), orientation)).unwrap();
            let lies = orientation >= 5;
            assert_eq!((made.width, made.height), if lies { (800, 1600) } else { (1200, 600) });
            let shown = decode(&made.file, ImageFormat::WebP).unwrap().into_rgb8();
            let (width, height) = shown.dimensions();
            let (x, y) = match expected {
                "left" => (9, height / 2),
                "right" => (width - 9, height / 2),
                "top" => (width / 2, 9),
                _ => (width / 2, height - 9),
            };
            let [red, _, blue] = shown.get_pixel(x, y).0;
            assert!(red > 200 && blue < 60, "{orientation}: {red} {blue}");
            for file in made.smaller.iter().map(|(_, file)| file).chain([&made.file]) {
                assert!(!file.windows(8).any(|part| part == b"52.5200N"));
                assert!(!file.windows(4).any(|part| part == b"EXIF" || part == b"Exif"));
            }
        }
    }

    #[test]
    fn transparency_and_the_colour_profile_are_kept() {
        let picture = image::RgbaImage::from_fn(600, 10, |x, _| {
            image::Rgba([0, 200, 0, if x < 300 { 0 } else { 255 }])
        });
        let mut profile = vec![7; 128];
        profile[16..20].copy_from_slice(b"RGB ");
        let mut file = Vec::new();
        let mut encoder = image::codecs::png::PngEncoder::new(&mut file);
        encoder.set_icc_profile(profile.clone()).unwrap();
        encoder.write_image(&picture, 600, 10, image::ExtendedColorType::Rgba8).unwrap();
        let made = rendered(file.into()).unwrap();
        for (file, width) in [(&made.file, 600), (&made.smaller[0].1, 500)] {
            let mut head = decoder(file, ImageFormat::WebP).unwrap();
            assert_eq!(head.icc_profile().unwrap(), Some(profile.clone()));
            let shown = decode(file, ImageFormat::WebP).unwrap().into_rgba8();
            assert_eq!(shown.width(), width);
            assert_eq!((shown.get_pixel(5, 5).0[3], shown.get_pixel(width - 5, 5).0[3]), (0, 255));
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_refused() {
        let picture = two_halves(64, 64);
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP] {
            let whole = file(&picture, format);
            // A PNG is complete before its last chunk, which is empty.
            let end = whole.len() - if format == ImageFormat::Png { 13 } else { 1 };
            for length in (super::super::format::SIGNATURE_BYTES..end).step_by(7).chain([end]) {
                let refused = rendered(whole.slice(..length));
                assert!(
                    matches!(refused, Err(PictureError::Damaged(_))),
                    "{format:?} {length} of {}: {refused:?}",
                    whole.len()
                );
            }
        }
    }

    #[test]
    fn pixels_are_counted_before_they_are_decoded() {
        let refused = |file: Bytes, max| {
            let format = Format::of(&file).unwrap();
            Picture::inspect(file, format, max).map(|picture| picture.memory())
        };
        let png = file(&two_halves(100, 50), ImageFormat::Png);
        assert!(refused(png.clone(), 5_000).is_ok_and(|memory| memory >= 5_000 * 3));
        assert!(matches!(
            refused(png.clone(), 4_999),
            Err(PictureError::TooManyPixels { width: 100, height: 50, max: 4_999 })
        ));
        // The head says 60,000 × 60,000; nothing but the head is read.
        let mut bomb = png.to_vec();
        for at in [16, 20] {
            bomb[at..at + 4].copy_from_slice(&60_000_u32.to_be_bytes());
        }
        let checksum = crc32(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&checksum.to_be_bytes());
        let expected = PictureError::TooManyPixels { width: 60_000, height: 60_000, max: MAX };
        assert_eq!(refused(bomb.into(), MAX), Err(expected));
        // Sixteen bits for a colour take twice the memory.
        let deep = image::ImageBuffer::<image::Rgba<u16>, _>::new(100, 50);
        let mut file = Cursor::new(Vec::new());
        DynamicImage::from(deep).write_to(&mut file, ImageFormat::Png).unwrap();
        let deep = Bytes::from(file.into_inner());
        assert!(refused(deep.clone(), 10_000).is_ok_and(|memory| memory >= 5_000 * 8));
        assert!(refused(deep, 9_999).is_err());
    }

    /// Returns an animated GIF with two frames of this size.
    fn animated_gif(width: u32, height: u32) -> Bytes {
        let mut file = Vec::new();
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut file);
        for _ in 0..2 {
            let frame = DynamicImage::from(two_halves(width, height)).into_rgba8();
            encoder.encode_frame(image::Frame::new(frame)).unwrap();
        }
        drop(encoder);
        file.into()
    }

    #[test]
    fn the_memory_of_an_animation_is_counted() {
        let inspected = |file: &Bytes, max| {
            Picture::inspect(file.clone(), Format::of(file).unwrap(), max)
                .map(|picture| picture.memory())
        };
        let gif = animated_gif(100, 50);
        assert_eq!(inspected(&gif, 5_000), Ok(PIXEL_BYTES * (5_000 + 5_000)));
        assert!(inspected(&gif, 4_999).is_err());
        // The canvas is smaller than the frames.
        let mut small_canvas = gif.to_vec();
        small_canvas[6..10].copy_from_slice(&[1, 0, 1, 0]);
        let small_canvas = small_canvas.into();
        assert_eq!(inspected(&small_canvas, 5_000), Ok(PIXEL_BYTES * (1 + 5_000)));
        assert!(inspected(&small_canvas, 4_999).is_err());
        // 320 × 200.
        let chunks = b"WEBPVP8X\x0a\0\0\0\x02\0\0\0\x3f\x01\0\xc7\0\0ANMF\x02\0\0\0ab";
        let length = u32::try_from(chunks.len()).unwrap().to_le_bytes();
        let webp = Bytes::from([b"RIFF", &length[..], chunks].concat());
        assert_eq!(inspected(&webp, 64_000), Ok(3 * PIXEL_BYTES * 64_000));
        assert!(inspected(&webp, 63_999).is_err());
    }

    /// Returns a JPEG file whose head is that of a file of this size and with this marker.
    fn jpeg_head(width: u16, height: u16, marker: u8) -> Bytes {
        let mut head = file(&two_halves(16, 16), ImageFormat::Jpeg).to_vec();
        let at = head.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        head[at + 1] = marker;
        head[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
        head[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
        head.into()
    }

    #[test]
    fn the_memory_of_the_decoder_and_of_the_encoder_is_counted() {
        let inspected = |file: Bytes| {
            let format = Format::of(&file).unwrap();
            Picture::inspect(file, format, MAX).map(|picture| picture.memory())
        };
        let (baseline, progressive) = (0xc0, 0xc2);
        // Both sides become multiples of eight at least.
        let padded = jpeg_head(3999, 2993, progressive);
        let least = 3 * 3999 * 2993 + 2 * 3 * 4000 * 3000;
        let memory = inspected(padded).unwrap();
        assert!((least..least + 2 * 3 * 20 * 4000).contains(&memory), "{memory}");
        assert!(inspected(jpeg_head(3999, 2993, baseline)).unwrap() < least);
        // Three scans of one component each hold what a progressive file does.
        let mut scans = jpeg_head(4000, 3000, baseline).to_vec();
        let at = scans.windows(2).position(|pair| pair == [0xff, START_OF_SCAN]).unwrap();
        assert_eq!(coefficients(&scans), 0);
        scans[at + 4] = 1;
        assert_eq!(coefficients(&scans), coefficients(&jpeg_head(4000, 3000, progressive)));

        assert!(inspected(jpeg_head(6000, 4000, baseline)).is_ok());
        let refused = inspected(jpeg_head(6000, 4000, progressive)).unwrap_err();
        assert!(matches!(refused, PictureError::TooMuchMemory { .. }), "{refused:?}");
        assert!(refused.to_string().contains("progressive JPEG"), "{refused}");

        let webp = file(&two_halves(1000, 10), ImageFormat::WebP);
        assert!(inspected(webp).unwrap() >= (3 + 4) * 10_000);
        let png = file(&two_halves(1000, 10), ImageFormat::Png);
        assert!(inspected(png).unwrap() >= (3 + ENCODER_PIXEL_BYTES) * 10_000);
    }

    /// Returns the checksum of a chunk of PNG (ISO 3309).
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |state, byte| {
            (0..8).fold(state ^ u32::from(*byte), |state, _| {
                if state & 1 == 1 { state >> 1 ^ 0xedb8_8320 } else { state >> 1 }
            })
        })
    }
}
