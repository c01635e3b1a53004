//! Training batches without end. In: a corpus and settings. Out: batch after batch, epoch after epoch, from any position.
//! Never touches a tensor.

use anyhow::{Context, Result, bail};
use tuwen_settings::TrainSettings;
use tuwen_stream::{Batch, Batches, Skipped, Stream, StreamOptions, StreamState, WaitStats};

use crate::ranks::Ranks;

/// The batches of one run.
pub struct Feed {
    stream: Stream,
    /// Whether there are no other ranks.
    alone: bool,
    batches: Batches,
    /// Batches of the next epoch, started when the last batch of this one is given, so that the device does not wait between them.
    next_epoch: Option<Batches>,
    /// Batches that will still be asked for, empty ones not counted.
    batches_left: u64,
    epoch: u64,
    /// Examples of the epoch given so far.
    position: u64,
    /// Examples given in this epoch; those before a resume count.
    n_given: u64,
    /// Examples left out by the stream since the last `take_skipped`.
    skipped: Vec<Skipped>,
    wait_before: WaitStats,
}

impl Feed {
    /// Opens this rank's share of the training split at its beginning, or where a resumed run was, at the table versions it read. The
    /// ranks of a new run read the versions that the first one found.
    ///
    /// # Errors
    /// As the stream; an empty split; a rank that is lost, or one of another order.
    pub fn open(
        corpus: &str,
        settings: &TrainSettings,
        ranks: &Ranks,
        pad_id: i64,
        from: Option<&StreamState>,
    ) -> Result<Self> {
        let open = |versions| {
            let mut options = StreamOptions { versions, pad_id, ..StreamOptions::from(settings) };
            (options.rank, options.world) = (ranks.rank, ranks.world);
            // Every rank takes part in every step.
            options.drop_last |= ranks.world > 1;
            Stream::open_by(corpus, options, settings.read_path)
                .with_context(|| format!("corpus {corpus}"))
        };
        let first =
            if ranks.is_first() { Some(open(from.map(|state| state.versions))?) } else { None };
        let versions = first.as_ref().map(Stream::versions);
        let versions = ranks.gather(serde_json::to_string(&versions)?)?.swap_remove(0);
        let stream = match first {
            Some(stream) => stream,
            None => open(serde_json::from_str(&versions)?)?,
        };
        ranks.check_same("the order of examples", &stream.state(0, 0))?;
        if stream.is_empty() {
            bail!("corpus {corpus}: expected examples in split train, found none");
        }
        if stream.batches_per_epoch() == 0 {
            bail!(
                "corpus {corpus}: expected at least {} examples in split train for one whole batch, found {}\n\
                 hint: a smaller train.batch_size",
                settings.batch_size * ranks.world,
                stream.len()
            );
        }
        let (batches, epoch, position) = match from {
            Some(state) => (stream.resume(state)?, state.epoch, state.position),
            None => (stream.epoch(0, 0)?, 0, 0),
        };
        let (skipped, wait_before) = (Vec::new(), WaitStats::default());
        let (next_epoch, batches_left) = (None, u64::MAX);
        Ok(Self {
            stream,
            alone: ranks.world == 1,
            batches,
            next_epoch,
            batches_left,
            epoch,
            position,
            n_given: position,
            skipped,
            wait_before,
        })
    }

    /// Sets how many more batches will be asked for, so that no epoch is prefetched after the last of them.
    pub fn set_batches_left(&mut self, batches: u64) {
        self.batches_left = batches;
    }

    /// The stream behind it.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Where to resume after the batches given so far.
    pub fn state(&self) -> StreamState {
        self.stream.state(self.epoch, self.position)
    }

    /// Epochs given so far, the current one as a fraction.
    pub fn epochs_done(&self) -> f64 {
        self.epoch as f64 + self.position as f64 / self.stream.len() as f64
    }

    /// The next batch; after an epoch's last the next epoch's first. One that is empty, since its images cannot be read, is left out,
    /// but with several ranks: each takes its turn in every step.
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
                self.batches_left =
                    self.batches_left.saturating_sub(u64::from(!batch.is_empty() || !self.alone));
                if self.batches.len() == 0 && self.batches_left > 0 {
                    self.next_epoch = Some(self.stream.epoch(self.epoch + 1, 0)?);
                }
                self.skipped.append(&mut batch.skipped);
                if batch.is_empty() && self.alone {
                    self.recycle(batch);
                    continue;
                }
                self.n_given += batch.len() as u64;
                return Ok(batch);
            }
            if let (0, Some(last), true) = (self.n_given, self.skipped.last(), self.alone) {
                bail!(
                    "epoch {}: none of its images can be read; the last: {}",
                    self.epoch,
                    last.why
                );
            }
            self.wait_before += self.batches.wait();
            (self.epoch, self.position, self.n_given) = (self.epoch + 1, 0, 0);
            self.batches = match self.next_epoch.take() {
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

    /// How long the consumer and the readers have waited, in all epochs so far.
    pub fn wait(&self) -> WaitStats {
        let mut wait = self.wait_before;
        wait += self.batches.wait();
        wait
    }
}
