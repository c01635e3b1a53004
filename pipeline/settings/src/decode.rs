//! Settings of `tuwen decode`.

use serde::{Deserialize, Serialize};

use crate::allowed::Allowed::{Bool, OneOf};
use crate::allowed::whole;
use crate::key::{choices, settings};

choices! {
    /// Filter of the resize to the stored square.
    pub enum ResizeFilter {
        /// Triangle, as PIL's `BILINEAR` and the seed's processor.
        Bilinear = "bilinear",
        /// Cubic with a = -0.5, as PIL's `BICUBIC`.
        Bicubic = "bicubic",
        /// Lanczos with a = 3, as PIL's `LANCZOS`.
        Lanczos = "lanczos",
    }
}

choices! {
    /// Whether JPEGs are decoded in full before the resize.
    pub enum DecodeSpeed {
        /// Every pixel is decoded; equals PIL.
        Exact = "exact",
        /// Large JPEGs are shrunk in the DCT domain first, to no less than twice the stored size.
        Fast = "fast",
    }
}

choices! {
    /// How the stored square is encoded; the names are those of `images.codec` too.
    pub enum PixelCodec {
        /// As it is: a reader copies it, at the speed of memory or of a fast local disk.
        Raw = "raw",
        /// As JPEG: about a tenth of the bytes, for disks and networks that cannot keep up; a
        /// reader decodes it.
        Jpeg = "jpeg",
    }
}

settings! {
    /// Settings of `tuwen decode`.
    pub struct DecodeSettings("decode.", settings => settings.decode) {
        /// Side of the stored square, in pixels.
        size: u32 = 224, whole(1..=4_096);
        /// Filter of the resize.
        filter: ResizeFilter = ResizeFilter::Bilinear, OneOf(ResizeFilter::NAMES);
        /// Exact as PIL, or fast for large JPEGs. Fast shrinks them while they are decoded.
        speed: DecodeSpeed = DecodeSpeed::Exact, OneOf(DecodeSpeed::NAMES);
        /// Largest original accepted, in pixels. The default is the one at which PIL stops.
        max_pixels: u64 = 178_956_970, whole(1..=1_000_000_000);
        /// Whether pixels are turned as EXIF says. The seed does not.
        apply_orientation: bool = false, Bool;
        /// Originals decoded in one commit. A killed run loses at most these.
        chunk_images: usize = 8_192, whole(1..=1_000_000);
        /// How the stored square is encoded. `tuwen bench storage` says which suits a disk.
        codec: PixelCodec = PixelCodec::Raw, OneOf(PixelCodec::NAMES);
        /// Quality of codec jpeg.
        jpeg_quality: u8 = 90, whole(1..=100);
    }
}
