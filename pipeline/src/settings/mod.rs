//! Every setting of the project, in one place. In: built-in defaults, a preset of the trainer, `tuwen.toml`, `TUWEN_…`
//! variables and flags, each overriding the one before. Out: one typed [`Settings`] and where each value came from.
//! Never reads a setting anywhere else.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

mod train;
pub use train::*;

/// The file read when `--config` is not given and it exists in the current folder.
pub const DEFAULT_FILE: &str = "tuwen.toml";

/// Variables that begin with `TUWEN_` but are not settings.
const NOT_SETTINGS: [&str; 2] = ["TUWEN_CONFIG", "TUWEN_TRAINER"];

/// All settings. Keys are written `section.name`, variables `TUWEN_SECTION_NAME`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Folder or object-store URL of the corpus.
    pub corpus: String,
    /// A stage that rejects a larger share of its rows than this, in percent, ends the command with exit code 2.
    pub max_rejected_percent: f64,
    /// How bytes are got.
    pub fetch: FetchSettings,
    /// How bytes become pixels.
    pub decode: DecodeSettings,
    /// How pairs become examples.
    pub curate: CurateSettings,
    /// How a model is trained.
    pub train: TrainSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            corpus: "corpus".to_owned(),
            max_rejected_percent: 50.0,
            fetch: FetchSettings::default(),
            decode: DecodeSettings::default(),
            curate: CurateSettings::default(),
            train: TrainSettings::default(),
        }
    }
}

/// Settings of `tuwen fetch`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FetchSettings {
    /// Requests under way at once.
    pub concurrency: usize,
    /// Of these, requests to one host.
    pub per_host: usize,
    /// How often a locator is tried that fails for a reason which may pass: no answer in time, no connection, broken off.
    pub attempts: i32,
    /// Seconds until a connection must stand.
    pub connect_timeout_secs: u64,
    /// Seconds a whole request may take, body included.
    pub timeout_secs: u64,
    /// Largest body accepted, in bytes.
    pub max_bytes: u64,
    /// Redirects followed for one URL.
    pub max_redirects: usize,
    /// Whether addresses that are not public (loopback, private, link-local, …) may be asked.
    pub allow_private_hosts: bool,
    /// Whether locators that failed before are tried again.
    pub retry_failed: bool,
    /// What the requests say they are.
    pub user_agent: String,
    /// Bytes of originals collected before they are committed; what a killed run loses at most.
    pub chunk_bytes: u64,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            concurrency: 64,
            per_host: 16,
            attempts: 2,
            connect_timeout_secs: 5,
            timeout_secs: 20,
            max_bytes: 64 << 20,
            max_redirects: 5,
            allow_private_hosts: false,
            retry_failed: false,
            user_agent: concat!("tuwen/", env!("CARGO_PKG_VERSION")).to_owned(),
            chunk_bytes: 128 << 20,
        }
    }
}

/// Filter of the resize to the stored square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeFilter {
    /// Triangle, as PIL's `BILINEAR` and the seed's processor.
    Bilinear,
    /// Cubic with a = -0.5, as PIL's `BICUBIC`.
    Bicubic,
    /// Lanczos with a = 3, as PIL's `LANCZOS`.
    Lanczos,
}

/// Whether JPEGs are decoded in full before the resize.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecodeSpeed {
    /// Every pixel is decoded; equals PIL to one level of 255.
    Exact,
    /// Large JPEGs are shrunk in the DCT domain first, to no less than twice the stored size.
    Fast,
}

/// How the stored square is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelCodec {
    /// As it is: a reader copies it, at the speed of memory or of a fast local disk.
    Raw,
    /// As JPEG: about a tenth of the bytes, for disks and networks that cannot keep up; a reader decodes it.
    Jpeg,
}

impl PixelCodec {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Raw, Self::Jpeg];

    /// Its name in settings and in `images.codec`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Jpeg => "jpeg",
        }
    }

    /// The codec of that name, or none.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// Settings of `tuwen decode`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecodeSettings {
    /// Side of the stored square in pixels.
    pub size: u32,
    /// Filter of the resize.
    pub filter: ResizeFilter,
    /// Exact, or fast for large JPEGs.
    pub speed: DecodeSpeed,
    /// Largest original accepted, in pixels; the default is the one at which PIL stops.
    pub max_pixels: u64,
    /// Whether the EXIF orientation is applied to the pixels; the seed does not.
    pub apply_orientation: bool,
    /// Originals decoded between two commits; what a killed run loses at most.
    pub chunk_images: usize,
    /// How the stored square is written down; `tuwen bench storage` says which suits a disk.
    pub codec: PixelCodec,
    /// Quality of codec jpeg, 1 to 100.
    pub jpeg_quality: u8,
}

