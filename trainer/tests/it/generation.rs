//! Generating captions: random options against transformers (the other side is in against_transformers.py), and the frequencies
//! of draws against their probabilities.

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};
use tuwen_settings::TrainSettings;
use tuwen_trainer::generate::{
    EarlyStopping, GenerateOptions, Generated, Sampling, generate, generate_keyed,
    generation_config, processed,
};
use tuwen_trainer::model::Model;

use crate::equality::random_model;

/// Sets of options compared per model.
const N_OPTIONS: usize = 50;

/// Captions drawn where their frequencies are looked at.
const N_DRAWN: i64 = 4000;

/// Numbers that follow from a seed (Steele et al. 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    fn options(&mut self) -> TrainSettings {
        use EarlyStopping::{Never, No, Yes};
        let max_length = 2 + self.below(19);
        TrainSettings {
            num_beams: 1 + self.below(8),
            generate_max_length: max_length,
            generate_min_length: [0, 1 + self.below(max_length)][self.below(2)],
            length_penalty: self.one_of(&[-1.0, 0.0, 0.5, 1.0, 2.0]),
            early_stopping: self.one_of(&[Yes, No, Never]),
            no_repeat_ngram_size: self.one_of(&[0, 0, 1, 2, 3]),
            repetition_penalty: self.one_of(&[1.0, 1.0, 0.8, 1.2, 2.5]),
            ..TrainSettings::default()
        }
    }
}

/// Captions written with random options, beside the options as transformers names them.
pub(crate) fn generated(model: &Model, pixels: &Tensor, seed: u64) -> Vec<Value> {
    let mut random = Random(seed);
    let case = |_| {
        let settings = random.options();
        let options = GenerateOptions::from(&settings);
        let captions = generate(&model.captioner, &model.views(), pixels, &options);
        let mut case = generation_config::options_to_json(&settings);
        let ids: Vec<_> = captions.iter().map(|caption| caption.ids.clone()).collect();
        case.insert("sequences".to_owned(), json!(ids));
        let scores: Vec<_> = captions.iter().map(|caption| caption.score).collect();
        case.insert("scores".to_owned(), json!(scores));
        Value::Object(case)
    };
    (0..N_OPTIONS).map(case).collect()
}

/// Random scores before and after random options' processors; gives the options, and puts the tensors beside the others.
pub(crate) fn processed_scores(
    model: &Model,
    seed: u64,
    tensors: &mut Vec<(String, Tensor)>,
) -> Vec<Value> {
    let mut random = Random(seed ^ 1);
    let config = &model.captioner.config;
    let (vocab, eos) = (config.decoder.vocab_size, config.ids.eos);
    let case = |i| {
        let settings = TrainSettings {
            do_sample: true,
            temperature: random.one_of(&[1.0, 0.3, 0.7, 1.9]),
            top_k: random.one_of(&[0, 1, 2, 7, 500]),
            top_p: random.one_of(&[1.0, 0.0, 0.4, 0.9]),
            ..random.options()
        };
        let scores = Tensor::randn([3, vocab], (Kind::Float, Device::Cpu)) * 3.0;
        // Few different tokens, so that sequences of them repeat.
        let t = 1 + random.below(12) as i64;
        let ids = Tensor::randint(4, [3, t], (Kind::Int64, Device::Cpu));
        let options = GenerateOptions::from(&settings);
        let after = processed(&ids, scores.copy(), &options, &[eos]);
        tensors.push((format!("processed.{i}"), after));
        tensors.push((format!("processed.{i}.scores"), scores));
        tensors.push((format!("processed.{i}.ids"), ids));
        Value::Object(generation_config::options_to_json(&settings))
    };
    (0..N_OPTIONS).map(case).collect()
}

fn picture(model: &Model) -> Tensor {
    let size = model.captioner.config.encoder.image_size;
    Tensor::randn([1, 3, size, size], (Kind::Float, Device::Cpu))
}

/// Probability of each first token after scores were processed.
fn first_probabilities(model: &Model, picture: &Tensor, options: &GenerateOptions) -> Vec<f64> {
    let ids = model.captioner.config.ids;
    let start = Tensor::from_slice(&[ids.start]).view([1, 1]);
    let logits = model.captioner.logits(&model.views(), picture, &start, false).squeeze_dim(1);
    let scores = match options.num_beams {
        1 => logits,
        _ => logits.log_softmax(-1, Kind::Float),
    };
    let scores = processed(&start, scores, options, &[ids.eos]);
    Vec::try_from(scores.softmax(-1, Kind::Double).flatten(0, -1)).unwrap()
}

