//! A picture on its way: what its file says it is, its pixels in full size, or why there are none.

use std::fmt;

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

impl RejectReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Empty,
        Self::NotAnImage,
        Self::UnsupportedFormat,
        Self::Truncated,
        Self::Corrupt,
        Self::TooManyPixels,
        Self::OutOfMemory,
    ];

    /// As it stands in `images.reject_reason`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAnImage => "not_an_image",
            Self::UnsupportedFormat => "unsupported_format",
            Self::Truncated => "truncated",
            Self::Corrupt => "corrupt",
            Self::TooManyPixels => "too_many_pixels",
            Self::OutOfMemory => "out_of_memory",
        }
    }

    /// The reason called `name`.
    ///
    /// # Errors
    /// There is none; which there are.
    pub fn of(name: &str) -> Result<Self, String> {
        let (names, name) = (Self::ALL.map(Self::name).join(", "), name.trim());
        let found = Self::ALL.into_iter().find(|reason| reason.name() == name);
        found.ok_or_else(|| format!("expected one of {names}, found `{name}`"))
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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

    pub(crate) fn with(mut self, header: &Header) -> Self {
        self.header = Some(header.clone());
        self
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
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
    pub(crate) fn oriented(self, orientation: u8) -> Self {
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
