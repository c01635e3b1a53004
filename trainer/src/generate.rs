//! Writing captions: greedy and beam search, the same as transformers' `generate` (version 5: `_beam_search`).
//! In: pixels and [`GenerateOptions`]. Out: the best ids of each picture and their score. Never samples.
//!
//! The device computes log-probabilities and the best continuations; which beams live is decided here on the host, in
//! 32-bit floats as transformers has them, so that ties and rounding fall the same way.

use tch::{Kind, Tensor, no_grad};
use tuwen::settings::TrainSettings;

use crate::captioner::Captioner;
use crate::config::SpecialIds;
use crate::params::Views;

/// Stands for "impossible"; transformers' figure.
const NEVER: f32 = -1.0e9;

/// When beam search may stop before `max_length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyStopping {
    /// As soon as there are as many finished captions as beams.
    Yes,
    /// When a heuristic says that no running beam gets better; transformers' default.
    No,
    /// Only when no running beam can get better.
    Never,
}

/// How captions are written.
#[derive(Clone, Copy, Debug)]
pub struct GenerateOptions {
    /// Beams; 1 is greedy search.
    pub num_beams: usize,
    /// Longest sequence in tokens, the start token included.
    pub max_length: usize,
    /// Exponent of the length a finished beam's log-probability is divided by.
    pub length_penalty: f64,
    /// When to stop.
    pub early_stopping: EarlyStopping,
}

impl From<&TrainSettings> for GenerateOptions {
    fn from(settings: &TrainSettings) -> Self {
        Self {
            num_beams: settings.num_beams,
            max_length: settings.generate_max_length,
            length_penalty: settings.length_penalty,
            early_stopping: EarlyStopping::No,
        }
    }
}

/// A written caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// Start token, tokens, and the end token if it was reached.
    pub ids: Vec<i64>,
    /// Log-probability in nats, divided by the number of generated tokens to the power of the length penalty.
    pub score: f32,
}

/// Captions of pixels `[b, 3, size, size]`, one each.
pub fn generate(
    model: &Captioner,
    p: &Views,
    pixels: &Tensor,
    options: &GenerateOptions,
) -> Vec<Generated> {
    assert!(options.num_beams > 0 && options.max_length > 1, "{options:?}");
    let max_length = options.max_length.min(model.config.decoder.n_positions as usize);
    let options = GenerateOptions { max_length, ..*options };
    no_grad(|| match options.num_beams {
        1 => greedy(model, p, pixels, &options),
        _ => beam_search(model, p, pixels, &options),
    })
}

fn greedy(
    model: &Captioner,
    p: &Views,
    pixels: &Tensor,
    options: &GenerateOptions,
) -> Vec<Generated> {
    let ids = model.config.ids;
    let memory = model.memory(p, pixels);
    let mut cache = model.empty_cache();
    let b = pixels.size()[0] as usize;
    let mut captions = vec![Generated { ids: vec![ids.start], score: 0.0 }; b];
    let mut open = vec![true; b];
    let mut last = Tensor::full([b as i64], ids.start, (Kind::Int64, pixels.device()));
    for _ in 1..options.max_length {
        let (log_probs, next) =
            model.next_log_probs(p, &last, &memory, &mut cache).max_dim(-1, false);
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

fn beam_search(
    model: &Captioner,
    p: &Views,
    pixels: &Tensor,
    options: &GenerateOptions,
) -> Vec<Generated> {
    let (ids, device) = (model.config.ids, pixels.device());
    let (b, beams, vocab) =
        (pixels.size()[0], options.num_beams as i64, model.config.decoder.vocab_size);
    let memory = model.memory(p, pixels);
    let mut cache = model.empty_cache();
    let mut searches: Vec<_> = (0..b).map(|_| Search::new(ids.start, options.num_beams)).collect();
    loop {
        let last: Vec<i64> = searches.iter().flat_map(Search::last_tokens).collect();
        let log_probs = model.next_log_probs(
            p,
            &Tensor::from_slice(&last).to_device(device),
            &memory,
            &mut cache,
        ); // [b * k, v]
        let scores: Vec<f32> = searches.iter().flat_map(Search::running_scores).collect();
        let scores = Tensor::from_slice(&scores).view([b * beams, 1]).to_device(device);
        let (best, places) =
            (log_probs + scores).view([b, beams * vocab]).topk(2 * beams, -1, true, true); // [b, 2 k]
        let (best, places) = (floats(&best), integers(&places));

        let n = 2 * options.num_beams;
        let mut all_hit = true;
        for (i, search) in searches.iter_mut().enumerate() {
            let pairs = best[i * n..][..n].iter().zip(&places[i * n..][..n]);
            let candidates = pairs.map(|(&score, &place)| {
                search.continued(score, (place / vocab) as usize, place % vocab)
            });
            let candidates: Vec<_> = candidates.collect();
            all_hit &= search.advance(candidates, ids, options);
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
        // All beams begin alike: only the first may be continued at first.
        let running = (0..num_beams).map(|i| beam(if i == 0 { 0.0 } else { NEVER })).collect();
        Self { running, finished: vec![beam(NEVER); num_beams], improvable: true }
    }

    fn last_tokens(&self) -> impl Iterator<Item = i64> {
        self.running.iter().map(|beam| beam.ids[beam.ids.len() - 1])
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
        ids: SpecialIds,
        options: &GenerateOptions,
    ) -> bool {
        let num_beams = self.running.len();
        for beam in &mut candidates {
            beam.ended =
                beam.ids[beam.ids.len() - 1] == ids.eos || beam.ids.len() >= options.max_length;
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
        let hoped = self.running[0].score / length_divisor(length, options);
        let worst = self.finished.iter().map(|beam| beam.score).fold(f32::INFINITY, f32::min);
        self.finished.iter().any(|beam| hoped > if beam.ended { worst } else { NEVER })
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

fn length_divisor(generated: usize, options: &GenerateOptions) -> f32 {
    (generated as f64).powf(options.length_penalty) as f32
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.flatten(0, -1)).expect("a tensor of f32")
}

fn integers(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor.flatten(0, -1)).expect("a tensor of i64")
}
