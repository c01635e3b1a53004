//! Formats that the `image` crate reads as PIL does: WebP, PNM, TGA, DDS, HDR, QOI, Farbfeld, and BMP as `bmp.rs` hands it over. In: bytes. Out: header, or
//! full-size RGB as PIL's `convert("RGB")` makes it: alpha is dropped and not blended, 16 bits keep their high byte.

use std::io::Cursor;

use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::reject::{self, ALLOC_BYTES_FIXED, ALLOC_BYTES_PER_PX};
use crate::image::{Header, Rejected, Rgb};

pub(super) fn header(bytes: &[u8], format: ImageFormat) -> Result<Header, Rejected> {
    let mut decoder = decoder(bytes, format, ALLOC_BYTES_FIXED)?;
    let (width, height) = decoder.dimensions();
    let color = color_name(decoder.original_color_type());
    // A file whose EXIF cannot be read is still a picture.
    let orientation = decoder.orientation().map_or(1, |orientation| orientation.to_exif());
    let frames = if format == ImageFormat::WebP { webp_frames(bytes) } else { 1 };
    Ok(Header { width, height, format: name(format), color, orientation, frames })
}

pub(super) fn pixels(bytes: &[u8], format: ImageFormat, header: &Header) -> Result<Rgb, Rejected> {
    if format == ImageFormat::WebP && ends_early(bytes) {
        return Err(reject::truncated("the RIFF header names more bytes than there are"));
    }
    let area_px = u64::from(header.width) * u64::from(header.height);
    let max_alloc_bytes = ALLOC_BYTES_FIXED + ALLOC_BYTES_PER_PX * area_px;
    rgb(decoder(bytes, format, max_alloc_bytes)?)
}

/// The picture of `decoder`, whose limits are set.
pub(super) fn rgb(decoder: impl ImageDecoder) -> Result<Rgb, Rejected> {
    let image = DynamicImage::from_decoder(decoder).map_err(reject::of_image)?;
    Ok(Rgb { width: image.width(), height: image.height(), pixels: rgb8(image) })
}

pub(super) fn limits(max_alloc_bytes: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_alloc_bytes);
    limits
}

fn decoder(
    bytes: &[u8],
    format: ImageFormat,
    max_alloc_bytes: u64,
) -> Result<impl ImageDecoder + '_, Rejected> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits(max_alloc_bytes));
    reader.into_decoder().map_err(reject::of_image)
}

fn rgb8(image: DynamicImage) -> Vec<u8> {
    fn high<const N: usize>(samples: &[u16]) -> Vec<u8> {
        samples.as_chunks::<N>().0.iter().flat_map(|p| rgb(&p.map(|v| (v >> 8) as u8))).collect()
    }
    fn low<const N: usize>(samples: &[u8]) -> Vec<u8> {
        samples.as_chunks::<N>().0.iter().flat_map(|p| rgb(p)).collect()
    }
    fn rgb(samples: &[u8]) -> [u8; 3] {
        match *samples {
            [l] | [l, _] => [l; 3],
            [r, g, b, ..] => [r, g, b],
            [] => unreachable!("a pixel has a sample"),
        }
    }
    match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageLuma8(image) => low::<1>(&image),
        DynamicImage::ImageLumaA8(image) => low::<2>(&image),
        DynamicImage::ImageRgba8(image) => low::<4>(&image),
        DynamicImage::ImageLuma16(image) => high::<1>(&image),
        DynamicImage::ImageLumaA16(image) => high::<2>(&image),
        DynamicImage::ImageRgb16(image) => high::<3>(&image),
        DynamicImage::ImageRgba16(image) => high::<4>(&image),
        float => float.into_rgb8().into_raw(),
    }
}

/// Whether a RIFF file (WebP) is shorter than its header says.
fn ends_early(bytes: &[u8]) -> bool {
    let length = bytes.get(4..8).and_then(|field| field.first_chunk::<4>());
    length.is_some_and(|length| u64::from(u32::from_le_bytes(*length)) + 8 > bytes.len() as u64)
}

/// Frames of an animated WebP; 1 where the container cannot be followed.
fn webp_frames(bytes: &[u8]) -> u32 {
    image_webp::WebPDecoder::new(Cursor::new(bytes))
        .map_or(1, |decoder| decoder.num_frames().max(1))
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Pnm => "pnm",
        // The first extension of the others is their name: webp, bmp, ico, tga, dds, hdr, ff, qoi.
        other => other.extensions_str().first().copied().unwrap_or("other"),
    }
}

fn color_name(color: ExtendedColorType) -> &'static str {
    use ExtendedColorType as C;
    match color {
        C::A8 | C::L1 | C::L2 | C::L4 | C::L8 => "l",
        C::La1 | C::La2 | C::La4 | C::La8 => "la",
        C::Rgba1 | C::Rgba2 | C::Rgba4 | C::Rgba8 | C::Bgra8 => "rgba",
        C::L16 => "l16",
        C::La16 => "la16",
        C::Rgb16 => "rgb16",
        C::Rgba16 => "rgba16",
        C::Rgb32F | C::Rgba32F => "float",
        C::Cmyk8 | C::Cmyk16 => "cmyk",
        _ => "rgb",
    }
}
