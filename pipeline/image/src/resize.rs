//! RGB of any size to the stored square, bit for bit as PIL's `Image.resize` (libImaging/Resample.c): two passes, the horizontal one
//! first but where a picture is far too tall, 8 bits between them. In: rows, from top to bottom, as they come. Out: a square. Holds
//! no more of a picture than the rows at hand: each row is added to the sums of the rows that it counts for, which are whole numbers.

use std::cell::RefCell;

use anyhow::{Result, ensure};

use crate::image::Rgb;
use crate::weights::{WEIGHT_BITS, Weights};
use tuwen_settings::ResizeFilter;

/// Half of the last place, where a sum begins, so that cutting it off rounds.
const HALF: i32 = 1 << (WEIGHT_BITS - 1);

/// Weights of a place up to which all places' are kept; those of longer sides are worked out again for each row, of which there are
/// few then.
const MOST_TAPS: usize = 4096;

/// A resize under way. Keeps its memory from one picture to the next.
#[derive(Default)]
pub(crate) struct Resizer {
    size: usize,
    width: usize,
    across: Across,
    down: Weights,
    /// Rows that were pushed.
    row: u32,
    /// Rows of the square that are done, and those that have begun.
    done: usize,
    begun: usize,
    /// Whether the vertical pass comes first.
    is_tall: bool,
    /// Two rows after the horizontal pass, each with room for a last store that is too wide.
    narrow: [Vec<u8>; 2],
    /// `[slots, bytes of a row]`: the sums of the rows that have begun; row `i` in slot `i % slots`.
    sums: Vec<i32>,
    /// `[slots, taps]`: their weights.
    weights: Vec<i32>,
    slots: usize,
    /// A row after the vertical pass, where that comes first.
    summed: Vec<u8>,
}

impl Resizer {
    /// Begins a picture of `width` x `height`, both at least 1.
    pub(crate) fn begin(&mut self, width: u32, height: u32, size: u32, filter: ResizeFilter) {
        self.size = size as usize;
        self.width = width as usize;
        (self.row, self.done, self.begun) = (0, 0, 0);
        self.across.set(width, size, filter);
        self.down.set(height, size, filter);
        self.narrow = std::array::from_fn(|_| vec![0; self.size * 3 + 1]);
        // Rows come in twos, so one more row may begin before the first is done.
        let Weights { starts, ends, .. } = &self.down;
        let open = |first: usize| starts[first..].partition_point(|start| *start <= ends[first]);
        self.slots = (0..self.size).map(open).max().unwrap_or(1);
        // Pillow from 13.0 on: where the height loses more than twice of what the width loses.
        let (lost_px, lost_wide_px) =
            (i64::from(height) - i64::from(size), i64::from(width) - i64::from(size));
        self.is_tall = lost_px > 0 && lost_px > 2 * lost_wide_px;
        self.sums.resize(self.slots * self.sum_bytes(), 0);
        self.weights.resize(self.slots * self.down.taps, 0);
    }

    /// Bytes of a row that goes into the sums.
    fn sum_bytes(&self) -> usize {
        3 * if self.is_tall { self.width } else { self.size }
    }

    /// Takes the next rows, `[n, width, 3]`, an even number of them but for the last call. Rows of the square that are done go to
    /// `square`, `[size, size, 3]`; all are when the last row of the picture was pushed.
    pub(crate) fn push(&mut self, rows: &[u8], square: &mut [u8]) {
        let row_bytes = self.width * 3;
        for at in (0..rows.len() / row_bytes).step_by(2) {
            let first = at * row_bytes;
            let is_pair = rows.len() >= first + 2 * row_bytes;
            // A last row alone stands for two, of which the second counts for nothing.
            let second = if is_pair { first + row_bytes } else { first };
            if self.is_tall {
                let pair = [&rows[first..first + row_bytes], &rows[second..second + row_bytes]];
                self.add(pair, is_pair);
            } else {
                let mut narrow = std::mem::take(&mut self.narrow);
                self.across.narrow(rows, [first, second], &mut narrow);
                let line = self.sum_bytes();
                self.add([&narrow[0][..line], &narrow[1][..line]], is_pair);
                self.narrow = narrow;
            }
            self.finish(square);
        }
    }

