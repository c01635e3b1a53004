//! How good a model is on a split. In: a model, a stream. Out: loss, perplexity, and how many generated captions are exactly
//! the true ones. Never changes the model.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tch::{Kind, Tensor, no_grad};
use tuwen::settings::TrainSettings;
use tuwen::stream::{Batch, Shuffle, Stream, StreamOptions};

use crate::captioner::IGNORED;
use crate::generate::{GenerateOptions, generate};
use crate::model::Model;
use crate::pixels::Crop;

/// Seed of the order in which a split is sampled when only some of it is evaluated.
const SAMPLE_SEED: u64 = 0;

/// The figures of one evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Examples in the loss.
    pub examples: usize,
    /// Mean cross-entropy in nats a token.
    pub loss: f64,
    /// exp(loss).
    pub perplexity: f64,
    /// Captions generated.
    pub captions: usize,
    /// Share of them that equal the true caption, 0 to 1; none if none was generated.
    pub exact_match: Option<f64>,
    /// Seconds it took.
    pub seconds: f64,
}

/// A generated caption beside the true one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The example.
    pub example_id: String,
    /// Its caption in the corpus.
    pub truth: String,
    /// The model's.
    pub caption: String,
    /// Its log-probability by length, nats.
    pub score: f32,
}

/// Opens a split for evaluation: in an order that makes its beginning a fair sample.
///
/// # Errors
/// As the stream.
pub fn open(corpus: &str, split: &str, settings: &TrainSettings, pad_id: i64) -> Result<Stream> {
    let options = StreamOptions {
        split: split.to_owned(),
        shuffle: Shuffle::Global,
        seed: SAMPLE_SEED,
        batch_size: settings.eval_batch_size,
        readers: 1,
        pad_id,
        verify: settings.verify,
        on_bad_image: settings.on_bad_image,
        ..StreamOptions::default()
    };
    Stream::open_by(corpus, options, settings.read_path).with_context(|| format!("corpus {corpus}"))
}

/// Evaluates `model` on the first `eval_examples` of a stream; `each` is given every generated caption.
///
/// # Errors
/// As the stream; token ids the model does not have.
pub fn evaluate(
    model: &Model,
    stream: &Stream,
    settings: &TrainSettings,
    mut each: impl FnMut(Prediction) -> Result<()>,
) -> Result<Evaluation> {
    let started = Instant::now();
    let options = GenerateOptions::from(settings);
    let wanted = if settings.eval_examples == 0 { usize::MAX } else { settings.eval_examples };
    let (mut examples, mut tokens, mut loss_sum) = (0, 0, 0.0);
    let (mut captions, mut exact) = (0, 0);
    let batches = stream.epoch(0, 0)?;
    no_grad(|| -> Result<()> {
        let views = model.views();
        for batch in batches {
            let batch = batch?;
            for skipped in &batch.skipped {
                eprintln!("evaluation without example {}: {}", skipped.example_id, skipped.why);
            }
            if batch.is_empty() {
                continue;
            }
            let (pixels, labels) =
                upload(model, &batch, stream.size_px(), Crop::whole(stream.size_px()), settings)?;
            let counted = labels.not_equal(IGNORED).sum(Kind::Int64).int64_value(&[]);
            let loss = model.captioner.loss(&views, &pixels, &labels, 0.0, false);
            loss_sum += loss.double_value(&[]) * counted as f64;
            tokens += counted;
            examples += batch.len();

            let n = settings.eval_captions.saturating_sub(captions).min(batch.len());
            if n > 0 {
                let generated =
                    generate(&model.captioner, &views, &pixels.narrow(0, 0, n as i64), &options);
                for (i, generated) in generated.into_iter().enumerate() {
                    let prediction = Prediction {
                        example_id: batch.example_ids[i].to_string(),
                        truth: model.text.decode(
                            &batch.input_ids[i * batch.width_tokens..][..batch.lengths[i] as usize],
                        )?,
                        caption: model.text.decode(&generated.ids)?,
                        score: generated.score,
                    };
                    captions += 1;
                    exact += usize::from(prediction.truth == prediction.caption);
                    each(prediction)?;
                }
            }
            if examples >= wanted {
                break;
            }
        }
        Ok(())
    })?;
    if examples == 0 {
        bail!("expected examples to evaluate on, found none");
    }
    let loss = loss_sum / tokens.max(1) as f64;
    let exact_match = (captions > 0).then(|| exact as f64 / captions as f64);
    Ok(Evaluation {
        examples,
        loss,
        perplexity: loss.exp(),
        captions,
        exact_match,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// A batch on the device: pixels `[b, 3, size, size]`, cut out by `crop`, and labels `[b, t]`. Padding is ignored in the loss, or, if it is to
/// count, reaches up to `max_length`, as in the original.
///
/// # Errors
/// Token ids or lengths the model does not have.
pub(crate) fn upload(
    model: &Model,
    batch: &Batch,
    size_px: usize,
    crop: Crop,
    settings: &TrainSettings,
) -> Result<(Tensor, Tensor)> {
    let config = &model.captioner.config;
    let b = batch.len();
    let longest =
        batch.lengths.iter().map(|&n| n as usize).max().unwrap_or(0).min(settings.max_length);
    let (width, padding) = match settings.count_padding_in_loss {
        true => (settings.max_length, config.ids.pad),
        false => (longest, IGNORED),
    };
    if width as i64 > config.decoder.n_positions {
        bail!(
            "captions of {width} tokens: the decoder holds {}\nhint: train.max_length cuts them",
            config.decoder.n_positions
        );
    }
    let mut labels = vec![padding; b * width];
    for (i, row) in labels.chunks_mut(width.max(1)).enumerate() {
        let n = (batch.lengths[i] as usize).min(width);
        let ids = &batch.input_ids[i * batch.width_tokens..][..n];
        if let Some(id) = ids.iter().find(|&&id| id < 0 || id >= config.decoder.vocab_size) {
            bail!(
                "example {}: expected token ids below {}, found {id}\nhint: was the corpus curated with this tokenizer?",
                batch.example_ids[i],
                config.decoder.vocab_size
            );
        }
        row[..n].copy_from_slice(ids);
    }
    let labels = Tensor::from_slice(&labels).view([b as i64, width as i64]).to_device(model.device);
    Ok((model.pixels(&batch.pixels, b, size_px, crop), labels))
}
