//! A picture as it is exported. In: what a table has of it. Out: a file's bytes, what its name ends in, its hash; what does not keep its
//! checksum is refused. Never looks into an original.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use sha2::{Digest, Sha256};
use tuwen_image::decode_stored;
use tuwen_settings::PixelCodec;

use super::options::Pictures;

/// Hexadecimal digits of an image's id: the first 128 bits of a SHA-256.
const ID_DIGITS: usize = 32;

/// What an extension may be: whoever wrote `images.format`, it ends in a file's name.
const LONGEST_EXTENSION: usize = 8;

/// A picture file.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) file: Arc<Vec<u8>>,
    /// `jpg`, `png`, …
    pub(crate) extension: String,
    /// SHA-256 of `file`, hex.
    pub(crate) sha256: String,
    pub(crate) width: Option<i32>,
    pub(crate) height: Option<i32>,
}

/// What a table says of a picture.
pub(crate) struct Known<'a> {
    pub(crate) image_id: &'a str,
    pub(crate) format: Option<&'a str>,
    pub(crate) width: Option<i32>,
    pub(crate) height: Option<i32>,
    pub(crate) size_px: i32,
    pub(crate) codec: Option<&'a str>,
    pub(crate) pixels_crc32: Option<i64>,
}

impl Picture {
    /// `stored` as it is exported.
    ///
    /// # Errors
    /// It is damaged.
    pub(crate) fn of(which: Pictures, stored: Vec<u8>, known: &Known<'_>) -> Result<Self> {
        match which {
            Pictures::Original => {
                let extension = extension(known.format.unwrap_or_default());
                let picture = Self::new(stored, extension, known.width, known.height);
                ensure!(
                    picture.sha256.get(..ID_DIGITS) == Some(known.image_id),
                    "image {}: its file's SHA-256 is {}\nhint: tuwen repair",
                    known.image_id,
                    picture.sha256
                );
                Ok(picture)
            }
            Pictures::Decoded => {
                let png = decoded(&stored, known);
                let png = png.with_context(|| format!("image {}", known.image_id))?;
                let side = Some(known.size_px);
                Ok(Self::new(png, "png".to_owned(), side, side))
            }
        }
    }

    fn new(file: Vec<u8>, extension: String, width: Option<i32>, height: Option<i32>) -> Self {
        let hash = Sha256::digest(&file);
        let sha256 = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { file: Arc::new(file), extension, sha256, width, height }
    }
}

/// The value of `images.pixels` as PNG.
fn decoded(stored: &[u8], known: &Known<'_>) -> Result<Vec<u8>> {
    let crc = crc32fast::hash(stored);
    if known.pixels_crc32.is_some_and(|expected| expected != i64::from(crc)) {
        bail!("its pixels do not have their CRC-32\nhint: tuwen repair");
    }
    let size = u32::try_from(known.size_px).context("its size is negative")?;
    let codec = match known.codec {
        Some("jpeg") => PixelCodec::Jpeg,
        _ => PixelCodec::Raw,
    };
    let mut pixels = vec![0; size as usize * size as usize * 3];
    decode_stored(codec, stored, &mut pixels)?;
    let mut png = Vec::with_capacity(pixels.len());
    // The fast level is some percent larger, and takes a fraction of the time.
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive)
        .write_image(&pixels, size, size, ExtendedColorType::Rgb8)?;
    Ok(png)
}

/// What the name of a file of `format` (`images.format`) ends in.
fn extension(format: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    match format {
        "jpeg" => "jpg",
        name if name.is_empty() || name.len() > LONGEST_EXTENSION => "bin",
        name if name.chars().all(is_plain) => name,
        _ => "bin",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::extension;

    #[test]
    fn no_format_leads_out_of_a_shard() {
        for (format, expected) in [
            ("jpeg", "jpg"),
            ("png", "png"),
            ("webp", "webp"),
            ("", "bin"),
            ("../../etc/x", "bin"),
            ("a/b", "bin"),
            ("图", "bin"),
            ("tar.gz", "bin"),
        ] {
            assert_eq!(extension(format), expected);
        }
    }
}
