//! Writes a picture as a file of one of the kinds that a crawl brings. In: a [`Picture`]. Out: the file's bytes, the same on
//! every machine. Never a file name: what is inside and what a name says have nothing to do with each other.

use std::io::Cursor;

use anyhow::{Context, Result};
use image::codecs::{bmp::BmpEncoder, tiff::TiffEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageEncoder};
use turbojpeg::{Colorspace, Compressor, PixelFormat, Subsamp};

use crate::draw::{Picture, luma};

/// The kinds of picture files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JPEG, baseline, chroma halved both ways.
    Jpeg,
    /// JPEG, baseline, full chroma.
    JpegFull,
    /// JPEG, progressive, chroma halved one way.
    JpegProgressive,
    /// JPEG of one channel.
    JpegGrey,
    /// JPEG in CMYK as Adobe writes it: inverted, with the marker that says so.
    JpegCmyk,
    /// JPEG whose EXIF says: turn me by 90 degrees (orientation 6). Its pixels are the scene as captioned.
    JpegRotated,
    /// PNG, RGB, 8 bit.
    Png,
    /// PNG, RGB, 16 bit.
    Png16,
    /// PNG, grey, 8 bit.
    PngGrey,
    /// PNG with a palette.
    PngPalette,
    /// PNG, RGBA, everything opaque.
    PngOpaque,
    /// PNG, RGBA, fading out to the right.
    PngAlpha,
    /// WebP, lossless.
    Webp,
    /// GIF, one frame.
    Gif,
    /// BMP, 24 bit.
    Bmp,
    /// TIFF, RGB, uncompressed.
    Tiff,
}

use Encoding::*;

/// One round of encodings: scene `i` gets the encoding at `i % ROUND.len()`.
#[rustfmt::skip]
const ROUND: [Encoding; 40] = [
    Jpeg, JpegFull, Jpeg, Png, Jpeg, JpegProgressive, Webp, Jpeg,
    JpegGrey, JpegFull, Jpeg, Gif, Jpeg, PngAlpha, JpegProgressive, Jpeg,
    JpegCmyk, JpegFull, Bmp, Jpeg, JpegRotated, Jpeg, PngPalette, Jpeg,
    JpegFull, Webp, Jpeg, PngGrey, Jpeg, JpegProgressive, PngOpaque, Jpeg,
    Gif, JpegFull, Jpeg, Png16, Jpeg, Png, Jpeg, JpegRotated,
];

impl Encoding {
    /// The encoding of scene number `i`: seven in ten are JPEG. BMP and TIFF take turns, for they are big.
    pub fn of_scene(i: usize) -> Encoding {
        match ROUND[i % ROUND.len()] {
            Bmp if (i / ROUND.len()) % 2 == 1 => Tiff,
            encoding => encoding,
        }
    }

