//! The formats of files, recognised by their content.

use super::isobmff;

/// The number of bytes at the beginning of a file by which its format is recognised.
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// The formats that can be uploaded, for messages.
pub(crate) const ACCEPTED: &str =
    "JPEG, PNG, GIF, WebP and AVIF pictures, and MP4, WebM and QuickTime videos";

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Avif,
    Gif,
    Jpeg,
    Mp4,
    Png,
    QuickTime,
    WebM,
    WebP,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Picture,
    Video,
}

impl Format {
    /// Returns the format of the file that begins with these bytes (WHATWG, "MIME Sniffing"). Returns
    /// `None` for others, such as SVG: it can contain scripts.
    pub(crate) fn of(begin: &[u8]) -> Option<Self> {
        match begin {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            // The header of EBML, whose element DocType tells WebM from Matroska.
            [0x1a, 0x45, 0xdf, 0xa3, rest @ ..] => {
                rest.windows(7).any(|part| part == b"\x42\x82\x84webm").then_some(Self::WebM)
            }
            _ => isobmff::format(begin),
        }
    }

    /// Returns the kind of the format.
    pub(crate) fn kind(self) -> FileKind {
        match self {
            Self::Mp4 | Self::QuickTime | Self::WebM => FileKind::Video,
            _ => FileKind::Picture,
        }
    }

    /// Returns the ends of names of files of the format, the usual one first.
    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Avif => &["avif"],
            Self::Gif => &["gif"],
            Self::Jpeg => &["jpg", "jpeg"],
            Self::Mp4 => &["mp4", "m4v"],
            Self::Png => &["png"],
            Self::QuickTime => &["mov", "qt"],
            Self::WebM => &["webm"],
            Self::WebP => &["webp"],
        }
    }

    /// Returns the end of the name of a new file.
    pub(crate) fn extension(self) -> &'static str {
        self.extensions().first().copied().unwrap_or_default()
    }

    /// Returns the format of a stored file. Only files of this format are stored under such a name.
    pub(crate) fn of_extension(extension: &str) -> Option<Self> {
        let all = [
            Self::Avif,
            Self::Gif,
            Self::Jpeg,
            Self::Mp4,
            Self::Png,
            Self::QuickTime,
            Self::WebM,
            Self::WebP,
        ];
        all.into_iter().find(|format| format.extensions().contains(&extension))
    }

    /// Returns the media type (IANA, "Media Types").
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Avif => "image/avif",
            Self::Gif => "image/gif",
            Self::Jpeg => "image/jpeg",
            Self::Mp4 => "video/mp4",
            Self::Png => "image/png",
            Self::QuickTime => "video/quicktime",
            Self::WebM => "video/webm",
            Self::WebP => "image/webp",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_recognised_by_the_first_bytes() {
        for (begin, expected) in [
            (&b"\xff\xd8\xff\xe0\x00\x10JFIF"[..], Some(Format::Jpeg)),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Some(Format::Png)),
            (b"GIF89a\x01\0\x01\0", Some(Format::Gif)),
            (b"GIF87a\x01\0\x01\0", Some(Format::Gif)),
            (b"RIFF\x24\0\0\0WEBPVP8 ", Some(Format::WebP)),
            (b"\0\0\0\x18ftypisom\0\0\x02\0isommp42", Some(Format::Mp4)),
            (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", Some(Format::QuickTime)),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", Some(Format::Avif)),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", Some(Format::Avif)),
            (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", Some(Format::WebM)),
            (b"\x1a\x45\xdf\xa3\xa3\x42\x82\x88matroska", None),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", None),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\">", None),
            (b"<!doctype html>", None),
            (b"RIFF\x24\0\0\0WAVEfmt ", None),
            (b"%PDF-1.7", None),
            (b"", None),
            (b"\xff\xd8", None),
        ] {
            assert_eq!(Format::of(begin), expected, "{}", begin.escape_ascii());
        }
    }

    #[test]
    fn each_extension_leads_to_its_format() {
        for format in [Format::Avif, Format::Jpeg, Format::QuickTime, Format::WebP] {
            assert_eq!(Format::of_extension(format.extension()), Some(format));
        }
        assert_eq!(Format::of_extension("svg"), None);
    }
}
