//! `tuwen config`: what is in force, where each value comes from, and what it is. In: layers of
//! settings. Out: a table, JSON, or the reference of the docs. Never knows a setting: all of them
//! are declared in tuwen-settings.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value, json};
use tuwen_settings::{Row, reference_markdown};

use crate::cli::flags::CorpusFlags;
use crate::cli::print::print_text;

/// Print the settings in force, where each comes from, and what it is
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen config
  tuwen config --set train.preset=tiny
  TUWEN_DECODE_SIZE=256 tuwen config --json
  tuwen config --reference")]
pub(super) struct Config {
    /// Print one JSON object: key -> {value, from, help, allowed}
    #[arg(long)]
    json: bool,
    /// Print what all settings are, with their defaults, as Markdown; what is in force does not
    /// matter
    #[arg(long, conflicts_with = "json")]
    reference: bool,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Config {
    pub(super) fn run(self) -> Result<ExitCode> {
        let text = if self.reference {
            reference_markdown()
        } else {
            let resolved = self.corpus.resolve(Vec::new())?;
            if self.json { to_json(&resolved.rows()?).to_string() } else { resolved.table()? }
        };
        print_text(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// By key, in the order in which settings are declared.
fn to_json(rows: &[Row<'_>]) -> Value {
    let entries = rows.iter().map(|row| {
        let entry = json!({
            "value": row.value,
            "from": row.origin,
            "help": row.key.help,
            "allowed": row.key.allowed.to_string(),
        });
        (row.key.name.to_owned(), entry)
    });
    Value::Object(entries.collect::<Map<_, _>>())
}
