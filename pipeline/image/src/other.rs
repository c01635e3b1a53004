//! Every format but JPEG, by the `image` crate; GIF by the `gif` crate it builds on. In: bytes. Out: header, or full-size
//! RGB as PIL's `convert("RGB")` makes it: alpha is dropped and not blended, 16 bits keep their high byte.

use std::io::{Cursor, ErrorKind};

use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits,
};

use crate::image::{Header, RejectReason, Rejected, Rgb};
use crate::jpeg::rgb_of_cmyk;

/// Bytes a decoder may allocate for a pixel of the header's size: 16 for RGBA f32, twice for its own work.
const ALLOC_BYTES_PER_PX: u64 = 32;

/// Bytes a decoder may allocate for tables and palettes whatever the size.
const ALLOC_BYTES_FIXED: u64 = 64 << 20;

pub(crate) fn header(bytes: &[u8]) -> Result<Header, Rejected> {
    match format_of(bytes)? {
        ImageFormat::Gif => gif_header(bytes),
        format => {
            let mut decoder = decoder(bytes, format, None)?;
            let (width, height) = decoder.dimensions();
            let color = color_name(bytes, format, decoder.original_color_type());
            // A file whose EXIF cannot be read is still a picture.
            let orientation = decoder.orientation().map_or(1, |orientation| orientation.to_exif());
            let format = format_name(format);
            Ok(Header { width, height, format, color, orientation, frames: frames(bytes, format) })
        }
    }
}

pub(crate) fn pixels(bytes: &[u8], header: &Header) -> Result<Rgb, Rejected> {
    let area_px = u64::from(header.width) * u64::from(header.height);
    match format_of(bytes)? {
        ImageFormat::Gif => gif_pixels(bytes, header),
        ImageFormat::Tiff if header.color == "cmyk" => tiff_cmyk_pixels(bytes, header),
        format => {
            if format == ImageFormat::WebP && ends_early(bytes) {
                return Err(Rejected::new(
                    RejectReason::Truncated,
                    "the RIFF header names more bytes than there are",
                ));
            }
            let decoder =
                decoder(bytes, format, Some(ALLOC_BYTES_FIXED + ALLOC_BYTES_PER_PX * area_px))?;
            let image = DynamicImage::from_decoder(decoder).map_err(reject)?;
            Ok(Rgb { width: image.width(), height: image.height(), pixels: rgb8(image) })
        }
    }
}

fn format_of(bytes: &[u8]) -> Result<ImageFormat, Rejected> {
    // TGA has no magic number but, from version 2 on, a signature at its end.
    if bytes.ends_with(b"TRUEVISION-XFILE.\0") {
        return Ok(ImageFormat::Tga);
    }
    image::guess_format(bytes).map_err(|_unknown| {
        let start: String = bytes.iter().take(24).map(|b| b.escape_ascii().to_string()).collect();
        Rejected::new(RejectReason::NotAnImage, format!("the content begins with `{start}`"))
    })
}

fn decoder(
    bytes: &[u8],
    format: ImageFormat,
    max_alloc_bytes: Option<u64>,
) -> Result<impl ImageDecoder + '_, Rejected> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = max_alloc_bytes.or(Some(ALLOC_BYTES_FIXED));
    reader.limits(limits);
    reader.into_decoder().map_err(reject)
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

fn gif_options(indexed: bool) -> gif::DecodeOptions {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::Indexed);
    options.skip_frame_decoding(!indexed);
    options.set_memory_limit(gif::MemoryLimit::Unlimited);
    options
}

/// The canvas grows to hold the first frame where a frame lies outside it, as PIL's does.
fn gif_header(bytes: &[u8]) -> Result<Header, Rejected> {
    let mut reader = gif_options(false).read_info(bytes).map_err(reject_gif)?;
    let canvas = (u32::from(reader.width()), u32::from(reader.height()));
    let (right, bottom) = match reader.next_frame_info().map_err(reject_gif)? {
        Some(frame) => gif_extent(frame),
        None => return Err(Rejected::new(RejectReason::Truncated, "no frame")),
    };
    let mut frames = 1;
    while let Ok(Some(_)) = reader.next_frame_info() {
        frames += 1;
    }
    Ok(Header {
        width: canvas.0.max(right),
        height: canvas.1.max(bottom),
        format: "gif",
        color: "p",
        orientation: 1,
        frames,
    })
}

fn gif_extent(frame: &gif::Frame<'_>) -> (u32, u32) {
    let right = u32::from(frame.left) + u32::from(frame.width);
    let bottom = u32::from(frame.top) + u32::from(frame.height);
    (right, bottom)
}

/// The first frame on its canvas; what it leaves free has the transparent colour, else colour 0.
fn gif_pixels(bytes: &[u8], header: &Header) -> Result<Rgb, Rejected> {
    let mut reader = gif_options(true).read_info(bytes).map_err(reject_gif)?;
    let global = reader.global_palette().map(<[u8]>::to_vec);
    let frame = reader.read_next_frame().map_err(reject_gif)?;
    let frame = frame.ok_or_else(|| Rejected::new(RejectReason::Truncated, "no frame"))?;
    let palette = frame.palette.as_deref().or(global.as_deref());
    let color = |index: u8| match palette {
        Some(palette) => {
            palette.as_chunks::<3>().0.get(usize::from(index)).copied().unwrap_or([0; 3])
        }
        None => [index; 3],
    };
    let width = header.width as usize;
    let mut pixels = color(frame.transparent.unwrap_or(0)).repeat(width * header.height as usize);
    let lines = frame.buffer.chunks_exact(usize::from(frame.width).max(1));
    for (y, line) in lines.enumerate() {
        let start = ((usize::from(frame.top) + y) * width + usize::from(frame.left)) * 3;
        let target = pixels[start..start + line.len() * 3].as_chunks_mut::<3>().0;
        for (out, index) in target.iter_mut().zip(line) {
            *out = color(*index);
        }
    }
    Ok(Rgb { width: header.width, height: header.height, pixels })
}

