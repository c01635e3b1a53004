//! Flags that say how captions are written, which `evaluate` and `caption` have in common.

use clap::Args;

use super::flags::text;

/// How captions are written; what is not given is as the model's generation_config.json says, else as the settings.
#[derive(Args)]
#[command(
    next_help_heading = "How captions are written [default: the model's generation_config.json]"
)]
pub(super) struct GenerateArgs {
    /// Beams; 1: one sequence, token by token
    #[arg(long, value_name = "N")]
    num_beams: Option<u64>,
    /// Longest caption in tokens, special ones included
    #[arg(long, value_name = "N")]
    max_length: Option<u64>,
    /// Tokens, the start token included, before which a caption may not end
    #[arg(long, value_name = "N")]
    min_length: Option<u64>,
    /// Exponent of the length a beam's score is divided by
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    length_penalty: Option<f64>,
    /// When beam search may stop: true, false or never
    #[arg(long, value_name = "WHEN")]
    early_stopping: Option<String>,
    /// Length of the token sequences that may occur only once; 0: any may repeat
    #[arg(long, value_name = "N")]
    no_repeat_ngram_size: Option<u64>,
    /// What scores of tokens that a caption has already are divided by; 1: nothing
    #[arg(long, value_name = "X")]
    repetition_penalty: Option<f64>,
    /// Draw captions at random
    #[arg(long)]
    do_sample: bool,
    /// What logits are divided by before a draw
    #[arg(long, value_name = "X")]
    temperature: Option<f64>,
    /// Likeliest tokens a draw is made from; 0: all
    #[arg(long, value_name = "N")]
    top_k: Option<u64>,
    /// Probability, 0 to 1, that the tokens a draw is made from have together
    #[arg(long, value_name = "X")]
    top_p: Option<f64>,
    /// Seed of the draws
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl GenerateArgs {
    /// As settings by their dotted keys.
    pub(super) fn named(&self) -> [(&'static str, Option<String>); 12] {
        [
            ("train.num_beams", text(self.num_beams)),
            ("train.generate_max_length", text(self.max_length)),
            ("train.generate_min_length", text(self.min_length)),
            ("train.length_penalty", text(self.length_penalty)),
            ("train.early_stopping", self.early_stopping.clone()),
            ("train.no_repeat_ngram_size", text(self.no_repeat_ngram_size)),
            ("train.repetition_penalty", text(self.repetition_penalty)),
            ("train.do_sample", self.do_sample.then(|| "true".to_owned())),
            ("train.temperature", text(self.temperature)),
            ("train.top_k", text(self.top_k)),
            ("train.top_p", text(self.top_p)),
            ("train.sample_seed", text(self.seed)),
        ]
    }
}
