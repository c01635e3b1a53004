//! One optimizer step. In: batches, a step's number, a learning rate. Out: changed parameters. Never decides how often, and
//! never saves.

use anyhow::Result;
use tch::{Tensor, no_grad};
use tuwen_settings::{Precision, TrainSettings};
use tuwen_stream::Batch;

use crate::evaluate::upload;
use crate::loss_scale::LossScale;
use crate::model::Model;
use crate::optimizer::{AdamW, clip_grad_norm};
use crate::pixels::{Crop, splitmix};
use crate::recompute::{self, Pass};

/// Where a step's batches come from, and where they go back to.
pub(crate) trait BatchSource {
    /// The next batch.
    fn next(&mut self) -> Result<Batch>;

    /// Takes back a used batch, with its loss, which the device may not have computed yet.
    fn done(&mut self, batch: Batch, loss: Tensor);
}

/// What training changes: model, optimizer and loss scale.
pub(crate) struct Learner {
    pub(crate) model: Model,
    pub(crate) optimizer: AdamW,
    /// Of precision f16.
    pub(crate) loss_scale: Option<LossScale>,
}

/// The outcome of a step.
pub(crate) struct StepOutcome {
    /// 2-norm of all gradients before clipping, a scalar.
    pub(crate) grad_norm: Tensor,
    /// Whether nothing changed, because a gradient was not finite.
    pub(crate) skipped: bool,
}

impl Learner {
    /// A learner whose parameters keep gradients; `loss_scale` is that of a resumed run.
    pub(crate) fn new(
        mut model: Model,
        optimizer: AdamW,
        loss_scale: Option<LossScale>,
        settings: &TrainSettings,
    ) -> Self {
        model.flat = model.flat.set_requires_grad(true);
        let scaled = settings.precision == Precision::F16;
        Self { model, optimizer, loss_scale: scaled.then(|| loss_scale.unwrap_or_default()) }
    }

    /// Step `number`, from 0, on pictures stored with `side` pixels.
    ///
    /// # Errors
    /// As the source; token ids the model does not have; an error of libtorch.
    pub(crate) fn step(
        &mut self,
        settings: &TrainSettings,
        number: u64,
        lr: f64,
        side: usize,
        source: &mut impl BatchSource,
    ) -> Result<StepOutcome> {
        self.optimizer.freeze_encoder = number < settings.freeze_encoder_steps;
        tch::manual_seed(step_seed(settings.seed, number) as i64);
        let scale = self.loss_scale.map_or(1.0, |loss_scale| loss_scale.scale);
        let accumulation = settings.grad_accumulation.max(1) as u64;
        let mut accumulated: Option<Tensor> = None;
        for i in 0..accumulation {
            let batch = source.next()?;
            let seed = splitmix(step_seed(settings.seed, number).wrapping_add(i));
            let crop = Crop::random(side, settings.crop, seed);
            let (pixels, labels) = upload(&self.model, &batch, side, crop, settings)?;
            let pass = Pass {
                label_smoothing: settings.label_smoothing,
                freeze_encoder: self.optimizer.freeze_encoder,
                scale: scale / accumulation as f64,
                seed,
            };
            let loss = if settings.gradient_checkpointing {
                let (leaves, model) = (self.model.leaves(), &self.model.captioner);
                let loss = recompute::backward(model, &leaves, &pixels, &labels, &pass);
                accumulated = Some(match accumulated {
                    Some(before) => before + leaves.grad(),
                    None => leaves.grad(),
                });
                loss
            } else {
                self.model.backward(&pixels, &labels, &pass)?
            };
            source.done(batch, loss);
        }
        let mut grad = accumulated.unwrap_or_else(|| self.model.flat.grad());
        if self.loss_scale.is_some() {
            let _ = no_grad(|| grad.g_mul_scalar_(1.0 / scale));
        }
        let grad_norm = clip_grad_norm(&mut grad, settings.max_grad_norm);
        let finite = self.loss_scale.is_none() || grad_norm.double_value(&[]).is_finite();
        if finite {
            self.optimizer.step(&mut self.model.flat, &grad, lr);
        }
        self.model.flat.zero_grad();
        if let Some(loss_scale) = &mut self.loss_scale {
            loss_scale.update(finite);
        }
        Ok(StepOutcome { grad_norm, skipped: !finite })
    }
}

/// A seed for each step, far from those of other steps and other runs.
fn step_seed(seed: u64, step: u64) -> u64 {
    splitmix(splitmix(seed) ^ step)
}
