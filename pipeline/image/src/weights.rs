//! The weights of a resize along one side, as PIL computes them (libImaging/Resample.c, `precompute_coeffs` and
//! `normalize_coeffs_8bpc`). In: a length, another length, a filter. Out: for each place of the second, which places of the first
//! it is a sum of, and with which weights. In fixed point of 22 bits, so that the sums are whole numbers and their order is free.

use std::f64::consts::PI;

use tuwen_settings::ResizeFilter;

/// Bits behind the point.
pub(crate) const WEIGHT_BITS: u32 = 32 - 8 - 2;

/// The weights along one side.
#[derive(Default)]
pub(crate) struct Weights {
    /// The first place that counts, for each place that comes out.
    pub(crate) starts: Vec<u32>,
    /// The place after the last one that counts.
    pub(crate) ends: Vec<u32>,
    /// `[places that come out, taps]`; those behind the last place are 0.
    pub(crate) values: Vec<i32>,
    /// Weights of a place, a multiple of four.
    pub(crate) taps: usize,
}

impl Weights {
    /// Sets them to those that make `to` of `from`, both at least 1.
    pub(crate) fn set(&mut self, from: u32, to: u32, filter: ResizeFilter) {
        let (function, filter_support): (fn(f64) -> f64, f64) = match filter {
            ResizeFilter::Bilinear => (triangle, 1.0),
            ResizeFilter::Bicubic => (cubic, 2.0),
            ResizeFilter::Lanczos => (lanczos, 3.0),
        };
        let scale = f64::from(from) / f64::from(to);
        let filter_scale = scale.max(1.0);
        let support = filter_support * filter_scale;
        let center = |place: u32| (f64::from(place) + 0.5) * scale;
        let start = |place: u32| (center(place) - support + 0.5).max(0.0) as u32;
        let end = |place: u32| ((center(place) + support + 0.5) as u32).min(from);
        self.starts.clear();
        self.starts.extend((0..to).map(start));
        self.ends.clear();
        self.ends.extend((0..to).map(end));
        let lengths = self.starts.iter().zip(&self.ends).map(|(start, end)| end - start);
        self.taps = lengths.max().unwrap_or(0).next_multiple_of(4) as usize;
        self.values.clear();
        self.values.resize(to as usize * self.taps, 0);
        let mut weights = Vec::with_capacity(self.taps);
        for (place, values) in (0..to).zip(self.values.chunks_exact_mut(self.taps)) {
            let (start, end) = (start(place), end(place));
            let shrink = 1.0 / filter_scale;
            weights.clear();
            weights.extend(
                (0..end - start)
                    .map(|i| function((f64::from(i + start) - center(place) + 0.5) * shrink)),
            );
            let sum: f64 = weights.iter().sum();
            for (value, weight) in values.iter_mut().zip(&weights) {
                let weight = if sum == 0.0 { *weight } else { *weight / sum };
                let fixed = weight * f64::from(1 << WEIGHT_BITS);
                *value = if weight < 0.0 { fixed - 0.5 } else { fixed + 0.5 } as i32;
            }
        }
    }

    /// The weight of place `from` in place `to`; 0 where it does not count.
    pub(crate) fn of(&self, from: u32, to: usize) -> i32 {
        let place = from.wrapping_sub(self.starts[to]) as usize;
        if place < self.taps { self.values[to * self.taps + place] } else { 0 }
    }
}

/// PIL's `bilinear_filter`.
fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// PIL's `bicubic_filter`: the cubic of Keys (1981) with a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// PIL's `lanczos_filter`: the windowed sinc with a = 3.
fn lanczos(x: f64) -> f64 {
    fn sinc(x: f64) -> f64 {
        if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
    }
    if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}
