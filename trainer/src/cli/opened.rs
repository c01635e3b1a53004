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

/// Opens a model. Its own `generation_config.json` overrides the settings that no settings file, variable or flag gives.
pub(super) fn open(model: Option<&Path>, resolved: Resolved) -> Result<Opened> {
    let Resolved { mut settings, origins } = resolved;
    libtorch::set_threads(settings.train.threads);
    let device = libtorch::device(&settings.train.device)?;
    let model = model.map(|model| hub::folder(&model.to_string_lossy())).transpose()?;
    let folder = checkpoint::find(model.as_deref().unwrap_or(Path::new(&settings.train.out)))?;
    if let Some(note) =
        generation_config::apply(&folder, &mut settings.train, |key| is_given(&origins, key))?
    {
        eprintln!("{note}");
    }
    let model = Model::open(&folder, settings.train.precision, device)?;
    Ok(Opened { model, folder, settings })
}
