//! Full-size RGB to the stored square. Fixed-point convolution as PIL's `Image.resize` does it: support grows with the
//! scale, weights are normalised per output pixel, the horizontal pass comes first.

use std::cell::RefCell;

use anyhow::Result;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::decode::image::Rgb;
use crate::settings::ResizeFilter;

thread_local! {
    // A resizer keeps its intermediate buffer; one a thread saves an allocation a picture.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Resizes to `[size, size, 3]` u8, aspect ratio not kept (as the seed's processor).
///
/// # Errors
/// The picture has no pixels.
pub fn resize_rgb(rgb: &Rgb, size: u32, filter: ResizeFilter) -> Result<Vec<u8>> {
    let source = ImageRef::new(rgb.width, rgb.height, &rgb.pixels, PixelType::U8x3)?;
    let mut target = Image::new(size, size, PixelType::U8x3);
    let filter = match filter {
        ResizeFilter::Bilinear => FilterType::Bilinear,
        ResizeFilter::Bicubic => FilterType::CatmullRom,
        ResizeFilter::Lanczos => FilterType::Lanczos3,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    // Two calls, because the resizer takes the vertical pass first and PIL the horizontal one.
    let mut narrow = Image::new(size, rgb.height, PixelType::U8x3);
    RESIZER.with_borrow_mut(|resizer| {
        resizer.resize(&source, &mut narrow, &options)?;
        resizer.resize(&narrow, &mut target, &options)
    })?;
    Ok(target.into_vec())
}
