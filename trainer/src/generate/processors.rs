//! Logits processors: changes to the scores of the next token before one is chosen, equal to transformers' and in their
//! order. In: the sequences so far and scores, both on the device. Out: scores. Never loops over rows or the vocabulary.

use tch::{Kind, Tensor};

use super::options::{GenerateOptions, Sampling};

/// Scores `[rows, vocabulary]` of the token after `ids` `[rows, t]`, which begin with the start token. Beam search gives
/// log-probabilities, the others raw logits, as transformers does.
pub fn processed(ids: &Tensor, scores: Tensor, options: &GenerateOptions, eos: &[i64]) -> Tensor {
    let mut scores = scores;
    if options.repetition_penalty != 1.0 {
        scores = penalise_repetition(ids, &scores, options.repetition_penalty);
    }
    if options.no_repeat_ngram_size > 0 {
        scores = forbid_ngrams(ids, scores, options.no_repeat_ngram_size as i64);
    }
    if ids.size()[1] < options.min_length as i64 {
        for &eos in eos {
            let _ = scores.select(1, eos).fill_(f64::NEG_INFINITY);
        }
    }
    // A beam that drew an end token needs another token to continue with.
    let keep = if options.num_beams > 1 { (1 + eos.len() as i64).max(2) } else { 1 };
    match &options.sampling {
        Some(sampling) => warped(scores, sampling, keep),
        None => scores,
    }
}

/// `RepetitionPenaltyLogitsProcessor` (Keskar et al. 2019, CTRL).
fn penalise_repetition(ids: &Tensor, scores: &Tensor, penalty: f64) -> Tensor {
    let seen = scores.gather(1, ids, false); // [rows, t]
    let penalised = (&seen * penalty).where_self(&seen.lt(0.0), &(&seen / penalty));
    scores.scatter(1, ids, &penalised)
}

/// `NoRepeatNGramLogitsProcessor`: a token is forbidden that would complete a sequence of `n` tokens that is there already.
fn forbid_ngrams(ids: &Tensor, scores: Tensor, n: i64) -> Tensor {
    let t = ids.size()[1];
    if t < n {
        return scores;
    }
    let ngrams = ids.unfold(1, n, 1); // [rows, t - n + 1, n]
    let last = ids.narrow(1, t + 1 - n, n - 1).unsqueeze(1); // [rows, 1, n - 1]
    let begun = ngrams.narrow(2, 0, n - 1).eq_tensor(&last).all_dim(2, false); // [rows, t - n + 1]
    let completed = ngrams.select(2, n - 1); // [rows, t - n + 1]
    let hits = scores.zeros_like().scatter_add(1, &completed, &begun.to_kind(scores.kind())); // [rows, v]
    scores.masked_fill(&hits.gt(0.0), f64::NEG_INFINITY)
}

/// `TemperatureLogitsWarper`, `TopKLogitsWarper` and `TopPLogitsWarper` (Holtzman et al. 2020), each keeping at least `keep`
/// tokens.
fn warped(scores: Tensor, sampling: &Sampling, keep: i64) -> Tensor {
    let vocab = scores.size()[1];
    let mut scores = match sampling.temperature {
        1.0 => scores,
        temperature => scores / temperature,
    };
    if sampling.top_k > 0 {
        let k = (sampling.top_k as i64).max(keep).min(vocab);
        let (best, _) = scores.topk(k, -1, true, true); // [rows, k]
        scores =
            scores.masked_fill(&scores.lt_tensor(&best.narrow(1, k - 1, 1)), f64::NEG_INFINITY);
    }
    if sampling.top_p < 1.0 {
        let (ascending, order) = scores.sort(-1, false); // [rows, v]
        let cumulative = ascending.softmax(-1, Kind::Float).cumsum(-1, Kind::Float);
        let out = cumulative.le(1.0 - sampling.top_p);
        let kept = keep.min(vocab);
        let _ = out.narrow(1, vocab - kept, kept).fill_(0);
        scores = scores.masked_fill(&out.scatter(1, &order, &out), f64::NEG_INFINITY);
    }
    scores
}
