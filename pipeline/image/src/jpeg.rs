//! JPEG by libjpeg-turbo, as PIL decodes it. In: bytes. Out: header, or full-size RGB. Never accepts a file that ends early.

use image::metadata::Orientation;
use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat, ScalingFactor};

use crate::image::{Header, RejectReason, Rejected, Rgb};
use tuwen_settings::{DecodeSettings, DecodeSpeed};

/// Warnings of libjpeg after which every pixel is still what the file says.
const HARMLESS: [&str; 3] =
    ["extraneous bytes", "Unknown Adobe color transform", "Unknown JFIF revision"];

/// Scans of a progressive file beyond which it is an attack and not a picture.
const MAX_SCANS: u32 = 500;

pub(crate) fn header(bytes: &[u8]) -> Result<Header, Rejected> {
    let header = turbojpeg::read_header(bytes).map_err(|error| reject(&error.to_string()))?;
    Ok(Header {
        width: header.width as u32,
        height: header.height as u32,
        format: "jpeg",
        color: match header.colorspace {
            Colorspace::Gray => "l",
            Colorspace::CMYK | Colorspace::YCCK => "cmyk",
            _ => "rgb",
        },
        orientation: orientation(bytes),
        frames: 1,
    })
}

pub(crate) fn pixels(bytes: &[u8], settings: &DecodeSettings) -> Result<Rgb, Rejected> {
    let failed = |error: turbojpeg::Error| reject(&error.to_string());
    let mut decompressor = Decompressor::new().map_err(failed)?;
    decompressor.set_scan_limit(MAX_SCANS).map_err(failed)?;
    let mut header = decompressor.read_header(bytes).map_err(failed)?;
    if settings.speed == DecodeSpeed::Fast {
        let factor = fast_factor(header.width.min(header.height), settings.size as usize);
        decompressor.set_scaling_factor(factor).map_err(failed)?;
        header = header.scaled(factor);
    }
    let cmyk = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if cmyk { PixelFormat::CMYK } else { PixelFormat::RGB };
    let pitch = header.width * format.size();
    let mut pixels = vec![0; pitch * header.height];
    let output = Image {
        pixels: pixels.as_mut_slice(),
        width: header.width,
        pitch,
        height: header.height,
        format,
    };
    if let Err(error) = decompressor.decompress(bytes, output) {
        let message = error.to_string();
        if !HARMLESS.iter().any(|harmless| message.contains(harmless)) {
            return Err(reject(&message));
        }
    }
    if cmyk {
        pixels = rgb_of_inverted_cmyk(&pixels);
    }
    Ok(Rgb { width: header.width as u32, height: header.height as u32, pixels })
}

/// The smallest of the factors 1, 1/2, 1/4, 1/8 that leaves the shorter side at twice the stored size or more.
fn fast_factor(short_px: usize, size_px: usize) -> ScalingFactor {
    let denominator =
        [8, 4, 2].into_iter().find(|denominator| short_px / denominator >= 2 * size_px);
    ScalingFactor::new(1, denominator.unwrap_or(1))
}

fn reject(message: &str) -> Rejected {
    let reason = if message.contains("Premature end")
        || message.contains("premature end")
        || message.contains("missing SOS")
    {
        RejectReason::Truncated
    } else if message.contains("Unsupported")
        || message.contains("not supported")
        || message.contains("precision")
    {
        RejectReason::UnsupportedFormat
    } else {
        RejectReason::Corrupt
    };
    Rejected::new(reason, message)
}

/// Adobe stores CMYK inverted, and PIL takes every four-component JPEG to be so; then PIL's `cmyk2rgb`.
fn rgb_of_inverted_cmyk(inverted: &[u8]) -> Vec<u8> {
    inverted.as_chunks::<4>().0.iter().flat_map(|cmyk| rgb_of_cmyk(cmyk.map(|v| 255 - v))).collect()
}

/// PIL's `cmyk2rgb` (libImaging/Convert.c): paper white minus black, minus ink's share of it.
pub(crate) fn rgb_of_cmyk([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let white = 255 - u32::from(k);
    [c, m, y].map(|ink| {
        let product = u32::from(ink) * white + 128;
        white.saturating_sub(((product >> 8) + product) >> 8) as u8
    })
}

/// The EXIF orientation in the first APP1 segment that has one, else 1.
fn orientation(bytes: &[u8]) -> u8 {
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) =
        bytes.get(at..at + 4).and_then(|s| s.first_chunk::<4>())
    {
        let length = usize::from(u16::from_be_bytes([high, low]));
        if marker == 0xda || length < 2 {
            break;
        }
        let segment = bytes.get(at + 4..at + 2 + length).unwrap_or_default();
        if marker == 0xe1
            && let Some(orientation) =
                segment.strip_prefix(b"Exif\0\0").and_then(Orientation::from_exif_chunk)
        {
            return orientation.to_exif();
        }
        at += 2 + length;
    }
    1
}
