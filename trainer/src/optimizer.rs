//! AdamW (Loshchilov & Hutter 2019) over one flat tensor, equal to PyTorch's. In: gradients and a learning rate. Out: changed
//! parameters. Never knows a name but the encoder's, which may be frozen at first.

use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};
use tuwen_settings::TrainSettings;

use crate::params::Layout;

/// Optimizer and its state: two tensors as long as the parameters.
pub struct AdamW {
    /// Running mean of the gradient.
    pub exp_avg: Tensor,
    /// Running mean of its square.
    pub exp_avg_sq: Tensor,
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
    pub fn new(flat: &Tensor, layout: &Layout, settings: &TrainSettings) -> Self {
        Self {
            exp_avg: no_grad(|| flat.zeros_like()),
            exp_avg_sq: no_grad(|| flat.zeros_like()),
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

    /// One step along `grad`, `[len]`.
    pub fn step(&mut self, flat: &mut Tensor, grad: &Tensor, lr: f64) {
        self.steps.rest += 1;
        self.steps.encoder += u64::from(!self.freeze_encoder);
        if self.steps.encoder == self.steps.rest {
            return self.update_range(flat, grad, lr, (0, flat.size()[0]), self.steps.rest);
        }
        for (start, len, encoder) in self.ranges.clone() {
            match encoder {
                true if self.freeze_encoder => {}
                true => self.update_range(flat, grad, lr, (start, len), self.steps.encoder),
                false => self.update_range(flat, grad, lr, (start, len), self.steps.rest),
            }
        }
    }

    /// Updates the `len` elements from `start` on; `n` is the number of their step, from 1.
    fn update_range(
        &mut self,
        flat: &Tensor,
        grad: &Tensor,
        lr: f64,
        (start, len): (i64, i64),
        n: u64,
    ) {
        let n = n as f64;
        no_grad(|| {
            let cut = |tensor: &Tensor| tensor.narrow(0, start, len);
            let (mut part, grad) = (cut(flat), cut(grad));
            let (mut exp_avg, mut exp_avg_sq) = (cut(&self.exp_avg), cut(&self.exp_avg_sq));
            let decaying = (self.n_decaying - start).clamp(0, len);
            if self.weight_decay != 0.0 {
                let _ = part.narrow(0, 0, decaying).g_mul_scalar_(1.0 - lr * self.weight_decay);
            }
            let _ = exp_avg.lerp_(&grad, 1.0 - self.beta1);
            let _ =
                exp_avg_sq.g_mul_scalar_(self.beta2).addcmul_(&(&grad * (1.0 - self.beta2)), &grad);
            // p -= lr / (1 - β1ⁿ) * m / (sqrt(v) / sqrt(1 - β2ⁿ) + ε), with the scalars gathered in the divisor.
            let step_size = lr / (1.0 - self.beta1.powf(n));
            let root = (1.0 - self.beta2.powf(n)).sqrt();
            let mut divisor = exp_avg_sq.sqrt();
            let _ = divisor
                .g_mul_scalar_(-1.0 / (root * step_size))
                .g_add_scalar_(-self.epsilon / step_size);
            if step_size > 0.0 {
                let _ = part.addcdiv_(&exp_avg, &divisor);
            }
        });
    }
}

/// Scales `grad` down so that its 2-norm is at most `max_norm` (0: leaves it), as PyTorch's `clip_grad_norm_`; gives the norm
/// before, a scalar tensor.
pub fn clip_grad_norm(grad: &mut Tensor, max_norm: f64) -> Tensor {
    no_grad(|| {
        let norm = grad.norm();
        if max_norm > 0.0 {
            let scale = (&norm + 1e-6).reciprocal().g_mul_scalar(max_norm).clamp_max(1.0);
            let _ = grad.g_mul_(&scale);
        }
        norm
    })
}
