//! From stored bytes to the encoder's input. In: u8 pixels `[b, side, side, 3]`. Out: a normalised tensor
//! `[b, 3, size, size]` on the device. Never keeps floats on the host: bytes travel, the device does the rest.

use tch::{Device, Kind, Tensor};

pub use crate::preprocessor::Normalise;

/// A square window of stored pictures, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    left: i64,
    top: i64,
    side: i64,
}

impl Crop {
    /// The whole picture of `side` pixels.
    pub fn whole(side: usize) -> Self {
        Self { left: 0, top: 0, side: side as i64 }
    }

    /// A window somewhere in a picture of `side` pixels, smaller than it by a random share of at most `most`, 0 to 1.
    /// The same seed gives the same window.
    pub fn random(side: usize, most: f64, seed: u64) -> Self {
        let share = |word: u64| splitmix(seed.wrapping_add(word)) as f64 / u64::MAX as f64; // 0 to 1
        let cut = (side as f64 * most * share(0)).round();
        let place = |word| (cut * share(word)).round() as i64;
        Self { left: place(1), top: place(2), side: side as i64 - cut as i64 }
    }
}

/// Mixes the bits of a seed, so that near seeds give far numbers (splitmix64, Steele et al. 2014).
pub(crate) fn splitmix(seed: u64) -> u64 {
    let z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Normalise {
    /// Uploads `b` pictures of `side` pixels, cuts a window out of each, resizes it (bilinear, antialiased, rounded to whole
    /// levels as PIL does) and normalises.
    ///
    /// # Panics
    /// If `pixels` does not hold `b * side * side * 3` bytes.
    pub fn pixels(
        &self,
        pixels: &[u8],
        b: usize,
        side: usize,
        crop: Crop,
        size: i64,
        device: Device,
    ) -> Tensor {
        assert_eq!(pixels.len(), b * side * side * 3, "{b} pictures of {side} px");
        let (b, side) = (b as i64, side as i64);
        // SAFETY: `b * side * side * 3` bytes stand in `pixels` (asserted), and this tensor and its views end within this
        // function: what it returns is computed from them, or from the copy that `upload` makes before it returns.
        #[expect(unsafe_code, reason = "a batch is megabytes: it is read where it stands")]
        let x = unsafe {
            let strides = [side * side * 3, side * 3, 3, 1];
            let shape = [b, side, side, 3];
            Tensor::from_blob(pixels.as_ptr(), &shape, &strides, Kind::Uint8, Device::Cpu)
        };
        let x = upload(x, device);
        let x = x.narrow(1, crop.top, crop.side).narrow(2, crop.left, crop.side);
        let x = x.permute([0, 3, 1, 2]); // [b, 3, crop, crop]
        let resize = |x: &Tensor| {
            x.internal_upsample_bilinear2d_aa([size, size], false, None::<f64>, None::<f64>)
        };
        let x = match (crop.side == size, device) {
            (true, _) => x,
            (false, Device::Cpu) => resize(&x),
            (false, _) => resize(&x.to_kind(Kind::Float)).round(), // CUDA resizes floats only
        };
        // Made on the device: copying them there would wait for all work in the device's queue.
        let channel = |values: [f64; 3]| {
            let one = |value| Tensor::full([1, 1, 1], value, (Kind::Float, device));
            Tensor::cat(&values.map(one), 0) // [3, 1, 1]
        };
        let (scale, shift) = self.scale_shift();
        x.to_kind(Kind::Float) * channel(scale) + channel(shift) // [b, 3, size, size]
    }
}

/// `x` on `device`. To a CUDA device it goes through a copy in page-locked memory, as PyTorch's `pin_memory` and `non_blocking`
/// do: the copy from there is asynchronous, one more piece of work in the device's queue. The memory of `x` itself may be written
/// to afterwards.
pub(crate) fn upload(x: Tensor, device: Device) -> Tensor {
    if device == Device::Cpu {
        return x;
    }
    // Memory that cannot be page-locked, or was already (so that it was not copied), is copied synchronously.
    let copied = x.f_pin_memory(device).ok().filter(|copy| copy.data_ptr() != x.data_ptr());
    match copied {
        Some(copy) => copy.to_device_(device, x.kind(), true, false),
        None => x.to_device(device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_become_minus_one_to_one() {
        let x = Normalise::default().pixels(&[0, 51, 255], 1, 1, Crop::whole(1), 1, Device::Cpu);
        let x = Vec::<f32>::try_from(x.flatten(0, -1)).unwrap();
        assert!(
            x.iter().zip([-1.0, -0.6, 1.0]).all(|(x, e): (&f32, f32)| (x - e).abs() < 1e-6),
            "{x:?}"
        );
    }

    #[test]
    fn an_even_picture_stays_even_when_resized() {
        let x = Normalise::default().pixels(
            &[200; 2 * 32 * 32 * 3],
            2,
            32,
            Crop::whole(32),
            8,
            Device::Cpu,
        );
        assert_eq!(x.size(), [2, 3, 8, 8]);
        assert_eq!((x.max() - x.min()).double_value(&[]), 0.0);
    }

    #[test]
    fn windows_stay_inside_and_vary() {
        let crops: Vec<_> = (0..1000).map(|seed| Crop::random(100, 0.1, seed)).collect();
        assert!(crops.iter().all(|c| (90..=100).contains(&c.side)));
        assert!(crops.iter().all(|c| c.left.max(c.top) + c.side <= 100 && c.left.min(c.top) >= 0));
        assert!(
            crops.iter().any(|c| c.left > 7) && crops.iter().any(|c| c.top == 0 && c.side < 95)
        );
        assert_eq!(Crop::random(100, 0.0, 7), Crop::whole(100));
    }

    #[test]
    fn a_window_is_cut_at_its_place() {
        let picture: Vec<u8> = (0..4 * 4).flat_map(|i| [i, 0, 0]).collect();
        let crop = Crop { left: 1, top: 2, side: 2 };
        let x = Normalise::default().pixels(&picture, 1, 4, crop, 2, Device::Cpu);
        let red = (x.select(1, 0) + 1.0) * 127.5;
        let red = Vec::<f32>::try_from(red.round().flatten(0, -1)).unwrap();
        assert_eq!(red, [9.0, 10.0, 13.0, 14.0]);
    }
}