/// Frames of an animated PNG or WebP and pages of a TIFF; 1 where the container cannot be followed.
fn frames(bytes: &[u8], format: &str) -> u32 {
    let found = match format {
        "png" => png::Decoder::new(Cursor::new(bytes))
            .read_info()
            .ok()
            .and_then(|reader| reader.info().animation_control().map(|control| control.num_frames)),
        "webp" => image_webp::WebPDecoder::new(Cursor::new(bytes)).ok().map(|d| d.num_frames()),
        "tiff" => tiff::decoder::Decoder::new(Cursor::new(bytes)).ok().map(|mut decoder| {
            let mut pages = 1;
            while decoder.more_images() && decoder.next_image().is_ok() {
                pages += 1;
            }
            pages
        }),
        _ => None,
    };
    found.unwrap_or(1).max(1)
}

fn format_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "jpeg",
        ImageFormat::Pnm => "pnm",
        ImageFormat::OpenExr => "exr",
        // The first extension of the others is their name: png, webp, bmp, tiff, ico, tga, dds, hdr, ff, qoi.
        other => other.extensions_str().first().copied().unwrap_or("other"),
    }
}

fn color_name(bytes: &[u8], format: ImageFormat, color: ExtendedColorType) -> &'static str {
    use ExtendedColorType as C;
    // The decoders tell what they make of palettes and transparent colours; the headers tell what the file has.
    match (format, bytes.get(24..30)) {
        // Bit depth and colour type of a PNG's IHDR.
        (ImageFormat::Png, Some(&[depth, color_type, ..])) => {
            let is_deep = depth == 16;
            return match color_type {
                0 => {
                    if is_deep {
                        "l16"
                    } else {
                        "l"
                    }
                }
                3 => "p",
                4 => {
                    if is_deep {
                        "la16"
                    } else {
                        "la"
                    }
                }
                6 => {
                    if is_deep {
                        "rgba16"
                    } else {
                        "rgba"
                    }
                }
                _ => {
                    if is_deep {
                        "rgb16"
                    } else {
                        "rgb"
                    }
                }
            };
        }
        // Bits a pixel of a BITMAPINFOHEADER.
        (ImageFormat::Bmp, Some(&[.., 1..=8, 0])) => return "p",
        _ => {}
    }
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

/// The `image` crate makes RGB of CMYK in floating point; PIL does not.
fn tiff_cmyk_pixels(bytes: &[u8], header: &Header) -> Result<Rgb, Rejected> {
    let area_px = u64::from(header.width) * u64::from(header.height);
    let mut limits = tiff::decoder::Limits::default();
    limits.decoding_buffer_size = (ALLOC_BYTES_FIXED + ALLOC_BYTES_PER_PX * area_px) as usize;
    let decoded = tiff::decoder::Decoder::new(Cursor::new(bytes))
        .and_then(|decoder| decoder.with_limits(limits).read_image())
        .map_err(|error| Rejected::new(reason_of_text(&error.to_string()), error))?;
    let high: Vec<u8> = match decoded {
        tiff::decoder::DecodingResult::U8(samples) => samples,
        tiff::decoder::DecodingResult::U16(samples) => {
            samples.iter().map(|v| (v >> 8) as u8).collect()
        }
        _ => {
            return Err(Rejected::new(
                RejectReason::UnsupportedFormat,
                "CMYK that is neither 8 nor 16 bits deep",
            ));
        }
    };
    if high.len() as u64 != area_px * 4 {
        return Err(Rejected::new(
            RejectReason::UnsupportedFormat,
            "CMYK with more than four samples a pixel",
        ));
    }
    let pixels = high.as_chunks::<4>().0.iter().flat_map(|cmyk| rgb_of_cmyk(*cmyk)).collect();
    Ok(Rgb { width: header.width, height: header.height, pixels })
}

fn reject(error: ImageError) -> Rejected {
    let reason = match &error {
        ImageError::Unsupported(_) => RejectReason::UnsupportedFormat,
        ImageError::Limits(_) => RejectReason::OutOfMemory,
        ImageError::IoError(io) if io.kind() == ErrorKind::UnexpectedEof => RejectReason::Truncated,
        _ => reason_of_text(&error.to_string()),
    };
    Rejected::new(reason, error)
}

fn reject_gif(error: gif::DecodingError) -> Rejected {
    let reason = match &error {
        gif::DecodingError::Io(io) if io.kind() == ErrorKind::UnexpectedEof => {
            RejectReason::Truncated
        }
        _ => reason_of_text(&error.to_string()),
    };
    Rejected::new(reason, error)
}

/// The decoders wrap an early end of the file in texts of their own.
fn reason_of_text(text: &str) -> RejectReason {
    let text = text.to_lowercase();
    let ends_early =
        ["unexpected end", "unexpected eof", "failed to fill whole buffer", "eof", "not enough"];
    if ends_early.iter().any(|phrase| text.contains(phrase)) {
        RejectReason::Truncated
    } else {
        RejectReason::Corrupt
    }
}
