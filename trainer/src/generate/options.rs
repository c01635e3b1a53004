//! The parameters of generating captions. In: settings. Out: the same as plain values, checked. Never knows a model.

use anyhow::{Result, bail};
use tuwen_settings::TrainSettings;

pub use tuwen_settings::EarlyStopping;

/// How captions are written; names and meanings are those of transformers' `GenerationConfig`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerateOptions {
    /// Beams; 1: one sequence, token by token.
    pub num_beams: usize,
    /// Longest sequence in tokens, the start token included.
    pub max_length: usize,
    /// Tokens, the start token included, before which a sequence may not end.
    pub min_length: usize,
    /// Exponent of the length a finished beam's log-probability is divided by.
    pub length_penalty: f64,
    /// When beam search may stop.
    pub early_stopping: EarlyStopping,
    /// Length of the token sequences that may occur only once; 0: any may repeat.
    pub no_repeat_ngram_size: usize,
    /// What scores of tokens a sequence has already are divided by, or multiplied with where negative; 1: nothing.
    pub repetition_penalty: f64,
    /// How tokens are drawn; none: the best are taken.
    pub sampling: Option<Sampling>,
}

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// What scores are divided by.
    pub temperature: f64,
    /// Likeliest tokens that are drawn from; 0: all.
    pub top_k: usize,
    /// Probability that the tokens drawn from must have together, 0 to 1; 1: all tokens.
    pub top_p: f64,
    /// With a picture's key it decides the draws.
    pub seed: u64,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self::from(&TrainSettings::default())
    }
}

impl From<&TrainSettings> for GenerateOptions {
    fn from(settings: &TrainSettings) -> Self {
        Self {
            num_beams: settings.num_beams,
            max_length: settings.generate_max_length,
            min_length: settings.generate_min_length,
            length_penalty: settings.length_penalty,
            early_stopping: settings.early_stopping,
            no_repeat_ngram_size: settings.no_repeat_ngram_size,
            repetition_penalty: settings.repetition_penalty,
            sampling: settings.do_sample.then_some(Sampling {
                temperature: settings.temperature,
                top_k: settings.top_k,
                top_p: settings.top_p,
                seed: settings.sample_seed,
            }),
        }
    }
}

impl GenerateOptions {
    /// Whether no logits processor changes the model's scores.
    pub(super) fn is_plain(&self) -> bool {
        self.min_length == 0
            && self.no_repeat_ngram_size == 0
            && self.repetition_penalty == 1.0
            && self.sampling.is_none()
    }
}

/// Refuses settings no caption can be written with.
///
/// # Errors
/// The first value out of its range.
pub(crate) fn check(settings: &TrainSettings) -> Result<()> {
    if settings.num_beams == 0 {
        bail!("train.num_beams: expected at least 1, found 0");
    }
    let (min, max) = (settings.generate_min_length, settings.generate_max_length);
    if max < 2 {
        bail!("train.generate_max_length: expected at least 2, found {max}");
    }
    if min > max {
        bail!(
            "train.generate_min_length: expected at most train.generate_max_length, which is {max}, found {min}"
        );
    }
    for (key, value) in
        [("repetition_penalty", settings.repetition_penalty), ("temperature", settings.temperature)]
    {
        if !(value > 0.0 && value.is_finite()) {
            bail!("train.{key}: expected a number above 0, found {value}");
        }
    }
    if !(0.0..=1.0).contains(&settings.top_p) {
        bail!("train.top_p: expected 0 to 1, found {}", settings.top_p);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_caption_can_be_written_with_is_refused() {
        let ok = TrainSettings::default();
        assert!(check(&ok).is_ok());
        for (settings, expected) in [
            (TrainSettings { num_beams: 0, ..ok.clone() }, "train.num_beams: expected at least 1"),
            (TrainSettings { generate_max_length: 1, ..ok.clone() }, "at least 2, found 1"),
            (TrainSettings { generate_min_length: 17, ..ok.clone() }, "which is 16, found 17"),
            (TrainSettings { repetition_penalty: 0.0, ..ok.clone() }, "train.repetition_penalty"),
            (TrainSettings { temperature: f64::NAN, ..ok.clone() }, "above 0, found NaN"),
            (TrainSettings { top_p: 1.5, ..ok }, "train.top_p: expected 0 to 1, found 1.5"),
        ] {
            let error = format!("{:#}", check(&settings).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