impl Default for DecodeSettings {
    fn default() -> Self {
        Self {
            size: 224,
            filter: ResizeFilter::Bilinear,
            speed: DecodeSpeed::Exact,
            max_pixels: 178_956_970,
            apply_orientation: false,
            chunk_images: 8_192,
            codec: PixelCodec::Raw,
            jpeg_quality: 90,
        }
    }
}

/// Settings of `tuwen curate`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CurateSettings {
    /// The `tokenizer.json` captions are tokenised with.
    pub tokenizer: String,
    /// Tokens kept of a caption, special tokens included.
    pub max_length: usize,
    /// Fewest characters a clean caption may have.
    pub min_chars: u64,
    /// Most characters a clean caption may have.
    pub max_chars: u64,
    /// Most different captions one image may have before it counts as a placeholder.
    pub placeholder_captions: u64,
    /// Most bits of 64 in which the difference hashes of near-identical images differ, 0 to 3.
    pub near_bits: u64,
    /// Largest mean difference of the 8x8 thumbnails of near-identical images, in levels of 255.
    pub near_levels: f64,
}

impl Default for CurateSettings {
    fn default() -> Self {
        Self {
            tokenizer: String::new(),
            max_length: 100,
            min_chars: 2,
            max_chars: 200,
            placeholder_captions: 10,
            near_bits: 3,
            near_levels: 6.0,
        }
    }
}

/// [`Settings`] with the origin of each value, by dotted key.
pub struct Resolved {
    /// What is in force.
    pub settings: Settings,
    /// `default`, `preset NAME`, the file, the variable, or `flag`.
    pub origins: BTreeMap<String, String>,
}

/// Resolves all layers: default < preset < file < `TUWEN_…` variables < flags (`(dotted key, value)`).
///
/// # Errors
/// An unreadable file, an unknown key, a value of the wrong type, each with its origin.
pub fn resolve(config_file: Option<&Path>, flags: &[(String, String)]) -> Result<Resolved> {
    let file = read_file(config_file)?;
    let variables: Vec<_> = std::env::vars()
        .filter(|(name, _)| name.starts_with("TUWEN_") && !NOT_SETTINGS.contains(&name.as_str()))
        .collect();
    resolve_layers(file, &variables, flags)
}

fn resolve_layers(
    file: Option<(String, Table)>,
    variables: &[(String, String)],
    flags: &[(String, String)],
) -> Result<Resolved> {
    let mut layers: Vec<(String, Table)> = Vec::new();
    if let Some((name, table)) = file {
        layers.push((name, table));
    }
    for (name, value) in variables {
        layers.push((name.clone(), single(&variable_key(name), value)));
    }
    for (key, value) in flags {
        layers.push((format!("flag for {key}"), single(key, value)));
    }

    let mut merged = Table::try_from(Settings::default()).context("default settings")?;
    let mut origins = BTreeMap::new();
    note_origins(&merged, "", "default", &mut origins);
    let preset =
        layers.iter().rev().find_map(|(_, table)| table.get("train")?.get("preset")?.as_str());
    if let Some(name) = preset {
        let preset = TrainSettings::preset(name).ok_or_else(|| {
            anyhow!("train.preset: expected one of {}, found `{name}`", PRESETS.join(", "))
        })?;
        let mut table = Table::new();
        table.insert("train".to_owned(), Value::try_from(preset).context("preset")?);
        note_origins(&table, "", &format!("preset {name}"), &mut origins);
        merge(&mut merged, table);
    }
    for (name, table) in layers {
        note_origins(&table, "", &name, &mut origins);
        merge(&mut merged, table);
        check(&merged).with_context(|| name.clone())?;
    }
    let settings = check(&merged)?;
    if settings.curate.near_bits > 3 {
        bail!("curate.near_bits: expected 0 to 3, found {}", settings.curate.near_bits);
    }
    if !(1..=100).contains(&settings.decode.jpeg_quality) {
        bail!("decode.jpeg_quality: expected 1 to 100, found {}", settings.decode.jpeg_quality);
    }
    Ok(Resolved { settings, origins })
}

