//! Checkpoints on disk: folders `checkpoint-STEP` that transformers loads, with what a resumed run needs beside it.
//! In: a model, its optimizer, the run's state. Out: a folder, atomically: it is written under a temporary name, synced to the disk and
//! renamed, so that after a power cut what can be seen is whole.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use safetensors::{Dtype, View};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use tuwen_corpus::maintenance::{CHECKPOINT_PREFIX, STATE_FILE};
use tuwen_settings::{BestMetric, TrainSettings};
use tuwen_stream::StreamState;

use crate::best::Best;
use crate::generate::generation_config::{self, Otherwise};
use crate::json::{read_json, write_json};
use crate::loss_scale::LossScale;
use crate::model::Model;
use crate::optimizer::{AdamW, Steps};
use crate::params::Named;

/// The optimizer's tensors.
const MOMENTS: [&str; 2] = ["exp_avg", "exp_avg_sq"];

const OPTIMIZER_FILE: &str = "optimizer.safetensors";
const BEST_LINK: &str = "best";

/// The state of a run: with weights and optimizer, all that is needed to resume it. Dropout and schedule are functions of the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    #[serde(default)]
    pub steps: u64,
    /// Examples of a step, those of all ranks together; 0 where an older trainer did not say.
    #[serde(default)]
    pub a_step: u64,
    /// Steps of the optimizer: fewer than `step` where some were skipped, or the encoder was frozen.
    pub optimizer_steps: Steps,
    /// Of precision f16.
    pub loss_scale: Option<LossScale>,
    /// The best checkpoint so far.
    #[serde(flatten)]
    pub best: Option<Best>,
    /// Position in the stream of examples.
    pub stream: StreamState,
    /// The settings the run was started with.
    pub settings: TrainSettings,
}

impl RunState {
    /// Steps of the whole run when it goes on with `settings`, `a_step` examples a step, in epochs of `per_epoch` batches, of which
    /// `left` are left of the epoch at hand: as many as it was to have, unless a step is of more or fewer examples now, or the epochs are
    /// others; then what is left of these is divided anew.
    pub fn steps_for(
        &self,
        settings: &TrainSettings,
        a_step: u64,
        per_epoch: u64,
        left: u64,
    ) -> u64 {
        let accumulation = settings.grad_accumulation.max(1) as u64;
        let before = &self.settings;
        if self.a_step == 0 {
            return (settings.epochs * per_epoch / accumulation).max(1);
        }
        if (a_step, settings.epochs, 0) == (self.a_step, before.epochs, before.steps) {
            return self.steps;
        }
        match settings.epochs.checked_sub(self.stream.epoch + 1) {
            Some(after) => self.step + (left + after * per_epoch).div_ceil(accumulation),
            None => self.step,
        }
    }
}

