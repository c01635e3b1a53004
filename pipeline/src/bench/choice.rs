//! From the figures of a disk to settings. In: reads a second, JPEGs decoded a second. Out: images/s to expect of each codec, and
//! the one to choose. Never measures.

use serde::Serialize;

use super::storage::Pattern;
use crate::settings::PixelCodec;

/// What a stream of cold pictures of 224 px would give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// `decode.codec`.
    pub codec: PixelCodec,
    /// Images a second.
    pub images_per_s: f64,
    /// The `train.readers` that gave it.
    pub readers: usize,
    /// `disk` or `cores`: what does not give more.
    pub bound: &'static str,
}

/// What the figures speak for.
#[derive(Clone, Debug, Serialize)]
pub struct Recommendation {
    /// Of each codec.
    pub expected: [Expected; 2],
    /// The `decode.codec` to choose.
    pub codec: PixelCodec,
    /// The same in words.
    pub sentence: String,
}

/// `patterns` in the order of `PATTERNS`: sequential, random as raw pictures lie, random as JPEGs do. `cores` threads together
/// decode `jpegs_decoded_per_s`.
pub(super) fn recommend(
    patterns: &[Pattern; 3],
    jpegs_decoded_per_s: f64,
    cores: usize,
) -> Recommendation {
    let [_, raw, jpeg] = patterns.each_ref().map(Pattern::best);
    let raw = Expected {
        codec: PixelCodec::Raw,
        images_per_s: raw.reads_per_s,
        readers: raw.threads,
        bound: "disk",
    };
    let (images_per_s, bound) = match jpegs_decoded_per_s < jpeg.reads_per_s {
        true => (jpegs_decoded_per_s, "cores"),
        false => (jpeg.reads_per_s, "disk"),
    };
    let readers = jpeg.threads.max(cores);
    let jpeg = Expected { codec: PixelCodec::Jpeg, images_per_s, readers, bound };
    // Raw where both are equal: it leaves the cores alone.
    let (choice, other) =
        if jpeg.images_per_s > raw.images_per_s { (jpeg, raw) } else { (raw, jpeg) };
    let sentence = format!(
        "choose decode.codec = {}: with train.readers = {} expect about {:.0} images/s of 224 px, bound by the {}; {} gives about \
         {:.0}. If the page cache holds the whole corpus, raw is the faster one on any disk.",
        choice.codec.name(),
        choice.readers,
        choice.images_per_s,
        choice.bound,
        other.codec.name(),
        other.images_per_s,
    );
    Recommendation { expected: [raw, jpeg], codec: choice.codec, sentence }
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
    fn disks_get_the_codec_that_suits_them() {
        use PixelCodec::{Jpeg, Raw};
        for (disk, [raw, jpeg], decoded, codec, images_per_s, bound, readers) in [
            ("NVMe", [20_000.0, 90_000.0], 8_000.0, Raw, 20_000.0, "disk", 2),
            ("network", [900.0, 6_000.0], 8_000.0, Jpeg, 6_000.0, "disk", 4),
            ("few cores", [900.0, 6_000.0], 2_000.0, Jpeg, 2_000.0, "cores", 4),
            ("spinning", [80.0, 120.0], 4_000.0, Jpeg, 120.0, "disk", 4),
        ] {
            let patterns = [pattern(4 << 20, 500.0), pattern(155_648, raw), pattern(20_480, jpeg)];
            let found = recommend(&patterns, decoded, 4);
            let chosen = found.expected.iter().find(|e| e.codec == found.codec).unwrap();
            assert_eq!((found.codec, chosen.bound), (codec, bound), "{disk}");
            assert_eq!((chosen.images_per_s, chosen.readers), (images_per_s, readers), "{disk}");
            let said = format!("decode.codec = {}: with train.readers = {readers}", codec.name());
            assert!(found.sentence.contains(&said), "{}", found.sentence);
        }
    }
}
