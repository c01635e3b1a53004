//! The states of a frozen encoder, which are the same in every epoch. In: the pictures of a batch. Out: the encoder's states,
//! computed the first time a picture comes, read from a file later. Never a state of other pixels or another encoder: a picture is
//! known by the hash of its pixels, the file by that of the encoder.
//!
//! The file: a header, then rows: a picture's key, its states in f16, and the checksum of both. A row at its end that a killed run left
//! in the middle is cut off. Of the others only the keys are read at first: where a row turns out not to be what was written, as a power
//! cut leaves it, its picture is computed again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crc::{CRC_32_ISCSI, Crc};
use tch::{Device, Kind, Tensor, no_grad};
use tuwen_corpus::id::id_of;
use tuwen_settings::TrainSettings;
use tuwen_stream::Batch;

use crate::fingerprint::encoder_id;
use crate::model::Model;
use crate::params::Views;
use crate::pixels::Crop;
use crate::ranks::Ranks;

const MAGIC: &[u8; 16] = b"tuwen states v2\n";

/// The file's name, within the run's folder.
const FILE: &str = "encoder-states.f16";

/// Bytes of a hash.
const KEY: usize = 16;

/// Bytes of a number in f16.
const STATE_BYTES: usize = 2;

/// Bytes of a row's checksum.
const CHECKSUM: usize = 4;

static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

const HEADER: usize = MAGIC.len() + KEY;

/// States that are known, and the file they lie in.
pub(crate) struct EncoderCache {
    path: PathBuf,
    file: File,
    /// Pictures by the hash of their pixels: which row of the file, the last that has it.
    rows: HashMap<[u8; KEY], u64>,
    /// Rows that the file has.
    n_rows: u64,
    /// Shape of one picture's states: tokens, width.
    shape: [i64; 2],
    /// Whether states are still added: not after the disk was full.
    grows: bool,
}

impl EncoderCache {
    /// The states that an interrupted run left in `train.out`, or none yet; nothing if `train.cache_encoder` is off.
    ///
    /// # Errors
    /// Settings under which a picture's states are not the same in every epoch; several ranks, to which every epoch deals the pictures
    /// anew; another run that uses them; an I/O error.
    pub(crate) fn open(
        model: &Model,
        settings: &TrainSettings,
        ranks: &Ranks,
        steps: u64,
    ) -> Result<Option<Self>> {
        if !settings.cache_encoder {
            return Ok(None);
        }
        check(model, settings, ranks, steps)?;
        let path = Path::new(&settings.out).join(FILE);
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        if file.try_lock().is_err() {
            bail!("{}: another run uses it", path.display());
        }
        let config = &model.captioner.config;
        let shape = [config.n_patches() + 1, config.encoder.hidden_size];
        let mut cache = Self { path, file, rows: HashMap::new(), n_rows: 0, shape, grows: true };
        cache.read(encoder_id(model)).with_context(|| cache.path.display().to_string())?;
        Ok(Some(cache))
    }

    /// Reads the keys of the file, or begins it anew if it is not this encoder's.
    fn read(&mut self, encoder: [u8; KEY]) -> Result<()> {
        let header = [&MAGIC[..], &encoder].concat();
        let len = self.file.metadata()?.len();
        let mut found = [0; HEADER];
        if len < HEADER as u64
            || self.file.read_exact_at(&mut found, 0).is_err()
            || found[..] != header
        {
            self.file.set_len(0)?;
            self.file.write_all(&header)?;
            return Ok(());
        }
        let mut key = [0; KEY];
        while self.at(self.n_rows + 1) <= len {
            self.file.read_exact_at(&mut key, self.at(self.n_rows))?;
            self.rows.insert(key, self.n_rows);
            self.n_rows += 1;
        }
        self.file.set_len(self.at(self.n_rows))?;
        Ok(())
    }

    /// Where a row begins.
    fn at(&self, row: u64) -> u64 {
        HEADER as u64 + row * (KEY + self.row_bytes() + CHECKSUM) as u64
    }

