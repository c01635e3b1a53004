//! Caption metrics: exact matches, BLEU, ROUGE-L, CIDEr-D. In: a caption and its references an image. Out: one figure a
//! metric, equal to pycocoevalcap's on the same characters. Never splits into words: captions are compared character by
//! character, as is done for Chinese.

pub mod bleu;
mod captioned;
pub mod cider;
mod ngrams;
pub mod rouge;

use serde::Serialize;

pub use self::captioned::Captioned;

/// The figures of a set of captions, an image each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Share of captions that equal one of their references, 0 to 1.
    pub exact_match: f64,
    /// BLEU of single characters over the whole set, 0 to 1.
    pub bleu_1: f64,
    /// BLEU of up to two characters, 0 to 1.
    pub bleu_2: f64,
    /// BLEU of up to three characters, 0 to 1.
    pub bleu_3: f64,
    /// BLEU of up to four characters, 0 to 1.
    pub bleu_4: f64,
    /// ROUGE-L, the mean over images, 0 to 1.
    pub rouge_l: f64,
    /// CIDEr-D, the mean over images, 0 to 10.
    pub cider: f64,
}

/// All figures of a set; none of an empty one.
pub fn score(images: &[Captioned]) -> Option<Scores> {
    if images.is_empty() {
        return None;
    }
    let exact = images.iter().filter(|image| image.references.contains(&image.caption)).count();
    let [bleu_1, bleu_2, bleu_3, bleu_4] = bleu::bleu(images);
    Some(Scores {
        exact_match: exact as f64 / images.len() as f64,
        bleu_1,
        bleu_2,
        bleu_3,
        bleu_4,
        rouge_l: rouge::rouge_l(images),
        cider: cider::cider_d(images),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_and_case_do_not_count() {
        let references = ["别的".to_owned(), "红色 iPhone 12".to_owned()];
        for (caption, expected) in [("红色iphone12", 1.0), ("红色 iphone 12 ", 1.0), ("红色", 0.0)]
        {
            let scores = score(&[Captioned::new(caption, &references)]).unwrap();
            assert_eq!(scores.exact_match, expected, "{caption}");
        }
        assert_eq!(score(&[]), None);
    }
}
