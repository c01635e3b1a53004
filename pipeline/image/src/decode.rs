//! One picture. In: its bytes. Out: [`DecodedImage`] or [`Rejected`]. Pixels equal PIL's
//! `Image.open(f).convert("RGB").resize((size, size), BILINEAR)` to one level of 255, where PIL is right.

use std::sync::{Mutex, PoisonError};

use crate::hash::{dhash, thumb};
use crate::image::{Header, RejectReason, Rejected};
use crate::panics::caught;
use crate::resize::resize_rgb;
use crate::{formats, jpeg};
use tuwen_settings::DecodeSettings;

/// Originals above this many pixels are decoded one at a time, so that memory is bounded by one of them and not by one a core.
const LARGE_PX: u64 = 32_000_000;

static LARGE: Mutex<()> = Mutex::new(());

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
/// [`Rejected`] with a reason from the closed list. A bad file never panics, whatever its decoder does ([`RejectReason::Corrupt`]),
/// and never allocates more than its header explains.
pub fn decode_image(bytes: &[u8], settings: &DecodeSettings) -> Result<DecodedImage, Rejected> {
    caught(|| decode(bytes, settings))
        .unwrap_or_else(|message| Err(Rejected::new(RejectReason::Corrupt, message)))
}

fn decode(bytes: &[u8], settings: &DecodeSettings) -> Result<DecodedImage, Rejected> {
    if bytes.is_empty() {
        return Err(Rejected::new(RejectReason::Empty, "0 bytes"));
    }
    let is_jpeg = bytes.starts_with(&[0xff, 0xd8, 0xff]);
    let header = if is_jpeg { jpeg::header(bytes) } else { formats::header(bytes) }?;
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
        if is_jpeg { jpeg::pixels(bytes, settings) } else { formats::pixels(bytes, &header) };
    let mut rgb = decoded.map_err(|rejected| rejected.with(&header))?;
    if settings.apply_orientation && header.orientation != 1 {
        rgb = rgb.oriented(header.orientation);
    }
    let pixels = resize_rgb(&rgb, settings.size, settings.filter)
        .map_err(|error| Rejected::new(RejectReason::Corrupt, error).with(&header))?;
    let size = settings.size as usize;
    Ok(DecodedImage { dhash: dhash(&pixels, size), thumb: thumb(&pixels, size), header, pixels })
}