    /// Resizes a whole picture.
    pub(crate) fn resize(&mut self, rgb: &Rgb, size: u32, filter: ResizeFilter, square: &mut [u8]) {
        self.begin(rgb.width, rgb.height, size, filter);
        self.push(&rgb.pixels, square);
    }

    /// Adds two rows to the sums of the rows they count for.
    fn add(&mut self, pair: [&[u8]; 2], is_pair: bool) {
        let line = self.sum_bytes();
        let last = self.row + u32::from(is_pair);
        while self.begun < self.size && self.down.starts[self.begun] <= last {
            let slot = self.begun % self.slots;
            self.sums[slot * line..][..line].fill(HALF);
            self.down
                .fill(self.begun, &mut self.weights[slot * self.down.taps..][..self.down.taps]);
            self.begun += 1;
        }
        for i in self.done..self.begun {
            let slot = i % self.slots;
            let weights = &self.weights[slot * self.down.taps..][..self.down.taps];
            // A row before the first that counts, or behind the last, has none.
            let weight = |row: u32| {
                let place = row.wrapping_sub(self.down.starts[i]) as usize;
                weights.get(place).copied().unwrap_or(0)
            };
            let second = if is_pair { weight(last) } else { 0 };
            add_rows(&mut self.sums[slot * line..][..line], pair, [weight(self.row), second]);
        }
        self.row = last + 1;
    }

    /// Puts the rows to which nothing is to be added any more into the square.
    fn finish(&mut self, square: &mut [u8]) {
        let (line, out_line) = (self.sum_bytes(), self.size * 3);
        while self.done < self.begun && self.down.ends[self.done] <= self.row {
            let slot = self.done % self.slots * line;
            let sums = &self.sums[slot..slot + line];
            let out = &mut square[self.done * out_line..(self.done + 1) * out_line];
            if self.is_tall {
                self.summed.clear();
                self.summed.extend(sums.iter().map(|sum| clip(*sum)));
                let mut narrow = std::mem::take(&mut self.narrow);
                self.across.narrow(&self.summed, [0, 0], &mut narrow);
                out.copy_from_slice(&narrow[0][..out_line]);
                self.narrow = narrow;
            } else {
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = clip(*sum);
                }
            }
            self.done += 1;
        }
    }
}

/// The horizontal pass.
#[derive(Default)]
struct Across {
    /// What they are of: lengths and filter.
    kind: Option<(u32, u32, ResizeFilter)>,
    weights: Weights,
    /// `[places, taps]`, or of one place at a time.
    values: Vec<i32>,
    #[cfg(target_arch = "x86_64")]
    packed: Vec<wide::Four>,
}

impl Across {
    fn set(&mut self, from: u32, to: u32, filter: ResizeFilter) {
        if self.kind.replace((from, to, filter)) == Some((from, to, filter)) {
            return;
        }
        self.weights.set(from, to, filter);
        let taps = self.weights.taps;
        let n_kept = if self.is_kept() { to as usize } else { 1 };
        self.values.resize(n_kept * taps, 0);
        if self.is_kept() {
            for (place, values) in self.values.chunks_exact_mut(taps).enumerate() {
                self.weights.fill(place, values);
            }
            #[cfg(target_arch = "x86_64")]
            wide::pack(&self.values, &mut self.packed);
        }
    }

    fn is_kept(&self) -> bool {
        self.weights.taps <= MOST_TAPS
    }

    /// Makes the two rows that begin at `starts` of `rows` as wide as the square.
    fn narrow(&mut self, rows: &[u8], starts: [usize; 2], out: &mut [Vec<u8>; 2]) {
        let mut first = 0;
        #[cfg(target_arch = "x86_64")]
        if self.is_kept() && wide::is_there() {
            first = wide::narrow(&self.weights, &self.packed, rows, starts, out);
        }
        let taps = self.weights.taps;
        for place in first..self.weights.starts.len() {
            let values = if self.is_kept() {
                &self.values[place * taps..][..taps]
            } else {
                self.weights.fill(place, &mut self.values);
                &self.values
            };
            let counts = self.weights.starts[place] as usize..self.weights.ends[place] as usize;
            for (start, out) in starts.into_iter().zip(&mut *out) {
                let pixels = &rows[start + counts.start * 3..start + counts.end * 3];
                out[place * 3..][..3].copy_from_slice(&weighted(pixels, values));
            }
        }
    }
}

