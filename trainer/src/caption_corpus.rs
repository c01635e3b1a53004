//! Captions for images of a corpus. In: a query that says which, and a model. Out: rows of the corpus's table `captions`, and
//! a report. Never captions an image twice with the same model and settings.

use anyhow::{Context, Result};
use serde_json::json;
use tuwen_corpus::report::StageReport;
use tuwen_settings::Settings;

use crate::caption_stage::{Author, Caption, CaptionStage};
use crate::fingerprint::fingerprint;
use crate::generate::{GenerateOptions, generate_keyed, generation_config};
use crate::model::Model;
use crate::pixels::Crop;

/// Captions the images whose `image_id` the rows of `query` have, with the model that was read from `folder`.
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
    let author = Author {
        model: folder.to_owned(),
        model_id: fingerprint(model)?,
        settings: serde_json::to_string(&how)?,
    };
    let mut stage =
        CaptionStage::open(&settings.corpus, query, &settings.decode, author, train.caption_chunk)?;
    let options = GenerateOptions::from(train);
    let (views, side) = (model.views(), stage.size_px());
    while let Some(batch) = stage.next_batch(train.eval_batch_size)? {
        let keys = batch.image_ids.iter().map(|id| draw_key(id)).collect::<Result<Vec<_>>>()?;
        let pixels = model.pixels(&batch.pixels, keys.len(), side, Crop::whole(side));
        let mut captions = Vec::with_capacity(keys.len());
        for generated in generate_keyed(&model.captioner, &views, &pixels, &options, &keys) {
            let text = model.text.decode(&generated.ids)?;
            captions.push(Caption { text, score: generated.score });
        }
        stage.add(batch, captions)?;
    }
    stage.finish()
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