/// Writes `out/checkpoint-STEP`, links the best, and removes the oldest beyond the limit, but never the best; gives the new folder.
///
/// # Errors
/// An I/O error, with its path.
pub fn save(out: &Path, model: &Model, moments: &[Tensor; 2], state: &RunState) -> Result<PathBuf> {
    let target = out.join(folder_name(state.step));
    let partial = out.join(format!(".{CHECKPOINT_PREFIX}{}.partial", state.step));
    remove_partial(out)?;
    fs::create_dir_all(&partial).with_context(|| format!("creating {}", partial.display()))?;
    write_model(&partial, model, &state.settings)?;
    let moment = |tensor: &Tensor, name: &str| Named {
        name: name.to_owned(),
        shape: tensor.size(),
        offset: 0,
        numel: tensor.size()[0],
    };
    let flats: Vec<_> = moments
        .iter()
        .zip(MOMENTS)
        .map(|(tensor, name)| (bytes_of(tensor), vec![moment(tensor, name)]))
        .collect();
    write_tensors(&partial.join(OPTIMIZER_FILE), &flats)?;
    write_json(&partial.join(STATE_FILE), &serde_json::to_value(state)?)?;
    for entry in fs::read_dir(&partial)? {
        sync(&entry?.path())?;
    }
    sync(&partial)?;
    remove(&target)?;
    fs::rename(&partial, &target)
        .with_context(|| format!("renaming {} to {}", partial.display(), target.display()))?;
    // The new name is on the disk before anything older is removed.
    sync(out)?;
    sync(out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    link_best(out, state.best.as_ref())?;
    if state.settings.save_total_limit > 0 {
        let best = state.best.as_ref().map(|best| out.join(&best.best_model_checkpoint));
        let mut all = list(out)?;
        all.truncate(all.len().saturating_sub(state.settings.save_total_limit));
        all.retain(|(_, folder)| best.as_ref() != Some(folder) && *folder != target);
        all.iter().try_for_each(|(_, folder)| remove(folder))?;
    }
    Ok(target)
}

/// Waits until a file, or the names in a folder, are on the disk: a rename alone would not outlast a power cut.
fn sync(path: &Path) -> Result<()> {
    let synced = fs::File::open(path).and_then(|file| file.sync_all());
    synced.with_context(|| format!("syncing {}", path.display()))
}

/// The name of the checkpoint folder of a step.
pub(crate) fn folder_name(step: u64) -> String {
    format!("{CHECKPOINT_PREFIX}{step}")
}

/// The best checkpoint a resumed run starts with: the one in its state, if that still exists and the metric to compare is the
/// same or now none.
pub(crate) fn resumed_best(out: &Path, state: &RunState, settings: &TrainSettings) -> Option<Best> {
    let compared = [state.best.as_ref()?.metric_for_best_model, BestMetric::None];
    let exists = |best: &Best| out.join(&best.best_model_checkpoint).is_dir();
    state.best.clone().filter(|b| compared.contains(&settings.metric_for_best_model) && exists(b))
}

/// Points the link `out/best` at the best checkpoint, or removes it if there is none. The link is relative, so `out` can be moved.
fn link_best(out: &Path, best: Option<&Best>) -> Result<()> {
    let (link, partial) = (out.join(BEST_LINK), out.join(format!(".{BEST_LINK}.partial")));
    let unlink = |path: &Path| match path.is_symlink() {
        true => fs::remove_file(path).with_context(|| format!("removing {}", path.display())),
        false => Ok(()),
    };
    let Some(best) = best else { return unlink(&link) };
    unlink(&partial)?;
    symlink(&best.best_model_checkpoint, &partial)
        .and_then(|()| fs::rename(&partial, &link))
        .with_context(|| format!("linking {} to {}", link.display(), best.best_model_checkpoint))?;
    sync(out)
}

/// Writes the Hugging Face folder of a model: weights, config, preprocessor, tokenizer, generation config.
///
/// # Errors
/// An I/O error, with its path.
pub fn write_model(folder: &Path, model: &Model, settings: &TrainSettings) -> Result<()> {
    let config = &model.captioner.config;
    let parameters = model.captioner.layout.named();
    write_tensors(&folder.join("model.safetensors"), &[(bytes_of(&model.flat), parameters)])?;
    write_json(&folder.join("config.json"), &config.to_json())?;
    let preprocessor = model.normalise.to_json(config.encoder.image_size);
    write_json(&folder.join("preprocessor_config.json"), &preprocessor)?;
    generation_config::write(folder, settings, config)?;
    model.text.write(folder, settings.max_length)
}

/// The checkpoint to use: `folder` itself, or the newest within it.
///
/// # Errors
/// Neither a model nor a checkpoint there.
pub fn find(folder: &Path) -> Result<PathBuf> {
    if folder.join("config.json").exists() {
        return Ok(folder.to_owned());
    }
    newest(folder)?.with_context(|| {
        format!("{}: expected a model or checkpoints, found neither", folder.display())
    })
}

/// The newest complete checkpoint in `out`; none if there is none.
///
/// # Errors
/// An unreadable folder.
pub fn newest(out: &Path) -> Result<Option<PathBuf>> {
    Ok(list(out)?.pop().map(|(_, folder)| folder))
}

/// The checkpoint to resume from, as `train.resume` has it; none for a new run.
///
/// # Errors
/// There is none; there are later ones in `train.out`, which the run would mix with.
pub fn to_resume(settings: &TrainSettings) -> Result<Option<PathBuf>> {
    let out = Path::new(&settings.out);
    let last = newest(out)?;
    let folder = match (settings.resume.as_str(), &last) {
        ("", None) => return Ok(None),
        ("", Some(last)) => bail!(
            "a new run would mix with {}\nhint: --resume auto resumes it, --out names another folder",
            last.display()
        ),
        ("auto", _) => return Ok(last),
        (folder, _) => find(Path::new(folder))?,
    };
    let step = read_state(&folder)?.step;
    let later = list(out)?.pop().filter(|(last, _)| *last > step);
    if let Some((_, later)) = later {
        bail!(
            "{}: the run would mix with {}, which is later\nhint: --out names another folder",
            folder.display(),
            later.display()
        );
    }
    Ok(Some(folder))
}

/// Reads the run's state of a checkpoint.
///
/// # Errors
/// A folder that was not written by this trainer.
pub fn read_state(folder: &Path) -> Result<RunState> {
    let path = folder.join(STATE_FILE);
    serde_json::from_value(read_json(&path)?).with_context(|| path.display().to_string())
}

/// What applies where the model in `folder` says nothing of generating captions.
pub(crate) fn otherwise(folder: &Path) -> Otherwise {
    match read_state(folder) {
        Ok(_) => Otherwise::Settings,
        Err(_) => Otherwise::Generate,
    }
}

/// Reads a checkpoint's state, and fills in the optimizer; the weights are read as any model's.
///
/// # Errors
/// A folder that was not written by this trainer, or one of another model.
pub fn resume(folder: &Path, optimizer: &mut AdamW) -> Result<RunState> {
    let state = read_state(folder)?;
    let path = folder.join(OPTIMIZER_FILE);
    let mut found: HashMap<_, _> = Tensor::read_safetensors(&path)
        .with_context(|| path.display().to_string())?
        .into_iter()
        .collect();
    let [a, b] = MOMENTS.map(|name| found.remove(name));
    let (Some(a), Some(b)) = (a, b) else {
        bail!("{}: expected {}", path.display(), MOMENTS.join(" and "));
    };
    let restored = optimizer.restore([&a, &b], state.optimizer_steps);
    restored.with_context(|| path.display().to_string())?;
    Ok(state)
}

/// Complete checkpoints by step, the newest last.
fn list(out: &Path) -> Result<Vec<(u64, PathBuf)>> {
    if !out.exists() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(out).with_context(|| format!("reading {}", out.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let step =
            name.to_str().and_then(|name| name.strip_prefix(CHECKPOINT_PREFIX)?.parse().ok());
        all.extend(step.map(|step| (step, entry.path())));
    }
    all.sort();
    Ok(all)
}

/// Removes what killed runs left half written.
fn remove_partial(out: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(out) else { return Ok(()) };
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", out.display()))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&format!(".{CHECKPOINT_PREFIX}")) && name.ends_with(".partial") {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    match folder.exists() {
        true => {
            fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))
        }
        false => Ok(()),
    }
}

