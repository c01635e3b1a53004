//! CIDEr-D (Vedantam et al. 2015) as pycocoevalcap's `Cider`. In: captions and references. Out: the mean over images. Never
//! uses other text than these references for its document frequencies: the fewer images have an n-gram, the more it weighs.

use std::collections::HashMap;

use super::captioned::Captioned;
use super::ngrams::{MAX_N, NGrams};

/// Width of the Gaussian penalty on differing lengths, in bigrams.
const SIGMA: f64 = 6.0;

/// The mean over images of the clipped cosine similarity of TF-IDF weights, n from 1 to 4, times 10: 0 to 10. A set of one
/// image gives 0, since then no n-gram is rare.
pub fn cider_d(images: &[Captioned]) -> f64 {
    let frequency = DocumentFrequency::new(images);
    images.iter().map(|image| of_image(image, &frequency)).sum::<f64>() / images.len() as f64
}

fn of_image(image: &Captioned, frequency: &DocumentFrequency) -> f64 {
    let caption = TfIdf::new(&image.caption, frequency);
    let similarities =
        image.references.iter().map(|r| caption.similarity(&TfIdf::new(r, frequency)));
    10.0 * similarities.sum::<f64>() / (MAX_N * image.references.len()) as f64
}

/// In how many images' references each n-gram is.
struct DocumentFrequency<'a> {
    n_images: HashMap<&'a [char], usize>,
    log_images: f64,
}

impl<'a> DocumentFrequency<'a> {
    fn new(images: &'a [Captioned]) -> Self {
        let mut n_images = HashMap::new();
        for image in images {
            let of_reference = |r: &'a Vec<char>| (1..=MAX_N).flat_map(move |n| r.windows(n));
            let mut all: Vec<_> = image.references.iter().flat_map(of_reference).collect();
            all.sort_unstable();
            all.dedup();
            for ngram in all {
                *n_images.entry(ngram).or_default() += 1;
            }
        }
        Self { n_images, log_images: (images.len() as f64).ln() }
    }

    /// Inverse document frequency; an n-gram that no reference has counts as one that a single image has.
    fn idf(&self, ngram: &[char]) -> f64 {
        self.log_images - (self.n_images.get(ngram).copied().unwrap_or(1) as f64).ln()
    }
}

/// A caption's TF-IDF vectors: the counts of its n-grams, and the 2-norm of their weights, for n from 1 to 4.
struct TfIdf<'a> {
    by_n: [(NGrams<'a>, f64); MAX_N],
    frequency: &'a DocumentFrequency<'a>,
    bigrams: usize,
}

impl<'a> TfIdf<'a> {
    fn new(caption: &'a [char], frequency: &'a DocumentFrequency<'a>) -> Self {
        let by_n = std::array::from_fn(|i| {
            let ngrams = NGrams::new(caption, i + 1);
            let squares = ngrams.iter().map(|(ngram, n)| (n as f64 * frequency.idf(ngram)).powi(2));
            let norm = squares.sum::<f64>().sqrt();
            (ngrams, norm)
        });
        Self { by_n, frequency, bigrams: caption.len().saturating_sub(1) }
    }

    /// The sum over n of the cosine similarities with a reference; what the caption has too often does not count (the D).
    fn similarity(&self, reference: &Self) -> f64 {
        let delta = self.bigrams.abs_diff(reference.bigrams) as f64;
        let penalty = (-(delta * delta) / (2.0 * SIGMA * SIGMA)).exp();
        let pairs = self.by_n.iter().zip(&reference.by_n);
        let cosines = pairs.map(|((ours, norm), (theirs, reference_norm))| {
            let products = ours.iter().map(|(ngram, count)| {
                let (idf, wanted) = (self.frequency.idf(ngram), theirs.count(ngram));
                count.min(wanted) as f64 * wanted as f64 * idf * idf
            });
            let norms = norm * reference_norm;
            if norms == 0.0 { 0.0 } else { products.sum::<f64>() / norms }
        });
        cosines.sum::<f64>() * penalty
    }
}
