//! From the figures of a disk to settings. In: reads a second, JPEGs decoded a second. Out: images/s to expect of each codec in
//! each order, and what to choose. Never measures.

use serde::Serialize;

use super::pattern::Pattern;
use tuwen_settings::{PixelCodec, TrainOrder};

/// The next candidate must give this many times as many images/s to be chosen: raw leaves the cores alone, and the global order
/// shuffles better.
const WORTH_IT: f64 = 1.25;

/// What a stream of cold pictures of 224 px would give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// `decode.codec`.
    pub codec: PixelCodec,
    /// `train.order`.
    pub order: TrainOrder,
    /// Images a second.
    pub images_per_s: f64,
    /// The `train.readers` that give it.
    pub readers: usize,
    /// `disk` or `cores`: what does not give more.
    pub bound: &'static str,
}

/// What the figures speak for.
#[derive(Clone, Debug, Serialize)]
pub struct Recommendation {
    /// Of each codec in each order, the simpler ones first.
    pub expected: [Expected; 4],
    /// What to choose.
    pub choice: Expected,
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
    use PixelCodec::{Jpeg, Raw};
    use TrainOrder::{Global, Window};
    let [sequential, raw, jpeg] = patterns;
    // The global order reads pictures one by one; windows come whole, in the order of the file.
    let of_disk = |order, pictures: &Pattern| match order {
        Global => (pictures.best().reads_per_s, pictures.best().threads),
        Window => (1e6 * sequential.best().mb_per_s / pictures.read_bytes as f64, 1),
    };
    let expected =
        [(Raw, Global, raw), (Raw, Window, raw), (Jpeg, Global, jpeg), (Jpeg, Window, jpeg)];
    let expected = expected.map(|(codec, order, pictures)| {
        let (of_disk, threads) = of_disk(order, pictures);
        let of_cores = if codec == Jpeg { jpegs_decoded_per_s } else { f64::INFINITY };
        let bound = if of_cores < of_disk { "cores" } else { "disk" };
        let readers = if codec == Jpeg { threads.max(cores) } else { threads };
        Expected { codec, order, images_per_s: of_disk.min(of_cores), readers, bound }
    });
    let [first, others @ ..] = expected;
    let choice = others.into_iter().fold(first, |choice, next| {
        if next.images_per_s > WORTH_IT * choice.images_per_s { next } else { choice }
    });
    let order = match choice.order {
        Global => "",
        Window => " and train.order = window",
    };
    let sentence = format!(
        "choose decode.codec = {}{order}: with train.readers = {} expect about {:.0} images/s of 224 px, bound by the {}. If the \
         page cache holds the whole corpus, raw in the global order is the fastest on any disk.",
        choice.codec.name(),
        choice.readers,
        choice.images_per_s,
        choice.bound,
    );
    Recommendation { expected, choice, sentence }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Rate;
    use super::*;

    /// With two threads, half as many with one.
    fn pattern(read_bytes: usize, reads_per_s: f64) -> Pattern {
        let rate = |threads: usize| {
            let reads_per_s = reads_per_s * threads as f64 / 2.0;
            Rate { threads, reads_per_s, mb_per_s: reads_per_s * read_bytes as f64 / 1e6 }
        };
        Pattern { name: "test", read_bytes, rates: vec![rate(1), rate(2)] }
    }

    #[test]
    fn disks_get_the_codec_and_the_order_that_suit_them() {
        use PixelCodec::{Jpeg, Raw};
        use TrainOrder::{Global, Window};
        // Reads a second: 4 MB in order, raw and JPEG at random; JPEGs decoded a second.
        for (disk, [whole, raw, jpeg], decoded, codec, order, images_per_s, bound, readers) in [
            ("NVMe", [750.0, 20_000.0, 90_000.0], 8_000.0, Raw, Global, 20_000.0, "disk", 2),
            ("network", [30.0, 700.0, 6_000.0], 8_000.0, Jpeg, Global, 6_000.0, "disk", 4),
            ("few cores", [30.0, 700.0, 6_000.0], 2_000.0, Jpeg, Global, 2_000.0, "cores", 4),
            ("spinning", [50.0, 80.0, 120.0], 4_000.0, Jpeg, Window, 4_000.0, "cores", 4),
            ("spinning, one core", [50.0, 80.0, 120.0], 900.0, Raw, Window, 1_280.0, "disk", 1),
            ("hardly better", [50.0, 1100.0, 1_300.0], 4_000.0, Jpeg, Window, 4_000.0, "cores", 4),
            ("not worth it", [47.0, 1100.0, 1_300.0], 1_300.0, Raw, Global, 1100.0, "disk", 2),
        ] {
            // 4 MB: 25.6 raw pictures.
            let patterns =
                [pattern(3_984_589, whole), pattern(155_648, raw), pattern(20_480, jpeg)];
            let found = recommend(&patterns, decoded, 4).choice;
            assert_eq!((found.codec, found.order), (codec, order), "{disk}");
            assert_eq!(
                (found.images_per_s.round(), found.readers),
                (images_per_s, readers),
                "{disk}"
            );
            assert_eq!(found.bound, bound, "{disk}");
        }
    }

    #[test]
    fn the_sentence_names_the_settings() {
        let patterns = [pattern(4 << 20, 50.0), pattern(155_648, 80.0), pattern(20_480, 120.0)];
        let said = recommend(&patterns, 4_000.0, 4).sentence;
        let settings =
            "choose decode.codec = jpeg and train.order = window: with train.readers = 4 ";
        assert!(said.starts_with(settings), "{said}");
    }
}
