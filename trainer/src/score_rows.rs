//! Examples on their way to a score. In: examples with their tokens, and the table their pixels lie in. Out: batches for a model,
//! and with its losses rows of `scores`. Never reads or writes a table but for pixels.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    ArrayRef, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use chrono::Utc;
use tuwen_schemas::schema;
use tuwen_stream::ImagePixels;

use crate::caption_stage::ByModel;

/// Captions to be scored, and their images.
#[derive(Debug, Default)]
pub struct ScoreBatch {
    /// `[b]`.
    pub example_ids: Vec<String>,
    /// Token ids of each caption, `[b]`.
    pub input_ids: Vec<Vec<i64>>,
    /// The place of each caption's image among the images, `[b]`. An image's captions stand side by side.
    pub image_of: Vec<i64>,
    /// Side of the images in pixels.
    pub size_px: usize,
    /// RGB, row-major, 0 to 255: `[n_images, size_px, size_px, 3]`.
    pub pixels: Vec<u8>,
}

impl ScoreBatch {
    /// Distinct images.
    pub fn n_images(&self) -> usize {
        self.image_of.last().map_or(0, |&last| last as usize + 1)
    }
}

/// A model's losses on one caption, nats a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// Given its image.
    pub with_image: f32,
    /// Given a neutral picture.
    pub without_image: f32,
    /// The tokens that the losses are means over.
    pub n_tokens: i32,
}

/// An example that is to be scored.
pub(crate) struct Example {
    /// Of its image, in `images`.
    pub(crate) row: u32,
    pub(crate) example_id: String,
    pub(crate) image_id: String,
    pub(crate) text: String,
    pub(crate) input_ids: Vec<i64>,
}

/// The examples whose images can be read; the ids of the others, with why; and the batch of the former.
pub(crate) type Read = (Vec<Example>, Vec<(String, String)>, ScoreBatch);

/// Reads the pixels of some examples, each image once.
pub(crate) fn read(pixels: &ImagePixels, mut examples: Vec<Example>) -> Result<Read> {
    let size_px = pixels.size_px();
    let pixel_bytes = size_px * size_px * 3;
    let mut rows: Vec<u32> = examples.iter().map(|example| example.row).collect();
    rows.dedup();
    let mut batch = ScoreBatch { size_px, ..ScoreBatch::default() };
    let mut bad = pixels.read(&rows, &mut batch.pixels)?;
    bad.sort_unstable_by(|a, b| b.cmp(a)); // from the last, so that places stay true
    let mut unreadable = Vec::new();
    for (place, why) in bad {
        let (place, start) = (place as usize, place as usize * pixel_bytes);
        let row = rows.remove(place);
        batch.pixels.drain(start..start + pixel_bytes);
        for example in examples.extract_if(.., |example| example.row == row) {
            let why = format!("image {}: {why}", example.image_id);
            unreadable.push((example.example_id, why));
        }
    }
    for example in &examples {
        let place = rows.iter().position(|&row| row == example.row);
        batch.image_of.push(place.expect("its image was read") as i64);
        batch.example_ids.push(example.example_id.clone());
        batch.input_ids.push(example.input_ids.clone());
    }
    Ok((examples, unreadable, batch))
}

/// The versions of the tables that examples were read from.
pub(crate) struct Versions {
    pub(crate) examples: i64,
    pub(crate) images: i64,
}

/// Rows of `scores` that are not committed yet.
#[derive(Default)]
pub(crate) struct ScoreRows {
    examples: Vec<Example>,
    losses: Vec<Losses>,
    times_us: Vec<i64>,
}

impl ScoreRows {
    pub(crate) fn len(&self) -> usize {
        self.examples.len()
    }

    /// Adds examples with their losses; gives the ids of those whose losses are no numbers, with what they are.
    pub(crate) fn extend(
        &mut self,
        examples: Vec<Example>,
        losses: Vec<Losses>,
    ) -> Vec<(String, String)> {
        assert_eq!(examples.len(), losses.len(), "losses for each example");
        let mut not_finite = Vec::new();
        for (example, losses) in examples.into_iter().zip(losses) {
            let Losses { with_image, without_image, .. } = losses;
            if with_image.is_finite() && without_image.is_finite() {
                self.examples.push(example);
                self.losses.push(losses);
            } else {
                let why = format!(
                    "expected losses that are numbers, found {with_image} and {without_image} without its image"
                );
                not_finite.push((example.example_id, why));
            }
        }
        self.times_us.resize(self.len(), Utc::now().timestamp_micros());
        not_finite
    }

    pub(crate) fn finish(self, author: &ByModel, versions: Versions) -> Result<RecordBatch> {
        let n = self.examples.len();
        let of_example = |field: fn(&Example) -> &str| {
            Arc::new(StringArray::from_iter_values(self.examples.iter().map(field))) as ArrayRef
        };
        let loss = |field: fn(&Losses) -> f32| {
            Arc::new(Float32Array::from_iter_values(self.losses.iter().map(field))) as ArrayRef
        };
        let same = |text: &str| Arc::new(StringArray::from(vec![text; n])) as ArrayRef;
        let version = |version: i64| Arc::new(Int64Array::from(vec![version; n])) as ArrayRef;
        let columns: Vec<ArrayRef> = vec![
            of_example(|example| &example.example_id),
            of_example(|example| &example.image_id),
            of_example(|example| &example.text),
            Arc::new(Int32Array::from_iter_values(self.losses.iter().map(|l| l.n_tokens))),
            loss(|losses| losses.with_image),
            loss(|losses| losses.without_image),
            same(&author.model),
            same(&author.model_id),
            same(&author.settings),
            version(versions.examples),
            version(versions.images),
            Arc::new(TimestampMicrosecondArray::from(self.times_us).with_timezone("UTC")),
        ];
        Ok(RecordBatch::try_new(schema("scores"), columns)?)
    }
}