/// The sum of `pixels`, each by its weight.
fn weighted(pixels: &[u8], weights: &[i32]) -> [u8; 3] {
    let mut sums = [HALF; 3];
    for (pixel, weight) in pixels.as_chunks::<3>().0.iter().zip(weights) {
        for (sum, level) in sums.iter_mut().zip(pixel) {
            *sum = sum.wrapping_add(i32::from(*level).wrapping_mul(*weight));
        }
    }
    sums.map(clip)
}

fn clip(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}

fn add_rows(sums: &mut [i32], rows: [&[u8]; 2], weights: [i32; 2]) {
    #[cfg(target_arch = "x86_64")]
    if wide::is_there() {
        return wide::add_rows(sums, rows, weights);
    }
    add_rows_inline(sums, rows, weights);
}

#[inline(always)]
fn add_rows_inline(sums: &mut [i32], [first, second]: [&[u8]; 2], weights: [i32; 2]) {
    for ((sum, a), b) in sums.iter_mut().zip(first).zip(second) {
        let (a, b) = (i32::from(*a), i32::from(*b));
        let both = a.wrapping_mul(weights[0]).wrapping_add(b.wrapping_mul(weights[1]));
        *sum = sum.wrapping_add(both);
    }
}

/// The same with AVX2, where the processor has it.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "what a processor can do is known when it runs")]
mod wide {
    use std::arch::x86_64::*;

    use super::HALF;
    use crate::weights::{WEIGHT_BITS, Weights};

    /// A weight of 24 bits, in two parts that a product of 16-bit numbers takes: `high << LOW_BITS | low`.
    const LOW_BITS: u32 = 12;

    /// Pixels of a row that one load of 16 bytes has and that are used.
    const PIXELS: usize = 4;

    pub(super) fn is_there() -> bool {
        is_x86_feature_detected!("avx2")
    }

    /// The weights of four neighbours, in 16 bits each: the high parts of the first two, the low ones, those of the other two.
    pub(super) type Four = [i32; 4];

    /// Weights, `[places, taps]`, as `[places, taps / 4]`.
    pub(super) fn pack(weights: &[i32], packed: &mut Vec<Four>) {
        let both = |a: i32, b: i32| (a & 0xffff) | (b << 16);
        let low = |weight: i32| weight & ((1 << LOW_BITS) - 1);
        let high = |weight: i32| weight >> LOW_BITS;
        packed.clear();
        packed.extend(weights.as_chunks::<PIXELS>().0.iter().map(|&[a, b, c, d]| {
            [
                both(high(a), high(b)),
                both(low(a), low(b)),
                both(high(c), high(d)),
                both(low(c), low(d)),
            ]
        }));
    }

    /// Makes two rows narrow, from the first place on; gives the first place that is left.
    pub(super) fn narrow(
        across: &Weights,
        packed: &[Four],
        rows: &[u8],
        starts: [usize; 2],
        out: &mut [Vec<u8>; 2],
    ) -> usize {
        // Loads of 16 bytes go beyond the last pixels of the last row.
        let fours = across.taps / PIXELS;
        let reach = starts[0].max(starts[1]) + (fours - 1) * PIXELS * 3 + 16;
        let n_safe =
            across.starts.partition_point(|start| reach + *start as usize * 3 <= rows.len());
        // SAFETY: the callers have asked whether AVX2 is there, and the loads of `n_safe` places end within `rows`.
        unsafe { narrow_avx2(&across.starts[..n_safe], packed, fours, rows, starts, out) }
        n_safe
    }

