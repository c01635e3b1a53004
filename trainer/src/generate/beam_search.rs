//! Beam search, the same as transformers' (version 5: `_beam_search`), also with drawn continuations. In: pixels and options.
//! Out: the best sequence of each picture. Never copies a picture's cross-attention cache: its beams share it.
//!
//! The device computes log-probabilities and the best continuations; which beams are kept is decided here on the host, in
//! 32-bit floats as transformers has them, so that ties and rounding come out the same.

use tch::{Kind, Tensor};

use super::draws::{draw_without_replacement, uniforms};
use super::generated::{Generated, floats, integers, length_divisor};
use super::options::{EarlyStopping, GenerateOptions};
use super::processors::processed;
use crate::captioner::Captioner;
use crate::params::Views;

/// Added to or in place of the score of a beam that must not be chosen; the value is transformers'.
const NEVER: f32 = -1.0e9;

pub(super) fn beam_search(
    model: &Captioner,
    p: &Views,
    pixels: &Tensor,
    options: &GenerateOptions,
    keys: &[u64],
) -> Vec<Generated> {
    let (ids, device) = (&model.config.generation, pixels.device());
    let (b, beams, vocab) =
        (pixels.size()[0], options.num_beams as i64, model.config.decoder.vocab_size);
    // Should the best all end, there are as many beams to continue with.
    let n = (1 + ids.eos.len()).max(2) * options.num_beams;
    let cross_cache = model.cross_attention_cache(p, pixels);
    let mut cache = model.new_cache();
    let mut searches: Vec<_> = (0..b).map(|_| Search::new(ids.start, options.num_beams)).collect();
    for step in 1.. {
        let last: Vec<i64> = searches.iter().flat_map(Search::last_tokens).collect();
        let last = Tensor::from_slice(&last).to_device(device);
        let logits = model.next_logits(p, &last, &cross_cache, &mut cache);
        let mut log_probs = logits.log_softmax(-1, Kind::Float); // [b * k, v]
        if !options.is_plain() {
            let sequences: Vec<i64> = searches.iter().flat_map(Search::running_ids).collect();
            let sequences = Tensor::from_slice(&sequences).view([b * beams, -1]).to_device(device);
            log_probs = processed(&sequences, log_probs, options, &ids.eos);
        }
        let scores: Vec<f32> = searches.iter().flat_map(Search::running_scores).collect();
        let scores = Tensor::from_slice(&scores).view([b * beams, 1]).to_device(device);
        let all = (log_probs + scores).view([b, beams * vocab]);
        let (best, places) = match &options.sampling {
            None => all.topk(n as i64, -1, true, true), // [b, n]
            Some(sampling) => {
                let uniforms = uniforms(sampling.seed, keys, step, n, device);
                let weights = all.softmax(-1, Kind::Double);
                let places = draw_without_replacement(&weights, &uniforms); // [b, n]
                (all.gather(1, &places, false), places)
            }
        };
        let (best, places) = (floats(&best), integers(&places));

        let mut all_hit = true;
        for (i, search) in searches.iter_mut().enumerate() {
            let pairs = best[i * n..][..n].iter().zip(&places[i * n..][..n]);
            let candidates = pairs.map(|(&score, &place)| {
                search.continued(score, (place / vocab) as usize, place % vocab)
            });
            let candidates: Vec<_> = candidates.collect();
            all_hit &= search.advance(candidates, &ids.eos, options);
        }
        let all_full =
            searches.iter().all(Search::is_full) && options.early_stopping == EarlyStopping::Yes;
        if all_hit || all_full || !searches.iter().any(|search| search.improvable) {
            break;
        }
        let rows =
            searches.iter().enumerate().flat_map(|(i, search)| search.rows(i as i64 * beams));
        cache.reorder(&Tensor::from_slice(&rows.collect::<Vec<_>>()).to_device(device));
    }
    searches.into_iter().map(Search::best).collect()
}

