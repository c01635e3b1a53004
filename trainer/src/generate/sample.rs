//! One sequence a picture, token by token, as transformers' `_sample`: the best token each time, or a drawn one. In: pixels
//! and options. Out: captions. Never goes back on a token.

use tch::{Kind, Tensor};

use super::draws::{draw, uniforms};
use super::{GenerateOptions, Generated, floats, integers, length_divisor, processed};
use crate::captioner::Captioner;
use crate::params::Views;

pub(super) fn sample(
    model: &Captioner,
    p: &Views,
    pixels: &Tensor,
    options: &GenerateOptions,
    keys: &[u64],
) -> Vec<Generated> {
    let (ids, device) = (model.config.ids, pixels.device());
    let memory = model.memory(p, pixels);
    let mut cache = model.empty_cache();
    let mut captions = vec![Generated { ids: vec![ids.start], score: 0.0 }; keys.len()];
    let mut open = vec![true; keys.len()];
    let mut last = Tensor::full([keys.len() as i64], ids.start, (Kind::Int64, device));
    let mut sequences = last.unsqueeze(1); // [b, t], kept only where scores depend on it
    for step in 1..options.max_length {
        let logits = model.next_logits(p, &last, &memory, &mut cache); // [b, v]
        let log_probs = logits.log_softmax(-1, Kind::Float);
        let (log_probs, next) = if options.is_plain() {
            log_probs.max_dim(-1, false) // [b]
        } else {
            let scores = processed(&sequences, logits, options, ids.eos);
            let next = match &options.sampling {
                None => scores.argmax(-1, false),
                Some(sampling) => draw(
                    &scores.softmax(-1, Kind::Double),
                    &uniforms(sampling.seed, keys, step, 1, device),
                ),
            }; // [b]
            let column = next.unsqueeze(1);
            sequences = Tensor::cat(&[&sequences, &column], 1);
            (log_probs.gather(1, &column, false), next)
        };
        for (i, (log_prob, token)) in
            floats(&log_probs).into_iter().zip(integers(&next)).enumerate()
        {
            if open[i] {
                captions[i].ids.push(token);
                captions[i].score += log_prob;
                open[i] = token != ids.eos;
            }
        }
        if !open.contains(&true) {
            break;
        }
        last = next;
    }
    for caption in &mut captions {
        caption.score /= length_divisor(caption.ids.len() - 1, options);
    }
    captions
}
