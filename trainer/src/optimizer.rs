//! AdamW (Loshchilov & Hutter 2019) over one flat tensor, equal to PyTorch's. In: gradients and a learning rate. Out: changed
//! parameters. Never knows a name but the encoder's, which may be frozen at first.

use std::ops::Range;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};
use tuwen_settings::TrainSettings;

use crate::params::Layout;
use crate::ranks::Ranks;
use crate::shim::{AdamWOptions, fused_adamw};

/// Optimizer and its state: two tensors as long as the parameters, or as this rank's share of them (ZeRO stage 1, Rajbhandari et al.
/// 2020).
pub struct AdamW {
    /// Running mean of the gradient.
    exp_avg: Tensor,
    /// Running mean of its square.
    exp_avg_sq: Tensor,
    /// The parameters that are this rank's to update.
    share: Range<i64>,
    /// Steps done.
    pub steps: Steps,
    /// Whether the encoder is frozen: neither gradient nor weight decay changes it, nor are its steps counted.
    pub freeze_encoder: bool,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
    n_decaying: i64,
    /// First element, elements, whether they are the encoder's.
    ranges: Vec<(i64, i64, bool)>,
}

/// Steps done, by part of the model: fewer for an encoder that was frozen at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// Of the encoder.
    pub encoder: u64,
    /// Of all the rest.
    pub rest: u64,
}

impl AdamW {
    /// A new optimizer for `flat`, which is laid out by `layout`.
    pub fn new(flat: &Tensor, layout: &Layout, settings: &TrainSettings, ranks: &Ranks) -> Self {
        let len = layout.len();
        let share = if settings.shard_optimizer { ranks.share(len) } else { 0..len };
        let zeros = || Tensor::zeros([share.end - share.start], (Kind::Float, flat.device()));
        Self {
            exp_avg: zeros(),
            exp_avg_sq: zeros(),
            share: share.clone(),
            steps: Steps::default(),
            freeze_encoder: false,
            beta1: settings.beta1,
            beta2: settings.beta2,
            epsilon: settings.adam_epsilon,
            weight_decay: settings.weight_decay,
            n_decaying: layout.n_decaying(),
            ranges: layout.ranges("encoder."),
        }
    }

    /// Whether other ranks update the other parameters.
    pub fn is_sharded(&self) -> bool {
        self.share != (0..self.len())
    }

    /// The parameters that are this rank's to update.
    pub fn share(&self) -> Range<i64> {
        self.share.clone()
    }

    /// All parameters.
    fn len(&self) -> i64 {
        self.ranges.iter().map(|(_, len, _)| len).sum()
    }

    /// Both moments of all parameters, `exp_avg` and `exp_avg_sq`, those of all ranks together.
    ///
    /// # Errors
    /// A rank that is lost.
    pub fn moments(&self, ranks: &Ranks) -> Result<[Tensor; 2]> {
        let whole = |own: &Tensor| {
            if self.is_sharded() { ranks.concat(own, self.len()) } else { Ok(own.shallow_clone()) }
        };
        Ok([whole(&self.exp_avg)?, whole(&self.exp_avg_sq)?])
    }

    /// Takes over both moments of all parameters, and the steps that were done.
    ///
    /// # Errors
    /// Moments of another number of parameters.
    pub fn restore(&mut self, moments: [&Tensor; 2], steps: Steps) -> Result<()> {
        let (first, len) = (self.share.start, self.share.end - self.share.start);
        let expected = self.len();
        for (own, whole) in [&mut self.exp_avg, &mut self.exp_avg_sq].into_iter().zip(moments) {
            if whole.size() != [expected] {
                bail!("moments: expected [{expected}] parameters, found {:?}", whole.size());
            }
            no_grad(|| own.copy_(&whole.narrow(0, first, len)));
        }
        self.steps = steps;
        Ok(())
    }

    /// One step along `grad`, `[len]`, which is divided by `divisor` first (and left so); a scalar tensor on the same device. Changes
    /// the parameters of this rank's share.
    ///
    /// # Errors
    /// libtorch's.
    pub fn step(
        &mut self,
        flat: &mut Tensor,
        grad: &mut Tensor,
        divisor: &Tensor,
        lr: f64,
    ) -> Result<()> {
        self.steps.rest += 1;
        self.steps.encoder += u64::from(!self.freeze_encoder);
        let whole = [(0, flat.size()[0], false)];
        let is_one_range = self.steps.encoder == self.steps.rest;
        let ranges = if is_one_range { &whole[..] } else { &self.ranges[..] };
        for &(start, len, encoder) in ranges {
            if encoder && self.freeze_encoder {
                continue;
            }
            let n = if encoder { self.steps.encoder } else { self.steps.rest };
            let decaying = (self.n_decaying - start).clamp(0, len);
            self.update(flat, grad, divisor, lr, n, (start, decaying), self.weight_decay)?;
            self.update(flat, grad, divisor, lr, n, (start + decaying, len - decaying), 0.0)?;
        }
        Ok(())
    }

    /// Updates those of the `len` elements from `start` on that are in this rank's share; `n` is the number of their step, from 1.
    #[expect(clippy::too_many_arguments, reason = "the arguments of one call of libtorch")]
    fn update(
        &self,
        flat: &Tensor,
        grad: &Tensor,
        divisor: &Tensor,
        lr: f64,
        n: u64,
        (start, len): (i64, i64),
        weight_decay: f64,
    ) -> Result<()> {
        let end = (start + len).min(self.share.end);
        let start = start.max(self.share.start);
        if start >= end {
            return Ok(());
        }
        let len = end - start;
        no_grad(|| {
            let [param, grad] = [flat, grad].map(|t| t.narrow(0, start, len));
            let [exp_avg, exp_avg_sq] = [&self.exp_avg, &self.exp_avg_sq]
                .map(|t| t.narrow(0, start - self.share.start, len));
            let step = Tensor::full([], n as f64, (Kind::Float, flat.device()));
            let options = AdamWOptions {
                lr,
                beta1: self.beta1,
                beta2: self.beta2,
                weight_decay,
                eps: self.epsilon,
            };
            fused_adamw(&param, &grad, (&exp_avg, &exp_avg_sq), &step, divisor, &options)
        })
    }
}

/// What PyTorch's `clip_grad_norm_` divides gradients of the 2-norm `norm`, a scalar tensor, by, so that it becomes at most
/// `max_norm` (0: leaves it).
pub fn clip_divisor(norm: &Tensor, max_norm: f64) -> Tensor {
    if max_norm == 0.0 {
        return norm.ones_like();
    }
    ((norm + 1e-6) / max_norm).clamp_min(1.0)
}
