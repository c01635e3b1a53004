//! Random crops and flips. In: a picture of a batch and its example's id. Out: the same slot with what the epoch makes of the
//! picture. Never depends on who reads it: seed, epoch and id alone decide, so any readers, ranks and resumes give the same.

use anyhow::Result;

use crate::id::ExampleId;
use crate::options::{RandomResizedCrop, StreamOptions};
use crate::random::{below, key, mix};
use tuwen_image::{mirror, resize_into};
use tuwen_settings::ResizeFilter;

/// The part of [`key`] for these draws; an order's parts count from 0.
const PART: u64 = u64::MAX;

/// Tries for a window that fits, as torchvision's.
const TRIES: usize = 10;

impl RandomResizedCrop {
    /// A window of a square of `side` pixels: `get_params` of torchvision 0.2x, with its rounding and its central window
    /// where no try fits.
    fn window(&self, side: usize, draws: &mut Draws) -> CropWindow {
        let area = (side * side) as f64;
        let fits = |length: f64| length >= 1.0 && length <= side as f64;
        for _ in 0..TRIES {
            let target = area * draws.uniform(self.scale);
            let ratio = draws.uniform(self.ratio.map(f64::ln)).exp();
            let width = (target * ratio).sqrt().round_ties_even();
            let height = (target / ratio).sqrt().round_ties_even();
            if fits(width) && fits(height) {
                let (width, height) = (width as usize, height as usize);
                let top = draws.upto(side - height);
                let left = draws.upto(side - width);
                return CropWindow { left, top, width, height };
            }
        }
        let [least, most] = self.ratio;
        let shorter = |by: f64| (side as f64 / by).round_ties_even().max(1.0) as usize;
        let width = if most < 1.0 { shorter(1.0 / most) } else { side };
        let height = if least > 1.0 { shorter(least) } else { side };
        CropWindow { left: (side - width) / 2, top: (side - height) / 2, width, height }
    }
}

/// A part of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CropWindow {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

/// The random numbers of one example: SplitMix64.
struct Draws(u64);

impl Draws {
    fn bits(&mut self) -> u64 {
        let bits = mix(self.0);
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        bits
    }

