//! Which checkpoint is the best so far. In: evaluations. Out: its folder's name and its metric. Never touches a file.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tuwen_settings::{BestMetric, TrainSettings};

use crate::evaluate::{EvalSet, Evaluation};

/// The best checkpoint of a run, under the names that transformers' `trainer_state.json` has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// What was compared.
    pub metric_for_best_model: BestMetric,
    /// Its value.
    pub best_metric: f64,
    /// The checkpoint's folder, within the run's.
    pub best_model_checkpoint: String,
}

impl Best {
    /// A candidate: the checkpoint `folder` with the evaluation's value of `metric`; none if nothing is to be compared.
    pub fn of(metric: BestMetric, folder: String, evaluation: &Evaluation) -> Option<Self> {
        let best_metric = match metric {
            BestMetric::None => None,
            BestMetric::Loss => Some(evaluation.loss),
            BestMetric::Cider => evaluation.scores.as_ref().map(|scores| scores.cider),
        }?;
        Some(Self { metric_for_best_model: metric, best_metric, best_model_checkpoint: folder })
    }

    /// Whether it is better than the best so far; the earlier of two equals stays.
    pub fn beats(&self, other: Option<&Self>) -> bool {
        let Some(other) = other else { return self.best_metric.is_finite() };
        match self.metric_for_best_model {
            BestMetric::Loss => self.best_metric < other.best_metric,
            _ => self.best_metric > other.best_metric,
        }
    }

    /// Makes sure that evaluations will have the metric that is to be compared.
    ///
    /// # Errors
    /// A test split or captions to evaluate on are missing.
    pub fn check(settings: &TrainSettings, test: &EvalSet) -> Result<()> {
        match settings.metric_for_best_model {
            BestMetric::None => Ok(()),
            _ if test.is_empty() => bail!(
                "train.metric_for_best_model: expected examples in split test, found none\nhint: none keeps no best checkpoint"
            ),
            BestMetric::Cider if settings.eval_captions == 0 => bail!(
                "train.metric_for_best_model = cider: expected train.eval_captions above 0, found 0"
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_losses_and_higher_ciders_are_better() {
        let best = |metric, value| Best {
            metric_for_best_model: metric,
            best_metric: value,
            best_model_checkpoint: "checkpoint-1".to_owned(),
        };
        for (metric, new, old, expected) in [
            (BestMetric::Loss, 1.0, Some(2.0), true),
            (BestMetric::Loss, 2.0, Some(2.0), false),
            (BestMetric::Loss, 3.0, Some(2.0), false),
            (BestMetric::Loss, f64::NAN, Some(2.0), false),
            (BestMetric::Loss, f64::NAN, None, false),
            (BestMetric::Cider, 3.0, Some(2.0), true),
            (BestMetric::Cider, 1.0, Some(2.0), false),
            (BestMetric::Cider, 0.0, None, true),
        ] {
            let old = old.map(|value| best(metric, value));
            assert_eq!(best(metric, new).beats(old.as_ref()), expected, "{metric:?} {new} {old:?}");
        }
    }
}
