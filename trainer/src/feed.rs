//! Training batches without end. In: a corpus and settings. Out: batch after batch, epoch after epoch, from any position.
//! Never touches a tensor.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tuwen::settings::{TrainOrder, TrainSettings};
use tuwen::stream::{
    Batch, Batches, RandomResizedCrop, Shuffle, Stream, StreamOptions, StreamState,
};

/// The batches of one run.
pub struct Feed {
    stream: Stream,
    batches: Batches,
    epoch: u64,
    /// Examples of the epoch given so far.
    position: u64,
    waited_before: Duration,
}

impl Feed {
    /// Opens the training split at its beginning, or where a run stood, at the table versions of then.
    ///
    /// # Errors
    /// As the stream; an empty split.
    pub fn open(
        corpus: &str,
        settings: &TrainSettings,
        pad_id: i64,
        from: Option<&StreamState>,
    ) -> Result<Self> {
        let options = StreamOptions {
            split: "train".to_owned(),
            predicate: Some(settings.predicate.clone()).filter(|predicate| !predicate.is_empty()),
            shuffle: match settings.order {
                TrainOrder::Global => Shuffle::Global,
                TrainOrder::Window => Shuffle::Window { row_groups: settings.window_row_groups },
            },
            seed: settings.seed,
            batch_size: settings.batch_size,
            readers: settings.readers,
            prefetch: settings.prefetch,
            versions: from.map(|state| state.versions),
            pad_id,
            flip: settings.flip,
            random_resized_crop: settings.random_resized_crop.then_some(RandomResizedCrop {
                scale: settings.crop_scale,
                ratio: settings.crop_ratio,
            }),
            ..StreamOptions::default()
        };
        let stream = Stream::open(corpus, options).with_context(|| format!("corpus {corpus}"))?;
        if stream.is_empty() {
            bail!("corpus {corpus}: expected examples in split train, found none");
        }
        let (batches, epoch, position) = match from {
            Some(state) => (stream.resume(state)?, state.epoch, state.position),
            None => (stream.epoch(0, 0)?, 0, 0),
        };
        Ok(Self { stream, batches, epoch, position, waited_before: Duration::ZERO })
    }

    /// The stream behind it.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Where to go on after the batches given so far.
    pub fn state(&self) -> StreamState {
        self.stream.state(self.epoch, self.position)
    }

    /// Epochs given so far, the one under way by its share.
    pub fn epochs_done(&self) -> f64 {
        self.epoch as f64 + self.position as f64 / self.stream.len() as f64
    }

    /// The next batch; after an epoch's last the next epoch's first.
    ///
    /// # Errors
    /// As the stream.
    pub fn next_batch(&mut self) -> Result<Batch> {
        loop {
            if let Some(batch) = self.batches.next() {
                let batch = batch.with_context(|| {
                    format!("epoch {}, after example {}", self.epoch, self.position)
                })?;
                self.position = batch.next_position;
                return Ok(batch);
            }
            self.waited_before += self.batches.wait().consumer_waited;
            (self.epoch, self.position) = (self.epoch + 1, 0);
            self.batches = self.stream.epoch(self.epoch, 0)?;
        }
    }

    /// Gives a batch's buffers back to the readers.
    pub fn recycle(&self, batch: Batch) {
        self.batches.recycle(batch);
    }

    /// Time the trainer has waited for batches.
    pub fn waited(&self) -> Duration {
        self.waited_before + self.batches.wait().consumer_waited
    }
}
