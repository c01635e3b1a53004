//! AdamW (Loshchilov & Hutter 2019) over one flat tensor, equal to PyTorch's. In: gradients and a learning rate. Out: changed
//! parameters. Never knows a name: the first elements decay, the others do not.

use tch::{Tensor, no_grad};
use tuwen::settings::TrainSettings;

/// Optimizer and its state: two tensors as long as the parameters.
pub struct AdamW {
    /// Running mean of the gradient.
    pub exp_avg: Tensor,
    /// Running mean of its square.
    pub exp_avg_sq: Tensor,
    /// Steps done.
    pub steps: u64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
    n_decaying: i64,
}

impl AdamW {
    /// A new optimizer for `flat`, of which the first `n_decaying` elements have weight decay.
    pub fn new(flat: &Tensor, n_decaying: i64, settings: &TrainSettings) -> Self {
        Self {
            exp_avg: no_grad(|| flat.zeros_like()),
            exp_avg_sq: no_grad(|| flat.zeros_like()),
            steps: 0,
            beta1: settings.beta1,
            beta2: settings.beta2,
            epsilon: settings.adam_epsilon,
            weight_decay: settings.weight_decay,
            n_decaying,
        }
    }

    /// One step along `grad`, `[len]`.
    pub fn step(&mut self, flat: &mut Tensor, grad: &Tensor, lr: f64) {
        self.steps += 1;
        let n = self.steps as f64;
        no_grad(|| {
            if self.weight_decay != 0.0 {
                let _ =
                    flat.narrow(0, 0, self.n_decaying).g_mul_scalar_(1.0 - lr * self.weight_decay);
            }
            let _ = self.exp_avg.lerp_(grad, 1.0 - self.beta1);
            let _ = self
                .exp_avg_sq
                .g_mul_scalar_(self.beta2)
                .addcmul_(&(grad * (1.0 - self.beta2)), grad);
            // p -= lr / (1 - β1ⁿ) * m / (sqrt(v) / sqrt(1 - β2ⁿ) + ε), with the scalars gathered in the divisor.
            let step_size = lr / (1.0 - self.beta1.powf(n));
            let root = (1.0 - self.beta2.powf(n)).sqrt();
            let mut divisor = self.exp_avg_sq.sqrt();
            let _ = divisor
                .g_mul_scalar_(-1.0 / (root * step_size))
                .g_add_scalar_(-self.epsilon / step_size);
            if step_size > 0.0 {
                let _ = flat.addcdiv_(&self.exp_avg, &divisor);
            }
        });
    }
}

/// Scales `grad` down so that its 2-norm is at most `max_norm` (0: leaves it); gives the norm before, a scalar tensor.
pub fn clip(grad: &mut Tensor, max_norm: f64) -> Tensor {
    no_grad(|| {
        let norm = grad.norm();
        if max_norm > 0.0 {
            let scale = (&norm + 1e-6).reciprocal().g_mul_scalar(max_norm).clamp_max(1.0);
            let _ = grad.g_mul_(&scale);
        }
        norm
    })
}
