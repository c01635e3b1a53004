//! The learning rate as a pure function of the step. In: settings and a step. Out: a rate. Never has a state.

use std::f64::consts::PI;

use tuwen_settings::{LrSchedule, TrainSettings};

/// The schedule of one run.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    lr: f64,
    kind: LrSchedule,
    warmup: u64,
    steps: u64,
}

impl Schedule {
    /// The schedule of a run of `steps` steps.
    pub fn new(settings: &TrainSettings, steps: u64) -> Self {
        let warmup = match settings.warmup_steps {
            0 => (settings.warmup_ratio * steps as f64).ceil() as u64,
            given => given,
        };
        Self { lr: settings.lr, kind: settings.schedule, warmup, steps }
    }

    /// The rate of step `step`, from 0; as transformers' `get_cosine_schedule_with_warmup`, `get_linear_…` and `get_constant_…`.
    pub fn lr_at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.lr * step as f64 / self.warmup as f64;
        }
        let left = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let progress = (step - self.warmup) as f64 / left;
        self.lr
            * match self.kind {
                LrSchedule::Cosine => (0.5 * (1.0 + (PI * progress).cos())).max(0.0),
                LrSchedule::Linear => (1.0 - progress).max(0.0),
                LrSchedule::Constant => 1.0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_the_schedule() {
        for (schedule, expected) in [
            (LrSchedule::Cosine, [0.0, 0.5, 1.0, 0.5, 0.0]),
            (LrSchedule::Linear, [0.0, 0.5, 1.0, 0.5, 0.0]),
            (LrSchedule::Constant, [0.0, 0.5, 1.0, 1.0, 1.0]),
        ] {
            let settings =
                TrainSettings { lr: 1.0, schedule, warmup_steps: 10, ..Default::default() };
            let schedule = Schedule::new(&settings, 110);
            let rates = [0, 5, 10, 60, 110].map(|step| schedule.lr_at(step));
            assert!(
                rates.iter().zip(expected).all(|(rate, e)| (rate - e).abs() < 1e-12),
                "{rates:?}"
            );
        }
    }
}
