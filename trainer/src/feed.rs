//! Training batches without end. In: a corpus and settings. Out: batch after batch, epoch after epoch, from any position.
//! Never touches a tensor.

use anyhow::{Context, Result, bail};
use tuwen_settings::TrainSettings;
use tuwen_stream::{Batch, Batches, Skipped, Stream, StreamOptions, StreamState, WaitStats};

/// The batches of one run.
pub struct Feed {
    stream: Stream,
    batches: Batches,
    /// Those of the epoch after, begun when the last batch of this one is given, so that the device does not wait between them.
    after: Option<Batches>,
    /// Batches that are still wanted, empty ones apart.
    wanted: u64,
    epoch: u64,
    /// Examples of the epoch given so far.
    position: u64,
    /// Examples given in this epoch; those before a resume count.
    good: u64,
    /// Examples left out by the stream since they were last asked for.
    skipped: Vec<Skipped>,
    wait_before: WaitStats,
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
        let versions = from.map(|state| state.versions);
        let options = StreamOptions { versions, pad_id, ..StreamOptions::from(settings) };
        let stream = Stream::open_by(corpus, options, settings.read_path)
            .with_context(|| format!("corpus {corpus}"))?;
        if stream.is_empty() {
            bail!("corpus {corpus}: expected examples in split train, found none");
        }
        if stream.batches_per_epoch() == 0 {
            bail!(
                "corpus {corpus}: expected at least {} examples in split train for one whole batch, found {}\n\
                 hint: a smaller train.batch_size",
                settings.batch_size,
                stream.len()
            );
        }
        let (batches, epoch, position) = match from {
            Some(state) => (stream.resume(state)?, state.epoch, state.position),
            None => (stream.epoch(0, 0)?, 0, 0),
        };
        let (skipped, wait_before) = (Vec::new(), WaitStats::default());
        let (after, wanted) = (None, u64::MAX);
        Ok(Self {
            stream,
            batches,
            after,
            wanted,
            epoch,
            position,
            good: position,
            skipped,
            wait_before,
        })
    }

    /// Says how many batches are wanted from here on, so that no epoch is begun for nothing after the last of them.
    pub fn want(&mut self, batches: u64) {
        self.wanted = batches;
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

    /// The next batch that is not empty; after an epoch's last the next epoch's first.
    ///
    /// # Errors
    /// As the stream; a whole epoch whose examples were all skipped.
    pub fn next_batch(&mut self) -> Result<Batch> {
        loop {
            if let Some(batch) = self.batches.next() {
                let mut batch = batch.with_context(|| {
                    format!("epoch {}, after example {}", self.epoch, self.position)
                })?;
                self.position = batch.next_position;
                self.wanted = self.wanted.saturating_sub(u64::from(!batch.is_empty()));
                if self.batches.len() == 0 && self.wanted > 0 {
                    self.after = Some(self.stream.epoch(self.epoch + 1, 0)?);
                }
                self.skipped.append(&mut batch.skipped);
                if batch.is_empty() {
                    self.recycle(batch);
                    continue;
                }
                self.good += batch.len() as u64;
                return Ok(batch);
            }
            if let (0, Some(last)) = (self.good, self.skipped.last()) {
                bail!(
                    "epoch {}: none of its images can be read; the last: {}",
                    self.epoch,
                    last.why
                );
            }
            self.wait_before += self.batches.wait();
            (self.epoch, self.position, self.good) = (self.epoch + 1, 0, 0);
            self.batches = match self.after.take() {
                Some(batches) => batches,
                None => self.stream.epoch(self.epoch, 0)?,
            };
        }
    }

    /// Gives a batch's buffers back to the readers.
    pub fn recycle(&self, batch: Batch) {
        self.batches.recycle(batch);
    }

    /// Examples that the stream has left out since the last call, because their images cannot be read.
    pub fn take_skipped(&mut self) -> Vec<Skipped> {
        std::mem::take(&mut self.skipped)
    }

    /// Who has waited for whom, in all epochs so far.
    pub fn wait(&self) -> WaitStats {
        let mut wait = self.wait_before;
        wait += self.batches.wait();
        wait
    }
}
