//! Every format but JPEG, one file each where it needs care of its own. In: bytes. Out: header, or full-size RGB as PIL's
//! `convert("RGB")` makes it; of a format that is known but not decoded, its name.

mod any;
mod avif;
mod gif;
mod ico;
mod png;
mod reject;
mod tiff;

use image::ImageFormat;

use crate::image::{Header, RejectReason, Rejected, Rgb};
use crate::media_type::{media_type, spoken_name};

pub(crate) fn header(bytes: &[u8]) -> Result<Header, Rejected> {
    match format_of(bytes)? {
        ImageFormat::Avif => avif::header(bytes),
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
    format.filter(|f| *f == ImageFormat::Avif || f.reading_enabled()).ok_or_else(|| {
        let name = spoken_name(name);
        Rejected::new(RejectReason::UnsupportedFormat, format!("{name} is not decoded"))
    })
}
