//! What a file is, by how it begins. In: bytes. Out: the media type of a picture, also of one that tuwen does not decode; none for
//! all else. Sources: the formats' specifications, and the MIME sniffing standard for what is text.

use image::ImageFormat;

/// Bytes among which the root element of an SVG is looked for.
const SVG_HEAD_BYTES: usize = 1024;

/// Pictures by their magic numbers that the `image` crate does not know: where it stands, what it is, the media type.
const MAGIC: &[(usize, &[u8], &str)] = &[
    (0, b"\xff\x0a", "image/jxl"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (0, b"\xff\x4f\xff\x51", "image/jp2"),
    // BigTIFF.
    (0, b"II+\0", "image/tiff"),
    (0, b"MM\0+", "image/tiff"),
    (0, b"8BPS\0", "image/vnd.adobe.photoshop"),
    (0, b"icns", "image/icns"),
    // TGA of the first version has no signature at its end: a colour map of no entries, where a cursor says how many it has.
    (0, b"\0\0\x02\0\0\0\0\0", "image/x-targa"),
    (0, b"\0\0\x0a\0\0\0\0\0", "image/x-targa"),
    (0, b"\0\0\x02\0", "image/x-icon"),
    (0, b"\x01\xda", "image/x-sgi"),
    (0, b"II\xbc\x01", "image/vnd.ms-photo"),
    (0, b"\x0a\x05\x01", "image/x-pcx"),
    (0, b"\x0a\x04\x01", "image/x-pcx"),
    (0, b"\x0a\x00\x01", "image/x-pcx"),
    (0, b"\x0a\x03\x01", "image/x-pcx"),
    (0, b"\x0a\x02\x01", "image/x-pcx"),
    (0, b"BPG\xfb", "image/bpg"),
    (0, b"gimp xcf", "image/x-xcf"),
    (0, b"\xd7\xcd\xc6\x9a", "image/wmf"),
    (40, b" EMF", "image/emf"),
    (0, b"%!PS", "application/postscript"),
    (0, b"\xc5\xd0\xd3\xc6", "application/postscript"),
    (0, b"SIMPLE  =", "image/fits"),
    (0, b"\xb1\x68\xde\x3a", "image/x-dcx"),
    (0, b"\x59\xa6\x6a\x95", "image/x-sun-raster"),
    (0, b"PF\n", "image/x-portable-floatmap"),
    (0, b"Pf\n", "image/x-portable-floatmap"),
    (0, b"/* XPM */", "image/x-xpixmap"),
    (0, b"BLP1", "image/x-blp"),
    (0, b"BLP2", "image/x-blp"),
];

/// Formats that are not decoded, in words.
const NAMES: &[(&str, &str)] = &[
    ("image/svg+xml", "SVG"),
    ("image/heic", "HEIC"),
    ("image/heif", "HEIF"),
    ("image/jxl", "JPEG XL"),
    ("image/jp2", "JPEG 2000"),
    ("image/vnd.adobe.photoshop", "PSD"),
    ("image/icns", "ICNS"),
    ("image/x-sgi", "SGI"),
    ("image/vnd.ms-photo", "JPEG XR"),
    ("image/x-pcx", "PCX"),
    ("image/x-dcx", "DCX"),
    ("image/bpg", "BPG"),
    ("image/x-xcf", "XCF"),
    ("image/wmf", "WMF"),
    ("image/emf", "EMF"),
    ("application/postscript", "PostScript"),
    ("image/fits", "FITS"),
    ("image/x-exr", "OpenEXR"),
    ("image/vnd-ms.dds", "DDS"),
    ("image/x-sun-raster", "Sun raster"),
    ("image/x-portable-floatmap", "PFM"),
    ("image/x-xpixmap", "XPM"),
    ("image/x-blp", "BLP"),
];

/// Brands of ISO media files that are pictures (the major brand, or one of the compatible ones), the most specific first.
const BRANDS: &[(&[u8; 4], &str)] = &[
    (b"avif", "image/avif"),
    (b"avis", "image/avif"),
    (b"heic", "image/heic"),
    (b"heix", "image/heic"),
    (b"heim", "image/heic"),
    (b"heis", "image/heic"),
    (b"hevc", "image/heic"),
    (b"hevx", "image/heic"),
    (b"hevm", "image/heic"),
    (b"hevs", "image/heic"),
    (b"mif1", "image/heif"),
    (b"msf1", "image/heif"),
];

/// The media type of a picture; none if `bytes` begin as none does.
pub fn media_type(bytes: &[u8]) -> Option<&'static str> {
    // TGA has no magic number but, from version 2 on, a signature at its end.
    if bytes.ends_with(b"TRUEVISION-XFILE.\0") {
        return Some(ImageFormat::Tga.to_mime_type());
    }
    if let Some(brand) = iso_brand(bytes) {
        return Some(brand);
    }
    if let Ok(format) = image::guess_format(bytes) {
        return Some(format.to_mime_type());
    }
    let known = MAGIC
        .iter()
        .find(|(at, magic, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    known.map(|(_, _, name)| *name).or_else(|| is_svg(bytes).then_some("image/svg+xml"))
}

/// What people call a media type.
pub(crate) fn spoken_name(media_type: &'static str) -> &'static str {
    NAMES.iter().find(|(name, _)| *name == media_type).map_or(media_type, |(_, spoken)| *spoken)
}

fn iso_brand(bytes: &[u8]) -> Option<&'static str> {
    let length = u32::from_be_bytes(*bytes.first_chunk::<4>()?) as usize;
    let body = bytes.get(4..length.clamp(4, 256).min(bytes.len()))?.strip_prefix(b"ftyp")?;
    let (brands, _) = body.as_chunks::<4>();
    // The second word is the version of the first.
    let brands = brands.iter().enumerate().filter(|(n, _)| *n != 1);
    let named = brands.filter_map(|(_, brand)| BRANDS.iter().position(|(name, _)| *name == brand));
    // The most specific one, which a file may name after one that any picture may bear.
    named.min().map(|at| BRANDS[at].1)
}

/// The root element is `svg`, after comments and declarations; a web page with an SVG in it is none.
fn is_svg(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(SVG_HEAD_BYTES)];
    let text = String::from_utf8_lossy(head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head));
    let text = text.to_ascii_lowercase();
    let mut rest = text.trim_start();
    loop {
        let end = match rest {
            _ if rest.starts_with("<svg") => return true,
            _ if rest.starts_with("<!--") => "-->",
            _ if rest.starts_with("<?") => "?>",
            _ if rest.starts_with("<!doctype svg") => ">",
            _ => return false,
        };
        let Some(at) = rest.find(end) else { return false };
        rest = rest[at + end.len()..].trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_their_beginning() {
        for (bytes, expected) in [
            (&b"\xff\xd8\xff\xe0"[..], Some("image/jpeg")),
            (b"\x89PNG\r\n\x1a\n", Some("image/png")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", Some("image/avif")),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", Some("image/heic")),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", Some("image/avif")),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Some("image/heic")),
            (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", None),
            (b"MM\0+\0\x08\0\0", Some("image/tiff")),
            (b"\0\0\x02\0\x01\0\x20\x20", Some("image/x-icon")),
            (b"\0\0\x02\0\0\0\0\0\0\0\0\0", Some("image/x-targa")),
            (b"8BPS\0\x01", Some("image/vnd.adobe.photoshop")),
            (b"PF\n2 2\n-1.0\n", Some("image/x-portable-floatmap")),
            (b"PFUND", None),
            (b"<svg xmlns='x'>", Some("image/svg+xml")),
            (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a --> <SVG>", Some("image/svg+xml")),
            (b"<!DOCTYPE html><html><svg>", None),
            (b"<?xml version='1.0'?><rss>", None),
            (b"{\"error\": 404}", None),
            (b"%PDF-1.4", None),
            (b"RIFF\x10\0\0\0AVI LIST", None),
            (b"", None),
            (b"\0", None),
            (b"\xff", None),
        ] {
            assert_eq!(media_type(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
