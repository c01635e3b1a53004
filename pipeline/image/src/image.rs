//! One picture. In: its bytes. Out: [`DecodedImage`] or [`Rejected`]. Pixels equal PIL's
//! `Image.open(f).convert("RGB").resize((size, size), BILINEAR)` to one level of 255, where PIL is right.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::{dhash, jpeg, other, resize_rgb, thumb};
use tuwen_settings::DecodeSettings;

/// Originals above this many pixels are decoded one at a time, so that memory is bounded by one of them and not by one a core.
const LARGE_PX: u64 = 32_000_000;

static LARGE: Mutex<()> = Mutex::new(());

/// What a file says it is, read before any pixel is allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Width in pixels as stored, before any rotation.
    pub width: u32,
    /// Height in pixels as stored, before any rotation.
    pub height: u32,
    /// Format by content: `jpeg`, `png`, ….
    pub format: &'static str,
    /// Colour type of the file: `l`, `la`, `p`, `rgb`, `rgba`, `cmyk`, `l16`, ….
    pub color: &'static str,
    /// EXIF orientation, 1 to 8.
    pub orientation: u8,
    /// Number of frames; 1 unless animated.
    pub frames: u32,
}

/// Why a file has no pixels. The list is closed; `images.reject_reason` holds these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// Zero bytes.
    Empty,
    /// The content is no picture format (HTML, text, garbage).
    NotAnImage,
    /// A picture format, or a variant of one, that cannot be decoded.
    UnsupportedFormat,
    /// The file ends before its picture does.
    Truncated,
    /// The file contradicts its format.
    Corrupt,
    /// More pixels than `decode.max_pixels`.
    TooManyPixels,
    /// The decoder would need more memory than the picture's size explains.
    OutOfMemory,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::NotAnImage => "not_an_image",
            Self::UnsupportedFormat => "unsupported_format",
            Self::Truncated => "truncated",
            Self::Corrupt => "corrupt",
            Self::TooManyPixels => "too_many_pixels",
            Self::OutOfMemory => "out_of_memory",
        })
    }
}

/// A file without pixels.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Why, from the closed list.
    pub reason: RejectReason,
    /// What the decoder said.
    pub detail: String,
    /// What the header said, where it could be read.
    pub header: Option<Header>,
}

impl Rejected {
    pub(crate) fn new(reason: RejectReason, detail: impl fmt::Display) -> Self {
        Self { reason, detail: detail.to_string(), header: None }
    }

    fn with(mut self, header: &Header) -> Self {
        self.header = Some(header.clone());
        self
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

/// A decoded picture.
pub struct DecodedImage {
    /// What the file was.
    pub header: Header,
    /// `[size, size, 3]` u8, RGB, row-major.
    pub pixels: Vec<u8>,
    /// 64-bit difference hash of `pixels`.
    pub dhash: i64,
    /// `[8, 8, 3]` u8 box means of `pixels`.
    pub thumb: [u8; 192],
}

/// Decodes one picture file to the stored square.
///
/// # Errors
/// [`Rejected`] with a reason from the closed list; a bad file never panics and never allocates more than its header explains.
pub fn decode_image(bytes: &[u8], settings: &DecodeSettings) -> Result<DecodedImage, Rejected> {
    if bytes.is_empty() {
        return Err(Rejected::new(RejectReason::Empty, "0 bytes"));
    }
    let is_jpeg = bytes.starts_with(&[0xff, 0xd8, 0xff]);
    let header = if is_jpeg { jpeg::header(bytes) } else { other::header(bytes) }?;
    let area_px = u64::from(header.width) * u64::from(header.height);
    if area_px > settings.max_pixels {
        let detail = format!(
            "{} x {} is {area_px} pixels, decode.max_pixels is {}",
            header.width, header.height, settings.max_pixels
        );
        return Err(Rejected::new(RejectReason::TooManyPixels, detail).with(&header));
    }
    // A poisoned lock only says that another decode panicked; nothing is kept under it.
    let _one_at_a_time =
        (area_px > LARGE_PX).then(|| LARGE.lock().unwrap_or_else(PoisonError::into_inner));

    let decoded =
        if is_jpeg { jpeg::pixels(bytes, settings) } else { other::pixels(bytes, &header) };
    let mut rgb = decoded.map_err(|rejected| rejected.with(&header))?;
    if settings.apply_orientation && header.orientation != 1 {
        rgb = rgb.oriented(header.orientation);
    }
    let pixels = resize_rgb(&rgb, settings.size, settings.filter)
        .map_err(|error| Rejected::new(RejectReason::Corrupt, error).with(&header))?;
    let size = settings.size as usize;
    Ok(DecodedImage { dhash: dhash(&pixels, size), thumb: thumb(&pixels, size), header, pixels })
}

/// A full-size RGB picture on its way to the resize.
pub struct Rgb {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `[height, width, 3]` u8.
    pub pixels: Vec<u8>,
}

impl Rgb {
    /// The picture as a viewer that honours EXIF orientation `orientation` (1 to 8) would show it.
    fn oriented(self, orientation: u8) -> Self {
        let Some(orientation) = ::image::metadata::Orientation::from_exif(orientation) else {
            return self;
        };
        let buffer = ::image::RgbImage::from_raw(self.width, self.height, self.pixels)
            .expect("an Rgb's pixels have its size");
        let mut image = ::image::DynamicImage::ImageRgb8(buffer);
        image.apply_orientation(orientation);
        let (width, height) = (image.width(), image.height());
        Self { width, height, pixels: image.into_rgb8().into_raw() }
    }
}
