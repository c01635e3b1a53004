//! How every command is given settings. In: `--config`, `--set` and the command's own flags. Out: the
//! settings in force.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;

use crate::{Resolved, layers, resolve_layers};

/// The flags by which any setting can be given.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SettingFlags {
    /// Settings file [default: tuwen.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TUWEN_CONFIG")]
    config: Option<PathBuf>,
    /// A setting by its key, as `tuwen config` lists them; can be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl SettingFlags {
    /// Default < preset < file < `TUWEN_…` variables < `--set` < `flags`, whatever the order of the
    /// arguments. Of two `--set` of a key the later one wins; `flags` are a dotted key and the text
    /// of a flag of the command's own, none where it was not given.
    ///
    /// # Errors
    /// [`WrongSetting`]: an unreadable file, a key that is no setting, a value that is not allowed: each names
    /// key and origin.
    pub fn resolve(&self, flags: &[(&str, Option<String>)]) -> Result<Resolved> {
        let given = flags.iter().filter_map(|(key, text)| Some(((*key).to_owned(), text.clone()?)));
        let flags: Vec<(String, String)> = given.collect();
        // An empty variable is one that is not set.
        let config = self.config.as_deref().filter(|path| !path.as_os_str().is_empty());
        let resolved = layers::from_file(config)
            .and_then(|file| resolve_layers(file, layers::from_environment()?, &self.set, &flags));
        Ok(resolved.map_err(WrongSetting::of)?)
    }
}

/// What is wrong with a setting, or with a flag that is checked as settings are: wrong usage, as a
/// flag that is not there.
#[derive(Debug)]
pub struct WrongSetting(pub String);

impl WrongSetting {
    /// Of a check that says what is wrong.
    pub fn of(error: anyhow::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

impl fmt::Display for WrongSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongSetting {}
