//! Captions for images of a corpus. In: a query that says which, and a model. Out: rows of the corpus's table `captions`, and
//! a report. Never captions an image twice with the same model and settings.

use anyhow::{Context, Result};
use serde_json::json;
use tokio::runtime::Runtime;
use tuwen_corpus::Corpus;
use tuwen_corpus::report::StageReport;
use tuwen_etl::stop::stop_signals;
use tuwen_settings::Settings;

use crate::caption_stage::{
    ByModel, Caption, CaptionRequest, ImageBatch, Portions, caption_images,
};
use crate::fingerprint::fingerprint;
use crate::generate::{GenerateOptions, Generated, generate_keyed, generation_config};
use crate::model::Model;
use crate::pixels::Crop;

/// Captions the images whose `image_id` the rows of `query` have, with the model that was read from `folder`. SIGINT and SIGTERM end
/// it after the batch under way. It takes no lease: runs that are told to caption other images lose nothing to each other, and of
/// two that caption the same one the first to commit counts.
///
/// # Errors
/// A query without `image_id`, a corpus that cannot be read or written.
pub fn caption_corpus(
    model: &Model,
    folder: &str,
    query: &str,
    settings: &Settings,
) -> Result<StageReport> {
    let train = &settings.train;
    let mut how = generation_config::options_to_json(train);
    if train.do_sample {
        how.insert("sample_seed".to_owned(), json!(train.sample_seed));
    }
    how.insert("precision".to_owned(), json!(train.precision));
    let author = ByModel {
        model: folder.to_owned(),
        model_id: fingerprint(model)?,
        settings: serde_json::to_string(&how)?,
    };
    let request = CaptionRequest { query: query.to_owned(), author };
    let portions = Portions { batch: train.eval_batch_size, chunk: train.caption_chunk };
    let options = GenerateOptions::from(train);
    let views = model.views();
    let mut write = |batch: &ImageBatch| {
        let keys = batch.image_ids.iter().map(|id| draw_key(id)).collect::<Result<Vec<_>>>()?;
        let side = batch.size_px;
        let pixels = model.pixels(&batch.pixels, keys.len(), side, Crop::whole(side));
        let generated = generate_keyed(&model.captioner, &views, &pixels, &options, &keys);
        let caption = |generated: Generated| {
            let text = model.text.decode(&generated.ids)?;
            Ok(Caption { text, score: generated.score })
        };
        generated.into_iter().map(caption).collect()
    };
    let runtime = Runtime::new().context("starting the async runtime")?;
    runtime.block_on(Box::pin(async {
        let stop = stop_signals()?;
        let corpus = Corpus::open(&settings.corpus).await?;
        caption_images(&corpus, request, settings, portions, &mut write, &stop).await
    }))
}

/// The key of an image's draws, made of its id, so that a picture has the same caption as a file and in any corpus.
///
/// # Errors
/// An id that is not 32 hex digits.
pub(crate) fn draw_key(image_id: &str) -> Result<u64> {
    let digits = image_id.get(..16).unwrap_or(image_id);
    u64::from_str_radix(digits, 16)
        .with_context(|| format!("expected an image_id of 32 hex digits, found `{image_id}`"))
}
