//! Scores for examples of a corpus. In: a selection, and a model. Out: rows of the corpus's table `scores`, and a report. Never
//! scores an example twice with the same model and settings, unless its caption or image is another now.

use anyhow::{Context, Result};
use serde_json::json;
use tokio::runtime::Runtime;
use tuwen_corpus::Corpus;
use tuwen_corpus::report::StageReport;
use tuwen_etl::stop::stop_signals;
use tuwen_settings::Settings;

use crate::caption_stage::{ByModel, Portions};
use crate::fingerprint::fingerprint;
use crate::model::Model;
use crate::neutral::Sample;
use crate::score::Scorer;
use crate::score_rows::ScoreBatch;
use crate::score_stage::{ScoreRequest, Wanted, score_examples};

/// Scores the `wanted` examples with the model that was read from `folder`. SIGINT and SIGTERM end it after the batch under way.
/// It takes no lease: of two runs that score the same example the first to commit counts.
///
/// # Errors
/// A wrong predicate or query, a corpus that cannot be read or written, tokens that the model does not have.
pub fn score_corpus(
    model: &Model,
    folder: &str,
    wanted: Wanted,
    settings: &Settings,
) -> Result<StageReport> {
    let train = &settings.train;
    let portions = Portions { batch: train.eval_batch_size, chunk: train.score_chunk };
    let model_id = fingerprint(model)?;
    let runtime = Runtime::new().context("starting the async runtime")?;
    runtime.block_on(Box::pin(async {
        let stop = stop_signals()?;
        let corpus = Corpus::open(&settings.corpus).await?;
        let sample = Sample::of(&corpus, &model_id, settings).await?;
        let (key, neutral) = sample.setting();
        let how = json!({
            "max_length": train.max_length,
            key: neutral,
            "precision": train.precision,
        });
        let author = ByModel { model: folder.to_owned(), model_id, settings: how.to_string() };
        let scorer = Scorer::new(model, &sample, train.max_length);
        let mut measure = |batch: &ScoreBatch| scorer.losses(batch);
        let request = ScoreRequest { wanted, author };
        score_examples(&corpus, request, settings, portions, &mut measure, &stop).await
    }))
}