fn check(table: &Table) -> Result<Settings> {
    table.clone().try_into().map_err(|error: toml::de::Error| {
        anyhow!("{}", error.to_string().trim().replace('\n', " "))
    })
}

fn read_file(config_file: Option<&Path>) -> Result<Option<(String, Table)>> {
    let path = match config_file {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
        None => return Ok(None),
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("reading settings {name}"))?;
    let table = text
        .parse::<Table>()
        .map_err(|error| anyhow!("{name}: {}", error.to_string().trim().replace('\n', " ")))?;
    Ok(Some((name, table)))
}

/// `TUWEN_FETCH_TIMEOUT_SECS` is `fetch.timeout_secs`: the first word is the section.
fn variable_key(name: &str) -> String {
    let key = name.trim_start_matches("TUWEN_").to_lowercase();
    if lookup(&key).is_some() { key } else { key.replacen('_', ".", 1) }
}

/// A table with one value in it; the text is read as TOML where it can be, else as a string.
fn single(key: &str, text: &str) -> Table {
    let value = format!("v = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
    let known = lookup(key);
    let value = match (value, known) {
        (Some(Value::Integer(number)), Some(Value::Float(_))) => Value::Float(number as f64),
        (_, Some(Value::String(_))) | (None, _) => Value::String(text.to_owned()),
        (Some(value), _) => value,
    };
    let mut table = Table::new();
    match key.split_once('.') {
        Some((section, rest)) => {
            table.insert(section.to_owned(), Value::Table(single_in(rest, value)));
        }
        None => {
            table.insert(key.to_owned(), value);
        }
    }
    table
}

fn single_in(key: &str, value: Value) -> Table {
    Table::from_iter([(key.to_owned(), value)])
}

fn lookup(key: &str) -> Option<Value> {
    let defaults = Table::try_from(Settings::default()).ok()?;
    match key.split_once('.') {
        Some((section, rest)) => defaults.get(section)?.get(rest).cloned(),
        None => defaults.get(key).cloned(),
    }
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn note_origins(table: &Table, prefix: &str, origin: &str, origins: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) => note_origins(inner, &format!("{prefix}{key}."), origin, origins),
            _ => {
                origins.insert(format!("{prefix}{key}"), origin.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(items: &[(&str, &str)]) -> Vec<(String, String)> {
        items.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn later_layers_win_and_origins_are_told() {
        let file: Table =
            "corpus = \"a\"\n[decode]\nsize = 128\n[curate]\nmin_chars = 3".parse().unwrap();
        let variables = pairs(&[("TUWEN_DECODE_SIZE", "64"), ("TUWEN_FETCH_TIMEOUT_SECS", "7")]);
        let flags = pairs(&[("corpus", "b"), ("curate.near_levels", "4")]);
        let resolved =
            resolve_layers(Some(("tuwen.toml".to_owned(), file)), &variables, &flags).unwrap();
        assert_eq!(resolved.settings.corpus, "b");
        assert_eq!(resolved.settings.decode.size, 64);
        assert_eq!(resolved.settings.fetch.timeout_secs, 7);
        assert_eq!(resolved.settings.curate.min_chars, 3);
        for (key, origin) in [
            ("corpus", "flag for corpus"),
            ("decode.size", "TUWEN_DECODE_SIZE"),
            ("curate.min_chars", "tuwen.toml"),
            ("decode.filter", "default"),
        ] {
            assert_eq!(resolved.origins[key], origin);
        }
    }

    #[test]
    fn wrong_keys_and_types_are_named() {
        for (flags, expected) in [
            (pairs(&[("decode.sise", "1")]), "unknown field `sise`, expected one of `size`"),
            (pairs(&[("decode.size", "big")]), "invalid type: string \"big\", expected u32"),
            (pairs(&[("nothing", "1")]), "unknown field `nothing`"),
            (pairs(&[("train.preset", "huge")]), "expected one of seed, tiny, found `huge`"),
            (pairs(&[("curate.near_bits", "9")]), "expected 0 to 3, found 9"),
            (pairs(&[("decode.jpeg_quality", "0")]), "expected 1 to 100, found 0"),
            (
                pairs(&[("decode.codec", "webp")]),
                "unknown variant `webp`, expected `raw` or `jpeg`",
            ),
        ] {
            let error = format!("{:#}", resolve_layers(None, &[], &flags).err().unwrap());
            assert!(error.contains(expected), "{error}");
        }
    }
}
