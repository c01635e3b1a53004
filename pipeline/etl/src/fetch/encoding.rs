//! Content-Encoding. In: a body as it came, and the header. Out: the body as it was meant, never longer than asked. Nothing is asked
//! for compressed; some servers compress pictures all the same.

use std::io::{Cursor, Read};

use flate2::bufread::GzDecoder;
use flate2::read::{DeflateDecoder, ZlibDecoder};

/// How a member of gzip begins (RFC 1952, 2.3.1).
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// Buffer of the brotli decoder, as its documentation has it.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// 8 MiB, the largest window of zstd over HTTP (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Encodings on top of each other that are undone at most.
const MOST_LAYERS: usize = 4;

/// Why a body cannot be undone.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Undecodable {
    /// It would be longer than allowed.
    TooLarge,
    /// It is not what the header says.
    Broken(String),
}

/// Undoes `header`'s encodings. What is not compressed though the header says so stays as it is, and so does what has a name that is
/// none: both are seen in crawls with whole pictures.
///
/// # Errors
/// [`Undecodable`].
pub(super) fn decode(header: &str, body: Vec<u8>, max_bytes: u64) -> Result<Vec<u8>, Undecodable> {
    let body = decode_start(header, body, max_bytes + 1)?;
    if body.len() as u64 > max_bytes { Err(Undecodable::TooLarge) } else { Ok(body) }
}

/// The same, of which only the first `most_bytes` are wanted.
///
/// # Errors
/// [`Undecodable::Broken`].
pub(super) fn decode_start(
    header: &str,
    mut body: Vec<u8>,
    most_bytes: u64,
) -> Result<Vec<u8>, Undecodable> {
    // The last was put on last.
    let encodings = header.rsplit(',').map(|name| name.trim().to_ascii_lowercase());
    for encoding in encodings.take(MOST_LAYERS) {
        if tuwen_image::media_type(&body).is_some() {
            break;
        }
        body = match encoding.as_str() {
            "gzip" | "x-gzip" if body.starts_with(GZIP_MAGIC) => gunzip(&body, most_bytes)?,
            // The standard means zlib; some servers send it bare.
            "deflate" => match read(ZlibDecoder::new(body.as_slice()), most_bytes) {
                Err(_) => read(DeflateDecoder::new(body.as_slice()), most_bytes)?,
                Ok(decoded) => decoded,
            },
            "br" => {
                let body = Cursor::new(body);
                read(brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER_BYTES), most_bytes)?
            }
            "zstd" => {
                let mut decoder =
                    zstd::stream::read::Decoder::new(body.as_slice()).map_err(broken)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(broken)?;
                read(decoder, most_bytes)?
            }
            _ => body,
        };
    }
    Ok(body)
}

/// All members of `body`; what stands behind them and is none is left, as browsers and curl leave it.
fn gunzip(mut body: &[u8], most_bytes: u64) -> Result<Vec<u8>, Undecodable> {
    let mut all = Vec::new();
    while body.starts_with(GZIP_MAGIC) && (all.len() as u64) < most_bytes {
        let mut member = GzDecoder::new(body);
        let left = most_bytes - all.len() as u64;
        member.by_ref().take(left).read_to_end(&mut all).map_err(broken)?;
        body = member.into_inner();
    }
    Ok(all)
}

fn read(decoder: impl Read, most_bytes: u64) -> Result<Vec<u8>, Undecodable> {
    let mut body = Vec::new();
    decoder.take(most_bytes).read_to_end(&mut body).map_err(broken)?;
    Ok(body)
}

fn broken(error: std::io::Error) -> Undecodable {
    Undecodable::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn encodings_are_undone_in_their_order() {
        let text = "图文 ".repeat(1000).into_bytes();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(&text).unwrap();
        for (header, body) in [
            ("gzip", gzip(&text)),
            ("GZIP", gzip(&text)),
            ("x-gzip", gzip(&text)),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", bare.finish().unwrap()),
            ("zstd", zstd::stream::encode_all(text.as_slice(), 1).unwrap()),
            ("gzip, gzip", gzip(&gzip(&text))),
            ("gzip", [gzip(&text[..9]), gzip(&text[9..])].concat()),
            ("gzip", [gzip(&text), b"\r\n\0".to_vec()].concat()),
            ("zstd, gzip", gzip(&zstd::stream::encode_all(text.as_slice(), 1).unwrap())),
            ("identity", text.clone()),
            ("utf-8", text.clone()),
            ("gzip", text.clone()),
        ] {
            assert_eq!(decode(header, body, 1 << 20).unwrap(), text, "{header}");
        }
    }

    #[test]
    fn brotli_of_another_encoder_is_undone() {
        // python3 -c "import brotli; print(brotli.compress('图文'.encode()).hex())"
        let body = vec![0x8b, 0x02, 0x80, 0xe5, 0x9b, 0xbe, 0xe6, 0x96, 0x87, 0x03];
        assert_eq!(decode("br", body, 100).unwrap(), "图文".as_bytes());
    }

    #[test]
    fn a_picture_that_is_not_compressed_stays() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        assert_eq!(decode("br", png.clone(), 100).unwrap(), png);
    }

    #[test]
    fn a_bomb_ends_at_the_limit_and_a_cut_one_is_broken() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert_eq!(decode("gzip", bomb.clone(), 1 << 20), Err(Undecodable::TooLarge));
        assert_eq!(decode_start("gzip", bomb.clone(), 9).unwrap(), [0; 9]);
        let cut = bomb[..bomb.len() / 2].to_vec();
        assert!(matches!(decode("gzip", cut, 20 << 20), Err(Undecodable::Broken(_))));
        assert!(matches!(decode("br", b"no brotli".to_vec(), 100), Err(Undecodable::Broken(_))));
    }
}
