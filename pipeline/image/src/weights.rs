//! The weights of a resize along one side, as PIL computes them (libImaging/Resample.c, `precompute_coeffs` and
//! `normalize_coeffs_8bpc`). In: a length, another length, a filter. Out: for each place of the second, which places of the first
//! it is a sum of, and with which weights. In fixed point of 22 bits, so that the sums are whole numbers and their order is free.

use std::f64::consts::PI;

use tuwen_settings::ResizeFilter;

/// Bits behind the point.
pub(crate) const WEIGHT_BITS: u32 = 32 - 8 - 2;

/// The weights along one side. Where each place's are is known at once, the weights themselves are worked out when they are asked for:
/// those of a very long side would take more memory than the picture.
pub(crate) struct Weights {
    scale: f64,
    filter_scale: f64,
    filter: fn(f64) -> f64,
    /// The first place that counts, for each place that comes out.
    pub(crate) starts: Vec<u32>,
    /// The place after the last one that counts.
    pub(crate) ends: Vec<u32>,
    /// Most weights of a place, as a multiple of four.
    pub(crate) taps: usize,
    /// The weights of a place before they are rounded.
    exact: Vec<f64>,
}

impl Default for Weights {
    /// Of nothing yet.
    fn default() -> Self {
        Self {
            scale: 1.0,
            filter_scale: 1.0,
            filter: triangle,
            starts: Vec::new(),
            ends: Vec::new(),
            taps: 0,
            exact: Vec::new(),
        }
    }
}

impl Weights {
    /// Sets them to those that make `to` of `from`, both at least 1.
    pub(crate) fn set(&mut self, from: u32, to: u32, filter: ResizeFilter) {
        let (function, filter_support): (fn(f64) -> f64, f64) = match filter {
            ResizeFilter::Bilinear => (triangle, 1.0),
            ResizeFilter::Bicubic => (cubic, 2.0),
            ResizeFilter::Lanczos => (lanczos, 3.0),
        };
        self.filter = function;
        self.scale = f64::from(from) / f64::from(to);
        self.filter_scale = self.scale.max(1.0);
        let support = filter_support * self.filter_scale;
        let center = |place: u32| (f64::from(place) + 0.5) * self.scale;
        let start = |place: u32| (center(place) - support + 0.5).max(0.0) as u32;
        let end = |place: u32| ((center(place) + support + 0.5) as u32).min(from);
        self.starts.clear();
        self.starts.extend((0..to).map(start));
        self.ends.clear();
        self.ends.extend((0..to).map(end));
        let lengths = self.starts.iter().zip(&self.ends).map(|(start, end)| end - start);
        self.taps = lengths.max().unwrap_or(0).next_multiple_of(4) as usize;
    }

    /// Puts the weights of `place` into `values`, [`taps`](Self::taps) of them; those behind its last place are 0.
    pub(crate) fn fill(&mut self, place: usize, values: &mut [i32]) {
        let center = (place as f64 + 0.5) * self.scale;
        let shrink = 1.0 / self.filter_scale;
        let places = self.starts[place]..self.ends[place];
        self.exact.clear();
        self.exact
            .extend(places.map(|from| (self.filter)((f64::from(from) - center + 0.5) * shrink)));
        let sum: f64 = self.exact.iter().sum();
        values.fill(0);
        for (value, weight) in values.iter_mut().zip(&self.exact) {
            let weight = if sum == 0.0 { *weight } else { *weight / sum };
            let fixed = weight * f64::from(1 << WEIGHT_BITS);
            *value = if weight < 0.0 { fixed - 0.5 } else { fixed + 0.5 } as i32;
        }
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
