//! One optimizer step. In: batches, a step's number, a learning rate. Out: changed parameters. Never decides how often, and
//! never saves.

use anyhow::Result;
use tch::{Tensor, no_grad};
use tuwen_settings::{Precision, TrainSettings};
use tuwen_stream::Batch;

use crate::evaluate::upload;
use crate::loss_scale::LossScale;
use crate::model::Model;
use crate::optimizer::{AdamW, clip};
use crate::pixels::{Crop, splitmix};
use crate::recompute::{self, Pass};

/// Where a step's batches come from, and what they leave.
pub(crate) trait Source {
    /// The next batch.
    fn next(&mut self) -> Result<Batch>;

    /// Takes back a batch that was used, with its loss, which may still be on its way.
    fn done(&mut self, batch: Batch, loss: Tensor);
}

/// What training changes.
pub(crate) struct Learner {
    pub(crate) model: Model,
    pub(crate) optimizer: AdamW,
    /// Of precision f16.
    pub(crate) loss_scale: Option<LossScale>,
}

/// How a step went.
pub(crate) struct Stepped {
    /// 2-norm of all gradients before clipping, a scalar.
    pub(crate) grad_norm: Tensor,
    /// Whether nothing changed, because a gradient was not finite.
    pub(crate) skipped: bool,
}

impl Learner {
    /// A learner whose parameters keep gradients; `loss_scale` is that of a run gone on with.
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
    /// As the source; token ids the model does not have; what libtorch says.
    pub(crate) fn step(
        &mut self,
        settings: &TrainSettings,
        number: u64,
        lr: f64,
        side: usize,
        source: &mut impl Source,
    ) -> Result<Stepped> {
        self.optimizer.freeze_encoder = number < settings.freeze_encoder_steps;
        tch::manual_seed(seed_of(settings.seed, number) as i64);
        let scale = self.loss_scale.map_or(1.0, |loss_scale| loss_scale.scale);
        let accumulation = settings.grad_accumulation.max(1) as u64;
        let mut gathered: Option<Tensor> = None;
        for i in 0..accumulation {
            let batch = source.next()?;
            let seed = splitmix(seed_of(settings.seed, number).wrapping_add(i));
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
                gathered = Some(match gathered {
                    Some(before) => before + leaves.grad(),
                    None => leaves.grad(),
                });
                loss
            } else {
                self.model.backward(&pixels, &labels, &pass)?
            };
            source.done(batch, loss);
        }
        let mut grad = gathered.unwrap_or_else(|| self.model.flat.grad());
        if self.loss_scale.is_some() {
            let _ = no_grad(|| grad.g_mul_scalar_(1.0 / scale));
        }
        let grad_norm = clip(&mut grad, settings.max_grad_norm);
        let finite = self.loss_scale.is_none() || grad_norm.double_value(&[]).is_finite();
        if finite {
            self.optimizer.step(&mut self.model.flat, &grad, lr);
        }
        self.model.flat.zero_grad();
        if let Some(loss_scale) = &mut self.loss_scale {
            loss_scale.update(finite);
        }
        Ok(Stepped { grad_norm, skipped: !finite })
    }
}

/// A seed for each step, far from those of other steps and other runs.
fn seed_of(seed: u64, step: u64) -> u64 {
    splitmix(splitmix(seed) ^ step)
}
