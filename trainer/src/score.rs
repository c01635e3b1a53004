//! How much an image makes its caption likelier. In: a model, captions as token ids, stored pictures. Out: for each caption its
//! loss with its image and with a neutral one. Never samples, and never changes the model.
//!
//! The neutral image is the mean of the encoder's states over a sample of pictures ([`Sample`]): it says what pictures of this corpus
//! have in common, and nothing of one. (A picture of one colour, noise, or the mean of the pixels is read as a scene of its own: their
//! gain tells exchanged captions worse from right ones.) The encoder sees the sample once.

use anyhow::{Result, bail};
use tch::{Kind, Reduction, Tensor, no_grad};
use tuwen_caption::end_ids;

use crate::captioner::IGNORED;
use crate::gpt2::KeyValue;
use crate::model::Model;
use crate::neutral::Sample;
use crate::params::Views;
use crate::pixels::{Crop, upload};
use crate::score_rows::{Losses, ScoreBatch};

/// Pictures of the sample that go through the encoder together.
const ENCODED_AT_ONCE: usize = 16;

/// A model that scores captions.
pub struct Scorer<'a> {
    model: &'a Model,
    views: Views,
    /// Cross-attention's keys and values of the neutral image, one pair a layer, `[1, heads, s, d / heads]`.
    neutral: Vec<KeyValue>,
    /// Tokens to which captions are cut, as training cuts them.
    max_length: usize,
}

impl<'a> Scorer<'a> {
    /// Captions are scored up to `max_length` tokens, beside the mean of `sample`.
    pub(crate) fn new(model: &'a Model, sample: &Sample, max_length: usize) -> Self {
        let (captioner, views) = (&model.captioner, model.views());
        let neutral = no_grad(|| {
            let pictures = sample.pixels.chunks(ENCODED_AT_ONCE * sample.size_px.pow(2).max(1) * 3);
            let states = pictures.map(|pictures| {
                let n = pictures.len() / (sample.size_px.pow(2) * 3);
                let pixels = model.pixels(pictures, n, sample.size_px, Crop::whole(sample.size_px));
                let states = captioner.encode(&views, &pixels, false).to_kind(Kind::Float);
                states.sum_dim_intlist(0, true, Kind::Float) // [1, s, d]
            });
            let mean = states.reduce(|a, b| a + b).map(|sum| sum / sample.len() as f64);
            // Without pictures there is nothing to score either.
            mean.map_or_else(Vec::new, |mean| {
                captioner.decoder.cross_attention_cache(&views, &mean.to_kind(model.kind()))
            })
        });
        Self { model, views, neutral, max_length }
    }

    /// The losses of the captions of `batch`, in its order; each image goes through the encoder once.
    ///
    /// # Errors
    /// Token ids or lengths that the model does not have.
    pub fn losses(&self, batch: &ScoreBatch) -> Result<Vec<Losses>> {
        let (captioner, device) = (&self.model.captioner, self.model.device);
        let (labels, n_tokens) = self.labels(batch)?; // [b, t]
        let side = batch.size_px;
        let pixels = self.model.pixels(&batch.pixels, batch.n_images(), side, Crop::whole(side));
        let (with_image, without_image) = no_grad(|| {
            let images = captioner.cross_attention_cache(&self.views, &pixels);
            let image_of = Tensor::from_slice(&batch.image_of).to_device(device);
            let rows = |x: &Tensor| x.index_select(0, &image_of); // [b, h, s, d / h]
            let images: Vec<KeyValue> = images.iter().map(|(k, v)| (rows(k), rows(v))).collect();
            (self.mean_losses(&labels, &images), self.mean_losses(&labels, &self.neutral))
        });
        let pairs = Vec::<f32>::try_from(&with_image)?;
        let pairs = pairs.into_iter().zip(Vec::<f32>::try_from(&without_image)?);
        let losses = pairs.zip(n_tokens).map(|((with_image, without_image), n_tokens)| Losses {
            with_image,
            without_image,
            n_tokens,
        });
        Ok(losses.collect())
    }

    /// Mean cross-entropy of each row of `labels` `[b, t]`: `[b]`, on the host.
    fn mean_losses(&self, labels: &Tensor, cross_cache: &[KeyValue]) -> Tensor {
        let captioner = &self.model.captioner;
        let ids = captioner.shift_right(labels);
        let logits = captioner.decoder.forward(&self.views, &ids, cross_cache, None, false); // [b, t, v]
        let losses = logits.to_kind(Kind::Float).flatten(0, 1).cross_entropy_loss(
            &labels.flatten(0, 1),
            None::<&Tensor>,
            Reduction::None, // padding has a loss of zero
            IGNORED,
            0.0,
        );
        let n_tokens = labels.not_equal(IGNORED).sum_dim_intlist(1, false, Kind::Float); // [b]
        let losses = losses.view_as(labels).sum_dim_intlist(1, false, Kind::Float) / n_tokens;
        losses.to_device(tch::Device::Cpu)
    }

    /// The captions' token ids on the device, each with an end, padded with [`IGNORED`]: `[b, t]`; and how many each has.
    fn labels(&self, batch: &ScoreBatch) -> Result<(Tensor, Vec<i32>)> {
        let config = &self.model.captioner.config.decoder;
        let mut rows = batch.input_ids.clone();
        // As training has them.
        rows.iter_mut()
            .for_each(|ids| end_ids(ids, self.model.captioner.config.ids.eos, self.max_length));
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        if width as i64 > config.n_positions {
            bail!(
                "captions of {width} tokens: the decoder holds {}\nhint: train.max_length cuts them",
                config.n_positions
            );
        }
        let mut labels = vec![IGNORED; batch.input_ids.len() * width];
        for ((row, ids), id) in labels.chunks_mut(width.max(1)).zip(&rows).zip(&batch.example_ids) {
            if let Some(token) = ids.iter().find(|&&token| token < 0 || token >= config.vocab_size)
            {
                bail!(
                    "example {id}: expected token ids below {}, found {token}\nhint: was the corpus curated with this tokenizer?",
                    config.vocab_size
                );
            }
            row[..ids.len()].copy_from_slice(ids);
        }
        let labels = Tensor::from_slice(&labels).view([batch.input_ids.len() as i64, width as i64]);
        let n_tokens = rows.iter().map(|ids| ids.len() as i32).collect();
        Ok((upload(labels, self.model.device), n_tokens))
    }
}
