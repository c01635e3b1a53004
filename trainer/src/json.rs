//! Small JSON files. In: a path, a value. Out: a value, a file. Never judges what is in one.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: expected JSON", path.display()))
}

pub(crate) fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = format!("{value:#}\n");
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
