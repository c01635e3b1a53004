//! A generated caption, and what greedy search, sampling and beam search need alike to make one. In: scores, tensors. Out: a
//! score by length, host values. Never runs a model.

use tch::Tensor;

use super::options::GenerateOptions;

/// A generated caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// Start token, tokens, and the end token if it was reached.
    pub ids: Vec<i64>,
    /// Log-probability in nats, divided by the number of generated tokens to the power of the length penalty. Of a beam it is
    /// transformers' `sequences_scores`, in which the logits processors' changes count; otherwise the model's own.
    pub score: f32,
}

/// What a sequence's log-probability is divided by: its length to the power of the length penalty.
pub(super) fn length_divisor(generated: usize, options: &GenerateOptions) -> f32 {
    (generated as f64).powf(options.length_penalty) as f32
}

/// The values of a tensor on the host.
pub(super) fn floats(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.flatten(0, -1)).expect("a tensor of f32")
}

/// The values of a tensor on the host.
pub(super) fn integers(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor.flatten(0, -1)).expect("a tensor of i64")
}
