//! Every setting of the project, in one place. In: built-in defaults, a preset of the trainer,
//! `tuwen.toml`, `TUWEN_…` variables, `--set KEY=VALUE` and dedicated flags, each overriding the
//! one before. Out: one typed [`Settings`] and where each value came from. Never reads a setting
//! anywhere else, and never looks at a device, a corpus or a model.
//!
//! A setting is declared once, with its help, its default and what it may be (`ingest.rs`, `fetch.rs`,
//! `decode.rs`, `curate.rs`, `serve.rs`, `train.rs`); the struct, its defaults, the checks, `tuwen config` and
//! the reference are made from that line.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

mod allowed;
mod curate;
mod decode;
mod fetch;
mod flags;
mod ingest;
mod key;
mod layers;
mod nearest;
mod serve;
mod show;
mod split;
#[cfg(test)]
mod tests;
mod train;
mod train_choices;

use crate::allowed::Allowed::{FilledText, Line};
use crate::allowed::{number, whole};
use crate::key::settings;
use crate::layers::Given;

pub use crate::allowed::Allowed;
pub use crate::curate::CurateSettings;
pub use crate::decode::{DecodeSettings, DecodeSpeed, PixelCodec, ResizeFilter};
pub use crate::fetch::{FetchSettings, ProxyUse};
pub use crate::flags::{SettingFlags, WrongSetting};
pub use crate::ingest::IngestSettings;
pub use crate::key::{Key, Section, keys, sections};
pub use crate::serve::ServeSettings;
pub use crate::show::{Row, reference_markdown};
pub use crate::split::{Shares, Split};
pub use crate::train::{PRESETS, TrainSettings};
pub use crate::train_choices::{
    BestMetric, EarlyStopping, LrSchedule, OnBadImage, Precision, ReadPath, TrainOrder,
};

settings! {
    /// All settings. Keys are written `section.name`, variables `TUWEN_SECTION_NAME`.
    pub struct Settings("", settings => settings) {
        /// Folder or object-store URL of the corpus.
        corpus: String = "corpus".to_owned(), FilledText;
        /// Largest share of rejected rows of a stage, in percent. A larger one is a red gate: the
        /// command ends with exit code 3.
        max_rejected_percent: f64 = 50.0, number(0.0..=100.0);
        /// Scheduler of a cluster that computes, as HOST:PORT. Empty: this machine computes.
        cluster: String = String::new(), Line;
        /// Least bytes of files that a plan on the cluster reads. One that reads less is computed
        /// by the command itself: a job costs some 0.1 s.
        cluster_least_bytes: u64 = 64 << 20, whole(0..=1 << 50);
    }
    sections {
        /// How sources are read.
        ingest: IngestSettings;
        /// How bytes are fetched.
        fetch: FetchSettings;
        /// How bytes become pixels.
        decode: DecodeSettings;
        /// How pairs become examples.
        curate: CurateSettings;
        /// How a corpus is served.
        serve: ServeSettings;
        /// How a model is trained, evaluated and used.
        train: TrainSettings;
    }
}

/// [`Settings`] with the origin of each value, by dotted key.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What is in force.
    pub settings: Settings,
    /// `default`, `preset NAME`, the file, the variable, `--set`, or `flag for KEY`.
    pub origins: BTreeMap<String, String>,
}

/// Puts the layers, the lowest first, on the defaults and on the preset that the highest layer with
/// one asks for.
fn resolve_layers(
    file: Vec<Given>,
    variables: Vec<Given>,
    sets: &[String],
    flags: &[(String, String)],
) -> Result<Resolved> {
    let layers = [file, variables, layers::from_sets(sets)?, layers::from_flags(flags)?];
    let all = layers.concat();

    let mut settings = Settings::default();
    let preset = all.iter().rev().find(|given| given.key.name == "train.preset");
    let preset =
        preset.and_then(|given| given.value.as_str()).unwrap_or(train::DEFAULT_PRESET).to_owned();
    if let Some(train) = TrainSettings::preset(&preset) {
        settings.train = train;
    }
    let defaults = Settings::default();
    let mut origins = BTreeMap::new();
    for key in keys() {
        let is_default = key.value(&settings)? == key.value(&defaults)?;
        let origin = if is_default { "default".to_owned() } else { format!("preset {preset}") };
        origins.insert(key.name.to_owned(), origin);
    }

    for Given { key, value, origin } in all {
        key.set(&mut settings, value)?;
        origins.insert(key.name.to_owned(), origin);
    }
    check_together(&settings, &origins)?;
    Ok(Resolved { settings, origins })
}

/// What values must be to each other; what each must be by itself was checked when it was given.
fn check_together(settings: &Settings, origins: &BTreeMap<String, String>) -> Result<()> {
    let CurateSettings { min_chars, max_chars, .. } = settings.curate;
    if min_chars > max_chars {
        bail!(
            "curate.min_chars: expected at most curate.max_chars, which is {max_chars} (from {}), \
             found {min_chars} (from {})",
            origins["curate.max_chars"],
            origins["curate.min_chars"]
        );
    }
    Ok(())
}
