//! Full-size RGB to the stored square. Fixed-point convolution as PIL's `Image.resize` does it: support grows with the
//! scale, weights are normalised per output pixel, the horizontal pass comes first.

use std::cell::RefCell;

use anyhow::Result;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use crate::image::Rgb;
use tuwen_settings::ResizeFilter;

/// What a thread keeps from one picture to the next, to save allocations.
#[derive(Default)]
struct Kept {
    resizer: Resizer,
    /// The picture after the horizontal pass.
    narrow: Vec<u8>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// Resizes to `[size, size, 3]` u8, aspect ratio not kept (as the seed's processor).
///
/// # Errors
/// The picture has no pixels.
pub fn resize_rgb(rgb: &Rgb, size: u32, filter: ResizeFilter) -> Result<Vec<u8>> {
    let mut pixels = vec![0; size as usize * size as usize * 3];
    resize_into(&rgb.pixels, rgb.width, rgb.height, size, filter, &mut pixels)?;
    Ok(pixels)
}

/// As [`resize_rgb`], from `[height, width, 3]` to `out`, `[size, size, 3]`.
pub fn resize_into(
    pixels: &[u8],
    width: u32,
    height: u32,
    size: u32,
    filter: ResizeFilter,
    out: &mut [u8],
) -> Result<()> {
    let filter = match filter {
        ResizeFilter::Bilinear => FilterType::Bilinear,
        ResizeFilter::Bicubic => FilterType::CatmullRom,
        ResizeFilter::Lanczos => FilterType::Lanczos3,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    // Typed, so that the resizer is compiled for this kind of pixel alone.
    let source = TypedImageRef::<U8x3>::from_buffer(width, height, pixels)?;
    let mut target = TypedImage::<U8x3>::from_buffer(size, size, out)?;
    KEPT.with_borrow_mut(|Kept { resizer, narrow }| {
        narrow.resize(size as usize * height as usize * 3, 0);
        // Two calls, because the resizer takes the vertical pass first and PIL the horizontal one.
        let mut narrow = TypedImage::<U8x3>::from_buffer(size, height, narrow)?;
        resizer.resize_typed(&source, &mut narrow, &options)?;
        Ok(resizer.resize_typed(&narrow, &mut target, &options)?)
    })
}

/// Left becomes right, in `[size, size, 3]` u8.
pub fn mirror(pixels: &mut [u8], size: usize) {
    for line in pixels.chunks_exact_mut(size * 3) {
        line.as_chunks_mut::<3>().0.reverse();
    }
}
