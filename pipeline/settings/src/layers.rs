//! The layers. In: a file, the environment, `--set` and flags. Out: of each a list of settings with
//! the values it gives and where they come from; every value is looked up and checked here, once,
//! in [`Given::new`]. Never decides which layer wins.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use toml::{Table, Value};

use crate::allowed::{found, one_line};
use crate::key::{Key, find, keys, sections};
use crate::nearest::nearest;

/// The file read when `--config` is not given and it exists in the current folder.
const DEFAULT_FILE: &str = "tuwen.toml";

const PREFIX: &str = "TUWEN_";

/// Variables that begin with `TUWEN_` but are not settings.
const NOT_SETTINGS: [&str; 3] = ["TUWEN_CONFIG", "TUWEN_TOKEN", "TUWEN_TRAINER"];

/// A value that a layer gives, allowed by its key.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) key: &'static Key,
    pub(crate) value: Value,
    pub(crate) origin: String,
}

impl Given {
    fn new(name: &str, value: Value, origin: &str) -> Result<Self> {
        let key = find(name).ok_or_else(|| no_such_setting(name, origin))?;
        if !key.allowed.admits(&value) {
            let (expected, found) = (key.allowed.expected(&value), found(&value));
            bail!("{name}: expected {expected}, found {found} (from {})", one_line(origin));
        }
        Ok(Self { key, value, origin: origin.to_owned() })
    }

    /// A value that was typed: the value of a text as it is, any other as TOML has it.
    fn typed(name: &str, text: &str, origin: &str) -> Result<Self> {
        let is_text = find(name).is_some_and(|key| key.allowed.is_text());
        let value = if is_text { Value::String(text.to_owned()) } else { parse(text) };
        Self::new(name, value, origin)
    }
}

/// A number, `true`, `false`, a list or a quoted text; else what was typed, perhaps a word that a
/// key allows.
fn parse(text: &str) -> Value {
    let text = text.trim();
    if let Ok(value) = text.parse::<Value>() {
        return value;
    }
    // Rust's numbers are not all TOML's: `.5`, and whole ones beyond 64 bits, as flags print them.
    if let Ok(number) = text.parse::<f64>() {
        return Value::Float(number);
    }
    Value::String(text.to_owned())
}

fn no_such_setting(name: &str, origin: &str) -> anyhow::Error {
    let hint = match nearest(name) {
        Some(meant) => format!("did you mean {meant}?"),
        None => "`tuwen config` lists all settings".to_owned(),
    };
    anyhow!("{}: no such setting ({})\nhint: {hint}", one_line(name), one_line(origin))
}

/// The given file, else [`DEFAULT_FILE`] if it is there.
pub(crate) fn from_file(config_file: Option<&Path>) -> Result<Vec<Given>> {
    let path = match config_file {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
        None => return Ok(Vec::new()),
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("reading settings {name}"))?;
    from_toml(&name, &text)
}

pub(crate) fn from_toml(file: &str, text: &str) -> Result<Vec<Given>> {
    let table: Table = text.parse().map_err(|error| not_toml(file, text, &error))?;
    let mut all = Vec::new();
    for (name, value) in table {
        let is_section = sections().any(|section| !section.name.is_empty() && section.name == name);
        match value {
            Value::Table(inner) if is_section => {
                for (inner_name, value) in inner {
                    all.push(Given::new(&format!("{name}.{inner_name}"), value, file)?);
                }
            }
            value if is_section => {
                bail!("{name}: expected a table [{name}], found {} (from {file})", found(&value))
            }
            value => all.push(Given::new(&name, value, file)?),
        }
    }
    Ok(all)
}

/// The error with its place, on one line.
fn not_toml(file: &str, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    anyhow!("{file}:{line}:{column}: {}", error.message().trim().replace('\n', " "))
}

/// The `TUWEN_…` variables of this process.
pub(crate) fn from_environment() -> Result<Vec<Given>> {
    from_variables(std::env::vars_os())
}

pub(crate) fn from_variables(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<Given>> {
    let is_setting = |name: &OsString| {
        name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && !NOT_SETTINGS.iter().any(|other| name == other)
    };
    let mut all: Vec<_> = variables.into_iter().filter(|(name, _)| is_setting(name)).collect();
    // The environment has no order; of several wrong variables the same one is to be named each
    // time.
    all.sort();
    let mut given = Vec::new();
    for (name, value) in all {
        let (Some(name), Some(text)) = (name.to_str(), value.to_str()) else {
            let name = one_line(&name.to_string_lossy());
            bail!("{name}: expected a variable of UTF-8 text, found {value:?}");
        };
        given.push(Given::typed(&key_of_variable(name), text, name)?);
    }
    Ok(given)
}

/// `TUWEN_FETCH_TIMEOUT_SECS` is `fetch.timeout_secs`. Of a variable that is no setting: what its
/// key would be.
fn key_of_variable(variable: &str) -> String {
    let key = keys().find(|key| key.variable().eq_ignore_ascii_case(variable));
    if let Some(key) = key {
        return key.name.to_owned();
    }
    let name = variable.strip_prefix(PREFIX).unwrap_or(variable).to_lowercase();
    match name.split_once('_') {
        Some((first, rest)) if sections().any(|section| section.name == first) => {
            format!("{first}.{rest}")
        }
        _ => name,
    }
}

/// The texts `KEY=VALUE` after `--set`.
pub(crate) fn from_sets(sets: &[String]) -> Result<Vec<Given>> {
    let typed = |set: &String| {
        let Some((key, text)) = set.split_once('=') else {
            bail!("--set {}: expected KEY=VALUE, found no `=`", one_line(set));
        };
        Given::typed(key.trim(), text, "--set")
    };
    sets.iter().map(typed).collect()
}

/// Dotted keys and texts of dedicated flags.
pub(crate) fn from_flags(flags: &[(String, String)]) -> Result<Vec<Given>> {
    let typed =
        |(key, text): &(String, String)| Given::typed(key, text, &format!("flag for {key}"));
    flags.iter().map(typed).collect()
}