    /// Both rows at once, one in each half of a register: the colours of two pixels side by side, times their two weights.
    ///
    /// # Safety
    /// From each of `places` of both rows on, 16 bytes and those of the `fours` before them are within `rows`.
    #[target_feature(enable = "avx2")]
    unsafe fn narrow_avx2(
        places: &[u32],
        packed: &[Four],
        fours: usize,
        rows: &[u8],
        starts: [usize; 2],
        out: &mut [Vec<u8>; 2],
    ) {
        // Red, green, blue of pixels 0 and 1, and of 2 and 3, each beside its neighbour's, in 16 bits.
        let first = twice(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
        let second =
            twice(_mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
        let half = _mm256_set1_epi32(HALF);
        let [out_a, out_b] = out;
        for (place, weights) in packed.chunks_exact(fours).take(places.len()).enumerate() {
            let at = places[place] as usize * 3;
            let (mut high, mut low) = (_mm256_setzero_si256(), half);
            for (i, weights) in weights.iter().enumerate() {
                let at = at + i * PIXELS * 3;
                // SAFETY: the caller has seen to it that these bytes are there; the loads ask for no alignment.
                let (a, b) = unsafe {
                    let row = |start: usize| rows.as_ptr().add(start + at).cast();
                    (_mm_loadu_si128(row(starts[0])), _mm_loadu_si128(row(starts[1])))
                };
                let pixels = _mm256_set_m128i(b, a);
                let levels = _mm256_shuffle_epi8(pixels, first);
                high = add_product(high, levels, weights[0]);
                low = add_product(low, levels, weights[1]);
                let levels = _mm256_shuffle_epi8(pixels, second);
                high = add_product(high, levels, weights[2]);
                low = add_product(low, levels, weights[3]);
            }
            let sum = _mm256_add_epi32(_mm256_slli_epi32::<{ LOW_BITS as i32 }>(high), low);
            let levels = _mm256_srai_epi32::<{ WEIGHT_BITS as i32 }>(sum);
            let words = _mm256_packs_epi32(levels, levels);
            let bytes = _mm256_packus_epi16(words, words);
            let (a, b) = (_mm256_extract_epi32::<0>(bytes), _mm256_extract_epi32::<4>(bytes));
            out_a[place * 3..place * 3 + 4].copy_from_slice(&a.to_le_bytes());
            out_b[place * 3..place * 3 + 4].copy_from_slice(&b.to_le_bytes());
        }
    }

    #[target_feature(enable = "avx2")]
    fn twice(half: __m128i) -> __m256i {
        _mm256_broadcastsi128_si256(half)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn add_product(sum: __m256i, levels: __m256i, weights: i32) -> __m256i {
        _mm256_add_epi32(sum, _mm256_madd_epi16(levels, _mm256_set1_epi32(weights)))
    }

    pub(super) fn add_rows(sums: &mut [i32], rows: [&[u8]; 2], weights: [i32; 2]) {
        // SAFETY: the callers have asked whether AVX2 is there.
        unsafe { add_rows_avx2(sums, rows, weights) }
    }

    #[target_feature(enable = "avx2")]
    fn add_rows_avx2(sums: &mut [i32], rows: [&[u8]; 2], weights: [i32; 2]) {
        super::add_rows_inline(sums, rows, weights);
    }
}

thread_local! {
    static RESIZER: RefCell<Resizer> = RefCell::default();
}

/// Resizes to `[size, size, 3]` u8, aspect ratio not kept (as the seed's processor).
///
/// # Errors
/// The picture has no pixels.
pub fn resize_rgb(rgb: &Rgb, size: u32, filter: ResizeFilter) -> Result<Vec<u8>> {
    let mut square = vec![0; size as usize * size as usize * 3];
    resize_into(&rgb.pixels, rgb.width, rgb.height, size, filter, &mut square)?;
    Ok(square)
}

/// As [`resize_rgb`], from `[height, width, 3]` to `out`, `[size, size, 3]`.
///
/// # Errors
/// The picture has no pixels, or not as many as its size says.
pub fn resize_into(
    pixels: &[u8],
    width: u32,
    height: u32,
    size: u32,
    filter: ResizeFilter,
    out: &mut [u8],
) -> Result<()> {
    ensure!(
        width > 0 && height > 0 && pixels.len() == width as usize * height as usize * 3,
        "expected {width} x {height} RGB pixels, found {} bytes",
        pixels.len()
    );
    RESIZER.with_borrow_mut(|resizer| {
        resizer.begin(width, height, size, filter);
        resizer.push(pixels, out);
    });
    Ok(())
}

/// Left becomes right, in `[size, size, 3]` u8.
pub fn mirror(pixels: &mut [u8], size: usize) {
    for line in pixels.chunks_exact_mut(size * 3) {
        line.as_chunks_mut::<3>().0.reverse();
    }
}
