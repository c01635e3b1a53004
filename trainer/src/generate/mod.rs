//! Generating captions, the same as transformers' `generate` (version 5). In: pixels and [`GenerateOptions`]. Out: a caption's
//! ids and score for each picture. Never turns ids into text.
//!
//! [`options`](GenerateOptions) are the parameters, [`generation_config`] is their file in a checkpoint, [`processed`] are the
//! logits processors, `sample` is greedy search and sampling (with `draws`), `beam_search` is beam search, both give
//! [`Generated`].

mod beam_search;
mod draws;
mod generated;
pub mod generation_config;
mod options;
mod processors;
mod sample;

use tch::{Tensor, no_grad};

pub use self::generated::Generated;
pub(crate) use self::options::check;
pub use self::options::{EarlyStopping, GenerateOptions, Sampling};
pub use self::processors::processed;

use crate::captioner::Captioner;
use crate::params::Views;

/// Captions of pixels `[b, 3, size, size]`, one each; draws depend on a picture's place in the batch.
pub fn generate(
    model: &Captioner,
    p: &Views,
    pixels: &Tensor,
    options: &GenerateOptions,
) -> Vec<Generated> {
    let keys: Vec<u64> = (0..pixels.size()[0] as u64).collect();
    generate_keyed(model, p, pixels, options, &keys)
}

/// Captions of pixels `[b, 3, size, size]`, one each. The draws of a picture depend on the seed and on its key alone, `keys`
/// `[b]`, so that they are the same whatever stands beside it.
pub fn generate_keyed(
    model: &Captioner,
    p: &Views,
    pixels: &Tensor,
    options: &GenerateOptions,
    keys: &[u64],
) -> Vec<Generated> {
    assert_eq!(keys.len() as i64, pixels.size()[0], "a key a picture");
    assert!(options.num_beams > 0 && options.max_length > 1, "{options:?}");
    let max_length = options.max_length.min(model.config.decoder.n_positions as usize);
    let options = GenerateOptions { max_length, ..*options };
    no_grad(|| match options.num_beams {
        1 => sample::sample(model, p, pixels, &options, keys),
        _ => beam_search::beam_search(model, p, pixels, &options, keys),
    })
}