/// The values of a tensor as little-endian f32.
pub(crate) fn bytes_of(flat: &Tensor) -> Vec<u8> {
    let flat = flat.detach().to_device(tch::Device::Cpu).to_kind(Kind::Float);
    let mut bytes = vec![0; flat.numel() * size_of::<f32>()];
    flat.copy_data_u8(&mut bytes, flat.numel());
    bytes
}

/// One tensor within the bytes of a flat one.
struct Slice<'a> {
    shape: Vec<usize>,
    bytes: &'a [u8],
}

impl View for Slice<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes tensors cut out of flat ones.
fn write_tensors(path: &Path, flats: &[(Vec<u8>, Vec<Named>)]) -> Result<()> {
    const ELEMENT: usize = size_of::<f32>();
    let slices = flats.iter().flat_map(|(bytes, all)| {
        all.iter().map(|named| {
            let bytes = &bytes[named.offset as usize * ELEMENT..][..named.numel as usize * ELEMENT];
            (
                named.name.as_str(),
                Slice { shape: named.shape.iter().map(|&n| n as usize).collect(), bytes },
            )
        })
    });
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(slices, Some(metadata), path)
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_whole_whatever_the_number_of_ranks() {
        // 24 epochs of 65 examples by 32, the last of which has one, all done.
        let settings = TrainSettings {
            epochs: 24,
            steps: 0,
            grad_accumulation: 1,
            ..TrainSettings::default()
        };
        let state = serde_json::json!({
            "step": 72, "steps": 72, "a_step": 32, "optimizer_steps": { "encoder": 0, "rest": 72 }, "loss_scale": null,
            "stream": { "versions": { "examples": 1, "images": 1 }, "selection": 0, "seed": 0, "epoch": 23, "position": 65 },
            "settings": settings,
        });
        let state: RunState = serde_json::from_value(state).unwrap();
        let epochs = |epochs| TrainSettings { epochs, ..settings.clone() };
        assert_eq!(state.steps_for(&settings, 32, 3, 0), 72);
        assert_eq!(state.steps_for(&epochs(48), 32, 3, 0), 144);
        assert_eq!(state.steps_for(&epochs(48), 40, 1, 0), 72 + 24);
        assert_eq!(state.steps_for(&epochs(20), 32, 3, 0), 72);
        // In the middle of the 6th of 10, with twice the ranks, two batches a step.
        let mut state = RunState { step: 12, steps: 25, a_step: 64, ..state };
        (state.stream.epoch, state.stream.position) = (5, 32);
        state.settings.epochs = 10;
        let now = TrainSettings { grad_accumulation: 2, ..epochs(10) };
        assert_eq!(state.steps_for(&now, 128, 1, 1), 12 + 3);
        // It was told a number of steps, and now of epochs.
        state.settings.steps = 100;
        assert_eq!(state.steps_for(&epochs(10), 64, 3, 1), 12 + 1 + 4 * 3);
        // An older trainer did not say how many examples a step has.
        state.a_step = 0;
        assert_eq!(state.steps_for(&epochs(10), 64, 3, 1), 30);
    }
}