    /// The encoder's states of the pictures of `batch`, stored with `side` pixels: `[b, tokens, width]`, rounded to f16, in the
    /// model's number format.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn states(
        &mut self,
        model: &Model,
        p: &Views,
        batch: &Batch,
        side: usize,
    ) -> Result<Tensor> {
        let pictures: Vec<_> = batch.pixels.chunks_exact(side * side * 3).collect();
        let keys: Vec<[u8; KEY]> = pictures.iter().map(|picture| id_of(picture)).collect();
        let mut bytes = vec![0; keys.len() * self.row_bytes()];
        let mut row = vec![0; KEY + self.row_bytes() + CHECKSUM];
        let mut rows: Vec<_> = bytes.chunks_exact_mut(self.row_bytes()).collect();
        let mut new = Vec::new();
        for (i, key) in keys.iter().enumerate() {
            match self.stored(key, &mut row)? {
                Some(states) => rows[i].copy_from_slice(states),
                None => new.push(i),
            }
        }
        if !new.is_empty() {
            let pixels: Vec<u8> = new.iter().flat_map(|&i| pictures[i]).copied().collect();
            let computed = self.compute(model, p, &pixels, new.len(), side)?;
            for (&i, states) in new.iter().zip(computed.chunks_exact(self.row_bytes())) {
                rows[i].copy_from_slice(states);
                self.add(keys[i], states);
            }
        }
        let shape = [keys.len() as i64, self.shape[0], self.shape[1]];
        let states = Tensor::from_data_size(&bytes, &shape, Kind::Half);
        Ok(states.to_device(model.device).to_kind(model.kind()))
    }

    /// The states of a picture, read into `row`; none if there are none, or they are not what was written, which is forgotten.
    fn stored<'a>(&mut self, key: &[u8; KEY], row: &'a mut [u8]) -> Result<Option<&'a [u8]>> {
        let Some(&place) = self.rows.get(key) else { return Ok(None) };
        let read = self.file.read_exact_at(row, self.at(place));
        read.with_context(|| format!("reading {}", self.path.display()))?;
        let states = whole(row).filter(|(found, _)| found == key).map(|(_, states)| states);
        if states.is_none() {
            self.rows.remove(key);
        }
        Ok(states)
    }

    /// The states of `n` pictures, f16.
    fn compute(
        &self,
        model: &Model,
        p: &Views,
        pixels: &[u8],
        n: usize,
        side: usize,
    ) -> Result<Vec<u8>> {
        let pixels = model.pixels(pixels, n, side, Crop::whole(side));
        let states = no_grad(|| model.captioner.encoder.forward(p, &pixels, false));
        let states = states.to_kind(Kind::Half).to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0; n * self.row_bytes()];
        states.f_copy_data_u8(&mut bytes, states.numel())?;
        Ok(bytes)
    }

    /// Adds the states of a picture to the file, as long as there is room for them.
    fn add(&mut self, key: [u8; KEY], states: &[u8]) {
        if !self.grows || self.rows.contains_key(&key) {
            return;
        }
        match self.file.write_all(&row_of(key, states)) {
            Ok(()) => {
                self.rows.insert(key, self.n_rows);
                self.n_rows += 1;
            }
            Err(error) => {
                self.grows = false;
                let _ = self.file.set_len(self.at(self.n_rows));
                tracing::warn!(
                    "train.cache_encoder: {} pictures are kept, the others will be encoded each time: {}: {error}",
                    self.n_rows,
                    self.path.display()
                );
            }
        }
    }

    /// Bytes of a picture's states.
    fn row_bytes(&self) -> usize {
        (self.shape[0] * self.shape[1]) as usize * STATE_BYTES
    }

    /// Removes the file, if there is one, of a run in the folder `out` that is done.
    ///
    /// # Errors
    /// An I/O error.
    pub(crate) fn remove(out: &Path) -> Result<()> {
        let path = out.join(FILE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

/// A row of the file.
fn row_of(key: [u8; KEY], states: &[u8]) -> Vec<u8> {
    let mut row = [&key[..], states].concat();
    row.extend_from_slice(&CRC32C.checksum(&row).to_le_bytes());
    row
}

/// Key and states of a row, if it is what was written.
fn whole(row: &[u8]) -> Option<([u8; KEY], &[u8])> {
    let (content, checksum) = row.split_last_chunk::<CHECKSUM>()?;
    let (key, states) = content.split_first_chunk::<KEY>()?;
    (CRC32C.checksum(content) == u32::from_le_bytes(*checksum)).then_some((*key, states))
}

/// Refuses settings under which the encoder or the pixels it sees change.
fn check(model: &Model, settings: &TrainSettings, ranks: &Ranks, steps: u64) -> Result<()> {
    let encoder = &model.captioner.config.encoder;
    let refused = |what: String| bail!("train.cache_encoder: expected {what}");
    if ranks.world > 1 {
        return refused(format!("a run of one process, found {} ranks", ranks.world));
    }
    if settings.freeze_encoder_steps < steps {
        return refused(format!(
            "an encoder that is frozen in all {steps} steps, found train.freeze_encoder_steps = {}\n\
             hint: --set train.freeze_encoder_steps={steps}",
            settings.freeze_encoder_steps
        ));
    }
    if settings.crop > 0.0 || settings.flip > 0.0 || settings.random_resized_crop {
        return refused(
            "the same pixels in every epoch, found train.crop, train.flip or train.random_resized_crop\n\
             hint: --set train.crop=0 --set train.flip=0 --set train.random_resized_crop=false"
                .to_owned(),
        );
    }
    if encoder.hidden_dropout_prob > 0.0 || encoder.attention_probs_dropout_prob > 0.0 {
        return refused(
            "an encoder without dropout, found one with it\n\
             hint: --set train.encoder_dropout=0; of a loaded encoder, hidden_dropout_prob and attention_probs_dropout_prob in its \
             config.json"
                .to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [i64; 2] = [2, 3];
    const ENCODER: [u8; KEY] = [7; KEY];

    fn open(path: &Path) -> EncoderCache {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).unwrap();
        let (path, rows) = (path.to_owned(), HashMap::new());
        let mut cache = EncoderCache { path, file, rows, n_rows: 0, shape: SHAPE, grows: true };
        cache.read(ENCODER).unwrap();
        cache
    }

    #[test]
    fn a_row_that_a_power_cut_spoilt_is_computed_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let states = |n: u8| vec![n; 12];
        let mut cache = open(&path);
        (1..=3).for_each(|n| cache.add([n; KEY], &states(n)));
        let (second, third) = (cache.at(1), cache.at(2));
        drop(cache);
        // The second row's states did not reach the disk; of a fourth the beginning did.
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0; 12], second + KEY as u64).unwrap();
        file.set_len(third + 40).unwrap();
        drop(file);

        let mut row = vec![0; KEY + 12 + CHECKSUM];
        let mut cache = open(&path);
        assert_eq!(cache.n_rows, 3);
        for (n, is_whole) in [(1, true), (2, false), (3, true)] {
            let expected = is_whole.then(|| states(n));
            assert_eq!(cache.stored(&[n; KEY], &mut row).unwrap(), expected.as_deref(), "{n}");
        }
        cache.add([2; KEY], &states(2));
        let mut cache = open(&path);
        assert_eq!(cache.n_rows, 4);
        for n in 1..=3 {
            let found = cache.stored(&[n; KEY], &mut row).unwrap();
            assert_eq!(found, Some(&states(n)[..]), "{n}");
        }
    }
}
