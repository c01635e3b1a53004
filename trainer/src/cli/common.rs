//! The settings a command works with. In: the flags every command takes, and a command's own. Out: settings in force, in
//! range, and those of the run that is gone on with. Never opens a model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use tuwen::settings::{self, Resolved, Settings};

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
    /// Settings with `named` flags and `--set` on top of them; device and sizes are flags as any other.
    pub(super) fn resolve(&self, named: &[(&str, Option<String>)]) -> Result<Resolved> {
        let mut flags: Vec<(String, String)> = Vec::new();
        for (key, value) in named.iter().chain(&[("train.device", self.device.clone())]) {
            flags.extend(value.clone().map(|value| ((*key).to_owned(), value)));
        }
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                bail!("--set: expected KEY=VALUE, found `{pair}`");
            };
            flags.push((key.trim().to_owned(), value.trim().to_owned()));
        }
        let resolved = settings::resolve(self.config.as_deref(), &flags)?;
        let t = &resolved.settings.train;
        for (key, value) in [
            ("batch_size", t.batch_size),
            ("eval_batch_size", t.eval_batch_size),
            ("max_length", t.max_length),
            ("caption_chunk", t.caption_chunk),
        ] {
            if value == 0 {
                bail!("train.{key}: expected at least 1, found 0");
            }
        }
        for (key, value, most) in [
            ("crop", t.crop, 0.9),
            ("warmup_ratio", t.warmup_ratio, 1.0),
            ("label_smoothing", t.label_smoothing, 1.0),
            ("encoder_dropout", t.encoder_dropout, 1.0),
            ("decoder_dropout", t.decoder_dropout, 1.0),
            ("beta1", t.beta1, 1.0),
            ("beta2", t.beta2, 1.0),
            ("lr", t.lr, f64::MAX),
            ("weight_decay", t.weight_decay, f64::MAX),
            ("max_grad_norm", t.max_grad_norm, f64::MAX),
        ] {
            if !(0.0..=most).contains(&value) {
                let most = if most == f64::MAX { "a number".to_owned() } else { most.to_string() };
                bail!("train.{key}: expected 0 to {most}, found {value}");
            }
        }
        check(t)?;
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
