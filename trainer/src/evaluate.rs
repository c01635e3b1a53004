//! Evaluates a model on a split. In: a model, a split. Out: loss and perplexity over its examples; over its images the metrics of
//! a generated caption against the references. Never changes the model.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tch::{Tensor, no_grad};
use tuwen_settings::TrainSettings;
use tuwen_stream::{Batch, ImageReferences, Shuffle, Stream, StreamOptions, Versions};

use crate::captioner::IGNORED;
use crate::generate::{GenerateOptions, generate_keyed};
use crate::labels::{Labels, labels};
use crate::metrics::{self, Captioned, Scores};
use crate::model::Model;
use crate::params::Views;
use crate::pixels::{self, Crop};
use crate::ranks::Ranks;

/// Seed of the order in which a split is sampled when only some of it is evaluated.
const SAMPLE_SEED: u64 = 0;

/// The epoch that is evaluated, always the same.
const EPOCH: u64 = 0;

/// The figures of one evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Examples in the loss.
    pub examples: usize,
    /// Mean cross-entropy in nats a token.
    pub loss: f64,
    /// exp(loss).
    pub perplexity: f64,
    /// Captions generated, one an image.
    pub captions: usize,
    /// Their metrics against the split's captions of the same image; none if none was generated.
    #[serde(flatten)]
    pub scores: Option<Scores>,
    /// Seconds it took.
    pub seconds: f64,
}

/// A generated caption and its references.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The image.
    pub image_id: String,
    /// Its place in the order of evaluation.
    #[serde(skip)]
    pub position: u64,
    /// The split's captions of it.
    pub references: Vec<String>,
    /// The model's.
    pub caption: String,
    /// Its log-probability by length, nats.
    pub score: f32,
}

/// What a model is evaluated on: a sample of a split's examples, and the references of their first images.
pub struct EvalSet {
    stream: Stream,
    n_examples: usize,
    /// This rank's, by position in the order of the stream.
    images: Vec<ImageReferences>,
}

impl EvalSet {
    /// Opens a split at the given versions of its tables, or the newest, in an order that makes its beginning a fair sample:
    /// the first `eval_examples`, and the first `eval_captions` of their images. Memory: the stream's,
    /// and the references of those images.
    ///
    /// # Errors
    /// As the stream.
    pub fn open(
        corpus: &str,
        split: &str,
        settings: &TrainSettings,
        ranks: &Ranks,
        pad_id: i64,
        versions: Option<Versions>,
    ) -> Result<Self> {
        let options = StreamOptions {
            rank: ranks.rank,
            world: ranks.world,
            split: split.to_owned(),
            shuffle: Shuffle::Global,
            seed: SAMPLE_SEED,
            batch_size: settings.eval_batch_size,
            readers: 1,
            pad_id,
            versions,
            verify: settings.verify,
            on_bad_image: settings.on_bad_image,
            ..StreamOptions::default()
        };
        let stream = Stream::open_by(corpus, options, settings.read_path)
            .with_context(|| format!("corpus {corpus}"))?;
        let n_examples = match settings.eval_examples {
            0 => stream.len(),
            n => n.min(stream.len()),
        };
        let mut images = stream.references(EPOCH, n_examples, settings.eval_captions)?;
        images.retain(|image| image.position % ranks.world as u64 == ranks.rank as u64);
        Ok(Self { stream, n_examples, images })
    }

    /// Examples the whole split has.
    pub fn len(&self) -> usize {
        self.stream.len()
    }

    /// Whether the split has none.
    pub fn is_empty(&self) -> bool {
        self.stream.is_empty()
    }

    /// Side of its pictures in pixels.
    pub fn size_px(&self) -> usize {
        self.stream.size_px()
    }
}

