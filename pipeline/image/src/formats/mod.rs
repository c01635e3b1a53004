//! Every format but JPEG, one file each where it needs care of its own. In: bytes. Out: header, or full-size RGB as PIL's
//! `convert("RGB")` makes it; of a format that is known but not decoded, its name.

mod any;
mod avif;
mod bmp;
mod gif;
mod ico;
mod png;
mod reject;
mod tiff;

use image::ImageFormat;

use crate::image::{Header, RejectReason, Rejected, Rgb};
use crate::media_type::{media_type, spoken_name};

/// Formats that are read here, whatever the `image` crate is built with.
const OWN: [ImageFormat; 6] = [
    ImageFormat::Avif,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::Ico,
    ImageFormat::Png,
    ImageFormat::Tiff,
];

pub(crate) fn header(bytes: &[u8]) -> Result<Header, Rejected> {
    match format_of(bytes)? {
        ImageFormat::Avif => avif::header(bytes),
        ImageFormat::Bmp => bmp::header(bytes),
        ImageFormat::Gif => gif::header(bytes),
        ImageFormat::Ico => ico::header(bytes),
        ImageFormat::Png => png::header(bytes),
        ImageFormat::Tiff => tiff::header(bytes),
        format => any::header(bytes, format),
    }
}

pub(crate) fn pixels(bytes: &[u8], header: &Header) -> Result<Rgb, Rejected> {
    match format_of(bytes)? {
        ImageFormat::Avif => avif::pixels(bytes),
        ImageFormat::Bmp => bmp::pixels(bytes, header),
        ImageFormat::Gif => gif::pixels(bytes, header),
        ImageFormat::Ico => ico::pixels(bytes, header),
        ImageFormat::Png => png::pixels(bytes, header),
        ImageFormat::Tiff => tiff::pixels(bytes),
        format => any::pixels(bytes, format, header),
    }
}

fn format_of(bytes: &[u8]) -> Result<ImageFormat, Rejected> {
    let Some(name) = media_type(bytes) else {
        let start: String = bytes.iter().take(24).map(|b| b.escape_ascii().to_string()).collect();
        let detail = format!("the content begins with `{start}`");
        return Err(Rejected::new(RejectReason::NotAnImage, detail));
    };
    let nameless = ImageFormat::Farbfeld;
    let format = ImageFormat::from_mime_type(name)
        .or_else(|| (name == nameless.to_mime_type()).then_some(nameless));
    format.filter(|f| OWN.contains(f) || f.reading_enabled()).ok_or_else(|| {
        let name = spoken_name(name);
        Rejected::new(RejectReason::UnsupportedFormat, format!("{name} is not decoded"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_and_not_decoded_is_named() {
        for (bytes, expected) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIC is not decoded"),
            (b"\xff\x0a\xfa\x1f", "JPEG XL is not decoded"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000 is not decoded"),
            (b"8BPS\0\x01", "PSD is not decoded"),
            (b"\x0a\x05\x01\x08", "PCX is not decoded"),
            (b"\x01\xda\x01\x01", "SGI is not decoded"),
            (b"Pf\n2 2\n-1.0\n", "PFM is not decoded"),
            (b"icns\0\0\x10\0", "ICNS is not decoded"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG is not decoded"),
        ] {
            let rejected = header(bytes).unwrap_err();
            assert_eq!(rejected.reason, RejectReason::UnsupportedFormat);
            assert_eq!(rejected.detail, expected);
        }
        assert_eq!(header(b"<!DOCTYPE html>").unwrap_err().reason, RejectReason::NotAnImage);
    }

    /// The beginning of a file is truncated, or all that its picture needs: never another picture.
    #[test]
    fn the_beginning_of_a_file_is_the_same_picture_or_none() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/tests/decode/files/");
        for (name, least_to_spare) in [
            ("png_no_checksum.png", 0),
            ("png_adam7_tiny.png", 16),
            ("png_palette4.png", 16),
            ("gif_no_palette.gif", 1),
            ("gif_local_palette.gif", 1),
            ("avif_420.avif", 0),
            ("avif_grid.avif", 0),
            ("avif_12bit_alpha.avif", 0),
            ("tiff_group4.tif", 0),
            ("tiff_group3_2d.tif", 0),
            ("tiff_palette2.tif", 0),
            ("tiff_orientation6_lzw.tif", 0),
            ("tiff_jpeg_rgb.tif", 0),
            ("ico_8.ico", 64),
            ("bmp_runs.bmp", 0),
            ("bmp_no_padding.bmp", 0),
            ("bmp_os2_long.bmp", 0),
            ("webp_grey.webp", 0),
        ] {
            let file = std::fs::read(format!("{folder}{name}")).unwrap();
            let decoded = |bytes: &[u8]| header(bytes).and_then(|header| pixels(bytes, &header));
            let whole = decoded(&file).unwrap_or_else(|rejected| panic!("{name}: {rejected}"));
            let mut n_to_spare = 0;
            for length in (1..file.len()).rev() {
                match decoded(&file[..length]) {
                    Ok(rgb) => {
                        assert!(
                            rgb.pixels == whole.pixels,
                            "{name}: {length} bytes give another picture"
                        );
                        n_to_spare += 1;
                    }
                    Err(rejected) => assert!(!rejected.detail.contains("panicked"), "{rejected}"),
                }
            }
            assert!(n_to_spare >= least_to_spare, "{name}: {n_to_spare} bytes to spare");
        }
    }
}
