//! The settings a command works with. In: the flags every command takes, and a command's own. Out: settings in force, in
//! range, and those of the run that is gone on with. Never opens a model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use tuwen_settings::{Resolved, Settings, resolve_command};

use crate::checkpoint;
use crate::generate::check;

/// What every command takes.
#[derive(Args)]
pub(super) struct Common {
    /// Settings file [default: tuwen.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TUWEN_CONFIG")]
    config: Option<PathBuf>,
    /// Any setting, e.g. train.lr=1e-4; `tuwen config` lists them
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// cpu, cuda, cuda:N, or auto
    #[arg(long)]
    device: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Common {
    /// Settings with `--set` and the `named` flags on top of it; device and sizes are flags as any other.
    pub(super) fn resolve(&self, named: &[(&str, Option<String>)]) -> Result<Resolved> {
        let device = [("train.device", self.device.clone())];
        let flags: Vec<_> = named.iter().chain(&device).cloned().collect();
        let resolved = resolve_command(self.config.as_deref(), &self.set, &flags)?;
        check(&resolved.settings.train)?;
        Ok(resolved)
    }
}

/// Whether a setting was given by a file, a variable or a flag.
pub(super) fn is_given(origins: &BTreeMap<String, String>, key: &str) -> bool {
    let origin = origins.get(&format!("train.{key}")).map_or("default", String::as_str);
    origin != "default" && !origin.starts_with("preset ")
}

/// The settings of a run: one that goes on has those it was begun with, but for what is given now, which is told where it differs.
pub(super) fn as_before(resolved: Resolved) -> Result<Settings> {
    let Resolved { mut settings, origins } = resolved;
    let Some(folder) = checkpoint::to_resume(&settings.train)? else { return Ok(settings) };
    let before = serde_json::to_value(checkpoint::read_state(&folder)?.settings)?;
    let mut now = serde_json::to_value(&settings.train)?;
    for (key, before) in before.as_object().into_iter().flatten() {
        if key == "out" || key == "resume" || now[key] == *before {
            continue;
        }
        if is_given(&origins, key) {
            eprintln!("train.{key}: {} now, {before} in {}", now[key], folder.display());
        } else {
            now[key] = before.clone();
        }
    }
    settings.train = serde_json::from_value(now)?;
    Ok(settings)
}
