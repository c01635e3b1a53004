//! Dynamic loss scaling for 16-bit floats (Micikevicius et al. 2018), with the figures of PyTorch's `GradScaler`. In: whether
//! a step's gradients were finite. Out: what the next loss is multiplied with. Never touches a tensor.

use serde::{Deserialize, Serialize};

/// Scale of the first step.
const INIT_SCALE: f64 = 65_536.0;

/// Steps without overflow after which the scale is doubled.
const GROWTH_INTERVAL: u64 = 2_000;

/// The scale, and what decides when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    /// What the loss is multiplied with, and gradients are divided by.
    pub scale: f64,
    /// Steps since the scale was last changed.
    steady: u64,
    /// Steps that changed nothing, because a gradient was not finite.
    pub skipped: u64,
}

impl Default for LossScale {
    fn default() -> Self {
        Self { scale: INIT_SCALE, steady: 0, skipped: 0 }
    }
}

impl LossScale {
    /// Halves the scale after an overflow, doubles it after 2,000 steps without one.
    pub fn update(&mut self, finite: bool) {
        if !finite {
            (self.scale, self.steady) = (self.scale / 2.0, 0);
            self.skipped += 1;
            return;
        }
        self.steady += 1;
        if self.steady == GROWTH_INTERVAL {
            (self.scale, self.steady) = (self.scale * 2.0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_falls_at_once_and_rises_slowly() {
        let mut scale = LossScale::default();
        scale.update(false);
        assert_eq!((scale.scale, scale.skipped), (32_768.0, 1));
        for _ in 0..1_999 {
            scale.update(true);
        }
        assert_eq!(scale.scale, 32_768.0);
        scale.update(true);
        assert_eq!((scale.scale, scale.skipped), (65_536.0, 1));
    }
}