    /// Its name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Jpeg => "jpeg",
            JpegFull => "jpeg_full_chroma",
            JpegProgressive => "jpeg_progressive",
            JpegGrey => "jpeg_grey",
            JpegCmyk => "jpeg_cmyk",
            JpegRotated => "jpeg_rotated",
            Png => "png",
            Png16 => "png_16_bit",
            PngGrey => "png_grey",
            PngPalette => "png_palette",
            PngOpaque => "png_rgba_opaque",
            PngAlpha => "png_rgba",
            Webp => "webp",
            Gif => "gif",
            Bmp => "bmp",
            Tiff => "tiff",
        }
    }

    /// Whether a picture in it shows no colour.
    pub fn is_grey(self) -> bool {
        matches!(self, JpegGrey | PngGrey)
    }

    /// The bytes of `picture` as a file of this kind; JPEGs in `quality`, 1 to 100.
    pub fn encode(self, picture: &Picture, quality: i32) -> Result<Vec<u8>> {
        let (w, h, rgb) = (picture.width_px, picture.height_px, picture.rgb.as_slice());
        let mut out = Cursor::new(Vec::new());
        match self {
            Jpeg => return jpeg(picture, rgb, PixelFormat::RGB, Subsamp::Sub2x2, quality, false),
            JpegFull => return jpeg(picture, rgb, PixelFormat::RGB, Subsamp::None, quality, false),
            JpegProgressive => {
                return jpeg(picture, rgb, PixelFormat::RGB, Subsamp::Sub2x1, quality, true);
            }
            JpegGrey => {
                return jpeg(
                    picture,
                    &luma(picture),
                    PixelFormat::GRAY,
                    Subsamp::Gray,
                    quality,
                    false,
                );
            }
            JpegCmyk => {
                return jpeg(
                    picture,
                    &inverted_cmyk(rgb),
                    PixelFormat::CMYK,
                    Subsamp::None,
                    quality,
                    false,
                );
            }
            JpegRotated => {
                let plain = jpeg(picture, rgb, PixelFormat::RGB, Subsamp::Sub2x2, quality, false)?;
                return Ok(with_orientation(&plain, 6));
            }
            Png => png(&mut out, picture, png::ColorType::Rgb, png::BitDepth::Eight, rgb, None)?,
            Png16 => {
                let doubled: Vec<u8> = rgb.iter().flat_map(|&level| [level, level]).collect();
                png(
                    &mut out,
                    picture,
                    png::ColorType::Rgb,
                    png::BitDepth::Sixteen,
                    &doubled,
                    None,
                )?;
            }
            PngGrey => png(
                &mut out,
                picture,
                png::ColorType::Grayscale,
                png::BitDepth::Eight,
                &luma(picture),
                None,
            )?,
            PngPalette => {
                let (palette, indices) = dithered(picture);
                png(
                    &mut out,
                    picture,
                    png::ColorType::Indexed,
                    png::BitDepth::Eight,
                    &indices,
                    Some(palette),
                )?;
            }
            PngOpaque => png(
                &mut out,
                picture,
                png::ColorType::Rgba,
                png::BitDepth::Eight,
                &with_alpha(picture, false),
                None,
            )?,
            PngAlpha => png(
                &mut out,
                picture,
                png::ColorType::Rgba,
                png::BitDepth::Eight,
                &with_alpha(picture, true),
                None,
            )?,
            Webp => WebPEncoder::new_lossless(&mut out)
                .encode(rgb, w, h, ExtendedColorType::Rgb8)
                .context("WebP")?,
            Gif => gif(&mut out, picture)?,
            Bmp => BmpEncoder::new(&mut out)
                .encode(rgb, w, h, ExtendedColorType::Rgb8)
                .context("BMP")?,
            Tiff => TiffEncoder::new(&mut out)
                .write_image(rgb, w, h, ExtendedColorType::Rgb8)
                .context("TIFF")?,
        }
        Ok(out.into_inner())
    }
}

fn jpeg(
    picture: &Picture,
    pixels: &[u8],
    format: PixelFormat,
    chroma: Subsamp,
    quality: i32,
    progressive: bool,
) -> Result<Vec<u8>> {
    let (width, height) = (picture.width_px as usize, picture.height_px as usize);
    let mut compressor = Compressor::new()?;
    compressor.set_quality(quality)?;
    compressor.set_subsamp(chroma)?;
    compressor.set_progressive(progressive)?;
    if format == PixelFormat::CMYK {
        compressor.set_colorspace(Colorspace::CMYK)?;
    }
    let image = turbojpeg::Image { pixels, width, pitch: width * format.size(), height, format };
    compressor.compress_to_vec(image).context("JPEG")
}

/// Full black replacement, then every value inverted: what Adobe's programs store, and what readers turn back.
fn inverted_cmyk(rgb: &[u8]) -> Vec<u8> {
    let convert = |p: &[u8]| {
        let most = u32::from(p[0].max(p[1]).max(p[2]));
        let ink =
            |level: u8| (u32::from(level) * 255 + most / 2).checked_div(most).unwrap_or(255) as u8;
        [ink(p[0]), ink(p[1]), ink(p[2]), most as u8]
    };
    rgb.chunks_exact(3).flat_map(convert).collect()
}