/// Evaluates `model`, each rank on its share; `each` is given every caption that this one generated and its picture, RGB,
/// `[size_px, size_px, 3]`.
///
/// # Errors
/// As the stream; token ids the model does not have; errors of `each`; a rank that is lost.
pub fn evaluate(
    model: &Model,
    set: &EvalSet,
    settings: &TrainSettings,
    ranks: &Ranks,
    mut each: impl FnMut(&Prediction, &[u8]) -> Result<()>,
) -> Result<Evaluation> {
    let started = Instant::now();
    if set.n_examples == 0 {
        bail!("expected examples to evaluate on, found none");
    }
    let options = GenerateOptions::from(settings);
    let side = set.size_px();
    let (mut position, mut examples, mut tokens, mut loss_sum) = (0, 0, 0, 0.0);
    let (mut images, mut captioned) = (set.images.as_slice(), Vec::new());
    no_grad(|| -> Result<()> {
        let views = model.views();
        let mut batches = set.stream.epoch(EPOCH, 0)?;
        while let Some(batch) = batches.next() {
            let mut batch = batch?;
            let begin = std::mem::replace(&mut position, batch.next_position);
            // This rank's places among those of all that are to be evaluated.
            let left = (set.n_examples as u64 - begin).saturating_sub(ranks.rank as u64);
            batch.truncate(left.div_ceil(ranks.world as u64) as u32);
            let n = images.iter().take_while(|image| image.position < position).count();
            let (here, rest) = images.split_at(n);
            images = rest;
            for skipped in &batch.skipped {
                tracing::warn!(
                    "evaluation without example {}: {}",
                    skipped.example_id,
                    skipped.why
                );
            }
            if !batch.is_empty() {
                let pixels = model.pixels(&batch.pixels, batch.len(), side, Crop::whole(side));
                let (labels, n_tokens) = upload_labels(model, &batch, settings)?;
                let loss = model.captioner.loss(&views, &pixels, &labels, 0.0, false);
                loss_sum += loss.double_value(&[]);
                tokens += n_tokens;
                examples += batch.len();
                let there = here.iter().filter_map(|image| {
                    let place = (image.position - begin) / ranks.world as u64;
                    Some((image, batch.row_at(place as u32)?))
                });
                let there: Vec<_> = there.collect();
                for (prediction, row) in predict(model, &views, &pixels, &there, &options)? {
                    let (caption, references) = (&prediction.caption, &prediction.references);
                    captioned.push((prediction.position, caption.clone(), references.clone()));
                    each(&prediction, &batch.pixels[row * side * side * 3..][..side * side * 3])?;
                }
            }
            batches.recycle(batch);
            if position >= set.n_examples as u64 {
                break;
            }
        }
        Ok(())
    })?;
    let sums = [loss_sum, tokens as f64, examples as f64];
    let [loss_sum, tokens, examples] = ranks.sums(sums)?;
    if examples == 0.0 {
        bail!(
            "expected examples to evaluate on, found {} whose images cannot be read",
            set.n_examples
        );
    }
    let captioned = of_all(ranks, captioned)?;
    let loss = loss_sum / tokens.max(1.0);
    Ok(Evaluation {
        examples: examples as usize,
        loss,
        perplexity: loss.exp(),
        captions: captioned.len(),
        scores: metrics::score(&captioned),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// The captions of all ranks with their references, in the order of their images.
fn of_all(ranks: &Ranks, own: Vec<(u64, String, Vec<String>)>) -> Result<Vec<Captioned>> {
    let mut all: Vec<(u64, String, Vec<String>)> = Vec::new();
    for text in ranks.gather(serde_json::to_string(&own)?)? {
        all.append(&mut serde_json::from_str(&text)?);
    }
    all.sort_by_key(|(position, ..)| *position);
    let captioned = all.iter().map(|(_, caption, refs)| Captioned::new(caption, refs));
    Ok(captioned.collect())
}

/// Captions for some rows of `pixels` `[b, 3, size, size]`: the images and which rows they are.
fn predict(
    model: &Model,
    views: &Views,
    pixels: &Tensor,
    images: &[(&ImageReferences, usize)],
    options: &GenerateOptions,
) -> Result<Vec<(Prediction, usize)>> {
    if images.is_empty() {
        return Ok(Vec::new());
    }
    let index: Vec<_> = images.iter().map(|&(_, row)| row as i64).collect();
    let pixels = pixels.index_select(0, &Tensor::from_slice(&index).to_device(model.device));
    // An image's place in the order of evaluation, whatever the batch size.
    let keys: Vec<u64> = images.iter().map(|(image, _)| image.position).collect();
    let generated = generate_keyed(&model.captioner, views, &pixels, options, &keys);
    let predictions = generated.into_iter().zip(images).map(|(generated, &(image, row))| {
        let prediction = Prediction {
            image_id: image.image_id.clone(),
            position: image.position,
            references: image.references.clone(),
            caption: model.text.decode(&generated.ids)?,
            score: generated.score,
        };
        Ok((prediction, row))
    });
    predictions.collect()
}

/// The [`labels`] of a batch on the device, `[b, t]`, and how many of them count in the loss.
///
/// # Errors
/// As [`labels`].
pub(crate) fn upload_labels(
    model: &Model,
    batch: &Batch,
    settings: &TrainSettings,
) -> Result<(Tensor, usize)> {
    let Labels { ids, width_tokens } = labels(batch, &model.captioner.config, settings)?;
    let n_tokens = ids.iter().filter(|&&id| id != IGNORED).count();
    let labels = Tensor::from_slice(&ids).view([batch.len() as i64, width_tokens as i64]);
    Ok((pixels::upload(labels, model.device), n_tokens))
}
