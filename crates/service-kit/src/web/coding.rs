//! Content codings (RFC 9110 §8.4.1): which one a client gets, and how it is made.

use std::io::Write;

use actix_web::web::Bytes;
use flate2::{Compression, write::GzEncoder};

/// The smallest body that is compressed, in bytes: a smaller one fits into a packet as it is.
pub const MIN_BYTES: usize = 1024;

/// The quality of Brotli (0–11) and of gzip (0–9): the usual ones for answers that are made on demand
/// (nginx, Apache). Higher ones take several times as long for a few per cent.
const BROTLI_QUALITY: u32 = 5;
const GZIP_LEVEL: u32 = 6;

/// The window of Brotli, as a power of two: four megabytes, more than any body that is kept.
const BROTLI_WINDOW: u32 = 22;

/// The size of the buffer of the encoder, in bytes.
const BUFFER_BYTES: usize = 4096;

/// A coding in which a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// The body as it is.
    Identity,
    /// gzip.
    Gzip,
    /// Brotli.
    Brotli,
}

/// The codings with a body of their own, the best first.
pub const CODINGS: [Coding; 2] = [Coding::Brotli, Coding::Gzip];

impl Coding {
    /// Returns the registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }

    /// Returns the best coding that a client accepts by its headers `Accept-Encoding` (RFC 9110
    /// §12.5.3).
    pub fn accepted<'a>(headers: impl Iterator<Item = &'a str>) -> Self {
        let mut named = [None; CODINGS.len()];
        let (mut any, mut identity) = (None, None);
        for item in headers.flat_map(|header| header.split(',')) {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let (name, weight) = (name.trim(), weight(parameters));
            // RFC 9110 §8.4.1.3
            let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
            match CODINGS.iter().position(|coding| name.eq_ignore_ascii_case(coding.name())) {
                Some(index) => named[index] = Some(weight),
                None if name == "*" => any = Some(weight),
                None if name.eq_ignore_ascii_case("identity") => identity = Some(weight),
                None => {}
            }
        }
        let mut best = (Self::Identity, 0.0);
        for (coding, named) in CODINGS.into_iter().zip(named) {
            let weight: f32 = named.or(any).unwrap_or(0.0);
            if weight > best.1 {
                best = (coding, weight);
            }
        }
        // A client that prefers the plain body says so.
        if identity.is_some_and(|identity| identity > best.1) { Self::Identity } else { best.0 }
    }

    /// Compresses a body. Returns `None` if that does not make it smaller.
    pub fn encode(self, body: &[u8]) -> Option<Bytes> {
        let mut encoded = Vec::with_capacity(body.len() / 4);
        let is_encoded = match self {
            Self::Identity => return None,
            Self::Gzip => {
                let mut encoder = GzEncoder::new(&mut encoded, Compression::new(GZIP_LEVEL));
                encoder.write_all(body).and_then(|()| encoder.finish().map(drop))
            }
            Self::Brotli => {
                let (quality, window) = (BROTLI_QUALITY, BROTLI_WINDOW);
                let mut encoder =
                    brotli::CompressorWriter::new(&mut encoded, BUFFER_BYTES, quality, window);
                let written = encoder.write_all(body).and_then(|()| encoder.flush());
                // Writes the end.
                drop(encoder);
                written
            }
        };
        encoded.shrink_to_fit();
        (is_encoded.is_ok() && encoded.len() < body.len()).then(|| encoded.into())
    }
}

/// Returns the weight among the parameters of an item; 1 without one, 0 for one that is malformed.
fn weight(parameters: &str) -> f32 {
    let mut weights = parameters.split(';').filter_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
    });
    weights.next().unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_best_coding_that_a_client_accepts_is_chosen() {
        use Coding::*;
        for (header, coding) in [
            ("gzip, deflate, br, zstd", Brotli),
            ("gzip", Gzip),
            ("GZIP", Gzip),
            ("x-gzip", Gzip),
            ("br;q=0.5, gzip;q=0.8", Gzip),
            ("br;q=0.5, gzip;q=0.5", Brotli),
            ("gzip;q=0", Identity),
            ("gzip; Q=0.0, br;q=0", Identity),
            ("*", Brotli),
            ("br;q=0, *;q=0.1", Gzip),
            ("*;q=0", Identity),
            ("identity", Identity),
            ("identity;q=0.5, gzip;q=1.0", Gzip),
            ("identity, gzip;q=0.5", Identity),
            ("deflate, zstd, gzipped", Identity),
            ("gzip;q=x", Identity),
            ("gzip;level=9", Gzip),
            ("", Identity),
            (",;,;q=1", Identity),
        ] {
            assert_eq!(Coding::accepted([header].into_iter()), coding, "{header}");
        }
        assert_eq!(Coding::accepted([].into_iter()), Identity);
        assert_eq!(Coding::accepted(["deflate", "gzip"].into_iter()), Gzip);
    }

    #[test]
    fn a_coding_is_decoded_to_the_same_bytes() {
        let body = "a story about a story, ".repeat(10_000);
        let gzip = Coding::Gzip.encode(body.as_bytes()).unwrap();
        let mut decoded = String::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut decoded).unwrap();
        assert!(decoded == body && gzip.len() < 3_000, "{}", gzip.len());
        let br = Coding::Brotli.encode(body.as_bytes()).unwrap();
        let mut decoded = String::new();
        brotli::Decompressor::new(&br[..], 4096).read_to_string(&mut decoded).unwrap();
        assert!(decoded == body && br.len() < 3_000, "{}", br.len());
        // What cannot be compressed stays as it is.
        let random: Vec<u8> =
            (0..5_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let random = Coding::Gzip.encode(&random).unwrap_or_default();
        assert!(Coding::Gzip.encode(&random).is_none());
        assert!(Coding::Identity.encode(body.as_bytes()).is_none());
    }
}
