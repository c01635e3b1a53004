//! Flags that commands have in common. In: what was typed. Out: settings in force.

use anyhow::Result;
use clap::Args;
use tuwen_settings::{Resolved, SettingFlags, Settings};

/// Which corpus, under which settings.
#[derive(Args)]
pub(super) struct CorpusFlags {
    /// Folder or URL of the corpus [default: corpus]
    #[arg(long, value_name = "DIR")]
    corpus: Option<String>,
    #[command(flatten)]
    settings: SettingFlags,
}

impl CorpusFlags {
    /// The settings in force, with `flags` (dotted key, value) of the command on top.
    pub(super) fn resolve(&self, mut flags: Vec<(&str, Option<String>)>) -> Result<Resolved> {
        flags.push(("corpus", self.corpus.clone()));
        self.settings.resolve(&flags)
    }

    pub(super) fn settings(&self, flags: Vec<(&str, Option<String>)>) -> Result<Settings> {
        Ok(self.resolve(flags)?.settings)
    }
}

/// A flag without a value, as that of a setting.
pub(super) fn flag(given: bool) -> Option<String> {
    given.then(|| "true".to_owned())
}
