//! One optimizer step. In: batches, a step's number, a learning rate. Out: changed parameters. Never decides how often, and
//! never saves.

use anyhow::Result;
use tch::{Kind, Tensor, no_grad};
use tuwen_settings::{Precision, TrainSettings};
use tuwen_stream::Batch;

use crate::captioner::Input;
use crate::encoder_cache::EncoderCache;
use crate::evaluate::upload_labels;
use crate::loss_scale::LossScale;
use crate::model::Model;
use crate::optimizer::{AdamW, clip_divisor};
use crate::pixels::{Crop, splitmix};
use crate::ranks::Ranks;
use crate::recompute::Pass;

/// Where a step's batches come from, and where they go back to.
pub(crate) trait BatchSource {
    /// The next batch; empty only if there are several ranks.
    fn next(&mut self) -> Result<Batch>;

    /// Takes back a used batch, with its loss summed over `tokens`, which the device may not have computed yet.
    fn done(&mut self, batch: Batch, loss: Tensor, tokens: usize);
}

/// What training changes: model, optimizer and loss scale.
pub(crate) struct Learner {
    pub(crate) model: Model,
    pub(crate) optimizer: AdamW,
    /// Of precision f16.
    pub(crate) loss_scale: Option<LossScale>,
    /// Of a frozen encoder, if it is asked for.
    pub(crate) encoder_cache: Option<EncoderCache>,
}

/// The outcome of a step.
pub(crate) struct StepOutcome {
    /// 2-norm of all gradients before clipping, a scalar.
    pub(crate) grad_norm: Tensor,
    /// Whether nothing changed, because a gradient was not finite.
    pub(crate) skipped: bool,
    /// Whether nothing changed, because no rank had an image that can be read.
    pub(crate) empty: bool,
}

impl Learner {
    /// A learner; `loss_scale` is that of a resumed run.
    pub(crate) fn new(
        model: Model,
        optimizer: AdamW,
        loss_scale: Option<LossScale>,
        encoder_cache: Option<EncoderCache>,
        settings: &TrainSettings,
    ) -> Self {
        let scaled = settings.precision == Precision::F16;
        let loss_scale = scaled.then(|| loss_scale.unwrap_or_default());
        Self { model, optimizer, loss_scale, encoder_cache }
    }

    /// Step `number`, from 0, on pictures stored with `side` pixels: along the gradient of the mean loss over all tokens of its
    /// batches, those of all ranks, however many each of them has.
    ///
    /// # Errors
    /// As the source; token ids the model does not have; an error of libtorch; a rank that is lost.
    pub(crate) fn step(
        &mut self,
        settings: &TrainSettings,
        ranks: &Ranks,
        number: u64,
        lr: f64,
        side: usize,
        source: &mut impl BatchSource,
    ) -> Result<StepOutcome> {
        self.optimizer.freeze_encoder = number < settings.freeze_encoder_steps;
        let step_seed = step_seed(settings.seed, number, ranks.rank);
        tch::manual_seed(step_seed as i64);
        let loss_scale = self.loss_scale.map_or(1.0, |loss_scale| loss_scale.scale);
        let accumulation = settings.grad_accumulation.max(1);
        // How many tokens to divide by is known after the last batch. Until then it is by the most there can be, so that 16-bit
        // gradients keep their range.
        let most_tokens = ranks.world * settings.batch_size * accumulation * settings.max_length;
        let scale = loss_scale / most_tokens.max(1) as f64;
        let values = self.model.values();
        let mut grad: Option<Tensor> = None;
        let mut tokens = 0;
        for i in 0..accumulation as u64 {
            let batch = source.next()?;
            if batch.is_empty() {
                source.done(batch, Tensor::zeros([], (Kind::Float, self.model.device)), 0);
                continue;
            }
            let seed = splitmix(step_seed.wrapping_add(i));
            let leaves = self.model.captioner.layout.leaves(&values);
            let input = match &mut self.encoder_cache {
                Some(cache) => {
                    Input::States(cache.states(&self.model, &leaves.views, &batch, side)?)
                }
                None => {
                    let crop = Crop::random(side, settings.crop, seed);
                    Input::Pixels(self.model.pixels(&batch.pixels, batch.len(), side, crop))
                }
            };
            let (labels, n_tokens) = upload_labels(&self.model, &batch, settings)?;
            let pass = Pass {
                label_smoothing: settings.label_smoothing,
                freeze_encoder: self.optimizer.freeze_encoder,
                scale,
                seed,
                gradient_checkpointing: settings.gradient_checkpointing,
            };
            let loss = self.model.backward(&leaves, &input, &labels, &pass)?;
            grad = Some(match grad {
                Some(mut before) => no_grad(|| before.g_add_(&leaves.grad())),
                None => leaves.grad(),
            });
            tokens += n_tokens;
            source.done(batch, loss, n_tokens);
        }
        // A rank whose pictures could not be read has no gradient.
        let grad = grad.unwrap_or_else(|| no_grad(|| self.model.flat.zeros_like()));
        let mut grad = ranks.sum(grad)?;
        let [tokens] = ranks.sums([tokens as f64])?;
        if tokens == 0.0 {
            let grad_norm = Tensor::zeros([], (Kind::Float, self.model.device));
            return Ok(StepOutcome { grad_norm, skipped: false, empty: true });
        }
        let multiplied = scale * tokens;
        let grad_norm = no_grad(|| grad.norm() / multiplied);
        let finite = self.loss_scale.is_none() || grad_norm.double_value(&[]).is_finite();
        if finite {
            let divisor = clip_divisor(&grad_norm, settings.max_grad_norm) * multiplied;
            self.optimizer.step(&mut self.model.flat, &mut grad, &divisor, lr)?;
            if self.optimizer.is_sharded() {
                let (flat, share) = (&self.model.flat, self.optimizer.share());
                let own = flat.narrow(0, share.start, share.end - share.start);
                self.model.flat = ranks.concat(&own, flat.size()[0])?;
            }
        }
        if let Some(loss_scale) = &mut self.loss_scale {
            loss_scale.update(finite);
        }
        Ok(StepOutcome { grad_norm, skipped: !finite, empty: false })
    }
}

