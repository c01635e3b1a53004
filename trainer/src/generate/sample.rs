//! Greedy search and sampling, as transformers' `_sample`: one sequence a picture, the likeliest token each time or a drawn one.
//! In: pixels and options. Out: captions. Never revises a token.

use tch::{Kind, Tensor};

use super::draws::{draw, uniforms};
use super::generated::{Generated, floats, integers, length_divisor};
use super::options::GenerateOptions;
use super::processors::processed;
use crate::captioner::Captioner;
use crate::params::Views;

pub(super) fn sample(
    model: &Captioner,
    p: &Views,
    pixels: &Tensor,
    options: &GenerateOptions,
    keys: &[u64],
) -> Vec<Generated> {
    let (ids, device) = (&model.config.generation, pixels.device());
    let cross_cache = model.cross_attention_cache(p, pixels);
    let mut cache = model.new_cache();
    let mut captions = vec![Generated { ids: vec![ids.start], score: 0.0 }; keys.len()];
    let mut unfinished = vec![true; keys.len()];
    let mut last = Tensor::full([keys.len() as i64], ids.start, (Kind::Int64, device));
    let mut sequences = last.unsqueeze(1); // [b, t], kept only where scores depend on it
    for step in 1..options.max_length {
        let logits = model.next_logits(p, &last, &cross_cache, &mut cache); // [b, v]
        let log_probs = logits.log_softmax(-1, Kind::Float);
        let (log_probs, next) = if options.is_plain() {
            log_probs.max_dim(-1, false) // [b]
        } else {
            let scores = processed(&sequences, logits, options, &ids.eos);
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
            if unfinished[i] {
                captions[i].ids.push(token);
                captions[i].score += log_prob;
                unfinished[i] = !ids.eos.contains(&token);
            }
        }
        if !unfinished.contains(&true) {
            break;
        }
        last = next;
    }
    for caption in &mut captions {
        caption.score /= length_divisor(caption.ids.len() - 1, options);
    }
    captions
}
