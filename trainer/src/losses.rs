//! The losses of the steps since the last look. In: scalars that may still be on the device, with whose they are. Out: their
//! mean, or the first that is no number. Never waits for the device before it is asked.

use anyhow::{Result, bail};
use tch::{Kind, Tensor};
use tuwen_stream::ExampleId;

/// Losses, in the order of their steps.
#[derive(Default)]
pub(crate) struct Losses {
    pending: Vec<Pending>,
    sum: f64,
    n: u64,
}

struct Pending {
    step: u64,
    examples: Vec<ExampleId>,
    loss: Tensor,
}

impl Losses {
    /// The loss of `examples` in step `step`.
    pub(crate) fn add(&mut self, step: u64, examples: &[ExampleId], loss: Tensor) {
        self.pending.push(Pending { step, examples: examples.to_vec(), loss });
    }

    /// Waits for the device and looks at every loss added since. Where `skip` says so, those that are not finite do not count.
    ///
    /// # Errors
    /// A loss that is not finite: its step and examples.
    pub(crate) fn look(&mut self, skip: bool) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let losses: Vec<_> = self.pending.iter().map(|p| p.loss.to_kind(Kind::Float)).collect();
        let values = Vec::<f32>::try_from(Tensor::stack(&losses, 0))?;
        for (pending, value) in self.pending.drain(..).zip(values) {
            if value.is_finite() {
                self.sum += f64::from(value);
                self.n += 1;
            } else if !skip {
                let ids: Vec<_> = pending.examples.iter().map(ToString::to_string).collect();
                bail!(
                    "step {}: expected a finite loss, found {value}\n  its examples: {}",
                    pending.step,
                    ids.join(" ")
                );
            }
        }
        Ok(())
    }

    /// The mean of what was looked at since the last call, nats a token; NaN if that was nothing.
    pub(crate) fn mean(&mut self) -> f64 {
        let mean = self.sum / self.n as f64;
        (self.sum, self.n) = (0.0, 0);
        mean
    }
}
