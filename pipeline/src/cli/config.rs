//! `tuwen config`: what is in force and where each value comes from.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use toml::{Table, Value};

use crate::cli::Common;

/// Print the settings in force and where each comes from
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen config
  tuwen config --set train.preset=tiny
  TUWEN_DECODE_SIZE=256 tuwen config --json")]
pub(super) struct Config {
    /// Print one JSON object: key -> {value, from}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

impl Config {
    #[expect(clippy::print_stdout, reason = "the settings are this command's output")]
    pub(super) fn run(self) -> Result<ExitCode> {
        let resolved = self.common.resolve(Vec::new())?;
        let table = Table::try_from(&resolved.settings).context("settings as TOML")?;
        let mut rows = Vec::new();
        flatten(&table, "", &mut rows);
        let origin = |key: &str| resolved.origins.get(key).map_or("default", String::as_str);
        if self.json {
            let object: serde_json::Map<_, _> = rows
                .into_iter()
                .map(|(key, value)| {
                    let entry = serde_json::json!({ "value": value, "from": origin(&key) });
                    (key, entry)
                })
                .collect();
            println!("{}", serde_json::to_string(&object)?);
            return Ok(ExitCode::SUCCESS);
        }
        for (key, value) in rows {
            println!("{key:<30} = {:<24} # {}", value.to_string(), origin(&key));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn flatten(table: &Table, prefix: &str, rows: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) => flatten(inner, &format!("{prefix}{key}."), rows),
            value => rows.push((format!("{prefix}{key}"), value.clone())),
        }
    }
}
