//! The model a command works with. In: a folder or id, settings. Out: the model, and the settings in force with it. Never trains.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tuwen_settings::{Resolved, Settings};

use super::flags::is_given;
use crate::generate::generation_config;
use crate::model::Model;
use crate::{checkpoint, hub, libtorch};

/// A model, the folder it was read from, and the settings in force with it.
pub(super) struct Opened {
    pub(super) model: Model,
    pub(super) folder: PathBuf,
    pub(super) settings: Settings,
}

impl Opened {
    /// With `force` any share of rejected rows is allowed.
    pub(super) fn forces(&mut self, force: bool) {
        if force {
            self.settings.max_rejected_percent = 100.0;
        }
    }
}

/// Opens a model. What its folder says of generating captions and of the size of pictures overrides the settings that no settings
/// file, variable or flag gives.
pub(super) fn open(model: Option<&Path>, resolved: Resolved) -> Result<Opened> {
    let Resolved { mut settings, origins } = resolved;
    libtorch::set_threads(settings.train.threads);
    let device = libtorch::device(&settings.train.device, 0)?;
    let model = model.map(|model| hub::folder(&model.to_string_lossy())).transpose()?;
    let folder = checkpoint::find(model.as_deref().unwrap_or(Path::new(&settings.train.out)))?;
    let otherwise = checkpoint::otherwise(&folder);
    generation_config::apply(&folder, &mut settings.train, otherwise, |key| {
        is_given(&origins, &format!("train.{key}"))
    })?;
    let tokenizers = [settings.train.tokenizer.as_str(), settings.curate.tokenizer.as_str()];
    let model = Model::open_with(&folder, &tokenizers, settings.train.precision, device)?;
    if !is_given(&origins, "decode.size") {
        settings.decode.size = u32::try_from(model.captioner.config.encoder.image_size)?;
    }
    if !is_given(&origins, "decode.filter") {
        settings.decode.filter = model.normalise.filter;
    }
    Ok(Opened { model, folder, settings })
}