/// A seed for each step and rank, far from those of others and of other runs.
fn step_seed(seed: u64, step: u64, rank: usize) -> u64 {
    splitmix(splitmix(seed) ^ step ^ (rank as u64) << 48)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::path::Path;
    use std::sync::OnceLock;

    use tch::Device;

    use super::*;
    use crate::captioner::Captioner;
    use crate::config::ModelConfig;
    use crate::params::Layout;
    use crate::pixels::Normalise;
    use crate::text::Text;

    const SIDE: usize = 16;

    /// Captions of very different lengths.
    const LENGTHS: [u32; 4] = [9, 1, 3, 2];

    struct Batches {
        waiting: VecDeque<Batch>,
        losses: Vec<(f64, usize)>,
    }

    impl BatchSource for Batches {
        fn next(&mut self) -> Result<Batch> {
            Ok(self.waiting.pop_front().expect("a batch"))
        }

        fn done(&mut self, _: Batch, loss: Tensor, tokens: usize) {
            self.losses.push((loss.double_value(&[]), tokens));
        }
    }

    fn batch(examples: &[usize]) -> Batch {
        let width = 9;
        let picture = |i: usize| (0..SIDE * SIDE * 3).map(move |j| (i * 31 + j * 7) as u8);
        let ids = |i: usize| (0..width).map(move |j| (5 + (i * 7 + j * 3) % 40) as i64);
        Batch {
            example_ids: vec![Default::default(); examples.len()],
            pixels: examples.iter().flat_map(|&i| picture(i)).collect(),
            input_ids: examples.iter().flat_map(|&i| ids(i)).collect(),
            lengths: examples.iter().map(|&i| LENGTHS[i]).collect(),
            width_tokens: width,
            ..Batch::default()
        }
    }

    /// Initial values, drawn once: the generator is one for all tests of the process.
    fn values() -> Tensor {
        static VALUES: OnceLock<Vec<f32>> = OnceLock::new();
        let values = VALUES.get_or_init(|| {
            let flat = captioner(&settings(1, 1)).1.layout.init(3);
            Vec::try_from(flat).unwrap()
        });
        Tensor::from_slice(values)
    }

    fn captioner(settings: &TrainSettings) -> (Text, Captioner) {
        let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tokenizer.json");
        let text = Text::open(&tokenizer).unwrap();
        let config = ModelConfig::from_settings(settings, text.vocab_size(), text.ids).unwrap();
        (text, Captioner::new(&config))
    }

    fn learner(settings: &TrainSettings) -> Learner {
        let ((text, captioner), flat) = (captioner(settings), values());
        let optimizer = AdamW::new(&flat, &captioner.layout, settings, &Ranks::alone());
        let (normalise, device) = (Normalise::default(), Device::Cpu);
        let precision = settings.precision;
        let model = Model { captioner, flat, text, normalise, device, precision };
        Learner::new(model, optimizer, None, None, settings)
    }

    fn settings(batch_size: usize, grad_accumulation: usize) -> TrainSettings {
        TrainSettings {
            batch_size,
            grad_accumulation,
            image_size: SIDE as i64,
            patch_size: 8,
            encoder_width: 16,
            encoder_heads: 2,
            encoder_layers: 1,
            encoder_mlp: 16,
            encoder_dropout: 0.0,
            decoder_width: 16,
            decoder_heads: 2,
            decoder_layers: 1,
            decoder_positions: 16,
            decoder_dropout: 0.0,
            vocab_size: 0,
            max_length: 9,
            ..TrainSettings::default()
        }
    }

    /// What a step does to the parameters, the norm of its gradient, and the loss of each batch.
    fn stepped(settings: &TrainSettings) -> (Tensor, f64, Vec<(f64, usize)>) {
        let mut learner = learner(settings);
        let before = learner.model.flat.copy();
        let examples: Vec<usize> = (0..LENGTHS.len()).collect();
        let waiting = examples.chunks(settings.batch_size).map(batch).collect();
        let mut source = Batches { waiting, losses: Vec::new() };
        let outcome = learner.step(settings, &Ranks::alone(), 0, 1e-3, SIDE, &mut source).unwrap();
        (learner.model.flat - before, outcome.grad_norm.double_value(&[]), source.losses)
    }

    #[test]
    fn each_token_of_a_step_counts_alike_however_it_is_divided_into_batches() {
        tch::set_num_threads(1);
        let (whole, norm, losses) = stepped(&settings(4, 1));
        let &[(sum, tokens)] = &losses[..] else { panic!("{losses:?}") };
        // Those of the captions, and an end for each that has room for one.
        assert_eq!(tokens, 9 + 2 + 4 + 3);
        for (batch_size, accumulation) in [(2, 2), (1, 4)] {
            let (parts, norm_of_parts, losses) = stepped(&settings(batch_size, accumulation));
            // The sum of the sums; a mean of means would count the caption of one token as much as that of nine.
            let sum_of_parts: f64 = losses.iter().map(|(loss, _)| loss).sum();
            assert!((sum_of_parts - sum).abs() < 1e-5 * sum, "{losses:?} against {sum}");
            assert!((norm_of_parts - norm).abs() < 1e-5 * norm, "{norm_of_parts} against {norm}");
            let difference = ((&parts - &whole).norm() / whole.norm()).double_value(&[]);
            assert!(difference < 2e-3, "{difference}");
        }
    }

    /// The gradient of the mean over tokens, by differences: along it the loss falls by its squared norm.
    #[test]
    fn the_gradients_norm_is_that_of_the_mean_over_all_tokens() {
        tch::set_num_threads(1);
        let settings = settings(1, 4);
        let learner = learner(&settings);
        let (model, layout): (_, &Layout) = (&learner.model, &learner.model.captioner.layout);
        let mean_loss = |flat: &Tensor| -> Tensor {
            let views = layout.views(flat);
            let batch = batch(&[0, 1, 2, 3]);
            let pixels = model.pixels(&batch.pixels, batch.len(), SIDE, Crop::whole(SIDE));
            let (labels, tokens) = upload_labels(model, &batch, &settings).unwrap();
            model.captioner.loss(&views, &pixels, &labels, 0.0, false) / tokens as f64
        };
        let flat = model.flat.copy().set_requires_grad(true);
        mean_loss(&flat).backward();
        let expected = flat.grad().norm().to_kind(Kind::Double).double_value(&[]);
        let (_, norm, _) = stepped(&settings);
        assert!((norm - expected).abs() < 1e-5 * expected, "{norm} against {expected}");
    }
}
