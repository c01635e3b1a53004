//! From the figures of a disk to settings. In: reads a second, JPEGs decoded a second. Out: images/s to expect of each codec and
//! order, and the pair to choose. Never measures.

use serde::Serialize;

use super::storage::Pattern;
use crate::settings::PixelCodec;

/// Bytes of a raw picture of 224 px.
const RAW_BYTES: f64 = 150_528.0;

/// Bytes of a photo of 224 px as JPEG of quality 90: the mean of 300.
const JPEG_BYTES: f64 = 14_500.0;

/// A window shuffle is worth its lesser randomness if it is this much faster.
const WINDOW_GAIN: f64 = 2.0;

/// What a stream of cold pictures of 224 px would give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// `decode.codec`.
    pub codec: PixelCodec,
    /// `train.order`: `global` or `window`.
    pub order: &'static str,
    /// Images a second.
    pub images_per_s: f64,
    /// `disk` or `cores`: what does not give more.
    pub bound: &'static str,
}

/// What the figures speak for.
#[derive(Clone, Debug, Serialize)]
pub struct Recommendation {
    /// Every codec and order.
    pub expected: [Expected; 4],
    /// The `decode.codec` to choose.
    pub codec: PixelCodec,
    /// The `train.order` to choose.
    pub order: &'static str,
    /// The same in words.
    pub sentence: String,
}

/// `patterns` in the order of `PATTERNS`: sequential, random as raw pictures lie, random as JPEGs do.
pub(super) fn recommend(patterns: &[Pattern; 3], jpegs_decoded_per_s: f64) -> Recommendation {
    let [sequential, raw, jpeg] = patterns.each_ref().map(Pattern::best);
    let sequential = sequential.mb_per_s * 1e6;
    let expect = |codec, order, disk_per_s: f64| {
        let is_bound_by_cores = codec == PixelCodec::Jpeg && jpegs_decoded_per_s < disk_per_s;
        let (images_per_s, bound) =
            if is_bound_by_cores { (jpegs_decoded_per_s, "cores") } else { (disk_per_s, "disk") };
        Expected { codec, order, images_per_s, bound }
    };
    let expected = [
        expect(PixelCodec::Raw, "global", raw.reads_per_s),
        expect(PixelCodec::Raw, "window", sequential / RAW_BYTES),
        expect(PixelCodec::Jpeg, "global", jpeg.reads_per_s),
        expect(PixelCodec::Jpeg, "window", sequential / JPEG_BYTES),
    ];
    // Raw where both are equal: it leaves the cores alone.
    let better = |raw: Expected, jpeg: Expected| {
        if jpeg.images_per_s > raw.images_per_s { (jpeg, raw) } else { (raw, jpeg) }
    };
    let (global, window) = (better(expected[0], expected[2]), better(expected[1], expected[3]));
    let windows_pay = window.0.images_per_s > WINDOW_GAIN * global.0.images_per_s;
    let (choice, other) = if windows_pay { window } else { global };
    let sentence = format!(
        "choose decode.codec = {} and train.order = {}: expect about {:.0} images/s of 224 px, bound by the {}; {} gives about \
         {:.0}. If the page cache holds the whole corpus, raw is the faster one on any disk.",
        choice.codec.name(),
        choice.order,
        choice.images_per_s,
        choice.bound,
        other.codec.name(),
        other.images_per_s,
    );
    Recommendation { expected, codec: choice.codec, order: choice.order, sentence }
}

#[cfg(test)]
mod tests {
    use super::super::storage::Rate;
    use super::*;

    fn pattern(read_bytes: usize, reads_per_s: f64) -> Pattern {
        let rate = |threads: usize| {
            let reads_per_s = reads_per_s * threads as f64 / 2.0;
            Rate { threads, reads_per_s, mb_per_s: reads_per_s * read_bytes as f64 / 1e6 }
        };
        Pattern { name: "test", read_bytes, rates: vec![rate(1), rate(2)] }
    }

    #[test]
    fn disks_get_the_codec_and_order_that_suit_them() {
        for (disk, [sequential, raw, jpeg], decoded, codec, order, images_per_s, bound) in [
            (
                "NVMe",
                [700.0, 20_000.0, 90_000.0],
                8_000.0,
                PixelCodec::Raw,
                "global",
                20_000.0,
                "disk",
            ),
            (
                "network",
                [40.0, 900.0, 6_000.0],
                8_000.0,
                PixelCodec::Jpeg,
                "global",
                6_000.0,
                "disk",
            ),
            (
                "few cores",
                [40.0, 900.0, 6_000.0],
                2_000.0,
                PixelCodec::Jpeg,
                "global",
                2_000.0,
                "cores",
            ),
            (
                "spinning",
                [36.0, 80.0, 120.0],
                4_000.0,
                PixelCodec::Jpeg,
                "window",
                4_000.0,
                "cores",
            ),
        ] {
            let patterns =
                [pattern(4 << 20, sequential), pattern(155_648, raw), pattern(20_480, jpeg)];
            let found = recommend(&patterns, decoded);
            assert_eq!((found.codec, found.order), (codec, order), "{disk}");
            let chosen = found.expected.iter().find(|e| (e.codec, e.order) == (codec, order));
            let chosen = chosen.unwrap();
            assert_eq!((chosen.images_per_s, chosen.bound), (images_per_s, bound), "{disk}");
            let said = format!("decode.codec = {} and train.order = {order}", codec.name());
            assert!(found.sentence.contains(&said), "{}", found.sentence);
        }
    }
}
