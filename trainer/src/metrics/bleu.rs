//! BLEU (Papineni et al. 2002) as pycocoevalcap's `Bleu(4)`. In: captions and references. Out: BLEU-1 to BLEU-4 of the whole
//! set. Never averages over images: matches and lengths are summed first.

use super::captioned::Captioned;
use super::ngrams::{MAX_N, NGrams};

/// Added to what was found and to what was looked for, as there, so that nothing is divided by zero.
const TINY: f64 = 1e-15;
const SMALL: f64 = 1e-9;

/// BLEU with n-grams of up to 1, 2, 3 and 4 characters, each 0 to 1. The brevity penalty takes each image's reference that is
/// closest in length, the shorter of two.
pub fn bleu(images: &[Captioned]) -> [f64; MAX_N] {
    let (mut length, mut reference_length) = (0, 0);
    let (mut correct, mut guessed) = ([0; MAX_N], [0; MAX_N]);
    for Captioned { caption, references } in images {
        length += caption.len();
        let lengths = references.iter().map(Vec::len);
        reference_length += lengths.min_by_key(|&n| (n.abs_diff(caption.len()), n)).unwrap_or(0);
        for n in 1..=MAX_N {
            let references: Vec<_> = references.iter().map(|r| NGrams::new(r, n)).collect();
            for (ngram, count) in NGrams::new(caption, n).iter() {
                let most = references.iter().map(|reference| reference.count(ngram)).max();
                correct[n - 1] += count.min(most.unwrap_or(0));
                guessed[n - 1] += count;
            }
        }
    }
    let ratio = (length as f64 + TINY) / (reference_length as f64 + SMALL);
    let brevity = if ratio < 1.0 { (1.0 - 1.0 / ratio).exp() } else { 1.0 };
    let mut product = 1.0;
    std::array::from_fn(|i| {
        product *= (correct[i] as f64 + TINY) / (guessed[i] as f64 + SMALL);
        product.powf(1.0 / (i + 1) as f64) * brevity
    })
}