/// Fails if the first tokens of `captions` are not draws with the given probabilities (Pearson's chi-square, with a bound of
/// six standard deviations).
fn check_frequencies(captions: &[Generated], probabilities: &[f64]) {
    let mut counts = vec![0.0; probabilities.len()];
    captions.iter().for_each(|caption| counts[caption.ids[1] as usize] += 1.0);
    let n = captions.len() as f64;
    let (mut chi_square, mut kinds, mut rare) = (0.0, 0.0, (0.0, 0.0));
    for (count, probability) in counts.iter().zip(probabilities) {
        let expected = n * probability;
        assert!(*probability > 0.0 || *count == 0.0, "drew what has no probability");
        if expected < 5.0 {
            rare = (rare.0 + count, rare.1 + expected);
            continue;
        }
        chi_square += (count - expected).powi(2) / expected;
        kinds += 1.0;
    }
    assert!((rare.0 - rare.1).abs() <= 6.0 * f64::sqrt(rare.1.max(1.0)), "rare: {rare:?}");
    assert!(kinds > 3.0, "too few kinds to compare");
    let degrees: f64 = kinds - 1.0;
    let bound = degrees + 6.0 * (2.0 * degrees).sqrt();
    assert!(chi_square < bound, "chi-square {chi_square}, bound {bound}");
}

#[test]
fn draws_have_the_probabilities_of_the_processed_scores() {
    let model = random_model(5, |_| {});
    let picture = picture(&model);
    let many = picture.repeat([N_DRAWN, 1, 1, 1]);
    for (temperature, top_k, top_p) in [(1.0, 0, 1.0), (2.0, 12, 1.0), (3.0, 0, 0.8)] {
        let sampling = Sampling { temperature, top_k, top_p, seed: 11 };
        let options = GenerateOptions {
            num_beams: 1,
            max_length: 2,
            sampling: Some(sampling),
            ..GenerateOptions::default()
        };
        let captions = generate(&model.captioner, &model.views(), &many, &options);
        let expected = no_grad(|| first_probabilities(&model, &picture, &options));
        check_frequencies(&captions, &expected);
    }
}

/// With two beams and one token, transformers draws two different tokens, and the likelier is the caption.
#[test]
fn beams_draw_without_replacement() {
    let model = random_model(6, |_| {});
    let picture = picture(&model);
    let many = picture.repeat([N_DRAWN, 1, 1, 1]);
    let options = GenerateOptions {
        num_beams: 2,
        max_length: 2,
        sampling: Some(Sampling { temperature: 4.0, top_k: 20, top_p: 1.0, seed: 3 }),
        ..GenerateOptions::default()
    };
    let captions = generate(&model.captioner, &model.views(), &many, &options);
    let p = no_grad(|| first_probabilities(&model, &picture, &options));
    let mut expected = vec![0.0; p.len()];
    for a in 0..p.len() {
        for b in (0..a).filter(|&b| p[a] > 0.0 && p[b] > 0.0) {
            let pair = p[a] * p[b] / (1.0 - p[a]) + p[b] * p[a] / (1.0 - p[b]);
            expected[if p[a] > p[b] { a } else { b }] += pair;
        }
    }
    check_frequencies(&captions, &expected);
}

#[test]
fn a_draw_depends_on_seed_and_key_alone() {
    let model = random_model(7, |_| {});
    let pictures = Tensor::cat(&[picture(&model), picture(&model), picture(&model)], 0);
    for num_beams in [1, 3] {
        let written = |seed: u64, pixels: &Tensor, keys: &[u64]| -> Vec<Vec<i64>> {
            let sampling = Some(Sampling { temperature: 3.0, top_k: 0, top_p: 1.0, seed });
            let options = GenerateOptions { num_beams, sampling, ..GenerateOptions::default() };
            let captions = generate_keyed(&model.captioner, &model.views(), pixels, &options, keys);
            captions.into_iter().map(|caption| caption.ids).collect()
        };
        let all = written(1, &pictures, &[70, 80, 90]);
        assert_eq!(all, written(1, &pictures, &[70, 80, 90]));
        assert_eq!(all[1..2], written(1, &pictures.narrow(0, 1, 1), &[80]));
        assert_ne!(all, written(2, &pictures, &[70, 80, 90]));
        assert_ne!(all, written(1, &pictures, &[71, 81, 91]));
    }
}