    /// From `from` on, below `to`.
    fn uniform(&mut self, [from, to]: [f64; 2]) -> f64 {
        from + (to - from) * ((self.bits() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// 0 to `most`, both included.
    fn upto(&mut self, most: usize) -> usize {
        below(self.bits(), most as u64 + 1) as usize
    }
}

/// What one epoch does to its pictures.
#[derive(Clone)]
pub(crate) struct Augment {
    flip: f64,
    crop: Option<RandomResizedCrop>,
    key: u64,
    /// The window, cut out.
    cut: Vec<u8>,
}

impl Augment {
    /// What `options` asks for in `epoch`; none if that is nothing.
    pub(crate) fn of(options: &StreamOptions, epoch: u64) -> Option<Self> {
        let (flip, crop) = (options.flip, options.random_resized_crop);
        let key = key(options.seed, epoch, PART);
        (flip > 0.0 || crop.is_some()).then(|| Self { flip, crop, key, cut: Vec::new() })
    }

    /// Does it to `pixels`, `[size, size, 3]` u8, of example `id`: first the crop, then the flip.
    ///
    /// # Errors
    /// Never for a square; the resize's signature has them.
    pub(super) fn apply(&mut self, id: ExampleId, pixels: &mut [u8]) -> Result<()> {
        let size = (pixels.len() / 3).isqrt();
        let mut draws = Draws(mix(mix(self.key ^ id.0 as u64) ^ (id.0 >> 64) as u64));
        let is_flipped = draws.uniform([0.0, 1.0]) < self.flip;
        if let Some(crop) = self.crop {
            let window = crop.window(size, &mut draws);
            self.zoom(pixels, size, window)?;
        }
        if is_flipped {
            mirror(pixels, size);
        }
        Ok(())
    }

    /// Makes `window` of `pixels` all of `pixels`.
    fn zoom(&mut self, pixels: &mut [u8], size: usize, window: CropWindow) -> Result<()> {
        let CropWindow { left, top, width, height } = window;
        if (width, height) == (size, size) {
            return Ok(());
        }
        self.cut.clear();
        for line in pixels.chunks_exact(size * 3).skip(top).take(height) {
            self.cut.extend_from_slice(&line[left * 3..(left + width) * 3]);
        }
        let (width, height) = (width as u32, height as u32);
        resize_into(&self.cut, width, height, size as u32, ResizeFilter::Bilinear, pixels)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    fn windows(crop: RandomResizedCrop, side: usize, n: u64) -> Vec<CropWindow> {
        (0..n).map(|seed| crop.window(side, &mut Draws(mix(seed)))).collect()
    }

    #[test]
    fn windows_have_the_sizes_and_shapes_that_torchvision_draws() {
        let side = 224;
        let crop = RandomResizedCrop::default();
        let windows = windows(crop, side, 20_000);
        let share = |w: &CropWindow| (w.width * w.height) as f64 / (side * side) as f64;
        let (mut left, mut right, mut sum, mut log_sum) = (0, 0, 0.0, 0.0);
        for w in &windows {
            assert!(w.left + w.width <= side && w.top + w.height <= side);
            // Rounding both sides to whole pixels moves the area by half a pixel of each.
            let slack = (w.width + w.height) as f64 / (side * side) as f64;
            assert!((0.08 - slack..=1.0).contains(&share(w)), "{w:?}");
            let ratio = w.width as f64 / w.height as f64;
            assert!((0.75 * 0.98..1.334 * 1.02).contains(&ratio), "{w:?}");
            left += usize::from(w.left * 2 < side - w.width);
            right += usize::from(w.left * 2 > side - w.width);
            sum += share(w);
            log_sum += ratio.ln();
        }
        let n = windows.len() as f64;
        // 0.478 is the mean of 20,000 draws of `get_params` itself: large windows of a wide shape do not fit and are drawn anew.
        assert!((0.465..0.49).contains(&(sum / n)), "mean share {}", sum / n);
        assert!((log_sum / n).abs() < 0.01, "mean logarithm of the ratio {}", log_sum / n);
        assert!((left as f64 - right as f64).abs() < 5.0 * n.sqrt(), "{left} left, {right} right");
    }

    #[test]
    fn where_no_window_fits_it_is_the_central_one() {
        for (scale, ratio, expected) in [
            ([1.0, 1.0], [10.0, 20.0], CropWindow { left: 0, top: 45, width: 100, height: 10 }),
            ([1.0, 1.0], [0.05, 0.1], CropWindow { left: 45, top: 0, width: 10, height: 100 }),
            ([1.0, 1.0], [1.0, 1.0], CropWindow { left: 0, top: 0, width: 100, height: 100 }),
        ] {
            let crop = RandomResizedCrop { scale, ratio };
            assert_eq!(windows(crop, 100, 3), [expected; 3]);
        }
    }

    #[test]
    fn a_flip_is_the_mirror_and_comes_as_often_as_it_is_asked_for() {
        let mut pixels: Vec<u8> = (0..27).collect();
        mirror(&mut pixels, 3);
        assert_eq!(pixels[..9], [6, 7, 8, 3, 4, 5, 0, 1, 2]);
        assert_eq!(pixels[18..], [24, 25, 26, 21, 22, 23, 18, 19, 20]);
        for (flip, expected) in [(0.25, 2500.0), (1.0, 10_000.0)] {
            let options = StreamOptions { flip, ..StreamOptions::default() };
            let mut augment = Augment::of(&options, 3).unwrap();
            let flipped = (0..10_000).filter(|id| {
                let mut pixels = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3];
                augment.apply(ExampleId(*id), &mut pixels).unwrap();
                pixels[0] == 1
            });
            let flipped = flipped.count() as f64;
            assert!((flipped - expected).abs() < 5.0 * 50.0, "{flipped} of 10,000, not {expected}");
        }
        assert!(Augment::of(&StreamOptions::default(), 3).is_none());
    }

    /// Crops of random pictures against PIL's `crop(…).resize(…, BILINEAR)`, where the repository's `.venv` has PIL.
    #[test]
    fn a_crop_is_the_one_that_pil_makes() {
        const SIZE: usize = 56;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let random_resized_crop = Some(RandomResizedCrop::default());
        let options = StreamOptions { random_resized_crop, ..StreamOptions::default() };
        let mut augment = Augment::of(&options, 0).unwrap();
        let (mut input, mut ours) = (Vec::new(), Vec::new());
        for seed in 0..64 {
            let mut draws = Draws(seed);
            let mut pixels: Vec<u8> =
                (0..SIZE * SIZE * 3).map(|_| (draws.bits() >> 56) as u8).collect();
            let window = RandomResizedCrop::default().window(SIZE, &mut draws);
            let CropWindow { left, top, width, height } = window;
            for number in [left, top, width, height] {
                input.extend_from_slice(&(number as u32).to_le_bytes());
            }
            input.extend_from_slice(&pixels);
            augment.zoom(&mut pixels, SIZE, window).unwrap();
            ours.extend_from_slice(&pixels);
        }
        let python = root.join("../../.venv/bin/python");
        let has_pil = Command::new(&python).args(["-c", "import PIL, numpy"]).output();
        if !has_pil.is_ok_and(|output| output.status.success()) {
            eprintln!("no PIL in .venv: not compared; `make test` installs it");
            return;
        }
        let mut pil = Command::new(&python);
        pil.arg(root.join("../cli/tests/stream/crop.py")).arg(SIZE.to_string());
        let mut pil = pil.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        pil.stdin.take().unwrap().write_all(&input).unwrap();
        let theirs = pil.wait_with_output().unwrap().stdout;
        assert_eq!(ours.len(), theirs.len());
        // Noise is the hardest picture: each of the two passes may round the other way than PIL's, seldom both.
        let mut pixels_by_levels = [0_usize; 256];
        for (a, b) in ours.iter().zip(&theirs) {
            pixels_by_levels[usize::from(a.abs_diff(*b))] += 1;
        }
        let [_, one, two, more @ ..] = &pixels_by_levels;
        let said =
            format!("{:?} of {} differ by 0, 1, … levels", &pixels_by_levels[..4], ours.len());
        assert!(more.iter().all(|n| *n == 0), "{said}");
        assert!(two * 10_000 <= ours.len() && one * 10 <= ours.len(), "{said}");
    }
}
