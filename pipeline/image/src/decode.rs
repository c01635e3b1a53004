//! One picture. In: its bytes. Out: [`DecodedImage`] or [`Rejected`]. Pixels equal PIL's
//! `Image.open(f).convert("RGB").resize((size, size), BILINEAR)`, where PIL is right.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fault;
use crate::formats;
use crate::hash::{Look, Thumb, dhash, look, thumb};
use crate::image::{Header, RejectReason, Rejected};
use crate::jpeg::{self, is_jpeg};
use crate::panics::caught;
use crate::resize::resize_rgb;
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
    pub thumb: Thumb,
    /// `[48, 48]` u8 luma of box means of `pixels`.
    pub look: Look,
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
    fault::meet(bytes);
    let (header, pixels) = if is_jpeg(bytes) {
        jpeg::square(bytes, settings, |header| permit(header, settings))?
    } else {
        let header = formats::header(bytes)?;
        let square = permit(&header, settings).and_then(|_permit| {
            let mut rgb = formats::pixels(bytes, &header)?;
            if settings.apply_orientation {
                rgb = rgb.oriented(header.orientation);
            }
            resize_rgb(&rgb, settings.size, settings.filter)
                .map_err(|error| Rejected::new(RejectReason::Corrupt, error))
        });
        match square {
            Ok(square) => (header, square),
            Err(rejected) => return Err(rejected.with(&header)),
        }
    };
    let size = settings.size as usize;
    Ok(DecodedImage {
        dhash: dhash(&pixels, size),
        thumb: thumb(&pixels, size),
        look: look(&pixels, size),
        header,
        pixels,
    })
}

/// What is held while a picture's pixels are decoded: for a large one, the right to be the only large one.
fn permit(
    header: &Header,
    settings: &DecodeSettings,
) -> Result<Option<MutexGuard<'static, ()>>, Rejected> {
    let area_px = u64::from(header.width) * u64::from(header.height);
    if area_px > settings.max_pixels {
        let detail = format!(
            "{} x {} is {area_px} pixels, decode.max_pixels is {}",
            header.width, header.height, settings.max_pixels
        );
        return Err(Rejected::new(RejectReason::TooManyPixels, detail));
    }
    // A poisoned lock only says that another decode panicked; nothing is kept under it.
    Ok((area_px > LARGE_PX).then(|| LARGE.lock().unwrap_or_else(PoisonError::into_inner)))
}
