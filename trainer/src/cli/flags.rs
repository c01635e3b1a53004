//! The settings a command works with. In: the flags every command takes, and a command's own. Out: settings in force, in
//! range, and those of a resumed run. Never opens a model.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use tuwen_settings::{Resolved, SettingFlags, Settings, WrongSetting};

use crate::checkpoint;
use crate::generate::check;

/// What every command takes.
#[derive(Args)]
pub(super) struct TrainerFlags {
    #[command(flatten)]
    settings: SettingFlags,
    /// cpu, cuda, cuda:N, or auto
    #[arg(long)]
    device: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl TrainerFlags {
    /// Settings with `--set` and the `named` flags on top of it; device and sizes are flags as any other.
    pub(super) fn resolve(&self, named: &[(&str, Option<String>)]) -> Result<Resolved> {
        let device = [("train.device", self.device.clone())];
        let flags: Vec<_> = named.iter().chain(&device).cloned().collect();
        let mut resolved = self.settings.resolve(&flags)?;
        whole_or_halves(&mut resolved)?;
        check(&resolved.settings.train).map_err(|error| WrongSetting(format!("{error:#}")))?;
        Ok(resolved)
    }
}

/// A whole model that is named stands for the halves that a preset names.
fn whole_or_halves(resolved: &mut Resolved) -> Result<()> {
    let Resolved { settings, origins } = resolved;
    let train = &mut settings.train;
    if train.model.is_empty() {
        return Ok(());
    }
    for (key, half) in
        [("train.encoder", &mut train.encoder), ("train.decoder", &mut train.decoder)]
    {
        if is_given(origins, key) && !half.is_empty() {
            let message = format!("{key}: expected nothing beside train.model, found `{half}`");
            return Err(WrongSetting(message).into());
        }
        half.clear();
    }
    Ok(())
}

/// Whether a setting was given by a file, a variable or a flag.
pub(super) fn is_given(origins: &BTreeMap<String, String>, key: &str) -> bool {
    let origin = origins.get(key).map_or("default", String::as_str);
    origin != "default" && !origin.starts_with("preset ")
}

/// The settings of a run. A resumed one keeps those it was started with, but for those given now; where they differ, that is reported.
pub(super) fn resumed_settings(resolved: Resolved) -> Result<Settings> {
    let Resolved { mut settings, origins } = resolved;
    let Some(folder) = checkpoint::to_resume(&settings.train)? else { return Ok(settings) };
    let before = serde_json::to_value(checkpoint::read_state(&folder)?.settings)?;
    let mut now = serde_json::to_value(&settings.train)?;
    for (key, before) in before.as_object().into_iter().flatten() {
        if key == "out" || key == "resume" || now[key] == *before {
            continue;
        }
        if is_given(&origins, &format!("train.{key}")) {
            tracing::info!("train.{key}: {} now, {before} in {}", now[key], folder.display());
        } else {
            now[key] = before.clone();
        }
    }
    settings.train = serde_json::from_value(now)?;
    Ok(settings)
}

/// A number that was given, as the text of a setting.
pub(super) fn text(number: Option<impl ToString>) -> Option<String> {
    number.map(|number| number.to_string())
}
