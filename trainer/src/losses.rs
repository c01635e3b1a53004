//! The losses of the steps since they were last checked. In: scalars that may still be on the device, with their examples. Out:
//! their mean, or the first that is not finite. Never waits for the device before `check_finite`.

use anyhow::{Result, bail};
use tch::{Kind, Tensor};
use tuwen_stream::ExampleId;

use crate::ranks::Ranks;

/// Losses that are kept, with the ids of their examples, before they are looked at.
const MOST_PENDING: usize = 1_024;

/// Losses, in the order of their steps.
#[derive(Default)]
pub(crate) struct Losses {
    pending: Vec<Pending>,
    sum: f64,
    tokens: usize,
}

struct Pending {
    step: u64,
    examples: Vec<ExampleId>,
    loss: Tensor,
    tokens: usize,
}

impl Losses {
    /// The loss of `examples` in step `step`, summed over their `tokens`.
    pub(crate) fn add(&mut self, step: u64, examples: &[ExampleId], loss: Tensor, tokens: usize) {
        self.pending.push(Pending { step, examples: examples.to_vec(), loss, tokens });
    }

    /// Whether so many losses are pending that they should be checked, asked for or not.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= MOST_PENDING
    }

    /// Waits for the device and checks every loss added since the last call. With `skip`, those that are not finite are left out
    /// of the mean.
    ///
    /// # Errors
    /// Without `skip`, a loss that is not finite: its step and examples.
    pub(crate) fn check_finite(&mut self, skip: bool) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let losses: Vec<_> = self.pending.iter().map(|p| p.loss.to_kind(Kind::Float)).collect();
        let values = Vec::<f32>::try_from(Tensor::stack(&losses, 0))?;
        for (pending, value) in self.pending.drain(..).zip(values) {
            if value.is_finite() {
                self.sum += f64::from(value);
                self.tokens += pending.tokens;
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

    /// The mean over all tokens whose losses were checked since the last call, those of all ranks, nats; NaN if there are none.
    ///
    /// # Errors
    /// A rank that is lost.
    pub(crate) fn mean(&mut self, ranks: &Ranks) -> Result<f64> {
        let [sum, tokens] = ranks.sums([self.sum, self.tokens as f64])?;
        (self.sum, self.tokens) = (0.0, 0);
        Ok(sum / tokens)
    }
}