/// The JPEG with an EXIF segment of one entry, the orientation, after its first marker.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut tiff = b"Exif\0\0II*\0\x08\0\0\0\x01\0".to_vec();
    // Tag 0x0112, type SHORT, one value; then: no further directory.
    tiff.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0]);
    let length = (tiff.len() + 2) as u16;
    [&jpeg[..2], &[0xff, 0xe1], &length.to_be_bytes(), &tiff, &jpeg[2..]].concat()
}

fn png(
    out: &mut Cursor<Vec<u8>>,
    picture: &Picture,
    color: png::ColorType,
    depth: png::BitDepth,
    data: &[u8],
    palette: Option<Vec<u8>>,
) -> Result<()> {
    let mut encoder = png::Encoder::new(out, picture.width_px, picture.height_px);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::Fast);
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    let mut writer = encoder.write_header().context("PNG header")?;
    writer.write_image_data(data).context("PNG data")?;
    writer.finish().context("PNG end")
}

fn gif(out: &mut Cursor<Vec<u8>>, picture: &Picture) -> Result<()> {
    // GIF has 16 bits for a side; a scene's are far below.
    let (width, height) = (picture.width_px as u16, picture.height_px as u16);
    let (palette, indices) = dithered(picture);
    let mut encoder = gif::Encoder::new(out, width, height, &palette).context("GIF header")?;
    let frame = gif::Frame::from_indexed_pixels(width, height, indices, None);
    encoder.write_frame(&frame).context("GIF data")
}

/// RGBA; fading means that alpha falls from 255 at the left edge to 40 at the right one, over unchanged colours.
fn with_alpha(picture: &Picture, fading: bool) -> Vec<u8> {
    let width = picture.width_px as usize;
    let alpha = |i: usize| if fading { (255 - i % width * 215 / width) as u8 } else { 255 };
    let pixels = picture.rgb.chunks_exact(3).enumerate();
    pixels.flat_map(|(i, p)| [p[0], p[1], p[2], alpha(i)]).collect()
}

/// A palette of 6x7x6 even colours, and the picture dithered to it (ordered, 4x4 Bayer).
fn dithered(picture: &Picture) -> (Vec<u8>, Vec<u8>) {
    const LEVELS: [usize; 3] = [6, 7, 6];
    const BAYER: [usize; 16] = [0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5];
    let mut palette = Vec::new();
    for entry in 0..LEVELS[0] * LEVELS[1] * LEVELS[2] {
        let steps =
            [entry / (LEVELS[1] * LEVELS[2]), entry / LEVELS[2] % LEVELS[1], entry % LEVELS[2]];
        palette.extend((0..3).map(|c| (steps[c] * 255 / (LEVELS[c] - 1)) as u8));
    }
    let width = picture.width_px as usize;
    let index = |(i, p): (usize, &[u8])| {
        let threshold = BAYER[(i / width % 4) * 4 + i % width % 4] * 255 / 16;
        let step = |c: usize| (usize::from(p[c]) * (LEVELS[c] - 1) + threshold) / 255;
        ((step(0) * LEVELS[1] + step(1)) * LEVELS[2] + step(2)) as u8
    };
    let indices = picture.rgb.chunks_exact(3).enumerate().map(index).collect();
    (palette, indices)
}

/// A PNG of 65 bytes whose header promises `side_px` squared pixels.
pub fn bomb(side_px: u32) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer =
        png::Encoder::new(&mut out, side_px, side_px).write_header().context("bomb header")?;
    // An empty deflate stream in its zlib wrapping.
    writer
        .write_chunk(png::chunk::IDAT, &[0x78, 0x9c, 0x03, 0, 0, 0, 0, 1])
        .context("bomb data")?;
    drop(writer);
    Ok(out)
}