/// A sequence that is being written or is done.
#[derive(Clone, Debug)]
struct Beam {
    ids: Vec<i64>,
    score: f32,
    /// Among the finished: whether it is a real one. Among candidates: whether it just ended.
    ended: bool,
    /// The running beam it continues.
    parent: usize,
}

/// Beam search for one picture.
struct Search {
    running: Vec<Beam>,
    finished: Vec<Beam>,
    /// Whether a running beam may still beat the finished ones.
    improvable: bool,
}

impl Search {
    fn new(start: i64, num_beams: usize) -> Self {
        let beam = |score| Beam { ids: vec![start], score, ended: false, parent: 0 };
        // All beams are equal at first: only the first may be continued.
        let running = (0..num_beams).map(|i| beam(if i == 0 { 0.0 } else { NEVER })).collect();
        Self { running, finished: vec![beam(NEVER); num_beams], improvable: true }
    }

    fn last_tokens(&self) -> impl Iterator<Item = i64> {
        self.running.iter().map(|beam| beam.ids[beam.ids.len() - 1])
    }

    fn running_ids(&self) -> impl Iterator<Item = i64> {
        self.running.iter().flat_map(|beam| beam.ids.iter().copied())
    }

    fn running_scores(&self) -> impl Iterator<Item = f32> {
        self.running.iter().map(|beam| beam.score)
    }

    fn rows(&self, first: i64) -> impl Iterator<Item = i64> {
        self.running.iter().map(move |beam| first + beam.parent as i64)
    }

    fn is_full(&self) -> bool {
        self.finished.iter().all(|beam| beam.ended)
    }

    fn continued(&self, score: f32, parent: usize, token: i64) -> Beam {
        let mut ids = self.running[parent].ids.clone();
        ids.push(token);
        Beam { ids, score, ended: false, parent }
    }

    /// Takes the best continuations, best first; gives whether all of them ended.
    fn advance(
        &mut self,
        mut candidates: Vec<Beam>,
        eos: &[i64],
        options: &GenerateOptions,
    ) -> bool {
        let num_beams = self.running.len();
        for beam in &mut candidates {
            beam.ended =
                eos.contains(&beam.ids[beam.ids.len() - 1]) || beam.ids.len() >= options.max_length;
        }
        let all_hit = candidates.iter().all(|beam| beam.ended);

        self.running = candidates.clone();
        for beam in self.running.iter_mut().filter(|beam| beam.ended) {
            beam.score += NEVER;
        }
        keep_best(&mut self.running, num_beams);

        let full = self.is_full() && options.early_stopping == EarlyStopping::Yes;
        for (i, mut beam) in candidates.into_iter().enumerate() {
            // Only what ends among the best `num_beams` counts as finished.
            beam.ended &= i < num_beams;
            beam.score /= length_divisor(beam.ids.len() - 1, options);
            for forbidden in [full, !self.improvable, !beam.ended] {
                beam.score += if forbidden { NEVER } else { 0.0 };
            }
            self.finished.push(beam);
        }
        keep_best(&mut self.finished, num_beams);
        self.improvable &= self.may_improve(options);
        all_hit
    }

    fn may_improve(&self, options: &GenerateOptions) -> bool {
        let length = match options.early_stopping {
            EarlyStopping::Never if options.length_penalty > 0.0 => options.max_length - 1,
            _ => self.running[0].ids.len() - 1,
        };
        let best_possible = self.running[0].score / length_divisor(length, options);
        let worst = self.finished.iter().map(|beam| beam.score).fold(f32::INFINITY, f32::min);
        self.finished.iter().any(|beam| best_possible > if beam.ended { worst } else { NEVER })
    }

    fn best(mut self) -> Generated {
        let best = self.finished.swap_remove(0);
        Generated { ids: best.ids, score: best.score }
    }
}

fn keep_best(beams: &mut Vec<Beam>, n: usize) {
    beams.sort_by(|a, b| b.score.total_cmp(&a.score));
    beams.truncate(n);
}
