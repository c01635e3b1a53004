//! ROUGE-L (Lin 2004) as pycocoevalcap's `Rouge`. In: captions and references. Out: the mean over images. Never rewards more
//! than the longest common subsequence.

use super::captioned::Captioned;

/// How much more recall counts than precision.
const BETA: f64 = 1.2;

/// The mean over images of the F-measure of the best precision and the best recall, 0 to 1.
pub fn rouge_l(images: &[Captioned]) -> f64 {
    images.iter().map(of_image).sum::<f64>() / images.len() as f64
}

fn of_image(image: &Captioned) -> f64 {
    let (mut precision, mut recall) = (0.0_f64, 0.0_f64);
    for reference in &image.references {
        let common = match (image.caption.is_empty(), reference.is_empty()) {
            (true, true) => 1, // there an empty caption is one empty word
            _ => common_subsequence(&image.caption, reference),
        } as f64;
        precision = precision.max(common / image.caption.len().max(1) as f64);
        recall = recall.max(common / reference.len().max(1) as f64);
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    let beta2 = BETA * BETA;
    (1.0 + beta2) * precision * recall / (recall + beta2 * precision)
}

/// Length of the longest common subsequence.
fn common_subsequence(a: &[char], b: &[char]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}
